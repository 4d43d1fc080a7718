"""A worker that is killed between any two stages of a page's way: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.conftest import SignIn
from tests.helpers import Row, enqueue
from tests.integration.conftest import Connection
from tests.stopping_worker import PAGES, RECORDS, Listings
from worker.local.stack import Endpoints
from worker.settings import Settings
from worker.worker import Worker

SITES = ("indeed", "linkedin")


@contextmanager
def stopped(stack: Endpoints, kind: str, *point: str) -> Iterator[None]:
    """A worker that has come to a point, and is killed there."""
    command = [sys.executable, "-m", "tests.stopping_worker", kind, *point]
    keys = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | keys) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stopped\n"
            yield
        finally:
            process.kill()


def successor(stack: Endpoints, kind: str) -> Worker:
    keys = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}
    return Worker(Settings.model_validate(keys), [Listings(kind)])


def expected(term: str) -> list[str]:
    return sorted(
        f"{term}-{site}-{page}-{record}" for site in SITES for page in range(PAGES) for record in range(RECORDS)
    )


async def found(user: AsyncClient, run: Row) -> list[str]:
    """The ids that the run found, each as often as it is there."""
    answer = await user.table("run_items").select("url").eq("run_id", run["id"]).execute()
    rows: list[Row] = answer.data  # type: ignore[assignment]  # what PostgREST answers
    return sorted(row["url"].removeprefix("https://example.com/") for row in rows)


@pytest.mark.parametrize(
    "point",
    [
        ("transform",),
        ("save_page", "before"),
        ("save_page", "after"),
        ("finish_site", "before"),
        ("finish_site", "after"),
        ("finish_run", "before"),
        ("finish_run", "after"),
    ],
    ids=" ".join,
)
async def test_a_search_goes_on_where_a_worker_was_killed(
    stack: Endpoints, sign_in: SignIn, database: Connection, kind: str, point: tuple[str, ...]
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, kind, search_term=term, sites=[*SITES])
    with stopped(stack, kind, *point):
        pass
    await database.execute("update worker.leases set expires_at = 'epoch' where run_id = %s", [run["id"]])
    await successor(stack, kind).once()

    answer = await user.table("search_runs").select("*,search_run_sites(*)").eq("id", run["id"]).single().execute()
    ended: Row = answer.data  # type: ignore[assignment]
    assert (ended["status"], ended["jobs_found"]) == ("success", len(expected(term)))
    assert ended["rescues"] == (0 if point == ("finish_run", "after") else 1)
    assert {site["jobs_found"] for site in ended["search_run_sites"]} == {PAGES * RECORDS}
    assert await found(user, run) == expected(term)
    pages = await database.execute(
        "select site, attempt, count(*), count(distinct page_number) from worker.raw_collections "
        "where run_id = %s and status = 'completed' group by site, attempt",
        [run["id"]],
    )
    kept = await pages.fetchall()
    assert {site for site, _, count, distinct in kept if count == distinct == PAGES} == set(SITES)
    items = await database.execute("select count(*) from public.items where kind = %s", [kind])
    assert await items.fetchone() == (len(expected(term)),)
    events = await database.execute(
        "select count(*) from public.run_events where run_id = %s and event = 'finished'", [run["id"]]
    )
    assert await events.fetchone() == (1,)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_reprocessing_goes_on_where_a_worker_was_killed(
    stack: Endpoints, sign_in: SignIn, database: Connection, kind: str, when: str
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, kind, search_term=term, sites=[*SITES])
    await successor(stack, kind).once()
    former = await (await database.execute("select * from public.items where kind = %s order by id", [kind])).fetchall()
    await database.execute("update worker.raw_collections set status = 'fetched' where run_id = %s", [run["id"]])
    with stopped(stack, kind, "load_page", when):
        pass
    await database.execute("update worker.raw_collections set claimed_until = 'epoch' where run_id = %s", [run["id"]])
    await successor(stack, kind).reprocess(source="listings", status="failed")

    statuses = await database.execute(
        "select distinct status from worker.raw_collections where run_id = %s", [run["id"]]
    )
    assert await statuses.fetchall() == [("completed",)]
    assert await found(user, run) == expected(term)
    again = await (await database.execute("select * from public.items where kind = %s order by id", [kind])).fetchall()
    assert again == former
