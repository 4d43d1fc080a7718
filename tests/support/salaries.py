"""Asserts on pay."""

from __future__ import annotations

import math

from worker.pipeline.pay_intervals import YEARLY_FACTORS
from worker.pipeline.salaries import NO_SALARY, Salary


def assert_sound(salary: Salary) -> None:
    """Assert that pay is in order, and that its yearly amounts are possible ones where its currency is known."""
    assert all(amount is None or (amount > 0 and math.isfinite(amount)) for amount in (salary.least, salary.most))
    assert salary.least is None or salary.most is None or salary.least <= salary.most
    assert salary.interval in (None, *YEARLY_FACTORS)
    assert salary.currency is None or len(salary.currency) == 3
    if salary.least is None and salary.most is None:
        assert salary == NO_SALARY
    if salary.currency in ("USD", "EUR"):
        assert all(amount is None or amount <= 2_000_000 for amount in salary.yearly)
