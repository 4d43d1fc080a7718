"""The run queue in the database. The only module that calls the worker's RPCs.

Every call is idempotent on the database's side, because an answer can get lost on its way: so every call is retried.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from worker.model import Item, Lease, Page, Run, RunSite, SiteError, SiteStatus

logger = logging.getLogger(__name__)

# Of the statuses below 500, those that ask to come again: Request Timeout (RFC 9110), Too Early (RFC 8470) and Too Many
# Requests (RFC 6585). PostgREST answers 5xx for lost connections, deadlocks and statement timeouts.
TRANSIENT_STATUSES = frozenset({408, 425, 429})

# supabase-py does not tell the status of an error, and the body of a gateway's has no code.
_last_status: ContextVar[int | None] = ContextVar("_last_status", default=None)


class LeaseLostError(Exception):
    """The run is not this worker's any more: it was cancelled, or its lease expired and was rescued."""


class QueueError(Exception):
    """A call did not succeed."""


class CallRefusedError(QueueError):
    """The database refused a call; the same call again would be refused again."""


class DatabaseUnreachableError(QueueError):
    """The database could not be reached for as long as it was tried."""


@dataclass(frozen=True, slots=True)
class FinishedSite:
    """How a site ended, as the database derived it.

    Attributes:
        jobs_found: Results of this site.
        error_code: Why it did not complete, if so.
        error_message: The same in words.
    """

    site: str
    status: SiteStatus
    jobs_found: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run ended, as the database derived it.

    Attributes:
        status: `success`, `partial` or `failed`.
        jobs_found: Results of all sites.
        sites: All sites of the run, in the order of the search, whichever attempt finished them.
    """

    id: UUID
    status: str
    jobs_found: int
    sites: tuple[FinishedSite, ...]


class Queue:
    """The worker's side of the queue.

    Args:
        client: A client with a service key.
        worker_id: Name of this worker, kept with its leases.
        lease_seconds: Duration of a lease, between two heartbeats.
    """

    def __init__(self, client: AsyncClient, *, worker_id: str, lease_seconds: int) -> None:
        self._client = client
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds

    async def claim(self, kinds: Iterable[str], slots: int) -> list[Run]:
        """Lease up to `slots` ready runs of the given kinds."""
        rows = await self._call(
            "worker_claim_runs",
            worker_id=self._worker_id,
            kinds=sorted(kinds),
            slots=slots,
            lease_seconds=self._lease_seconds,
            claim_id=str(uuid4()),
        )
        return [_run(row) for row in rows]

    async def heartbeat(self, leases: Sequence[Lease]) -> dict[Lease, str]:
        """Extend leases; return the state of each: `held`, `lost`, `cancelled` or `finished`."""
        rows = await self._call("worker_heartbeat", worker_id=self._worker_id, leases=_leases(leases))
        return {Lease(UUID(row["run_id"]), UUID(row["lease_token"])): row["state"] for row in rows}

    async def start_site(self, lease: Lease, site: RunSite) -> None:
        """Mark a site as being searched."""
        await self._call_fenced("worker_start_site", lease, site=site.site, attempt=site.attempt)

    async def save_page(self, lease: Lease, site: str, source: str, page: Page, items: Sequence[Item]) -> int:
        """Save a page with its items and the run's progress; return how many results are new to the run."""
        new_results = await self._call_fenced(
            "worker_save_page",
            lease,
            site=site,
            page_number=page.number,
            raw={
                "source": source,
                "payload": page.payload,
                "response_ms": page.response_ms,
                "calls_used": page.calls_used,
            },
            items=[{"position": position, **asdict(item)} for position, item in enumerate(items, start=1)],
            progress={"step": "searching", "site": site, "details": {"page": page.number}},
        )
        return int(new_results)

    async def finish_site(self, lease: Lease, site: str, error: SiteError | None) -> None:
        """End a site; the database derives its status from the error and from what was found."""
        await self._call_fenced(
            "worker_finish_site",
            lease,
            site=site,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            retryable=error.code.retryable if error else None,
        )

    async def finish_run(self, lease: Lease) -> FinishedRun:
        """End a run whose sites are all finished; the database derives its status from theirs."""
        row = await self._call_fenced("worker_finish_run", lease)
        return FinishedRun(
            id=lease.run_id,
            status=row["status"],
            jobs_found=row["jobs_found"],
            sites=tuple(
                FinishedSite(
                    site["site"],
                    SiteStatus(site["status"]),
                    site["jobs_found"],
                    site["error_code"],
                    site["error_message"],
                )
                for site in row["sites"]
            ),
        )

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give runs back for another worker to go on with; their attempt is not counted."""
        await self._call("worker_release_runs", worker_id=self._worker_id, leases=_leases(leases))

    async def _call_fenced(self, function: str, lease: Lease, **arguments: Any) -> Any:
        return await self._call(function, run_id=str(lease.run_id), lease_token=str(lease.token), **arguments)

    async def _call(self, function: str, **arguments: Any) -> Any:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_transient),
                # Past its duration a lease is gone, and the run with it.
                stop=stop_after_delay(self._lease_seconds),
                wait=wait_exponential_jitter(initial=0.2, max=10),
                before_sleep=partial(_log_retry, function),
                reraise=True,
            ):
                _last_status.set(None)
                with attempt:
                    return (await self._client.rpc(function, arguments).execute()).data
        except APIError as error:
            if error.code == "PT409":
                raise LeaseLostError(error.message) from None
            failure = DatabaseUnreachableError if _is_transient(error) else CallRefusedError
            raise failure(f"{function}: {error.code} {error.message}") from error
        except httpx.TransportError as error:
            raise DatabaseUnreachableError(f"{function}: {type(error).__name__} {error}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")


@asynccontextmanager
async def open_client(url: str, key: str, *, timeout_seconds: float) -> AsyncIterator[AsyncClient]:
    """Open a Supabase client that keeps no session and closes all of its connections.

    Args:
        url: Address of the Supabase project.
        key: API key, of either family.
        timeout_seconds: Timeout of a request.
    """
    # HTTP/2 stays off: the platform's load balancer ends idle streams, which surfaces as "Server disconnected".
    hooks = {"response": [_note_status]}
    async with httpx.AsyncClient(timeout=timeout_seconds, http2=False, event_hooks=hooks) as http:
        client = await acreate_client(
            url, key, AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        )
        try:
            yield client
        finally:
            await client.realtime.close()


async def _note_status(response: httpx.Response) -> None:
    _last_status.set(response.status_code)
    content_type = response.headers.get("content-type", "application/json")
    if response.is_success and "json" not in content_type:
        raise httpx.RemoteProtocolError(f"the answer is {content_type}, not JSON: something else answers here")


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, APIError):
        status = _last_status.get() or 0
        return status >= httpx.codes.INTERNAL_SERVER_ERROR or status in TRANSIENT_STATUSES
    return isinstance(error, httpx.TransportError)


def _log_retry(function: str, state: RetryCallState) -> None:
    assert state.outcome is not None
    assert state.next_action is not None
    error = state.outcome.exception()
    reason = error.message if isinstance(error, APIError) else f"{type(error).__name__} {error}"
    logger.warning("%s failed (%s), again in %.1f s", function, reason, state.next_action.sleep)


def _leases(leases: Sequence[Lease]) -> list[dict[str, str]]:
    return [{"run_id": str(lease.run_id), "lease_token": str(lease.token)} for lease in leases]


def _run(row: dict[str, Any]) -> Run:
    run_id = UUID(row["run_id"])
    return Run(
        id=run_id,
        lease=Lease(run_id, UUID(row["lease_token"])),
        kind=row["kind"],
        parameters=row["parameters"],
        sites=tuple(RunSite(site["site"], site["attempt"]) for site in row["sites"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
    )
