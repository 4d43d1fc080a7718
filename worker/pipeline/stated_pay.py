"""Finds the pay that a description states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from worker.pipeline.currencies import currency_code, currency_of
from worker.pipeline.pay_amounts import RAND, SIGNS, Amount
from worker.pipeline.pay_context import Context, amounts_in_context
from worker.pipeline.pay_intervals import interval_in_words, is_plausible, likely_interval
from worker.pipeline.pay_words import (
    IS_BEFORE_RANGE,
    IS_LEAST,
    IS_MOST,
    IS_OTHER_MONEY,
    IS_WITHOUT,
    IS_WITHOUT_WORD,
    NAMES_PAY,
)
from worker.pipeline.salaries import NO_SALARY, Salary
from worker.pipeline.text import any_of

_CODES = "usd|eur|gbp|cad|aud|nzd|sgd|hkd|inr|chf|sek|nok|dkk|pln|czk|huf|brl|mxn|aed|zar|jpy|myr|php"
_BEFORE_DIGIT = (
    rf"(?<=(?:{_CODES}|rs\.|kr\.|fr\.) [0-9])|(?<=(?:{_CODES}|[rk][sr] |rs\.|fr\.)[0-9])|(?<=\br[0-9])|(?<=\br [0-9])"
)
_AFTER_FIGURE = f"(?:{_CODES}|euro|kr|zł|kč|reais|fran[ck]|lpa|la[ck]|crore)"
# A search starts fast from one set of characters: what precedes a digit is looked at from the digit on.
_MONEY = re.compile(
    rf"[{SIGNS}0-9](?:(?<![0-9])|(?<![0-9][0-9])(?:{_BEFORE_DIGIT}"
    rf"|[0-9.,'\u2019 \u00a0\u202f]{{0,11}}+(?:k|/?-)?[ \u00a0\u202f]?{_AFTER_FIGURE}))"
)
"""What a line with money has. A first, quick test: other currencies are read in lines that pass it."""
_LABELS = any_of("salar(?:y|ies|is|io) salário ctc wages? pay lön gehalt salaire rémunération wynagrodzenie")
_LABELLED = re.compile(rf"{_LABELS}\b[^\n]{{0,30}}?[0-9]")
"""What a line with pay without a currency has."""
_LEAST_BARE = 1_000
"""Least amount that counts without a currency."""

_ONLY_PAY = re.compile(r"\blpa\b")
_PARENTHESIS = re.compile(r"\([^()]*\)")
_BREAK = re.compile(r"[,:;)|\n]|\S+ \S+ \S+ $")
"""What stands between words for other money and words for pay that do not belong together."""
_AFTER_LABEL = re.compile(
    r"(?:(?!\b(?:and|und|et|y|e|en)\b)[^,;()|:])*: *|(?:[ -]|\b(?:is|of|at|range|will|be|ist|von)\b)*"
)
"""What stands between a label and its pay: the rest of the label, or words that lead to the pay."""
_NEAR = 40
"""Most characters between a word for pay and an amount whose interval is not written."""
_MAX_AMOUNTS = 200


def find_salary(description: str, country: str | None) -> Salary:
    """Return the pay that a description states unambiguously, else `NO_SALARY`.

    An amount counts if it has a currency and an interval, is plausible for the interval, and stands in the context of
    pay and not of a bonus, a premium or the like. An interval that is not written is that of a heading (`Hourly rate`),
    or the only one that is plausible for the amount. If no amount has a currency, one with a label and an interval is
    in the country's (`Salary: 25,000 per month`). Several different amounts (for places, shifts or levels) are
    ambiguous, unless one range contains all of them. Only those with the most proofs are compared.

    Args:
        description: Plain text.
        country: ISO 3166-1 alpha-2 code. It decides which currency `$` is, and whether pay may be weekly.
    """
    text = description.lower()
    found = list(_salaries(text, country)) or list(_salaries_in_national_currency(text, country))
    surest = max((evidence for _, evidence in found), default=0)
    return _combined([salary for salary, evidence in found if evidence == surest])


def _combined(found: list[Salary]) -> Salary:
    """Return the salary that contains all those with the interval and the currency of the first one."""
    if not found:
        return NO_SALARY
    same = [salary for salary in found if (salary.interval, salary.currency) == (found[0].interval, found[0].currency)]
    figures = [figure for salary in same for figure in salary.amounts]
    least, most = min(figures), max(figures)
    floors = [salary for salary in same if salary.most is None and salary.least == least]
    caps = [salary for salary in same if salary.least is None and salary.most == most]
    if floors and caps:
        return floors[0]._replace(most=most)
    ranges = [salary for salary in same if salary.least == least and salary.most == most]
    return next(iter([*ranges, *floors] if least < most else [*floors, *caps, *ranges]), NO_SALARY)


def _salaries(text: str, country: str | None) -> Iterator[tuple[Salary, int]]:
    """Yield salaries, each with the number of its proofs: a word for pay, and an interval that is written."""
    for amount, context in islice(amounts_in_context(text, _MONEY), _MAX_AMOUNTS):
        salary = None if amount.is_for_unit else _salary(amount, context, country)
        if salary is not None:
            yield salary, context.is_pay + (amount.interval is not None)


def _salaries_in_national_currency(text: str, country: str | None) -> Iterator[tuple[Salary, int]]:
    """Yield the salaries with an interval, but without a currency (`Salary: 25,000 per month`)."""
    currency = currency_of(country)
    if currency is None:
        return
    for amount, context in islice(amounts_in_context(text, _LABELLED, currency), _MAX_AMOUNTS):
        is_certain = amount.interval is not None and amount.least >= _LEAST_BARE and not amount.is_for_unit
        if is_certain and NAMES_PAY.search(context.before[-_NEAR:]) and (salary := _salary(amount, context, country)):
            yield salary, 0


def _salary(amount: Amount, context: Context, country: str | None) -> Salary | None:
    if amount.currency == RAND and not (amount.interval or amount.most or _is_labelled(context.before)):
        return None  # a reference such as R123456
    is_other = _is_other_money(context.before)
    if not is_other and IS_OTHER_MONEY.search(context.after):
        # What follows pay with a label and an interval is the next label: `Pay: $50,000 per year Benefits: 401(k)`.
        is_other = amount.interval is None or not _is_labelled(context.before)
    if is_other and not _ONLY_PAY.search(context.text):
        return None
    currency = currency_code(amount.currency, country)
    figures = (amount.least,) if amount.most is None else (amount.least, amount.most)
    interval = _interval(amount, context, figures, currency, country)
    if interval is None:
        return None
    if amount.most is not None:
        return Salary(amount.least, amount.most, interval, currency)
    if IS_MOST.search(context.before):
        return Salary(None, amount.least, interval, currency)
    is_floor = amount.is_open or IS_LEAST.search(context.before)
    return Salary(amount.least, None if is_floor else amount.least, interval, currency)


def _is_labelled(before: str) -> bool:
    """Return whether words before an amount are a label of pay, such as `Salary range: from`."""
    for words_of_bound in (IS_MOST, IS_LEAST, IS_BEFORE_RANGE):
        before = words_of_bound.sub(" ", before)
    label = next(reversed(list(NAMES_PAY.finditer(before))), None)
    return (
        label is not None
        and len(before) - label.end() <= _NEAR
        and not IS_WITHOUT_WORD.search(before)
        and _AFTER_LABEL.fullmatch(before, label.end()) is not None
    )


def _is_other_money(before: str) -> bool:
    """Return whether the last words for money before an amount are for other money than pay."""
    before = _PARENTHESIS.sub(" ", IS_WITHOUT.sub(" ", before))
    others = [other.end() for other in IS_OTHER_MONEY.finditer(before)]
    if not others:
        return False
    pay = NAMES_PAY.search(before, others[-1])
    return pay is None or not _BREAK.search(before[others[-1] : pay.start()])


def _interval(
    amount: Amount, context: Context, figures: tuple[float, ...], currency: str | None, country: str | None
) -> str | None:
    """Return the interval that is written or certain, if the context is that of pay."""
    is_range = amount.most is not None
    if amount.interval is not None:
        is_certain = context.is_pay or context.starts_part
        is_certain |= amount.interval == "hourly" and (is_range or context.follows_title)
        return amount.interval if is_certain and is_plausible(amount.interval, figures, currency) else None
    if not context.is_pay and not (is_range and context.starts_line):
        return None
    likely = likely_interval(figures, currency, country)
    named = interval_in_words(context.before) or interval_in_words(context.after)
    if named is not None and context.is_pay:
        if is_plausible(named, figures, currency) and (named == "yearly" or likely != "yearly"):
            return named
        return likely if likely == "yearly" else None
    if not context.is_pay:
        is_line = not context.after.strip()
        return likely if likely == "yearly" or (likely == "monthly" and is_line) else None
    is_label = NAMES_PAY.search(context.before[-_NEAR:]) or NAMES_PAY.search(context.after)
    return likely if is_range or is_label else None
