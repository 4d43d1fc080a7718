"""A worker that is killed between any two stages of a page's way: nothing is lost, nothing is there twice."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.database import Connection
from tests.support.listings import Listings
from tests.support.queue import Row, enqueue, found_ids
from tests.support.stack import SignIn
from tests.support.stopping_worker import stopped
from tests.support.workers import worker_of
from worker.local.supabase.stack import Endpoints

SITES = ("indeed", "linkedin")


@pytest.fixture
def source(kind: str, tmp_path: Path) -> Listings:
    return Listings(kind, SITES, tmp_path / "fetched")


@pytest.mark.parametrize(
    "point",
    [
        ("transform",),
        ("save_page", "before"),
        ("save_page", "after"),
        ("save_page", "before", "last"),
        ("save_page", "after", "last"),
        ("finish_site", "before"),
        ("finish_site", "after"),
        ("finish_site", "before", "last"),
        ("finish_site", "after", "last"),
    ],
    ids=" ".join,
)
async def test_a_search_goes_on_where_a_worker_was_killed(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    kind: str,
    source: Listings,
    point: tuple[str, ...],
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, kind, search_term=term, sites=[*SITES])
    times = len(SITES) if point[-1] == "last" else 1
    if point[0] == "finish_site":
        # A run that others follow does not end with its last page.
        await enqueue(await sign_in(), kind, search_term=term, sites=[*SITES])
    elif point[-1] == "last":
        times *= source.pages
    with stopped(stack, source, *point[:2], time=times):
        pass
    await database.execute("update worker.leases set expires_at = 'epoch' where run_id = %s", [run["id"]])
    kept = await database.execute("select site, page_number from worker.raw_collections where run_id = %s", [run["id"]])
    already, fetched = set(await kept.fetchall()), len(source.fetched)
    await worker_of(stack, source).once()

    answer = await user.table("search_runs").select("*,search_run_sites(*)").eq("id", run["id"]).single().execute()
    ended: Row = answer.data  # type: ignore[assignment]
    assert (ended["status"], ended["jobs_found"]) == ("success", len(source.all_ids(term, *SITES)))
    assert ended["rescues"] == (0 if point[1:] == ("after", "last") else 1)
    assert {site["jobs_found"] for site in ended["search_run_sites"]} == {source.pages * source.records_a_page}
    assert await found_ids(user, run["id"]) == source.all_ids(term, *SITES)
    pages = await database.execute(
        "select site, page_number from worker.raw_collections where run_id = %s and status = 'completed'", [run["id"]]
    )
    assert sorted(await pages.fetchall()) == [(site, page) for site in SITES for page in range(1, source.pages + 1)]
    assert not already & set(source.fetched[fetched:])
    items = await database.execute("select count(*) from public.items where kind = %s", [kind])
    assert await items.fetchone() == (len(source.all_ids(term, *SITES)),)
    events = await database.execute(
        "select count(*) from public.run_events where run_id = %s and event = 'finished'", [run["id"]]
    )
    assert await events.fetchone() == (1,)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_reprocessing_goes_on_where_a_worker_was_killed(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    kind: str,
    source: Listings,
    when: str,
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, kind, search_term=term, sites=[*SITES])
    await worker_of(stack, source).once()
    former = await (await database.execute("select * from public.items where kind = %s order by id", [kind])).fetchall()
    await database.execute("update worker.raw_collections set status = 'fetched' where run_id = %s", [run["id"]])
    with stopped(stack, source, "load_page", when):
        pass
    await database.execute("update worker.raw_collections set claimed_until = 'epoch' where run_id = %s", [run["id"]])
    await worker_of(stack, source).reprocess(source="listings", status="failed")

    statuses = await database.execute(
        "select distinct status from worker.raw_collections where run_id = %s", [run["id"]]
    )
    assert await statuses.fetchall() == [("completed",)]
    assert await found_ids(user, run["id"]) == source.all_ids(term, *SITES)
    again = await (await database.execute("select * from public.items where kind = %s order by id", [kind])).fetchall()
    assert again == former
