"""What a queue, an execution and chores report to observers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from postgrest.exceptions import APIError

from worker.database import client
from worker.database.answers import FinishedRun, FinishedSite
from worker.database.queue import Claim, Offer, Queue
from worker.engine.execution import Execution
from worker.engine.observed import ObservedExecution, ObservedQueue, observed_chore
from worker.engine.observer import Observer, RunOutcome
from worker.errors import CallRefusedError, DatabaseUnreachableError, ErrorCode, LeaseLostError, SiteError
from worker.http.usage import Usage
from worker.model import Lease, Run, RunSite, SiteStatus


class Reports(Observer):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.sites: list[tuple[str, str, str | None]] = []
        self.runs: list[RunOutcome] = []
        self.chores: list[tuple[str, bool]] = []
        self.calls: list[tuple[str, str | None]] = []

    def site_ended(self, site: str, status: str, error_code: str | None) -> None:
        self.sites.append((site, status, error_code))

    def run_ended(self, run: Run, outcome: RunOutcome, seconds: float) -> None:  # noqa: ARG002
        self.runs.append(outcome)

    def chore_ended(self, chore: str, *, has_failed: bool) -> None:
        self.chores.append((chore, has_failed))

    def call_ended(self, function: str, seconds: float, failure: str | None) -> None:  # noqa: ARG002
        self.calls.append((function, failure))


def lease() -> Lease:
    return Lease(uuid4(), uuid4())


def returns(value: Any) -> Callable[..., Awaitable[Any]]:
    """A method that returns a value, or raises an error."""

    async def method(*_: Any, **__: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    return method


def finished(*sites: FinishedSite, status: str = "success", retry_in_seconds: float | None = None) -> FinishedRun:
    return FinishedRun(uuid4(), status, 0, sites, retry_in_seconds)


def queue_of(reports: Reports) -> ObservedQueue:
    return ObservedQueue(cast("Any", None), worker_id="one", lease_seconds=60, outage_seconds=60, observers=[reports])


async def test_only_the_sites_of_this_attempt_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reports, held = Reports(), lease()
    queue = queue_of(reports)
    monkeypatch.setattr(Queue, "finish_site", returns(None))
    await queue.finish_site(held, RunSite("indeed", 1), None)
    for failed in ("bayt", "google"):
        await queue.finish_site(held, RunSite(failed, 1), SiteError(ErrorCode.BLOCKED, "blocked"))
    answer = finished(
        FinishedSite("indeed", SiteStatus.COMPLETED, 3, None, None),
        # It is retried.
        FinishedSite("bayt", SiteStatus.PENDING, 0, "blocked", "The site refuses to answer."),
        # It is retried, and another worker has claimed the run since.
        FinishedSite("google", SiteStatus.RUNNING, 0, "blocked", "The site refuses to answer."),
        FinishedSite("linkedin", SiteStatus.PENDING, 0, None, None, waits_for="The site is paused."),
        # By an earlier attempt.
        FinishedSite("glassdoor", SiteStatus.COMPLETED, 9, None, None),
    )
    monkeypatch.setattr(Queue, "finish_run", returns(answer))
    await queue.finish_run(held)
    assert reports.sites == [
        ("indeed", "completed", None),
        ("bayt", "failed", "blocked"),
        ("google", "failed", "blocked"),
        ("linkedin", "waiting", None),
    ]


async def test_the_sites_of_a_run_that_was_dropped_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    reports, dropped, held = Reports(), lease(), lease()
    queue = queue_of(reports)
    monkeypatch.setattr(Queue, "finish_site", returns(None))
    for each in (dropped, held):
        await queue.finish_site(each, RunSite("indeed", 1), None)
    monkeypatch.setattr(Queue, "claim", returns([]))
    await queue.claim(Claim(Offer(frozenset({"jobs"})), 1), held=[held])
    monkeypatch.setattr(
        Queue, "finish_run", returns(finished(FinishedSite("indeed", SiteStatus.COMPLETED, 3, None, None)))
    )
    await queue.finish_run(dropped)
    assert reports.sites == []
    await queue.finish_run(held)
    assert reports.sites == [("indeed", "completed", None)]


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (None, 200, None),
        (httpx.ReadTimeout("late"), None, "unreachable"),
        (APIError({"code": "PT409"}), 409, "lease_lost"),
        (APIError({"code": "22023"}), 400, "refused"),
        (APIError({"code": "57014"}), 500, "unavailable"),
        (APIError({"code": ""}), 400, "unavailable"),
    ],
)
async def test_each_attempt_is_reported_with_its_failure(
    error: Exception | None, status: int | None, failure: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports()

    class Call:
        """A request that fails once."""

        attempts = 0

        async def execute(self) -> Any:
            client._last_status.set(status)  # noqa: SLF001 (what the hook of the client does)
            Call.attempts += 1
            if error is not None and Call.attempts == 1:
                raise error
            return self

        data = "done"

    monkeypatch.setattr(client, "wait_random_exponential", lambda **_: lambda _: 0)
    played = type("Client", (), {"rpc": lambda *_: Call()})()
    queue = ObservedQueue(played, worker_id="one", lease_seconds=60, outage_seconds=60, observers=[reports])
    try:
        await queue.webhooks()
    except (CallRefusedError, LeaseLostError):
        assert failure in ("refused", "lease_lost")
    first, *more = reports.calls
    assert first == ("worker_webhooks", failure)
    assert more == ([("worker_webhooks", None)] if failure in ("unreachable", "unavailable") else [])


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (finished(), RunOutcome.SUCCESS),
        (finished(status="failed"), RunOutcome.FAILED),
        (finished(status="pending", retry_in_seconds=0), RunOutcome.RETURNED),
        (LeaseLostError("cancelled"), RunOutcome.DROPPED),
        (asyncio.CancelledError(), RunOutcome.DROPPED),
        (DatabaseUnreachableError("no answer"), RunOutcome.GIVEN_UP),
        (ValueError("a bug"), RunOutcome.GIVEN_UP),
    ],
)
async def test_each_run_is_reported_with_its_outcome(
    result: FinishedRun | BaseException, outcome: RunOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports, held = Reports(), lease()
    monkeypatch.setattr(Execution, "execute", returns(result))
    nothing = cast("Any", None)
    execution = ObservedExecution(
        nothing, {}, nothing, nothing, page_timeout_seconds=1, child_place=nothing, usage=Usage(), observers=[reports]
    )
    run = Run(held.run_id, held, "jobs", {}, None, (), 1, 3)
    await asyncio.gather(asyncio.ensure_future(execution.execute(run)), return_exceptions=True)
    assert reports.runs == [outcome]


@pytest.mark.parametrize(
    ("result", "has_failed"), [(7.0, False), (asyncio.CancelledError(), False), (OSError("no disk"), True)]
)
async def test_each_batch_of_a_chore_is_reported(result: float | BaseException, has_failed: bool) -> None:
    reports = Reports()
    work = observed_chore("Embedding", returns(result), [reports])
    await asyncio.gather(asyncio.ensure_future(work()), return_exceptions=True)
    assert reports.chores == [("Embedding", has_failed)]
