"""Played sites that tell exits apart: blocks by exit, by rate and by share."""

from __future__ import annotations

import base64

import pytest

from worker.local.boards.exits import ExitRule, ExitRules, exit_in
from worker.local.boards.failures import Failure


def ask(rules: ExitRules, name: str, *times: float, page: int | None = 1) -> list[Failure | None]:
    """What an exit is answered at these times."""
    return [rules.take("board", name, page, at) for at in times]


def test_an_exit_is_blocked_after_its_pages_and_the_others_are_not() -> None:
    rules = ExitRules(seed=1)
    rules.set("board", ExitRule(pages=2, block_seconds=10))
    assert ask(rules, "one", 0, 1, 2, 11.9) == [None, None, Failure.BLOCKED, Failure.BLOCKED]
    assert ask(rules, "two", 2) == [None]
    assert ask(rules, "one", 12, 13, 14) == [None, None, Failure.BLOCKED]
    assert rules.take("another", "one", 1, 3) is None


def test_a_rate_counts_only_what_is_recent() -> None:
    rules = ExitRules(seed=1)
    rules.set("board", ExitRule(pages=2, within_seconds=1))
    assert ask(rules, "one", 0, 0.6, 1.2, 1.8, 1.9) == [None, None, None, None, Failure.BLOCKED]


def test_other_requests_do_not_count_but_are_refused_as_well() -> None:
    rules = ExitRules(seed=1)
    rules.set("board", ExitRule(pages=1, failure=Failure.RATE_LIMITED))
    assert ask(rules, "one", 0, 1, page=None) == [None, None]
    assert ask(rules, "one", 2, 3) == [None, Failure.RATE_LIMITED]
    assert ask(rules, "one", 4, page=None) == [Failure.RATE_LIMITED]


def test_a_share_is_refused_whatever_the_exit() -> None:
    rules = ExitRules(seed=1)
    rules.set("board", ExitRule(share=0.3))
    refused = sum(failure is not None for failure in ask(rules, "pool", *range(1000)))
    assert 250 < refused < 350


def test_a_site_that_is_healed_answers_again() -> None:
    rules = ExitRules(seed=1)
    rules.set("board", ExitRule(pages=1))
    ask(rules, "one", 0, 1)
    rules.cancel("board")
    assert ask(rules, "one", 2) == [None]
    rules.set("board", ExitRule(pages=1))
    assert ask(rules, "one", 3) == [None]


def test_exits_can_be_broken_and_slow() -> None:
    rules = ExitRules(seed=1)
    rules.break_exit("one")
    rules.slow_exit("two", 2)
    assert (rules.status_of("one"), rules.status_of("two")) == (407, None)
    assert (rules.delay_of("one"), rules.delay_of("two")) == (0, 2)
    for name in ("one", "two"):
        rules.mend_exit(name)
    assert (rules.status_of("one"), rules.delay_of("two")) == (None, 0)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Basic " + base64.b64encode(b"berlin-1:x").decode(), "berlin-1"),
        ("basic " + base64.b64encode(b"berlin-1").decode(), "berlin-1"),
        ("Basic ***", ""),
        ("Bearer abc", ""),
        ("", ""),
    ],
)
def test_an_exit_is_named_as_the_user_of_the_proxy(header: str, name: str) -> None:
    assert exit_in({"proxy-authorization": header} if header else {}) == name
