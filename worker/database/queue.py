"""The run queue in the database. The only module that calls the worker's RPCs.

Every call is idempotent on the database's side, because an answer can get lost on its way: so every call is retried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from supabase import AsyncClient

from worker.database import codec
from worker.database.answers import ClaimedItems, FinishedRun, KeptPage, NearDuplicates, QueueStatus, SavedPage
from worker.database.client import call, open_client
from worker.errors import SiteError
from worker.model import (
    FoundPage,
    Json,
    Lease,
    Observed,
    Progress,
    Run,
    RunSite,
    SiteLimits,
    Transformed,
)
from worker.settings import Settings

SCHEMA_VERSION = 3
"""The version of the RPCs (`worker.schema_version()`) that this worker was made for.

A worker works with its own version and the next one, because at every deploy old and new workers run side by side: push
the migrations first, then replace the workers.
"""

HOUSEKEEPING_SECONDS = 10
"""Above a statement's time limit on the platform (8 s for service_role); and no claim waits longer for it."""


@asynccontextmanager
async def open_queue(settings: Settings, *, timeout_seconds: float | None = None) -> AsyncIterator[Queue]:
    """Open the queue of the Supabase project that the settings name.

    Args:
        settings: The settings of the worker.
        timeout_seconds: Timeout of one request; default: that of the settings.

    Raises:
        SettingsError: The service key is missing.
    """
    key = settings.require("supabase_service_role_key")
    timeout_seconds = timeout_seconds or settings.request_timeout_seconds
    async with open_client(settings.supabase_url, key, timeout_seconds=timeout_seconds) as client:
        yield Queue(
            client,
            worker_id=settings.worker_id,
            lease_seconds=settings.lease_seconds,
            outage_seconds=settings.outage_seconds,
        )


class Queue:
    """The worker's side of the queue.

    Args:
        client: A client with a service key.
        worker_id: Name of this worker, kept with its leases.
        lease_seconds: Duration of a lease, between two heartbeats.
        outage_seconds: How long a call that a search depends on is tried while the database cannot be reached.
    """

    def __init__(self, client: AsyncClient, *, worker_id: str, lease_seconds: int, outage_seconds: float) -> None:
        self._client = client
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._outage_seconds = outage_seconds

    async def status(self, *, patience_seconds: float) -> QueueStatus:
        """Return how the queue is, and which version its database has."""
        return codec.queue_status(await self._call("worker_status", patience_seconds=patience_seconds))

    async def site_health(self, *, patience_seconds: float) -> list[dict[str, Json]]:
        """Return how each site is that was searched: its breaker, its averages, and what is used of its quotas."""
        rows: list[dict[str, Json]] = await self._call("worker_site_health", patience_seconds=patience_seconds)
        return rows

    async def claim(self, kinds: Iterable[str], slots: int, held: Sequence[Lease] = ()) -> list[Run]:
        """Lease up to `slots` ready runs of the given kinds.

        Args:
            kinds: What this worker can search.
            slots: How many runs at most.
            held: What this worker holds: these leases are extended first, so that after an outage it does not take
                its own runs for a dead worker's.
        """
        rows = await self._call(
            "worker_claim_runs",
            # Past its duration a lease is gone, and the same claim would claim anew.
            patience_seconds=self._lease_seconds,
            worker_id=self._worker_id,
            kinds=sorted(kinds),
            slots=slots,
            lease_seconds=self._lease_seconds,
            claim_id=str(uuid4()),
            held=codec.leases(held),
        )
        return [codec.run(row) for row in rows]

    async def heartbeat(self, leases: Sequence[Lease], *, patience_seconds: float) -> dict[Lease, str]:
        """Extend leases; return the state of each: `held`, `lost`, `cancelled` or `finished`."""
        rows = await self._call(
            "worker_heartbeat",
            patience_seconds=patience_seconds,
            worker_id=self._worker_id,
            leases=codec.leases(leases),
        )
        return codec.lease_states(rows)

    async def start_site(self, lease: Lease, site: RunSite, limits: Mapping[str, SiteLimits]) -> float:
        """Ask to search a site; if it may be searched now, mark it so.

        Args:
            lease: The right to write to the run.
            site: The site.
            limits: What the site allows, by bucket.

        Returns:
            Seconds to wait before the search begins.

        Raises:
            SiteWaitingError: The site must not be searched now.
            SiteError: It may not be searched before the run has waited for too long.
        """
        answer = await self._call_fenced(
            "worker_start_site",
            lease,
            site=site.site,
            attempt=site.attempt,
            account=site.account,
            limits={bucket: asdict(limit) for bucket, limit in limits.items()},
        )
        return codec.seconds_until_granted(answer)

    async def take_permit(self, lease: Lease, site: RunSite, bucket: str, requests: int, limits: SiteLimits) -> float:
        """Ask for the right to send requests to a site.

        Args:
            lease: The right to write to the run.
            site: The site, which is being searched.
            bucket: The limit that the requests count for.
            requests: How many there are.
            limits: What the site allows in this bucket.

        Returns:
            Seconds to wait before they are sent.

        Raises:
            SiteWaitingError: They must not be sent soon.
            SiteError: They may not be sent before the run has waited for too long.
        """
        answer = await self._call_fenced(
            "worker_take_permit",
            lease,
            site=site.site,
            account=site.account,
            bucket=bucket,
            requests=requests,
            limits=asdict(limits),
        )
        return codec.seconds_until_granted(answer)

    async def observe_limits(self, lease: Lease, site: RunSite, bucket: str, observed: Observed) -> None:
        """Tell all workers what a site says of its limits."""
        await self._call_fenced(
            "worker_observe_limits",
            lease,
            site=site.site,
            account=site.account,
            bucket=bucket,
            observed=asdict(observed),
        )

    async def write_progress(self, lease: Lease, site: RunSite, progress: Progress) -> None:
        """Show how far the search of a site is, between its pages."""
        await self._call_fenced(
            "worker_write_progress",
            lease,
            patience_seconds=HOUSEKEEPING_SECONDS,
            progress=codec.progress(site.site, progress),
        )

    async def save_page(self, lease: Lease, found: FoundPage, *, patience_seconds: float | None = None) -> SavedPage:
        """Save a page with its items, the place to go on after it, and the progress of the search.

        Args:
            lease: The right to write to the run.
            found: The page.
            patience_seconds: How long to try; default: as long as for any other call of a search.
        """
        saved = await self._call_fenced(
            "worker_save_page", lease, patience_seconds=patience_seconds, **codec.page(found)
        )
        return codec.saved_page(saved)

    async def write_alert(self, lease: Lease, site: str, alert: dict[str, Json]) -> None:
        """Write into the run's events that somebody should look.

        Args:
            lease: The right to write to the run.
            site: The site that it is about.
            alert: What happened: `reason` and whatever else is known.
        """
        await self._call_fenced(
            "worker_write_alert", lease, patience_seconds=HOUSEKEEPING_SECONDS, site=site, data=alert
        )

    async def mark_for_reprocessing(self, *, since: datetime | None, source: str | None, status: str | None) -> int:
        """Mark pages to be transformed and loaded anew; return how many.

        Args:
            since: Only those fetched since.
            source: Only those of this source.
            status: Only those that ended so: `completed`, `partial` or `failed`.
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
        """Take up to `batch` pages that are to be transformed anew; nobody else gets them for five minutes."""
        rows = await self._call(
            "worker_claim_pages", patience_seconds=self._outage_seconds, sources=sorted(sources), batch=batch
        )
        return [codec.kept_page(row) for row in rows]

    async def load_page(self, page_id: int, transformed: Transformed) -> SavedPage:
        """Load the items of a page that was transformed anew into its run's results."""
        saved = await self._call(
            "worker_load_page",
            patience_seconds=self._outage_seconds,
            page_id=page_id,
            **codec.transformed(transformed),
        )
        return codec.saved_page(saved)

    async def finish_site(self, lease: Lease, site: RunSite, error: SiteError | None) -> None:
        """End a site; the database derives its status from the error and from what was found."""
        await self._call_fenced(
            "worker_finish_site", lease, site=site.site, account=site.account, **codec.site_error(error)
        )

    async def finish_run(self, lease: Lease) -> FinishedRun:
        """End a run whose sites are all finished, or have to wait; the database derives its status from theirs.

        With sites that wait, or with attempts left and a site that failed in a way that may pass, it goes back to the
        queue for later instead.
        """
        return codec.finished_run(await self._call_fenced("worker_finish_run", lease))

    async def release(self, leases: Sequence[Lease], *, patience_seconds: float) -> None:
        """Give runs back for another worker to go on with; their attempt is not counted."""
        await self._call(
            "worker_release_runs",
            patience_seconds=patience_seconds,
            worker_id=self._worker_id,
            leases=codec.leases(leases),
        )

    async def delete_expired(self) -> float:
        """Delete a batch of what is older than the database's settings allow, unless another worker just did.

        Returns:
            Seconds until another call has something to do.
        """
        return float(await self._call("worker_delete_expired", patience_seconds=HOUSEKEEPING_SECONDS))

    async def claim_embeddings(self, model: str, batch: int) -> ClaimedItems:
        """Take up to `batch` items that are to be embedded by `model`.

        Raises:
            CallRefusedError: The embeddings that are kept are another model's.
        """
        claimed = await self._call(
            "worker_claim_embeddings", patience_seconds=HOUSEKEEPING_SECONDS, model=model, batch=batch
        )
        return codec.claimed_items(claimed)

    async def save_embeddings(self, model: str, mark: str, embeddings: Mapping[UUID, Sequence[float]]) -> int:
        """Keep embeddings of claimed items; return how many were still wanted.

        Args:
            model: The model that made them.
            mark: The claim's.
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
        """Have claimed items embedded later, which could not be for the reasons given; in the end they are given up."""
        await self._call(
            "worker_fail_embeddings",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            failures=[{"item_id": str(item), "message": message} for item, message in messages.items()],
        )

    async def claim_near_duplicates(self, batch: int) -> NearDuplicates:
        """Take what up to `batch` items that were embedded may be the same thing as."""
        claimed = await self._call("worker_near_duplicates", patience_seconds=HOUSEKEEPING_SECONDS, batch=batch)
        return codec.near_duplicates(claimed)

    async def merge_items(self, pairs: Iterable[tuple[UUID, UUID]]) -> int:
        """Have items that are the same thing shown as one; return how many were not before."""
        merged = await self._call(
            "worker_merge_items",
            patience_seconds=HOUSEKEEPING_SECONDS,
            pairs=[{"item_id": str(item), "other_id": str(other)} for item, other in pairs],
        )
        return int(merged)

    async def finish_near_duplicates(self, mark: str, items: Iterable[UUID]) -> None:
        """Say that claimed items were compared."""
        await self._call(
            "worker_finish_near_duplicates",
            patience_seconds=HOUSEKEEPING_SECONDS,
            claimed_until=mark,
            item_ids=[str(item) for item in items],
        )

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
        return await call(self._client, function, arguments, patience_seconds=patience_seconds)
