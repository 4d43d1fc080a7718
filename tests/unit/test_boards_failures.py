"""The failures of the simulated boards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.local.boards import Failure, FailurePlan
from worker.local.boards.failures import FailurePlans


def test_a_site_without_an_order_answers() -> None:
    plans = FailurePlans()
    plans.set("indeed", FailurePlan(failure=Failure.BLOCKED))
    assert plans.take("linkedin", 1) is None


@given(count=st.integers(1, 20), asked=st.integers(0, 40))
def test_a_counted_failure_ends(count: int, asked: int) -> None:
    plans = FailurePlans()
    plans.set("indeed", FailurePlan(failure=Failure.RESET, requests=count))
    taken = [plans.take("indeed", 1) for _ in range(asked)]
    assert taken == [Failure.RESET] * min(count, asked) + [None] * max(asked - count, 0)
    left = plans.current().get("indeed")
    assert (left.requests if left else 0) == max(count - asked, 0)


@given(from_page=st.integers(1, 5), page=st.none() | st.integers(1, 8))
def test_a_failure_starts_with_a_page(from_page: int, page: int | None) -> None:
    plans = FailurePlans()
    plans.set("indeed", FailurePlan(failure=Failure.CAPTCHA, from_page=from_page))
    is_due = from_page == 1 if page is None else page >= from_page
    assert (plans.take("indeed", page) is not None) is is_due


def test_pages_before_the_failure_are_not_counted() -> None:
    plans = FailurePlans()
    plans.set("indeed", FailurePlan(failure=Failure.HANG, from_page=2, requests=1))
    assert [plans.take("indeed", page) for page in (1, 1, 2, 2)] == [None, None, Failure.HANG, None]


def test_a_later_order_replaces_an_earlier_one() -> None:
    plans = FailurePlans()
    plans.set("indeed", FailurePlan(failure=Failure.HANG))
    plans.set("indeed", FailurePlan(failure=Failure.EMPTY))
    assert plans.take("indeed", 1) is Failure.EMPTY
    plans.cancel("indeed")
    assert plans.current() == {}


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"failure": "sulking"}, "failure"),
        ({"failure": "hang", "from_page": 0}, "from_page"),
        ({"failure": "hang", "requests": 0}, "requests"),
        ({"failure": "hang", "page": 2}, "page"),
    ],
)
def test_a_bad_order_names_the_field(order: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        FailurePlan.model_validate(order)
    assert [error["loc"] for error in raised.value.errors()] == [(field,)]
