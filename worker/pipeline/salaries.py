"""Normalizes pay: amounts, interval, currency, yearly amounts."""

from __future__ import annotations

import math
from typing import NamedTuple

from worker.pipeline.currencies import currency_code
from worker.pipeline.pay_intervals import YEARLY_FACTORS, interval_of, is_plausible, likely_interval

MAX_AMOUNT = 1e12


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
    def amounts(self) -> tuple[float, ...]:
        """The amounts that are known."""
        return tuple(amount for amount in (self.least, self.most) if amount is not None)

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

    An interval that is missing, unknown or implausible for the amounts is replaced by the one that is plausible.

    Args:
        least: The least pay. An amount that is not positive and finite is ignored.
        most: The most pay. If it is less than `least`, the two are swapped.
        interval: The interval in any wording (`per hour`, `ANNUAL`). Amounts per several weeks or months (`2 WEEK`,
            `biweekly`) become amounts per one.
        currency: ISO 4217 code or a symbol.
        country: ISO 3166-1 alpha-2 code. It decides which currency `$` is, and whether pay may be weekly.

    Returns:
        The pay; `NO_SALARY` if there is no valid amount. The interval is None if several are plausible.
    """
    known = interval_of(interval)
    times = known.times if known else 1
    least, most = _amount(least, times), _amount(most, times)
    if least is not None and most is not None:
        least, most = min(least, most), max(least, most)
    salary = Salary(least, most, known.name if known else None, currency_code(currency, country))
    if not salary.amounts:
        return NO_SALARY
    if salary.interval is None or not is_plausible(salary.interval, salary.amounts, salary.currency):
        return salary._replace(interval=likely_interval(salary.amounts, salary.currency, country))
    return salary


def _amount(value: float | None, times: float) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    amount = float(value) if times == 1 else round(value / times, 2)
    return amount if 0 < amount < MAX_AMOUNT else None


def _times(amount: float | None, factor: int | None) -> float | None:
    return round(amount * factor, 2) if amount is not None and factor is not None else None
