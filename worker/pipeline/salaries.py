"""Normalizes pay (amounts, interval, currency, yearly amounts) and extracts it from descriptions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from worker.pipeline.text import words

YEARLY_FACTORS = {"yearly": 1, "monthly": 12, "weekly": 52, "daily": 260, "hourly": 2080}
"""Intervals in a year of 52 weeks of five days of eight hours."""

MAX_AMOUNT = 1e12

_INTERVALS = {
    "yearly": "yearly year years yr yrs annual annually annum peryear perannum pa ayear pro jahr projahr jahr jährlich "
    "an paran annuel año anual jaar",
    "monthly": "monthly month months mo permonth amonth promonat monat monatlich mois mensuel mes mensual maand",
    "weekly": "weekly week weeks wk perweek aweek prowoche woche semaine semana",
    "daily": "daily day days perday aday perdiem protag tag tagessatz jour journée día dag",
    "hourly": "hourly hour hours hr hrs hrly perhour anhour h prostunde stunde std heure hora uur",
}
_INTERVAL_OF = {word: interval for interval, listed in _INTERVALS.items() for word in words(listed)}

# ISO 4217: the codes of national currencies in use.
_CURRENCIES = words(
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG "
    "QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD "
    "TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
_SYMBOLS = {
    "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "S$": "SGD", "HK$": "HKD",
    "R$": "BRL", "€": "EUR", "EURO": "EUR", "EUROS": "EUR", "£": "GBP", "₹": "INR", "RS": "INR", "RS.": "INR",
    "ZŁ": "PLN", "₪": "ILS", "₩": "KRW", "₱": "PHP", "₫": "VND", "₺": "TRY", "₴": "UAH", "₦": "NGN", "฿": "THB",
    "KČ": "CZK", "FR.": "CHF", "SFR": "CHF",
}  # fmt: skip
_SYMBOLS_BY_COUNTRY = {
    "$": {
        "US": "USD", "PR": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "HK": "HKD", "MX": "MXN",
        "CL": "CLP", "CO": "COP", "AR": "ARS",
    },
    "¥": {"JP": "JPY", "CN": "CNY"},
    "KR": {"SE": "SEK", "NO": "NOK", "DK": "DKK", "IS": "ISK"},
}  # fmt: skip


class Salary(NamedTuple):
    """Pay per interval.

    Attributes:
        least: The least pay; None: unknown.
        most: The most pay; None: unknown.
        interval: `yearly`, `monthly`, `weekly`, `daily` or `hourly`.
        currency: ISO 4217 code.
    """

    least: float | None = None
    most: float | None = None
    interval: str | None = None
    currency: str | None = None

    @property
    def yearly(self) -> tuple[float | None, float | None]:
        """Least and most pay per year, by `YEARLY_FACTORS`; None if the interval or the amount is unknown."""
        factor = YEARLY_FACTORS.get(self.interval or "")
        return _times(self.least, factor), _times(self.most, factor)


NO_SALARY = Salary()


def clean_salary(
    least: float | None, most: float | None, interval: str | None, currency: str | None, country: str | None
) -> Salary:
    """Normalize pay that a site gave in separate fields.

    Args:
        least: The least pay. An amount that is not positive and finite is ignored.
        most: The most pay. If it is less than `least`, the two are swapped.
        interval: The interval in any wording (`per hour`, `ANNUAL`).
        currency: ISO 4217 code or a symbol.
        country: ISO 3166-1 alpha-2 code. It decides which currency `$` is.

    Returns:
        The pay; `NO_SALARY` if there is no valid amount.
    """
    least, most = _amount(least), _amount(most)
    if least is None and most is None:
        return NO_SALARY
    if least is not None and most is not None:
        least, most = min(least, most), max(least, most)
    return Salary(least, most, _interval(interval), currency_code(currency, country))


def currency_code(text: str | None, country: str | None) -> str | None:
    """Return the ISO 4217 code for a currency's code or symbol; None if unknown, such as `$` without a country."""
    if text is None:
        return None
    symbol = text.strip().upper()
    if symbol in _CURRENCIES:
        return symbol
    return _SYMBOLS.get(symbol) or _SYMBOLS_BY_COUNTRY.get(symbol, {}).get(country or "")


def _amount(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) and 0 < value < MAX_AMOUNT else None


def _times(amount: float | None, factor: int | None) -> float | None:
    return round(amount * factor, 2) if amount is not None and factor is not None else None


def _interval(text: str | None) -> str | None:
    if text is None:
        return None
    return _INTERVAL_OF.get("".join(character for character in text[:40].casefold() if character.isalpha()))


_SIGNS = ("$", "€", "£", "USD", "EUR", "GBP", "CAD", "AUD", "CHF", "NZD", "SGD")
_CURRENCY = r"(?:(?:US|CA|C|AU|A|NZ|S|HK)?\$|€|£|(?:USD|EUR|GBP|CAD|AUD|CHF|NZD|SGD)\b)"
# Not possessive: before Python 3.11.5, a possessive quantifier on a group is matched incorrectly (gh-106052).
_FIGURE = r"\d{1,9}(?:[.,]\d{3})*(?:[.,]\d{1,2})?(?![\d:]|[.,]\d)"
_THOUSANDS = r"(?: ?k\b)?"
_PERIOD = (
    r"(?:\s?/\s?(?:per )?|\s?\bper\b[ /]?|\s?\ban?\b |\s?\beach\b |\s?\bpro\b |\s)?"
    r"(?P<period>hourly|hours?|hrly|hrs?|h|annually|annual|annum|yearly|years?|yrs?|monthly|months?|mo|weekly|weeks?|wk"
    r"|daily|days?|stunde|jahr|monat|woche|tag)\b"
)
_PAY = re.compile(
    rf"(?i)(?<![\w.,$€£-])(?P<up_to>up to )?(?P<from>from |starting at |starts at |start at )?"
    rf"(?P<currency>{_CURRENCY}) ?(?:\$ ?)?"
    rf"(?P<least>{_FIGURE})(?P<least_k>{_THOUSANDS})"
    rf"(?:\s?(?:-|\u2013|\u2014|to|and|up to|bis)\s?(?:{_CURRENCY} ?)?(?P<most>{_FIGURE})(?P<most_k>{_THOUSANDS}))?"
    rf"(?: ?(?P<after>USD|EUR|GBP|CAD|AUD|CHF)\b)?(?:{_PERIOD})?"
)
_PAY_WORD = re.compile(
    r"(?i)\b(?:pay(?:ing|s)?|pay ?rates?|paid|salar(?:y|ies)|wages?|compensation"
    r"|earn(?:ing)?|rate|gehalt|remuneration)\b"
)
_OTHER_MONEY = re.compile(
    r"(?i)\b(?:bonus|incentives?|differentials?|premiums?|stipend|allowances?|reimburse\w*|tuition|referral|additional"
    r"|extra|401|revenues?|sales|budget|funding|raised|insurance|coverage|benefits?|discounts?|assistance|savings?|tips"
    r"|commission|sign-?on|sign-?ing|retention|relocation|overtime|per diem|mileage|donat\w+|billion|million|quota"
    r"|training|season)\b"
)
_INTERVAL_BEFORE = re.compile(r"(?i)\b(hourly|annual(?:ly)?|yearly|monthly|weekly|daily)\b")
_BEFORE_LENGTH, _AFTER_LENGTH = 80, 40
_CLAUSE_START = re.compile(r"[;!?(]|\.\s")
_CLAUSE_END = re.compile(r"(?i)[.,;:!?()\n+*$€£|]|\b(?:plus|with|including|inclusive|and|or|based|depending)\b")
_PLAUSIBLE = {
    "hourly": (5, 500), "daily": (40, 5_000), "weekly": (150, 20_000), "monthly": (400, 100_000),
    "yearly": (8_000, 2_000_000),
}  # fmt: skip
_CERTAINLY_YEARLY = 20_000
_MAX_RATIO = 4
_MAX_AMOUNTS = 200


def find_salary(description: str, country: str | None) -> Salary:
    """Return the pay that a description states unambiguously, else `NO_SALARY`.

    An amount counts if it has a currency and an interval, is plausible for the interval, and stands in the context of
    pay and not of a bonus, a premium or the like. Several different amounts (for places, shifts or levels) are
    ambiguous, unless one range contains all of them.

    Args:
        description: Plain text.
        country: ISO 3166-1 alpha-2 code. It decides which currency `$` is.
    """
    found = list(_salaries(description, country))
    if not found:
        return NO_SALARY
    same = [salary for salary in found if (salary.interval, salary.currency) == (found[0].interval, found[0].currency)]
    widest = max(same, key=lambda salary: (salary.most or 0) - (salary.least or 0) if None not in salary else 0)
    figures = [figure for salary in same for figure in (salary.least, salary.most) if figure is not None]
    lowest, highest = widest.least or widest.most, widest.most or widest.least
    return widest if lowest == min(figures) and highest == max(figures) else NO_SALARY


def _salaries(description: str, country: str | None) -> Iterator[Salary]:
    lines = (line for line in description.split("\n") if any(sign in line for sign in _SIGNS))
    amounts = ((line, match) for line in lines for match in _PAY.finditer(line))
    for line, match in islice(amounts, _MAX_AMOUNTS):
        before = _CLAUSE_START.split(line[max(0, match.start() - _BEFORE_LENGTH) : match.start()])[-1]
        after = _CLAUSE_END.split(line[match.end() : match.end() + _AFTER_LENGTH], maxsplit=1)[0]
        if re.search(r"\d ?$", before) or _OTHER_MONEY.search(before) or _OTHER_MONEY.search(after):
            continue
        is_line = not before.strip(" -•·") and not after.strip()
        if not (_PAY_WORD.search(before) or is_line or (match["most"] and match["period"])):
            continue
        salary = _salary(match, before, country)
        if salary is not None:
            yield salary


def _salary(match: re.Match[str], before: str, country: str | None) -> Salary | None:
    least = _figure(match["least"], has_k=bool(match["least_k"] or match["most_k"]))
    most = _figure(match["most"], has_k=bool(match["most_k"])) if match["most"] else None
    interval = _interval(match["period"])
    if interval is None and (word := _INTERVAL_BEFORE.search(before)) and _PAY_WORD.search(before):
        interval = _interval(word[1])
    if interval is None and most is not None and least >= _CERTAINLY_YEARLY and re.search(r"(?i)\bsalary\b", before):
        interval = "yearly"
    if interval is None:
        return None
    lowest, highest = _PLAUSIBLE[interval]
    if not (lowest <= least <= highest and (most is None or least <= most <= min(highest, _MAX_RATIO * least))):
        return None
    code = currency_code(match["after"] or match["currency"], country)
    if most is not None:
        return Salary(least, most, interval, code)
    if match["up_to"] or re.search(r"(?i)\bup to:? ?$", before):
        return Salary(None, least, interval, code)
    is_floor = match["from"] or re.search(r"(?i)\b(?:from|start(?:s|ing)?(?: \w+){0,3}):? ?$", before)
    return Salary(least, None if is_floor else least, interval, code)


def _figure(text: str, *, has_k: bool) -> float:
    """Parse `1,234.50` and `1.234,50`. A separator before at most two last digits is the decimal point."""
    whole, _, cents = text.replace(",", ".").rpartition(".")
    if len(cents) > 2 or not whole:  # noqa: PLR2004 (cents)
        whole, cents = whole + cents, "0"
    return float(f"{whole.replace('.', '')}.{cents}") * (1000 if has_k else 1)
