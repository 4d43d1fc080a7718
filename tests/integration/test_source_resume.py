"""A search that goes on after its last saved page, whoever goes on with it, and however it had ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import sql
from supabase import AsyncClient

from tests.support.database import Configure, Connection
from tests.support.listings import Listings
from tests.support.queue import Row, enqueue
from tests.support.stack import SignIn
from tests.support.stopping_worker import stopped
from tests.support.workers import worker_of
from worker.engine.spool import Spool
from worker.errors import ErrorCode, SiteError
from worker.local.supabase.stack import Endpoints
from worker.model import FoundPage, Page, Transformed
from worker.sources import Search

SITE = "indeed"


@pytest.fixture
def source(kind: str, tmp_path: Path) -> Listings:
    return Listings(kind, [SITE], tmp_path / "fetched", pages=5)


@pytest.fixture
async def progress(database: Connection, configure: Configure) -> AsyncIterator[sql.Identifier]:
    """A table of all that runs and their sites ever showed as their progress."""
    await configure("progress_interval", "0")
    name = f"progress_{uuid4().hex}"
    statements: tuple[LiteralString, ...] = (
        "create table {table} (id serial, run_id uuid, site text, step text, current numeric, found integer)",
        """
        create function {run}() returns trigger language plpgsql security definer set search_path = '' as $$ begin
            insert into {table} (run_id, current, found) values (new.id, new.progress_current, new.jobs_found);
            return null;
        end; $$
        """,
        """
        create function {site}() returns trigger language plpgsql security definer set search_path = '' as $$ begin
            insert into {table} (run_id, site, step, current, found) values (
                new.run_id, new.site, new.progress ->> 'step', (new.progress ->> 'current')::numeric, new.jobs_found);
            return null;
        end; $$
        """,
        "create trigger {run} after update on public.search_runs for each row execute function {run}()",
        "create trigger {site} after update on public.search_run_sites for each row execute function {site}()",
    )
    table = sql.Identifier("worker", name)
    names = {"table": table, "run": sql.Identifier(f"{name}_run"), "site": sql.Identifier(f"{name}_site")}
    for statement in statements:
        await database.execute(sql.SQL(statement).format(**names))
    yield table
    for statement in (
        "drop trigger {run} on public.search_runs",
        "drop trigger {site} on public.search_run_sites",
        "drop function {run}()",
        "drop function {site}()",
        "drop table {table}",
    ):
        await database.execute(sql.SQL(statement).format(**names))


async def ended(user: AsyncClient, run: Row) -> tuple[Row, Row, list[str]]:
    """A run, its only site, and the ids that it found."""
    answer = await user.table("search_runs").select("*,search_run_sites(*)").eq("id", run["id"]).single().execute()
    row: Row = answer.data  # type: ignore[assignment]  # what PostgREST answers
    (site,) = row["search_run_sites"]
    found: list[Row] = []
    while batch := (
        await user.table("run_items").select("url").eq("run_id", run["id"]).order("url")
        .range(len(found), len(found) + 999).execute()
    ).data:  # fmt: skip
        found += batch  # type: ignore[arg-type]  # as above
    return row, site, sorted(item["url"].rpartition("/")[2] for item in found)


async def pages(database: Connection, run: Row) -> list[tuple[int, int]]:
    """The saved pages of a run: (attempt, page)."""
    rows = await database.execute(
        "select attempt, page_number from worker.raw_collections where run_id = %s order by attempt, page_number",
        [run["id"]],
    )
    return await rows.fetchall()


async def rescue(database: Connection, run: Row) -> None:
    """Let the lease of a dead worker run out."""
    await database.execute("update worker.leases set expires_at = 'epoch' where run_id = %s", [run["id"]])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_long_search_whose_worker_is_killed_in_the_middle_repeats_no_saved_page(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    kind: str,
    tmp_path: Path,
    progress: sql.Identifier,
    when: str,
) -> None:
    source = Listings(kind, [SITE], tmp_path / "fetched", pages=25, records=100)
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, kind, search_term=term, sites=[SITE], results_wanted=1000)
    with stopped(stack, source, "save_page", when, time=13):
        pass
    saved = [page for _, page in await pages(database, run)]
    assert saved == [*range(1, 13 if when == "before" else 14)]
    await rescue(database, run)
    await worker_of(stack, source).once()

    row, site, found = await ended(user, run)
    assert (row["status"], row["rescues"], row["jobs_found"]) == ("success", 1, 2500)
    assert (site["status"], site["attempts"]) == ("completed", 2)
    assert found == source.all_ids(term, SITE)
    assert [page for _, page in await pages(database, run)] == [*range(1, 26)]
    after_the_kill = [page for _, page in source.fetched[13:]]
    assert after_the_kill == [*range(len(saved) + 1, 26)]

    shown = await database.execute(
        sql.SQL("select site, step, current, found from {} where run_id = %s order by id").format(progress), [run["id"]]
    )
    rows = await shown.fetchall()
    of_run = [(current, found) for site, _, current, found in rows if site is None]
    of_site = [current for site, step, current, _ in rows if site == SITE and step == "searching" and current]
    assert of_run == sorted(of_run)
    assert of_site == sorted(of_site)
    assert len(set(of_run)) >= 25
    assert set(of_site) >= {100 * page for page in saved}


async def test_an_attempt_after_a_failure_goes_on_at_the_cursor(
    stack: Endpoints, sign_in: SignIn, database: Connection, configure: Configure, source: Listings
) -> None:
    async def fail(search: Search, page: int) -> None:  # noqa: ARG001
        if page == 3 and len(source.searches) == 1:
            raise SiteError(ErrorCode.NETWORK, "cut off")

    await configure("retry_delay", "0")
    source.before_page = fail
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, source.kind, search_term=term, sites=[SITE])
    await worker_of(stack, source).drain(60)
    row, _, found = await ended(user, run)
    assert (row["status"], row["attempts"], found) == ("success", 2, source.all_ids(term, SITE))
    assert [(search.cursor, search.next_page) for search in source.searches] == [(None, 1), ({"after": 2}, 3)]
    assert await pages(database, run) == [(1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]


async def test_after_a_page_that_could_not_be_read_a_search_begins_anew(
    stack: Endpoints, sign_in: SignIn, database: Connection, configure: Configure, source: Listings
) -> None:
    class Changing(Listings):
        def records(self, site: str, page: Page) -> Any:
            if page.number == 2 and len(self.searches) == 1:
                raise LookupError("another form")
            return super().records(site, page)

    await configure("retry_delay", "0")
    source = Changing(source.kind, [SITE], source.log)
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, source.kind, search_term=term, sites=[SITE])
    await worker_of(stack, source).drain(60)
    row, _, found = await ended(user, run)
    assert (row["status"], row["attempts"], found) == ("success", 2, source.all_ids(term, SITE))
    assert [search.next_page for search in source.searches] == [1, 1]
    assert await pages(database, run) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


async def test_a_site_whose_last_page_is_saved_is_asked_for_nothing(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, source.kind, search_term=term, sites=[SITE])
    # A run that others follow does not end with its last page.
    await enqueue(await sign_in(), source.kind, search_term=term, sites=[SITE])
    with stopped(stack, source, "finish_site", "before"):
        pass
    await rescue(database, run)
    await worker_of(stack, source).once()
    row, site, found = await ended(user, run)
    assert (row["status"], site["status"], found) == ("success", "completed", source.all_ids(term, SITE))
    assert source.searches == []


async def test_what_a_killed_worker_left_on_disk_is_not_fetched_again(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, tmp_path: Path
) -> None:
    user, term = await sign_in(), uuid4().hex
    run = await enqueue(user, source.kind, search_term=term, sites=[SITE])
    with stopped(stack, source, "save_page", "after", time=2):
        pass
    spool = Spool(tmp_path / "spool")
    for number in (3, 4):
        items = tuple(source.parse(SITE, record) for record in source.ids(term, SITE, number))
        left = Page(number, [*source.ids(term, SITE, number)], 5, cursor={"after": number})
        transformed = Transformed(1, items, (), {}, 0)
        spool.put(UUID(run["id"]), FoundPage(SITE, 1, None, source.name, left, transformed))
    await rescue(database, run)
    await worker_of(stack, source, WORKER_SPOOL_DIR=tmp_path / "spool").once()
    row, _, found = await ended(user, run)
    assert (row["status"], found) == ("success", source.all_ids(term, SITE))
    assert [(search.cursor, search.next_page) for search in source.searches] == [({"after": 4}, 5)]
    assert await pages(database, run) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]
