"""Finds amounts of money in a line: figures of any locale, with their currency, their interval, and ranges of two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from worker.pipeline.currencies import is_currency
from worker.pipeline.pay_words import GROSS, NET
from worker.pipeline.text import any_of, words

RAND = "r"
"""The sign of South Africa's currency."""

MAX_RATIO = 10
"""Largest ratio of the ends of a range of pay."""

SIGNS = "$€£₹¥₪₩₱₫₺₴₦฿"
_AMBIGUOUS_CODES = words("all bam bob cup ern gel lak mad mop nad pen sos stn top try amd")
"""Codes of currencies that are words as well."""

# Not possessive: before Python 3.11.5, a possessive quantifier on a group is matched incorrectly (gh-106052).
_FIGURE = re.compile(
    r"\d{1,3}(?: \d{3}){1,4}(?!\d)(?:[.,]\d{1,2}(?!\d))?|\d{1,12}(?:[.,']\d{2,3}){0,5}(?:[.,]\d{1,2})?(?!\d)"
)
_SIGN_BEFORE = re.compile(
    rf"(?:(?<![a-z])(?P<letters>[a-z]{{1,3}}|[a-z]{{3}} ))?(?P<symbol>[{SIGNS}]) ?$"
    r"|(?<![^\W\d_])(?P<word>[^\W\d_]{2,4})[.:]? ?$|(?<![\w.&/'+-])(?P<rand>r) ?$"
)
_CONTINUES = re.compile(r"[\w#]$|\d[.,:']$")
_OF_SEVERAL_COUNTRIES = words("$ kr rs dollars kroner ¥")
_RUPEES = words("₹ rs inr")
_CODES_AFTER = words("usd cad aud nzd sgd hkd mxn sek nok dkk")
_LENGTH_BEFORE, _BETWEEN_LENGTH = 10, 40

_MULTIPLIERS = {
    "k": 1e3, "tsd": 1e3, "tys": 1e3, "mil": 1e3, "thousand": 1e3, "lakh": 1e5, "lakhs": 1e5, "lac": 1e5, "lacs": 1e5,
    "lpa": 1e5, "l": 1e5, "cr": 1e7, "crore": 1e7, "crores": 1e7,
}  # fmt: skip
_LAKHS = words("lakh lakhs lac lacs lpa cr crore crores")
_MULTIPLIER = "|".join(sorted(_MULTIPLIERS, key=len, reverse=True))
_MILLIONS = any_of(r"m mm mn mio mln bn b mrd mld [mb]illi[^\W\d_]{1,6} trillions? miljo[^\W\d_]{1,3}")
_TAIL = re.compile(
    r"(?P<mark>,-{1,2}|\.-{1,2}|/-)?"
    rf"(?: ?(?P<multiplier>{_MULTIPLIER})\b(?:(?<=tsd|tys)\.)?|(?P<k>[kt]) ?(?=[€£$]|eur))?"
    rf"(?: ?(?P<millions>{_MILLIONS}(?![\w/])))?"
    rf"(?: ?(?P<sign>[{SIGNS}](?! ?\d)|(?<![a-z])[^\W\d_]{{2,8}})(?!\w)(?:(?<=[kfr][rs])\.)?)?"
    r"(?:(?<=\$) ?(?P<code>[a-z]{2,3})\b)?"
)
_MORE = re.compile(
    r"\w| ?[^\W\d_]{0,12} ?"
    + any_of(
        r"bonus super benefit commission comm\b equity ote\b tips stock per[kq] vat\b expens car\b leistung variable"
    )
)
"""What follows a plus sign that adds something to the pay."""
_LEAST_BARE = 1000
"""A lower figure without a currency is money (`30,000 - £35,000`), unless it is a small plain number."""
_THOUSAND = 1000
_CODE_AFTER = re.compile(r" ?\(?([a-z]{3})\b")

_KIND = rf"(?:{GROSS}|{NET}|all-in|basic|base|fixe|full[ -]time|salary|salaire|\+ ?vat)\b"
_LINK = any_of("per an? each every pro je die den im in par l[ae]? por all?[ae]? el il ao de d i om pr na za w op p")
_INTERVALS = {
    "hourly": r"""
    hour hr (?<=per~)hours (?<=/)hours (?<=/)hrs hourly hrly p[/.]?h h stunden? std stündlich uur p/u heure horaire
    hora ora tim timmen? (?<=pr\.~)time (?<=per~)time (?<=i~)timen godz(?:in[aęy]|inowo)?
    """,
    "daily": "day daily per~diem p[/.]d pd tag täglich dag jour journée d[ií]a giorno dzień dziennie",
    "weekly": "week weekly wk p[/.]?w woche wöchentlich semaine semana settimana veckan? ugen? uke tydzień tygodniowo",
    "monthly": r"""
    month monthly mo mth pcm p\.?~?m p/m monate? monatlich mtl maand mnd mois mensuel(?:le)?s? mes mensua(?:l|les) mês
    mensa(?:l|is) mese mensil[ei] månad(?:en)? mån måned(?:en)? (?<=pr\.~)md miesiąc mies miesięcznie
    """,
    "yearly": r"""
    year yr yearly annum annual annually annualized p\.?~?a p/a jahr jährlich jaar (?<=par~)an (?<=/)an (?<=/~)an année
    annuel(?:le)?s? año anual(?:es)? ano anuais anno annu[aioe] år(?:et)? rok rocznie
    """,
}
_INTERVAL_AFTER = re.compile(
    rf" ?(?:[(,/]? ?{_KIND} ?){{0,3}}(?:[(]? ?(?:{_LINK}\b[.']? ?(?:/ ?)?|/ ?|l'|à )){{0,2}}(?:"
    + "|".join(f"(?P<{interval}>{any_of(listed)})" for interval, listed in _INTERVALS.items())
    + r")(?![\w/]|-[a-z]|'\w)\.?"
)
_TIME_UNITS = any_of(
    """
    hours hrs days weeks months years yrs stunden tage wochen monate jahre uren dagen weken heures jours mois ans horas
    días meses años ore giorni timmar godzin
    """
)
_NO_MONEY_AFTER = re.compile(rf" ?%|[ -]?{_TIME_UNITS}\b")
_UNIT_AFTER = re.compile(
    r" ?(?:/ ?|(?:per|pro|par|por|each|every|for (?:each|every)) |je (?!nach))(?!experience|ote\b)[^\W\d_]"
)

_TO = any_of(
    r"""
    -{1,2}(?:~?to~?-)? / (?:rising~|increasing~)?to until up~to(?:~a~maximum~of)? bis(?:~zu)? tot(?:~maximaal)? a à ai
    al til till do (?:en~)?max(?:imaal|imal|\.)? jusqu'à hasta até
    """
)
_IS_TO = re.compile(rf"(?: ?{_KIND})? ?{_TO} ?")
_AND = re.compile(r" ?(?:and|und|en|et|y|e|i|och|og) ?")
_BETWEEN = re.compile(r"\b(?:between|zwischen|tussen|entre|tra|fra|mellan|mellem|mellom|pomiędzy)\b[^.;]{0,25}$")


class Amount(NamedTuple):
    """Money in a line: one figure, or a range of two.

    Attributes:
        start: Where it starts, with its currency.
        end: Where it ends, with its currency and its interval.
        least: The figure, or the lower one.
        most: The upper figure; None: there is one figure.
        currency: Its currency as written; None: none is written.
        interval: Its interval as in `pay_intervals`; None: none follows.
        is_open: Whether a plus sign follows (`50k+`).
        is_for_unit: Whether something else than time follows (`per visit`).
    """

    start: int
    end: int
    least: float
    most: float | None
    currency: str | None
    interval: str | None
    is_open: bool
    is_for_unit: bool


class _Figure(NamedTuple):
    """A figure with what belongs to it. Those of `Amount` mean the same here.

    Attributes:
        value: The figure as written.
        multiplier: What `k` or `lakh` makes of it.
        digits: The figure's text.
        is_sign_first: Whether the currency stands before the figure.
        is_millions: Whether it is of millions, and thus no pay.
    """

    start: int
    end: int
    value: float
    multiplier: float
    digits: str
    currency: str | None
    is_sign_first: bool
    is_millions: bool
    interval: str | None
    is_open: bool


def amounts(line: str, currency: str | None = None) -> Iterator[Amount]:
    """Yield the amounts of money in a line of lower case, from left to right. Millions are left out: they are no pay.

    Args:
        line: The line.
        currency: The currency of figures without one; None: they are left out.
    """
    figures = list(_figures(line))
    index = 0
    while index < len(figures):
        first, last = figures[index], figures[index]
        index += 1
        if index < len(figures) and _belong_together(line, first, figures[index]):
            last = figures[index]
            index += 1
        amount = _amount(line, first, last, currency)
        if amount is not None:
            yield amount


def parse_figure(digits: str) -> float:
    """Parse a figure of any locale: `1,234.50`, `1.234,50`, `1 234,50`, `1'234`, `12,34,000`.

    A point or a comma before one or two last digits is the decimal point. Other separators group.
    """
    whole, point, cents = re.fullmatch(r"(.*?)(?:([.,])(\d{1,2}))?", digits).groups()  # type: ignore[union-attr]
    return float(f"{re.sub(r'[ .,]|[^0-9]', '', whole)}.{cents if point else 0}")


def _figures(line: str) -> Iterator[_Figure]:
    end = 0
    for match in _FIGURE.finditer(line):
        start = match.start()
        before = line[max(end, start - _LENGTH_BEFORE) : start]
        sign = _SIGN_BEFORE.search(before)
        first = _currency_before(sign) if sign else None
        if first is None and _CONTINUES.search(before):
            continue
        figure = _figure(line, match, start - len(first[1]) if first else start, first[0] if first else None)
        end = figure.end
        yield figure


def _currency_before(sign: re.Match[str]) -> tuple[str, str] | None:
    """Return the currency that stands before a figure, and the text that it takes up there."""
    if sign["rand"] is not None:
        return RAND, sign[0]
    if (word := sign["word"]) is not None:
        return (word, sign[0]) if word not in _AMBIGUOUS_CODES and is_currency(word) else None
    letters, symbol = sign["letters"] or "", sign["symbol"]
    for named in (letters + symbol, letters.rstrip()):
        if letters and is_currency(named):
            return named, sign[0]
    return symbol, sign[0][len(sign[0].rstrip()) - 1 :]


def _figure(line: str, match: re.Match[str], start: int, first: str | None) -> _Figure:
    tail = _TAIL.match(line, match.end())
    assert tail is not None  # each of its parts is optional
    name = tail["multiplier"] or ("k" if tail["k"] else "")
    end, after = tail.end(), tail["sign"]
    if tail["code"]:
        end, after = (end, tail["code"]) if tail["code"] in _CODES_AFTER else (tail.end("sign"), after)
    if after and (after in _AMBIGUOUS_CODES or not is_currency(after) or (first and after in SIGNS)):
        end, after = max(tail.end("multiplier"), tail.end("k"), tail.end("mark"), match.end()), None
    currency = after if first is None or (after and first in _OF_SEVERAL_COUNTRIES) else first
    if name == "l" and currency not in _RUPEES:
        end, name = match.end(), ""
    if name in _LAKHS:
        currency = currency or "rs"
    following = _INTERVAL_AFTER.match(line, end)
    interval = following.lastgroup if following else "yearly" if name == "lpa" else None
    if following:
        end = following.end()
    if currency in _OF_SEVERAL_COUNTRIES and (code := _CODE_AFTER.match(line, end)) and code[1] in _CODES_AFTER:
        end, currency = code.end(), code[1]
    is_open = line.startswith("+", end) and _MORE.match(line, end + 1) is None
    return _Figure(
        start,
        end + is_open,
        parse_figure(match[0]),
        _MULTIPLIERS.get(name, 1),
        match[0],
        currency,
        first is not None,
        tail["millions"] is not None,
        interval,
        is_open,
    )


def _belong_together(line: str, first: _Figure, last: _Figure) -> bool:
    """Return whether two figures are the ends of a range, or amounts of which it is unknown what each of them is."""
    gap = line[first.end : last.start]
    have_currencies = first.currency is not None and last.currency is not None
    if gap in ("", " "):
        return have_currencies
    is_between = _AND.fullmatch(gap) and _BETWEEN.search(line[max(0, first.start - _BETWEEN_LENGTH) : first.start])
    if not (is_between or _IS_TO.fullmatch(gap)) or not _are_alike(line, first, last):
        return False
    least, most = _ends(first, last)
    return first.is_millions or last.is_millions or least <= most <= (inf if have_currencies else MAX_RATIO * least)


def _are_alike(line: str, first: _Figure, last: _Figure) -> bool:
    """Return whether both figures may be money, and per the same interval."""
    if first.interval and last.interval and first.interval != last.interval:
        return False
    if last.currency is None and last.interval is None and _NO_MONEY_AFTER.match(line, last.end):
        return False
    is_small_number = first.digits.isdigit() and first.value < _LEAST_BARE
    return first.currency is not None or not last.is_sign_first or not is_small_number


def _ends(first: _Figure, last: _Figure) -> tuple[float, float]:
    """Return the ends of a range. A multiplier that is written once is that of both (`120-150k`, `45-55.000`)."""
    least, most = first.value * first.multiplier, last.value * last.multiplier
    if first.multiplier == 1 and least * last.multiplier <= most:
        least *= last.multiplier
    if last.multiplier == 1 and most < least:
        most *= first.multiplier
    if first.multiplier == last.multiplier == 1 and least < _THOUSAND <= most and least * _THOUSAND <= most:
        least *= _THOUSAND
    return least, most


def _amount(line: str, first: _Figure, last: _Figure, default: str | None) -> Amount | None:
    named = [figure.currency for figure in (last, first) if figure.currency]
    currency = next((name for name in named if name not in _OF_SEVERAL_COUNTRIES), next(iter(named), default))
    if currency is None or first.is_millions or last.is_millions:
        return None
    least, most = _ends(first, last)
    is_range = first is not last
    if is_range and (most > MAX_RATIO * least or not line[first.end : last.start].strip()):
        return None
    interval = last.interval or first.interval
    is_for_unit = interval is None and _UNIT_AFTER.match(line, last.end) is not None
    return Amount(
        first.start,
        last.end,
        least,
        most if is_range else None,
        currency,
        interval,
        last.is_open and not is_range,
        is_for_unit,
    )
