"""What is sent through each exit, and how a worker reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest

from worker.engine.chores import REPORT_SECONDS, CountingRequests
from worker.errors import DatabaseUnreachableError
from worker.http import Exit
from worker.http.exits import OWN_ADDRESS
from worker.http.usage import Sent, Usage, Where

ONE = Exit(name="one", address="h:1")


class CountingQueue:
    """Notes the reports; the first `failures` of them fail."""

    def __init__(self, failures: int = 0) -> None:
        self.reports: list[tuple[UUID, dict[tuple[str, str], Sent]]] = []
        self._failures = failures

    async def count_requests(self, reporter: UUID, sent: Mapping[Where, Sent]) -> None:
        if self._failures:
            self._failures -= 1
            raise DatabaseUnreachableError("out of reach")
        self.reports.append((reporter, {(site, via.name): replace(each) for (_, site, via), each in sent.items()}))


def used() -> Usage:
    usage = Usage()
    usage.add("indeed", ONE, 3, 100)
    usage.add("indeed", ONE, 1, 50)
    usage.add("remotive", OWN_ADDRESS, 1, 7)
    usage.add_refusal("indeed", ONE)
    return usage


async def test_totals_are_reported_once_until_they_change() -> None:
    queue, usage = CountingQueue(), used()
    chore = CountingRequests(queue, usage)  # type: ignore[arg-type]  # a queue that is played
    assert [await chore(), await chore()] == [REPORT_SECONDS, REPORT_SECONDS]
    usage.add("indeed", ONE, 1, 1)
    await chore.finish()
    (first, one), (second, two) = queue.reports
    assert first == second
    assert one == {("indeed", "one"): Sent(4, 1, 150), ("remotive", "direct"): Sent(1, 0, 7)}
    assert two == {("indeed", "one"): Sent(5, 1, 151)}


async def test_a_report_that_failed_is_repeated() -> None:
    queue, usage = CountingQueue(failures=2), used()
    chore = CountingRequests(queue, usage)  # type: ignore[arg-type]  # as above
    with pytest.raises(DatabaseUnreachableError):
        await chore()
    await chore.finish()
    usage.add("indeed", ONE, 1, 0)
    await chore()
    ((_, report),) = queue.reports
    assert report == {("indeed", "one"): Sent(5, 1, 150), ("remotive", "direct"): Sent(1, 0, 7)}
