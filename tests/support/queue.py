"""The RPCs as users and workers call them, and what a refused request looks like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, LiteralString, Protocol
from uuid import uuid4

import httpx
from postgrest.exceptions import APIError
from supabase import AsyncClient

from worker.database.user import User

Row = dict[str, Any]

_numbers = count(1)

SITES = ["indeed", "linkedin"]


class Query(Protocol):
    """A request of supabase-py that has not been sent."""

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

    # APIError has no status.
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
    """Enqueue a search as the signed-in user, by default with a search term that no other run has."""
    row: Row = await call(client, "enqueue_search", kind=kind, parameters={"search_term": str(uuid4()), **parameters})
    return row


def new_run(kind: str, term: str, **columns: Any) -> Row:
    """A row to insert: a search of `SITES`."""
    return {"kind": kind, "parameters": {"search_term": term, "sites": SITES}, **columns}


async def insert_run(client: AsyncClient, kind: str, term: str, **columns: Any) -> Row:
    """Insert `new_run`, as frontends do; return what the insert returns."""
    (row,) = (await client.table("search_runs").insert(new_run(kind, term, **columns)).execute()).data
    assert isinstance(row, dict)
    return dict(row)


async def run_of(client: AsyncClient, run_id: str) -> Row:
    """The row of a run."""
    row: Any = (await client.table("search_runs").select("*").eq("id", run_id).single().execute()).data
    return dict(row)


async def found_ids(client: AsyncClient, run_id: str) -> list[str]:
    """The external ids that a run of `Listings` found, sorted; one that it found twice is there twice."""
    found: Any = (await client.table("run_items").select("url").eq("run_id", run_id).execute()).data
    return sorted(row["url"].removeprefix("https://example.com/") for row in found)


def new_runs(kind: str, count: int) -> list[Row]:
    """Rows to insert: searches with different terms."""
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
        # A later test must not rescue what this one leaves.
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


START_SITES: LiteralString = "select public.worker_start_sites(%s)"
START_SEARCH: LiteralString = """
select public.worker_start_sites(jsonb_build_array(jsonb_build_object(
    'run_id', %s::uuid, 'lease_token', %s::uuid, 'site', %s::text, 'attempt', %s::integer)))
"""


def search_to_start(run: Row, site: str, attempt: int = 1, **others: Any) -> Row:
    """A search as `worker_start_sites` takes it."""
    return {**lease(run), "site": site, "attempt": attempt, **others}


async def start_search(service: AsyncClient, run: Row, site: str, attempt: int = 1, **others: Any) -> Row:
    """Start to search a site of a claimed run, as an attempt; return whether it was admitted."""
    searches = [search_to_start(run, site, attempt, **others)]
    ((answer),) = await call(service, "worker_start_sites", searches=searches)
    if "admission" not in answer:
        raise APIError({"code": "PT409", "message": str(answer), "details": None, "hint": None})
    admission: Row = answer["admission"]
    return admission


async def start_site(service: AsyncClient, run: Row, site: str) -> Row:
    """Start to search a site of a claimed run; return the answer."""
    (given,) = [given for given in run["sites"] if given["site"] == site]
    return await start_search(service, run, site, given["attempt"], account=given["account"])


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
    """A page as `worker_save_pages` takes it, without the lease."""
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


SAVE_PAGES: LiteralString = "select public.worker_save_pages(%s)"


async def save_page(service: AsyncClient, **found: Any) -> Row:
    """Save a page as a worker; return the answer."""
    answer: Row
    (answer,) = await call(service, "worker_save_pages", pages=[found])
    if answer.pop("state") != "done":
        raise APIError({"code": "PT409", "message": str(answer), "details": None, "hint": None})
    return answer


async def ends(service: AsyncClient, *finished: Row) -> list[Row]:
    """Send what a worker sends at the ends of sites and runs; return the answers."""
    answers: list[Row] = await call(service, "worker_finish_sites", finished=finished)
    return answers


async def _end(service: AsyncClient, end: Row) -> Row:
    (answer,) = await ends(service, end)
    if answer["state"] != "done":
        raise APIError({"code": "PT409", "message": answer["state"], "details": None, "hint": None})
    return answer


async def finish_site(service: AsyncClient, run: Row, site: str, **ended: Any) -> None:
    """End the search of a site of a claimed run."""
    await _end(service, {**lease(run), "site": site, "ends_run": False, **ended})


async def finish_run(service: AsyncClient, run: Row) -> Row:
    """End a claimed run; return its row, with `sites` and the `fallbacks` that are to be searched first."""
    answer = await _end(service, {**lease(run), "ends_run": True})
    columns = "*, sites:search_run_sites(*)"
    query = service.table("search_runs").select(columns).eq("id", run["run_id"])
    row: Any = (await query.order("position", foreign_table="search_run_sites").single().execute()).data
    return {**row, "fallbacks": answer["run"]["fallbacks"]}


async def search(service: AsyncClient, run: Row, pages: Mapping[str, Sequence[Sequence[str]]]) -> Row:
    """Search all of a claimed run: for each site its pages, as external ids; return the finished run."""
    for site, external_ids_of_pages in pages.items():
        assert (await start_site(service, run, site))["granted"]
        (attempt,) = [given["attempt"] for given in run["sites"] if given["site"] == site]
        for page_number, external_ids in enumerate(external_ids_of_pages, start=1):
            saved = page(site, page_number, external_ids, attempt=attempt)
            await save_page(service, **lease(run), **saved)
        await finish_site(service, run, site=site)
    finished: Row = await finish_run(service, run)
    return finished


async def search_next(service: AsyncClient, kind: str) -> Row:
    """Claim the one run that is ready, and find two items on each of `SITES`; return the finished run."""
    (claimed,) = await claim(service, kind, slots=10)
    return await search(service, claimed, {site: [[uuid4().hex, uuid4().hex]] for site in SITES})


async def count_items(client: AsyncClient, run: Row) -> int:
    """How many items of a run a user sees."""
    return len((await client.table("run_items").select("item_id").eq("run_id", run["id"]).execute()).data)


async def enqueue_jobs(user: User, *sites: str, **parameters: Any) -> str:
    """Enqueue a search for engineers as a user of the library; return the run's id.

    The term differs from those of other searches, which would share one; the played boards ignore the difference.
    """
    term = f"engineer {'.' * next(_numbers)}"
    run = await user.enqueue("jobs", {"search_term": term, "results_wanted": 25, "sites": sites} | parameters)
    return str(run["id"])
