"""A queue, an execution and chores that report what they do to observers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from worker.database.answers import AttemptResult, FinishedRun, Granted, SavedAttempts, SavedPage
from worker.database.client import failure_of
from worker.database.queue import Claim, Queue, WorkerInfo
from worker.engine.background import Chore
from worker.engine.execution import Execution
from worker.engine.observer import WAITING, Observer, RunOutcome
from worker.errors import LeaseLostError, SiteError
from worker.http import Exit, SiteHttp
from worker.http.permits import Permits
from worker.http.usage import Meter
from worker.model import Ends, FoundPage, Lease, Run, RunSite, SiteLimits, SiteStatus


class ObservedQueue(Queue):
    """A queue that reports its calls.

    Args:
        client: As for `Queue`, and the other arguments, too.
        observers: Where it reports.
    """

    def __init__(self, *client: Any, observers: Sequence[Observer], **options: Any) -> None:
        super().__init__(*client, **options)
        self._observers = observers
        self._ended: dict[Lease, set[str]] = {}

    async def claim(self, claim: Claim, *, held: Sequence[Lease] = (), about: WorkerInfo | None = None) -> list[Run]:
        """Claim as `Queue` does."""
        # The sites of runs that were dropped are not asked for any more.
        self._ended = {lease: self._ended.get(lease, set()) for lease in held}
        return await super().claim(claim, held=held, about=about)

    def _claimed(self, rows: Iterable[dict[str, Any]]) -> list[Run]:
        runs = super()._claimed(rows)
        for each in self._observers:
            each.runs_claimed(runs)
        return runs

    async def take_permit(
        self,
        lease: Lease,
        site: RunSite,
        bucket: str,
        requests: int,
        limits: SiteLimits,
        *,
        exits: Sequence[Exit] | None = None,
    ) -> Granted:
        """Take a permit as `Queue` does."""
        granted = await super().take_permit(lease, site, bucket, requests, limits, exits=exits)
        for each in self._observers:
            each.permit_granted(site.site, granted.wait_seconds)
        return granted

    async def leave_exit(
        self, lease: Lease, site: RunSite, left: Exit, *, code: str, error: SiteError, exits: Sequence[Exit]
    ) -> Granted:
        """Leave an exit as `Queue` does."""
        for each in self._observers:
            each.exit_left(site.site, left.name, code)
        return await super().leave_exit(lease, site, left, code=code, error=error, exits=exits)

    async def save_page(
        self, lease: Lease, found: FoundPage, *, ends: Ends | None = None, patience_seconds: float | None = None
    ) -> SavedPage:
        """Save a page as `Queue` does."""
        saved = await super().save_page(lease, found, ends=ends, patience_seconds=patience_seconds)
        for each in self._observers:
            each.page_saved(found, saved)
        if saved.has_ended:
            self._ended.setdefault(lease, set()).add(found.site)
        if saved.run is not None:
            self._report(lease, saved.run)
        return saved

    async def finish_site(
        self, lease: Lease, site: RunSite, error: SiteError | None, *, ends_run: bool = False
    ) -> FinishedRun | None:
        """End a site as `Queue` does."""
        finished = await super().finish_site(lease, site, error, ends_run=ends_run)
        self._ended.setdefault(lease, set()).add(site.site)
        if finished is not None:
            self._report(lease, finished)
        return finished

    async def finish_run(self, lease: Lease) -> FinishedRun:
        """End a run as `Queue` does."""
        finished = await super().finish_run(lease)
        self._report(lease, finished)
        return finished

    def _report(self, lease: Lease, finished: FinishedRun) -> None:
        """Report how the sites ended that have ended since the run was reported last."""
        ended = self._ended.pop(lease, set())
        for site in finished.sites:
            if site.waits_for is not None:
                status = WAITING
            elif site.site in ended:
                # It is pending again if the run is retried, and running if another worker has claimed it since.
                status = SiteStatus.FAILED if site.status in (SiteStatus.PENDING, SiteStatus.RUNNING) else site.status
            else:
                continue
            for each in self._observers:
                each.site_ended(site.site, status, None if status == WAITING else site.error_code)

    async def save_webhooks(self, mark: str, results: Iterable[AttemptResult]) -> SavedAttempts:
        """Save results as `Queue` does."""
        sent = [*results]
        saved = await super().save_webhooks(mark, sent)
        for each in self._observers:
            each.webhooks_sent(sent, saved)
        return saved

    @contextmanager
    def _attempt(self, function: str) -> Iterator[None]:
        began_at = time.monotonic()
        failure = None
        try:
            yield
        except Exception as error:
            failure = failure_of(error)
            raise
        except asyncio.CancelledError:
            # The caller has waited for long enough, or has ended.
            failure = "cancelled"
            raise
        finally:
            for each in self._observers:
                each.call_ended(function, time.monotonic() - began_at, failure)


class ObservedExecution(Execution):
    """An execution that reports runs and requests.

    Args:
        queue: As for `Execution`, and the other arguments, too.
        observers: Where it reports.
    """

    def __init__(self, *queue: Any, observers: Sequence[Observer], **options: Any) -> None:
        super().__init__(*queue, **options)
        self._observers = observers

    async def execute(self, run: Run, *, on_searched: Callable[[], None] = lambda: None) -> FinishedRun:
        """Search a run as `Execution` does."""
        began_at = time.monotonic()
        outcome = RunOutcome.GIVEN_UP
        try:
            finished = await super().execute(run, on_searched=on_searched)
            is_returned = finished.retry_in_seconds is not None
            outcome = RunOutcome.RETURNED if is_returned else RunOutcome(finished.status)
        except (LeaseLostError, asyncio.CancelledError):
            outcome = RunOutcome.DROPPED
            raise
        finally:
            for each in self._observers:
                each.run_ended(run, outcome, time.monotonic() - began_at)
        return finished

    def _http_of(self, site: str, permits: Permits) -> SiteHttp:
        return SiteHttp(
            self._http,
            permits,
            on_request=partial(self._report_request, site),
            meter=self._meter_of(site),
        )

    def _meter_of(self, site: str) -> Meter:
        count = super()._meter_of(site)

        def meter(via: Exit, requests: int, size: int) -> None:
            count(via, requests, size)
            for each in self._observers:
                each.sent(site, via.name, requests, size)

        return meter

    def _report_request(self, site: str, status: int | None) -> None:
        for each in self._observers:
            each.request_ended(site, status)


def observed_chore(name: str, chore: Chore, observers: Sequence[Observer]) -> Chore:
    """Return a chore that also reports whether it failed."""

    async def work() -> float:
        has_failed = True
        try:
            seconds = await chore()
            has_failed = False
        except asyncio.CancelledError:
            has_failed = False
            raise
        finally:
            for each in observers:
                each.chore_ended(name, has_failed=has_failed)
        return seconds

    return work
