"""Intervals of pay: their names, and which of them an amount can be paid in."""

from __future__ import annotations

import re
from typing import NamedTuple

from worker.pipeline.currencies import in_international_dollars
from worker.pipeline.text import any_of, words

YEARLY_FACTORS = {"yearly": 1, "monthly": 12, "weekly": 52, "daily": 260, "hourly": 2080}
"""Intervals in a year of 52 weeks of five days of eight hours."""

_NAMES = {
    "yearly": "yearly year years yr yrs annual annually annum peryear perannum pa ayear pro jahr projahr jahr jährlich "
    "an paran annuel año anual jaar",
    "monthly": "monthly month months mo permonth amonth promonat monat monatlich mois mensuel mes mensual maand",
    "weekly": "weekly week weeks wk perweek aweek prowoche woche semaine semana",
    "daily": "daily day days perday aday perdiem protag tag tagessatz jour journée día dag",
    "hourly": "hourly hour hours hr hrs hrly perhour anhour h prostunde stunde std heure hora uur",
}
_INTERVAL_OF = {word: interval for interval, listed in _NAMES.items() for word in words(listed)}
_OTHER_INTERVALS = {
    "biweekly": ("weekly", 2), "biweek": ("weekly", 2), "fortnightly": ("weekly", 2), "fortnight": ("weekly", 2),
    "semimonthly": ("monthly", 0.5), "semimonth": ("monthly", 0.5), "quarterly": ("monthly", 3),
    "quarter": ("monthly", 3),
}  # fmt: skip
_COUNT = re.compile(r"(\d{1,2}) ?(?=[a-zA-Z])")

_IN_WORDS = {
    "hourly": r"""
    \bhour /~?h(?:ou)?r\b stunden[lsv] \buur[lt] \bper~uur \bhoraire \bpor~hora \borari[ao] \btime?l[öø]n godzinow
    """,
    "daily": r"""
    \bdaily \bday~rates? \bper~day \btages[sl] \bdagtarief \bdagloon \btjm\b \bjournali \bdiari[ao] \bgiornalier
    """,
    "weekly": r"""
    \bweekly \bper~week \bwochenl \bweekloon \bweeksal \bhebdo \bsemanal \bsettimanal \bveckol \btygodniow
    """,
    "monthly": r"\bmonth monats monatlich \bmaand \bmensu \bmensal \bmensil \bmånads \bmåneds \bmiesięczn",
    "yearly": r"""
    \bannual \byear \bper~annum \bctc\b \bral\b jahres \bjährlich \bjaarsal \bjaarlo \bannuel \banua[li] \bannu[ao]\b
    \bårsl \broczn
    """,
}
_NAMES_INTERVAL = re.compile("|".join(f"(?P<{name}>{any_of(listed)})" for name, listed in _IN_WORDS.items()))

# International dollars. Interns in India are paid about 250 a month.
_LOWEST_YEARLY, _HIGHEST_YEARLY = 3_000, 2_000_000
_HIGHEST_IN_PARTS = 1_000_000
"""Highest pay in a year if it is stated by the month, the week, the day or the hour."""
_HIGHEST_MONTHLY = 20_000
_LOWEST_DAILY = 60
_LOWEST_HOURLY = 5
_WEEKLY_COUNTRIES = words("US GB IE CA AU NZ")
"""Where pay by the week is usual. In other countries, pay between that of a day and that of a year is monthly."""
_EUROPEAN_CURRENCIES = words("EUR BGN CHF CZK DKK HUF ISK NOK PLN RON SEK")
_MONTHLY_IN_EUROPE = (1_700, 9_000)
"""More than pay for a day, and less than the least legal yearly wage in the European Union (Bulgaria, 2025)."""
_MONTHLY = (500, 3_000)


class Interval(NamedTuple):
    """An interval as a site names it: so many times a known one."""

    name: str
    times: float = 1


def interval_of(text: str | None) -> Interval | None:
    """Return the interval for any wording (`per hour`, `ANNUAL`, `2 WEEK`, `biweekly`), or None."""
    if text is None:
        return None
    text = text[:40].strip()
    count = _COUNT.match(text)
    name = "".join(character for character in text.casefold() if character.isalpha())
    known = Interval(*_OTHER_INTERVALS[name]) if name in _OTHER_INTERVALS else None
    if known is None and name in _INTERVAL_OF:
        known = Interval(_INTERVAL_OF[name])
    if known is None or (count and int(count[1]) == 0):
        return None
    return Interval(known.name, known.times * (int(count[1]) if count else 1))


def interval_in_words(text: str) -> str | None:
    """Return the interval that the last word for one in a text of lower case names (`hourly rate`), or None."""
    found = None
    for match in _NAMES_INTERVAL.finditer(text):
        found = match.lastgroup
    return found


def is_plausible(interval: str, amounts: tuple[float, ...], currency: str | None) -> bool:
    """Return whether amounts can be paid per interval. An unknown currency is judged as US dollars."""
    highest = _HIGHEST_YEARLY if interval == "yearly" else _HIGHEST_IN_PARTS
    factor = YEARLY_FACTORS[interval]
    yearly = (factor * _in_dollars(amount, currency) for amount in amounts)
    return all(_LOWEST_YEARLY <= amount <= highest for amount in yearly)


def likely_interval(amounts: tuple[float, ...], currency: str | None, country: str | None) -> str | None:
    """Return the only interval that is plausible for amounts, or None.

    Amounts below any daily pay are hourly, and amounts above any monthly pay are yearly. Amounts between daily pay and
    yearly pay are monthly, except where people are paid by the week.
    """
    dollars = [in_international_dollars(amount, currency) or 0 for amount in amounts]
    lowest, highest = min(dollars, default=0), max(dollars, default=0)
    least_monthly, most_monthly = _MONTHLY_IN_EUROPE if currency in _EUROPEAN_CURRENCIES else _MONTHLY
    if _LOWEST_HOURLY <= lowest < _LOWEST_DAILY:
        interval = "hourly"
    elif lowest and highest > _HIGHEST_MONTHLY:
        interval = "yearly"
    elif country not in {None, *_WEEKLY_COUNTRIES} and least_monthly <= lowest and highest <= most_monthly:
        interval = "monthly"
    else:
        return None
    return interval if is_plausible(interval, amounts, currency) else None


def _in_dollars(amount: float, currency: str | None) -> float:
    dollars = in_international_dollars(amount, currency)
    return amount if dollars is None else dollars
