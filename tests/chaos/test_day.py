"""A day of schedules in a small size."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.chaos.day import TIMES, day

USERS = 48
SEARCHES = 6
TICK = timedelta(minutes=15)


@pytest.mark.database
def test_every_slot_of_a_day_is_fired_exactly_once_whatever_fails() -> None:
    outcome = day(USERS, SEARCHES, TICK)
    assert len(outcome.expected) == len(TIMES)
    assert len(outcome.fired) == USERS
    assert outcome.wrong == []
    assert outcome.unended == 0
    assert outcome.searched == dict.fromkeys(outcome.expected, SEARCHES)
    assert (outcome.killed_callers, outcome.killed_workers, outcome.restarts) == (2, 2, 2)
    assert outcome.rescues > 0
