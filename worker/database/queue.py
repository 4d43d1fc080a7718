"""The run queue in the database. No other module calls the RPCs of the worker.

All calls are idempotent, and transient failures are retried: an answer can be lost on its way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID, uuid4

from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError

from worker.database import codec
from worker.database.answers import (
    AttemptResult,
    CheckedAlerts,
    ClaimedItems,
    ClaimedMessages,
    ClaimedNotices,
    FinishedRun,
    FiredSchedules,
    Granted,
    KeptPage,
    NearDuplicates,
    NoticeResult,
    QueueStatus,
    SavedAttempts,
    SavedNotices,
    SavedPage,
    StartedImport,
)
from worker.database.batches import Batches
from worker.database.client import call, open_client
from worker.errors import (
    CallRefusedError,
    DatabaseUnreachableError,
    LeaseLostError,
    QueueError,
    SiteError,
    VersionMismatchError,
)
from worker.http import Exit
from worker.http.usage import Sent, Where
from worker.model import (
    Ends,
    FoundPage,
    Json,
    Lease,
    LimitsBySite,
    Observed,
    Progress,
    Run,
    RunSite,
    SiteLimits,
    Transformed,
)
from worker.pipeline.text_signature import COMPARED_LENGTH
from worker.settings import Settings
from worker.version import __version__

SCHEMA_VERSION = 8
"""The version of the RPCs (`worker.schema_version()`) that this worker was written for.

A worker supports its own version and the next one, because old and new workers run side by side during a deployment:
push the migrations first, then replace the workers. The database refuses the claims of all others.
"""

OTHER_VERSION = "PT412"
"""How the database refuses a worker of a version that it does not support."""

FUNCTION_NOT_FOUND = "PGRST202"
"""PostgREST's code for a function, or arguments of it, that the database does not have."""

EMAIL_EXISTS = "email_exists"
"""https://supabase.com/docs/guides/auth/debugging/error-codes"""

HOUSEKEEPING_SECONDS = 10
"""Retry period of calls that no search depends on. Longer than a statement may take on Supabase (8 s)."""

MAX_BATCH = 100
"""Maximum number of runs of one call, as in the database function."""

MAX_PAGES = 20
MAX_ITEMS_OF_SMALL_PAGE = 20
MAX_BYTES_OF_SMALL_PAGE = 64 * 2**10
"""Small pages of several runs are saved together. A large one is sent alone, so that no other page waits for it."""


@asynccontextmanager
async def open_queue(
    settings: Settings, *, timeout_seconds: float | None = None, make: Callable[..., Queue] | None = None
) -> AsyncIterator[Queue]:
    """Open the queue of the Supabase project that the settings name.

    Args:
        settings: The settings of the worker.
        timeout_seconds: Timeout of one request; default: that of the settings.
        make: Makes the queue from the arguments of `Queue`; default: `Queue` itself.

    Raises:
        SettingsError: The service key is missing.
    """
    key = settings.require("supabase_service_role_key")
    timeout_seconds = timeout_seconds or settings.request_timeout_seconds
    async with open_client(settings.supabase_url, key, timeout_seconds=timeout_seconds) as client:
        queue = (make or Queue)(
            client,
            worker_id=settings.worker_id,
            lease_seconds=settings.lease_seconds,
            outage_seconds=settings.outage_seconds,
        )
        try:
            yield queue
        finally:
            await queue.close()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What frontends and operators learn of a worker.

    Attributes:
        concurrency: How many runs it searches at once, at present.
        sites: The sites that it can search, by kind; without those whose credentials are missing.
        exits: The names of its exits, as the database calls them.
        started_at: When it was started.
    """

    concurrency: int
    sites: Mapping[str, Sequence[str]]
    exits: Sequence[str]
    started_at: datetime


@dataclass(frozen=True)
class Offer:
    """What a worker can search.

    Attributes:
        kinds: The kinds of runs. Other workers may search the others.
        limits: The limits of the sites whose searches a claim may start, by kind, site and bucket.
        exits: The exits to choose from for these searches, by site, where the database distinguishes them.
    """

    kinds: frozenset[str]
    limits: LimitsBySite = field(default_factory=dict)
    exits: Mapping[str, Sequence[Exit]] = field(default_factory=dict)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a claim. Encoded once, because it takes as long as the rest of the call."""
        return {
            "kinds": sorted(self.kinds),
            "limits": codec.limits_by_site(self.limits),
            "exits": {site: codec.exits(offered) for site, offered in self.exits.items()},
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of runs. Sent again, it returns the same runs.

    Attributes:
        offer: What the worker can search.
        slots: Maximum number of runs.
    """

    offer: Offer
    slots: int
    id: UUID = field(default_factory=uuid4)


class Claimer(Protocol):
    """Claims runs with the calls that end others."""

    def next_claim(self) -> Claim | None:
        """Return what to claim with the next of these calls, which is sent at once; None: nothing."""

    def take(self, claim: Claim, runs: Sequence[Run], *, is_claim_due: bool = False) -> None:
        """Take the runs of a claim. There are none if it failed, too.

        Args:
            claim: The claim.
            runs: Its runs.
            is_claim_due: Whether to claim next with `Queue.claim`, which does what else is due in the queue.
        """


class Queue:
    """The queue, with the RPCs of the worker.

    Args:
        client: A client with a service key.
        worker_id: Name of this worker in its leases.
        lease_seconds: Duration of a lease. Each heartbeat extends it.
        outage_seconds: For how long a call that a search depends on is retried.
    """

    def __init__(self, client: AsyncClient, *, worker_id: str, lease_seconds: int, outage_seconds: float) -> None:
        self._client = client
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._outage_seconds = outage_seconds
        self._claimer: Claimer | None = None
        self._starts = Batches(self._send_starts, most=MAX_BATCH, must_be_alone=codec.is_busy)
        self._ends = Batches(self._send_ends, most=MAX_BATCH, must_be_alone=codec.is_busy)
        self._small_pages = Batches(self._send_pages, most=MAX_PAGES, must_be_alone=codec.is_busy)

    async def close(self) -> None:
        """Give up calls that are under way."""
        await asyncio.gather(self._starts.close(), self._ends.close(), self._small_pages.close())

    async def status(self, *, patience_seconds: float) -> QueueStatus:
        """Return the state of the queue and the version of its database."""
        return codec.queue_status(await self._call("worker_status", patience_seconds=patience_seconds))

    async def site_health(self, *, patience_seconds: float) -> list[dict[str, Json]]:
        """Return the health of each site that was searched: circuit breaker, averages and used quotas."""
        rows: list[dict[str, Json]] = await self._call("worker_site_health", patience_seconds=patience_seconds)
        return rows

    async def activity(self, *, patience_seconds: float) -> dict[str, Any]:
        """Return what happens at this moment: living workers, running runs, what ended lately."""
        answer: dict[str, Any] = await self._call("worker_activity", patience_seconds=patience_seconds)
        return answer

    def claim_with_ends(self, claimer: Claimer) -> None:
        """Let the calls that end runs also claim others."""
        self._claimer = claimer

    @property
    def has_ends_to_send(self) -> bool:
        """Whether ends of runs wait for an earlier call to end. The next call takes them, and may claim with them."""
        return self._ends.is_waiting

    async def claim(self, claim: Claim, *, held: Sequence[Lease] = (), about: WorkerInfo | None = None) -> list[Run]:
        """Lease ready runs, and start their searches where no limit forbids it.

        Args:
            claim: What to claim.
            held: The leases of this worker. They are extended first, so that after an outage a worker does not claim
                its own runs as those of a dead worker.
            about: What is stored of this worker; None: nothing.

        Raises:
            VersionMismatchError: The database has a version that this worker does not support.
        """
        rows = await self._call(
            "worker_claim_runs",
            # After the duration of a lease, the same claim would claim other runs.
            patience_seconds=self._lease_seconds,
            held=codec.leases(held),
            about=about and {"version": __version__, **asdict(about), "started_at": about.started_at.isoformat()},
            **self._arguments(claim),
        )
        return self._claimed(rows)

    def _arguments(self, claim: Claim) -> dict[str, Any]:
        return claim.offer.arguments | {
            "worker_id": self._worker_id,
            "slots": claim.slots,
            "lease_seconds": self._lease_seconds,
            "claim_id": str(claim.id),
            "schema_version": SCHEMA_VERSION,
        }

    def _claimed(self, rows: Iterable[dict[str, Any]]) -> list[Run]:
        return [codec.run(row) for row in rows]

    async def start_import(
        self, user: str, kind: str, *, name: str, sites: Sequence[str], records: int, idempotency_key: str
    ) -> StartedImport:
        """Start to import a file as a run of a user, with a lease on it. No worker claims the run.

        Args:
            user: Id or e-mail address of the user.
            kind: The kind of the records.
            name: The name under which the run is listed.
            sites: The sites of the records.
            records: The greatest number of records of one site.
            idempotency_key: Equal for the same file.

        Raises:
            VersionMismatchError: The database has a version that this worker does not support.
        """
        answer = await self._call(
            "worker_start_import",
            # After the duration of a lease, the same call would find it expired.
            patience_seconds=self._lease_seconds,
            owner=user,
            kind=kind,
            name=name,
            sites=sites,
            records=records,
            idempotency_key=idempotency_key,
            worker_id=self._worker_id,
            lease_seconds=self._lease_seconds,
            claim_id=str(uuid4()),
            schema_version=SCHEMA_VERSION,
        )
        return codec.started_import(answer)

    async def heartbeat(self, leases: Sequence[Lease], *, patience_seconds: float) -> dict[Lease, str]:
        """Extend leases; return the state of each: `held`, `lost`, `cancelled` or `finished`."""
        rows = await self._call(
            "worker_heartbeat",
            patience_seconds=patience_seconds,
            worker_id=self._worker_id,
            leases=codec.leases(leases),
        )
        return codec.lease_states(rows)

    async def start_site(
        self, lease: Lease, site: RunSite, limits: Mapping[str, SiteLimits], exits: Sequence[Exit] | None = None
    ) -> Granted:
        """Ask to search a site. If it may be searched now, it is marked as running.

        Args:
            lease: The right to write to the run.
            site: The site.
            limits: The limits of the site, by bucket.
            exits: The exits to choose from; None: they are not distinguished.

        Raises:
            SiteWaitingError: The site must not be searched now.
            SiteError: The run would wait for too long.
        """
        search: dict[str, Any] = {
            **codec.lease(lease),
            "site": site.site,
            "attempt": site.attempt,
            "account": site.account,
            "limits": codec.limits(limits),
            "exits": codec.exits(exits),
        }
        answer = await self._starts.call(search)
        return codec.granted(_done("worker_start_sites", answer, "started", "deferred")["admission"])

    async def _send_starts(self, searches: Sequence[Mapping[str, Json]], is_alone: bool) -> list[dict[str, Any]]:
        # A call that fails because of one of its runs must not hold up the others for as long as an outage may last.
        patience_seconds = self._outage_seconds if is_alone else HOUSEKEEPING_SECONDS
        answers: list[dict[str, Any]] = await self._call(
            "worker_start_sites", patience_seconds=patience_seconds, searches=[*searches]
        )
        return answers

    async def leave_exit(
        self, lease: Lease, site: RunSite, left: Exit, *, code: str, error: SiteError, exits: Sequence[Exit]
    ) -> Granted:
        """Report that a site refused an exit, or that an exit failed, and ask for another one.

        Args:
            lease: The right to write to the run.
            site: The site.
            left: The exit.
            code: `blocked`, `rate_limited`, or `exit_failed` if the exit failed and not the site.
            error: What happened.
            exits: The exits to choose from.

        Raises:
            SiteWaitingError: All exits are paused.
            SiteError: The run would wait for too long.
        """
        answer = await self._call_fenced(
            "worker_leave_exit",
            lease,
            site=site.site,
            account=site.account,
            exit=codec.exit_name(left),
            error_code=code,
            message=error.message,
            retry_after_seconds=error.retry_after_seconds,
            exits=codec.exits(exits),
        )
        return codec.granted(answer)

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
        """Ask for a permit to send requests to a site.

        Args:
            lease: The right to write to the run.
            site: The site, whose search has started.
            bucket: The bucket that the requests count in.
            requests: Number of requests.
            limits: The limits of the bucket.
            exits: The exits to choose from; None: they are not distinguished.

        Raises:
            SiteWaitingError: The wait is too long for a search in progress.
            SiteError: The run would wait for too long.
        """
        answer = await self._call_fenced(
            "worker_take_permit",
            lease,
            site=site.site,
            account=site.account,
            bucket=bucket,
            requests=requests,
            limits=asdict(limits),
            exits=codec.exits(exits),
        )
        return codec.granted(answer)

    async def observe_limits(self, lease: Lease, site: RunSite, bucket: str, observed: Observed, via: Exit) -> None:
        """Store what a site reports of its limits, to requests through an exit, for all workers."""
        await self._call_fenced(
            "worker_observe_limits",
            lease,
            site=site.site,
            account=site.account,
            bucket=bucket,
            observed=asdict(observed),
            exit=codec.exit_name(via),
        )

    async def write_progress(self, lease: Lease, site: RunSite, progress: Progress) -> float | None:
        """Write the progress of a search between two pages.

        Returns:
            Seconds until it can be written, if the last change of the run is too recent; None if it was written.
        """
        seconds: float | None = await self._call_fenced(
            "worker_write_progress",
            lease,
            patience_seconds=HOUSEKEEPING_SECONDS,
            progress=codec.progress(site.site, progress),
        )
        return seconds

    async def save_page(
        self, lease: Lease, found: FoundPage, *, ends: Ends | None = None, patience_seconds: float | None = None
    ) -> SavedPage:
        """Save a page with its items, its cursor and the progress of the search.

        Args:
            lease: The right to write to the run.
            found: The page.
            ends: What to end with it, as `finish_site` does without an error. The answer says whether it was ended: a
                run that others follow is not.
            patience_seconds: For how long to retry; default: as for any other call of a search.
        """
        page = {**codec.lease(lease), **codec.page(found), "ends": ends}
        to_send = page, self._outage_seconds if patience_seconds is None else patience_seconds
        if _is_small(page):
            answer = await self._small_pages.call(to_send)
        else:
            (answer,) = await self._send_pages([to_send], True)
        return codec.saved_page(_done("worker_save_pages", answer))

    async def _send_pages(self, pages: Sequence[tuple[dict[str, Json], float]], is_alone: bool) -> list[dict[str, Any]]:
        patience_seconds = min(patience for _, patience in pages)
        answers: list[dict[str, Any]] = await self._call(
            "worker_save_pages",
            # Each is sent alone afterwards, and the search of its site waits for both.
            patience_seconds=patience_seconds if is_alone else patience_seconds / 2,
            pages=[page for page, _ in pages],
        )
        return answers

    async def write_alert(self, lease: Lease, site: str, alert: dict[str, Json]) -> None:
        """Write an alert for operators into the events of a run.

        Args:
            lease: The right to write to the run.
            site: The site concerned.
            alert: `reason` and details.
        """
        await self._call_fenced(
            "worker_write_alert", lease, patience_seconds=HOUSEKEEPING_SECONDS, site=site, data=alert
        )

    async def mark_for_reprocessing(self, *, since: datetime | None, source: str | None, status: str | None) -> int:
        """Mark stored pages to be transformed and loaded again; return their number.

        Args:
            since: Only pages fetched since then.
            source: Only pages of this source.
            status: Only pages with this result: `completed`, `partial` or `failed`.
        """
        marked = await self._call(
            "worker_reprocess",
            patience_seconds=self._outage_seconds,
            since=since and since.isoformat(),
            source=source,
            status=status,
        )
        return int(marked)

    async def claim_pages(self, sources: Iterable[str], batch: int) -> list[KeptPage]:
        """Claim up to `batch` pages that are to be transformed again. The claim lasts five minutes."""
        rows = await self._call(
            "worker_claim_pages", patience_seconds=self._outage_seconds, sources=sorted(sources), batch=batch
        )
        return [codec.kept_page(row) for row in rows]

    async def load_page(self, page_id: int, transformed: Transformed) -> SavedPage:
        """Load the items of a page that was transformed again into the results of its run."""
        saved = await self._call(
            "worker_load_page",
            patience_seconds=self._outage_seconds,
            page_id=page_id,
            **codec.transformed(transformed),
        )
        return codec.saved_page(saved)

    async def finish_site(
        self, lease: Lease, site: RunSite, error: SiteError | None, *, ends_run: bool = False
    ) -> FinishedRun | None:
        """End a site. The database derives its status from the error and from the results.

        Args:
            lease: The right to write to the run.
            site: The site.
            error: Why it could not be searched to its end.
            ends_run: Whether to end the run as well, as `finish_run` does.

        Returns:
            The run, if it was to end.
        """
        answer = await self._end(
            lease, site=site.site, account=site.account, ends_run=ends_run, **codec.site_error(error)
        )
        return codec.finished_run(answer) if ends_run else None

    async def finish_run(self, lease: Lease) -> FinishedRun:
        """End a run whose sites have all ended or have to wait. The database derives its status from theirs.

        The run returns to the queue instead if a site has to wait, or if a site failed with a retryable error and the
        run has attempts left. If its fallback sites are needed, it does not end: they are to be searched first.
        """
        return codec.finished_run(await self._end(lease, ends_run=True))

    async def _end(self, lease: Lease, **end: Json) -> dict[str, Any]:
        return _done("worker_finish_sites", await self._ends.call({**codec.lease(lease), **end}))

    async def _send_ends(self, ends: Sequence[Mapping[str, Json]], is_alone: bool) -> list[dict[str, Any]]:
        # A call that fails because of one of its runs must not hold up the others for as long as an outage may last.
        patience_seconds = self._outage_seconds if is_alone else HOUSEKEEPING_SECONDS
        frees_places = any(end["ends_run"] for end in ends)
        if self._claimer is not None and frees_places and (claim := self._claimer.next_claim()) is not None:
            with suppress(CallRefusedError):  # perhaps because of the claim
                return await self._end_and_claim(self._claimer, claim, ends, patience_seconds)
        answers: list[dict[str, Any]] = await self._call(
            "worker_finish_sites", patience_seconds=patience_seconds, finished=[*ends]
        )
        return answers

    async def _end_and_claim(
        self, claimer: Claimer, claim: Claim, ends: Sequence[Mapping[str, Json]], patience_seconds: float
    ) -> list[dict[str, Any]]:
        runs, is_claim_due = [], False
        try:
            answer = await self._call(
                "worker_finish_and_claim",
                patience_seconds=patience_seconds,
                finished=[*ends],
                claim=self._arguments(claim),
            )
            runs, is_claim_due = self._claimed(answer["claimed"]), answer["is_claim_due"]
        finally:
            claimer.take(claim, runs, is_claim_due=is_claim_due)
        return [ended | {"has_claimed": True} for ended in answer["finished"]]

    async def release(self, leases: Sequence[Lease], *, patience_seconds: float) -> None:
        """Release runs for another worker to resume. Their current attempt is not counted."""
        await self._call(
            "worker_release_runs",
            patience_seconds=patience_seconds,
            worker_id=self._worker_id,
            leases=codec.leases(leases),
        )

    async def fire_schedules(self) -> FiredSchedules:
        """Decide a batch of the schedules that are due: start their runs, or skip or pause them."""
        return codec.fired_schedules(await self._call("worker_fire_schedules", patience_seconds=HOUSEKEEPING_SECONDS))

    async def apply_collections(
        self, namespace: str, owner: str, collections: Sequence[Mapping[str, Json]], *, patience_seconds: float
    ) -> dict[str, int]:
        """Make the saved searches of a namespace those of its collections.

        Args:
            namespace: Has no other collections afterwards.
            owner: Id or e-mail address of the user whose searches they are.
            collections: The collections, as the database function takes them.
            patience_seconds: For how long to retry.

        Returns:
            Numbers: `searches`, and how many of them were `added`, `changed` and `removed`.

        Raises:
            CallRefusedError: A collection is wrong (code 22023; the message says what is allowed), or there is no such
                user (code PT404).
        """
        done: dict[str, int] = await self._call(
            "worker_apply_collections",
            patience_seconds=patience_seconds,
            namespace=namespace,
            owner=owner,
            collections=[*collections],
        )
        return done

    async def collections(self, *, patience_seconds: float) -> list[dict[str, Any]]:
        """Return the collections of all namespaces: number of searches, next slot, last results."""
        rows: list[dict[str, Any]] = await self._call("worker_collections", patience_seconds=patience_seconds)
        return rows

    async def create_user(self, email: str) -> None:
        """Create a user whom nobody can sign in as, unless there is one with this e-mail address. Idempotent.

        Raises:
            CallRefusedError: Auth refused, such as an address that it does not accept.
            DatabaseUnreachableError: Auth did not answer.
        """
        try:
            await self._client.auth.admin.create_user({"email": email, "email_confirm": True})
        except AuthApiError as error:
            if error.code != EMAIL_EXISTS:
                message = f"the user cannot be created: {error.message}"
                raise CallRefusedError(message, status=error.status, code=error.code) from error
        except AuthError as error:
            raise DatabaseUnreachableError(f"the user cannot be created: {error.message}") from None

    async def delete_expired(self) -> float:
        """Delete a batch of expired rows, by the retention settings of the database, unless another worker just did.

        Returns:
            Seconds until there may be more to delete.
        """
        return float(await self._call("worker_delete_expired", patience_seconds=HOUSEKEEPING_SECONDS))

    async def count_runs(self) -> float:
        """Count a batch of the runs that have ended, unless another worker just did.

        Returns:
            The seconds until another batch is due; 0 while more are left.
        """
        return float(await self._call("worker_count_runs", patience_seconds=HOUSEKEEPING_SECONDS))

    async def count_requests(self, reporter: UUID, sent: Mapping[Where, Sent]) -> None:
        """Report what a process has sent to each site through each exit, with the totals of the day.

        Args:
            reporter: An id of the process.
            sent: The totals.
        """
        counts = [
            {
                "day": day.isoformat(),
                "site": site,
                "exit": codec.exit_name(via),
                "requests": each.requests,
                "refused": each.refused,
                "bytes": each.size,
            }
            for (day, site, via), each in sent.items()
        ]
        await self._call(
            "worker_count_requests", patience_seconds=HOUSEKEEPING_SECONDS, reporter=str(reporter), counts=counts
        )

    async def exits(self, *, patience_seconds: float) -> list[dict[str, Any]]:
        """Return the state of each exit at each site, and what was sent through it today."""
        rows: list[dict[str, Any]] = await self._call("worker_exits", patience_seconds=patience_seconds)
        return rows

    async def overview(self, since: datetime) -> dict[str, Any]:
        """Return how the runs of all users ended: counts, rates, durations, errors and the queue.

        Args:
            since: From the begin of this hour on.

        Raises:
            CallRefusedError: The time is in the future, or too long ago (code 22023).
        """
        overview: dict[str, Any] = await self._call(
            "admin_overview", patience_seconds=HOUSEKEEPING_SECONDS, since=since.isoformat()
        )
        return overview

    async def site_stats(self, since: datetime) -> list[dict[str, Any]]:
        """Return how the searches of each site ended.

        Args:
            since: From the begin of this hour on.

        Raises:
            CallRefusedError: The time is in the future, or too long ago (code 22023).
        """
        rows: list[dict[str, Any]] = await self._call(
            "admin_sites", patience_seconds=HOUSEKEEPING_SECONDS, since=since.isoformat()
        )
        return rows

    async def claim_embeddings(self, model: str, batch: int) -> ClaimedItems:
        """Claim up to `batch` items that are to be embedded by `model`. The claim lasts five minutes.

        Raises:
            CallRefusedError: The database has embeddings of another model.
        """
        claimed = await self._call(
            "worker_claim_embeddings", patience_seconds=HOUSEKEEPING_SECONDS, model=model, batch=batch
        )
        return codec.claimed_items(claimed)

    async def save_embeddings(self, model: str, mark: str, embeddings: Mapping[UUID, Sequence[float]]) -> int:
        """Save the embeddings of claimed items; return how many were saved. Those of changed items are not.

        Args:
            model: The name of the model.
            mark: The mark of the claim.
            embeddings: 256 numbers for each item.
        """
        saved = await self._call(
            "worker_save_embeddings",
            patience_seconds=HOUSEKEEPING_SECONDS,
            model=model,
            claimed_until=mark,
            embeddings=codec.embeddings(embeddings),
        )
        return int(saved)

    async def fail_embeddings(self, mark: str, messages: Mapping[UUID, str]) -> None:
        """Report claimed items that could not be embedded, with the reasons. They are retried, up to a maximum."""
        await self._call(
            "worker_fail_embeddings",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            failures=[{"item_id": str(item), "message": message} for item, message in messages.items()],
        )

    async def claim_near_duplicates(self, batch: int) -> NearDuplicates:
        """Claim up to `batch` embedded items with their possible duplicates. The claim lasts five minutes."""
        claimed = await self._call("worker_claim_near_duplicates", patience_seconds=HOUSEKEEPING_SECONDS, batch=batch)
        return codec.near_duplicates(claimed)

    async def near_duplicate_texts(self, items: Iterable[str]) -> dict[str, str | None]:
        """Return the beginnings of the descriptions of items, as far as they are compared."""
        texts: dict[str, str | None] = await self._call(
            "worker_near_duplicate_texts",
            patience_seconds=HOUSEKEEPING_SECONDS,
            item_ids=[*items],
            length=COMPARED_LENGTH,
        )
        return texts

    async def finish_near_duplicates(self, mark: str, items: Iterable[str], same: Iterable[tuple[str, str]]) -> int:
        """Mark claimed items as compared, and merge those that are the same thing.

        Args:
            mark: The mark of the claim.
            items: The items.
            same: The pairs that are the same thing.

        Returns:
            By how many the things decreased.
        """
        merged = await self._call(
            "worker_merge_near_duplicates",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            item_ids=[*items],
            pairs=[{"item_id": item, "other_id": other} for item, other in same],
        )
        return int(merged)

    async def claim_webhooks(self, endpoints: Iterable[str], batch: int) -> ClaimedMessages:
        """Claim messages that are to be sent to webhook endpoints. The claim lasts a minute.

        Args:
            endpoints: Names of endpoints.
            batch: Maximum number of messages of each.
        """
        claimed = await self._call(
            "worker_claim_webhooks", patience_seconds=HOUSEKEEPING_SECONDS, endpoints=sorted(endpoints), batch=batch
        )
        return codec.claimed_messages(claimed)

    async def save_webhooks(self, mark: str, results: Iterable[AttemptResult]) -> SavedAttempts:
        """Save the results of attempts to send claimed messages."""
        saved = await self._call(
            "worker_save_webhooks",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            results=codec.attempt_results(results),
        )
        return codec.saved_attempts(saved)

    async def add_webhook(self, name: str, url: str, events: Sequence[str], description: str | None) -> None:
        """Add a webhook endpoint, or change the one of that name and enable it.

        Raises:
            CallRefusedError: An argument is not valid.
        """
        await self._call(
            "worker_add_webhook",
            patience_seconds=HOUSEKEEPING_SECONDS,
            name=name,
            url=url,
            events=events,
            description=description,
        )

    async def remove_webhook(self, name: str) -> bool:
        """Remove a webhook endpoint and its messages; return whether there was one."""
        return bool(await self._call("worker_remove_webhook", patience_seconds=HOUSEKEEPING_SECONDS, name=name))

    async def webhooks(self) -> list[dict[str, Json]]:
        """Return the webhook endpoints with the numbers of their messages."""
        rows: list[dict[str, Json]] = await self._call("worker_webhooks", patience_seconds=HOUSEKEEPING_SECONDS)
        return rows

    async def dead_webhooks(self, endpoint: str | None, most: int) -> list[dict[str, Json]]:
        """Return messages whose attempts have all failed, the newest first.

        Args:
            endpoint: Only those of this endpoint.
            most: Maximum number, up to 1,000.
        """
        rows: list[dict[str, Json]] = await self._call(
            "worker_dead_webhooks", patience_seconds=HOUSEKEEPING_SECONDS, endpoint=endpoint, most=most
        )
        return rows

    async def replay_webhooks(self, endpoint: str, message: UUID | None) -> int:
        """Send dead messages of an endpoint again, at most 1,000; return how many.

        Args:
            endpoint: Name of the endpoint.
            message: Only this message, which may have been delivered; None: all dead ones.

        Raises:
            CallRefusedError: There is no such endpoint.
        """
        replayed = await self._call(
            "worker_replay_webhooks",
            patience_seconds=HOUSEKEEPING_SECONDS,
            endpoint=endpoint,
            message_id=None if message is None else str(message),
        )
        return int(replayed)

    async def check_alerts(self) -> CheckedAlerts:
        """Check the alert rules, unless another caller just did."""
        return codec.checked_alerts(await self._call("worker_check_alerts", patience_seconds=HOUSEKEEPING_SECONDS))

    async def claim_notices(self, batch: int) -> ClaimedNotices:
        """Claim up to `batch` notices of incidents that are to be sent. The claim lasts a minute."""
        claimed = await self._call("worker_claim_notices", patience_seconds=HOUSEKEEPING_SECONDS, batch=batch)
        return codec.claimed_notices(claimed)

    async def save_notices(self, mark: str, results: Iterable[NoticeResult]) -> SavedNotices:
        """Save the results of attempts to send claimed notices."""
        saved = await self._call(
            "worker_save_notices",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            results=codec.notice_results(results),
        )
        return codec.saved_notices(saved)

    async def alerts(self) -> dict[str, list[dict[str, Any]]]:
        """Return the alert rules and the open incidents, as `rules` and `incidents`."""
        known: dict[str, list[dict[str, Any]]] = await self._call(
            "worker_alerts", patience_seconds=HOUSEKEEPING_SECONDS
        )
        return known

    async def set_alert(
        self,
        rule: str,
        *,
        threshold: float | None,
        period_seconds: float | None,
        least_count: int | None,
        is_enabled: bool | None,
    ) -> dict[str, Json]:
        """Change an alert rule: what is None stays. Return the rule.

        Raises:
            CallRefusedError: There is no such rule, or a value is not valid.
        """
        changed: dict[str, Json] = await self._call(
            "worker_set_alert",
            patience_seconds=HOUSEKEEPING_SECONDS,
            rule=rule,
            threshold=threshold,
            period_seconds=period_seconds,
            least_count=least_count,
            is_enabled=is_enabled,
        )
        return changed

    async def health(self, *, patience_seconds: float) -> dict[str, Any]:
        """Return which workers live and how the queue is, as `worker_health` says it."""
        health: dict[str, Any] = await self._call("worker_health", patience_seconds=patience_seconds)
        return health

    async def _call_fenced(
        self, function: str, lease: Lease, *, patience_seconds: float | None = None, **arguments: Any
    ) -> Any:
        return await self._call(
            function,
            patience_seconds=self._outage_seconds if patience_seconds is None else patience_seconds,
            run_id=str(lease.run_id),
            lease_token=str(lease.token),
            **arguments,
        )

    async def _call(self, function: str, *, patience_seconds: float, **arguments: Any) -> Any:
        try:
            return await call(
                self._client, function, arguments, patience_seconds=patience_seconds, attempt_in=self._attempt
            )
        except CallRefusedError as error:
            if error.code == OTHER_VERSION:
                raise VersionMismatchError(str(error), status=error.status, code=error.code) from error
            # A database of another version may have the function with other arguments, or no longer.
            if error.code == FUNCTION_NOT_FOUND and function != "worker_status":
                await self._require_version(error, patience_seconds)
            raise

    async def _require_version(self, refusal: CallRefusedError, patience_seconds: float) -> None:
        """Raise VersionMismatchError instead of a refusal if the database has a version that is not supported."""
        try:
            version = (await self.status(patience_seconds=patience_seconds)).schema_version
        except QueueError:
            return
        if problem := version_problem(version):
            raise VersionMismatchError(f"{problem} ({refusal})", status=refusal.status, code=refusal.code) from refusal

    def _attempt(self, function: str) -> AbstractContextManager[object]:  # noqa: ARG002 (for subclasses)
        """Return a context in which one attempt of a call is sent."""
        return nullcontext()


def version_problem(version: int) -> str | None:
    """Return why this worker cannot work with a database of this version, and what to do; None if it can."""
    both = f"the database has version {version}, and the worker is made for version {SCHEMA_VERSION}"
    if version < SCHEMA_VERSION:
        return f"{both}: push the migrations of its release, then start it"
    if version > SCHEMA_VERSION + 1:
        return f"{both}: replace it by one of the release whose migrations were pushed"
    return None


def _is_small(page: Mapping[str, Any]) -> bool:
    return (
        len(page["items"]) <= MAX_ITEMS_OF_SMALL_PAGE
        and len(json.dumps(page["raw"]["payload"])) + len(json.dumps(page["items"])) <= MAX_BYTES_OF_SMALL_PAGE
    )


def _done(function: str, answer: dict[str, Any], *states: str) -> dict[str, Any]:
    """Return the answer of a run in a call for several, if its state is one of these; default: `done`.

    Raises:
        CallRefusedError: It was refused.
        LeaseLostError: The run was cancelled, or its lease expired.
    """
    if answer["state"] == "refused":
        raise CallRefusedError(f"{function}: {answer['message']}", status=None, code=None)
    if answer["state"] not in (states or ("done",)):
        raise LeaseLostError(answer["state"])
    return answer
