"""Words that the integration tests share: the RPCs as their callers use them, and how a refused request looks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, Protocol
from uuid import uuid4

import httpx
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

Row = dict[str, Any]

SITES = ("linkedin", "indeed", "glassdoor")

NODE_MODULES = Path(__file__).parents[1] / "e2e" / "node_modules"

CLI = shutil.which("supabase", path=str(NODE_MODULES / ".bin"))
needs_cli = pytest.mark.skipif(CLI is None, reason="needs the Supabase CLI: npm ci --prefix tests/e2e")


class Query(Protocol):
    """A request of supabase-py that was not sent yet."""

    async def execute(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the API refused a request."""

    status: int
    code: str | None
    message: str | None


async def refusal(client: AsyncClient, query: Query) -> Refusal:
    """Send a request that has to be refused."""
    statuses: list[int] = []

    async def note(response: httpx.Response) -> None:
        statuses.append(response.status_code)

    # APIError does not tell the status.
    hooks = client.postgrest.session.event_hooks["response"]
    hooks.append(note)
    try:
        answer = await query.execute()
    except APIError as error:
        return Refusal(statuses[-1], error.code, error.message)
    finally:
        hooks.remove(note)
    raise AssertionError(f"not refused: {answer}")


async def call(client: AsyncClient, function: str, **arguments: Any) -> Any:
    """Call an RPC; return what it returns."""
    return (await client.rpc(function, arguments).execute()).data


async def user_id(client: AsyncClient) -> str:
    """The id of the user that a client is signed in as."""
    session = await client.auth.get_session()
    assert session is not None
    return session.user.id


async def enqueue(client: AsyncClient, kind: str, **parameters: Any) -> Row:
    """Put a search into the queue as the signed-in user; without a search term, one that no other run has."""
    row: Row = await call(client, "enqueue_search", kind=kind, parameters={"search_term": str(uuid4()), **parameters})
    return row


def new_runs(kind: str, count: int) -> list[Row]:
    """Rows to insert, of searches that differ."""
    return [{"kind": kind, "parameters": {"search_term": str(uuid4())}} for _ in range(count)]


async def claim(
    service: AsyncClient, kind: str, *, slots: int = 1, worker_id: str = "worker-1", claim_id: str | None = None
) -> list[Row]:
    """Claim runs as a worker."""
    rows: list[Row] = await call(
        service,
        "worker_claim_runs",
        worker_id=worker_id,
        kinds=[kind],
        slots=slots,
        # What a test leaves is not rescued in the midst of another one.
        lease_seconds=3600,
        claim_id=claim_id or str(uuid4()),
        held=[],
    )
    return rows


def lease(run: Row) -> Row:
    """The arguments that prove the right to write to a claimed run."""
    return {"run_id": run["run_id"], "lease_token": run["lease_token"]}


def items(external_ids: Iterable[str]) -> list[Row]:
    """Items of a page as a source parses them."""
    return [
        {
            "external_id": external_id,
            "position": position,
            "title": f"Title of {external_id}",
            "url": f"https://example.com/{external_id}",
        }
        for position, external_id in enumerate(external_ids, start=1)
    ]


async def start_site(service: AsyncClient, run: Row, site: str) -> Row:
    """Ask to search a site of a claimed run, as its claim says; return the answer."""
    (given,) = [given for given in run["sites"] if given["site"] == site]
    answer: Row = await call(
        service,
        "worker_start_site",
        **lease(run),
        site=site,
        attempt=given["attempt"],
        account=given["account"],
        limits={},
    )
    return answer


def page(
    site: str,
    page_number: int,
    external_ids: Sequence[str],
    *,
    attempt: int = 1,
    account: str | None = None,
    cursor: Any = None,
    is_last: bool = False,
) -> Row:
    """The arguments of `worker_save_page`, without the lease."""
    return {
        "site": site,
        "attempt": attempt,
        "page_number": page_number,
        "raw": {
            "source": "test", "version": 1, "payload": {"ids": list(external_ids)}, "response_ms": 5, "calls_used": 1,
            "account": account, "cursor": cursor, "is_last": is_last, "transform_ms": 2, "completeness": {"title": 1},
        },
        "items": items(external_ids),
        "errors": [],
        "progress": {"step": "searching", "site": site},
    }  # fmt: skip


async def search(service: AsyncClient, run: Row, pages: Mapping[str, Sequence[Sequence[str]]]) -> Row:
    """Carry a claimed run through: for each site its pages, as external ids; return the finished run."""
    for site, external_ids_of_pages in pages.items():
        assert (await start_site(service, run, site))["granted"]
        (attempt,) = [given["attempt"] for given in run["sites"] if given["site"] == site]
        for page_number, external_ids in enumerate(external_ids_of_pages, start=1):
            saved = page(site, page_number, external_ids, attempt=attempt)
            await call(service, "worker_save_page", **lease(run), **saved)
        await call(service, "worker_finish_site", **lease(run), site=site)
    finished: Row = await call(service, "worker_finish_run", **lease(run))
    return finished


async def pause(database: psycopg.AsyncConnection[Any], site: str, time: str | None, *, account: str = "") -> None:
    """Open the breaker of a site for so long, as an interval; None: close it."""
    await database.execute(
        """
        insert into worker.site_health (site, account, paused_until) values (%s, %s, now() + %s::interval)
        on conflict (site, account) do update set paused_until = excluded.paused_until
        """,
        [site, account, time],
    )


async def somebody_waits_for(database: psycopg.AsyncConnection[Any], holder: psycopg.AsyncConnection[Any]) -> None:
    """Return once another connection waits for a lock that the transaction of `holder` has."""
    async with asyncio.timeout(10):
        while True:
            answer = await database.execute(
                "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [holder.info.backend_pid]
            )
            if answer.rowcount:
                return
            await asyncio.sleep(0.01)


async def answer_after(
    first: psycopg.AsyncConnection[Any],
    database: psycopg.AsyncConnection[Any],
    second: psycopg.AsyncConnection[Any],
    query: LiteralString,
    arguments: Any,
    *,
    end: LiteralString = "commit",
) -> list[Any]:
    """Send a query on `second` that has to wait for the open transaction of `first`; end that; return the answer."""
    waiting = asyncio.create_task(second.execute(query, arguments))
    await somebody_waits_for(database, first)
    await first.execute(end)
    return await (await waiting).fetchall()
