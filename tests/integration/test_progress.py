"""How far each site is: told as it goes, at most once in a while, and never back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Configure, Connection, scalar
from tests.support.queue import (
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    save_page,
    start_site,
)


@pytest.fixture
async def run(ada: AsyncClient, service: AsyncClient, kind: str, configure: Configure) -> Row:
    """A claimed run of two sites, the first of which is being searched; each write of progress is let through."""
    await configure("progress_interval", "0")
    await enqueue(ada, kind, sites=["indeed", "linkedin"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    return run


async def tell(service: AsyncClient, run: Row, step: str = "enriching", **progress: Any) -> None:
    progress = {"step": step, "site": "indeed"} | progress
    await call(service, "worker_write_progress", **lease(run), progress=progress)


async def run_progress(ada: AsyncClient, run: Row) -> Row:
    found: Any = await ada.table("search_runs").select("*").eq("id", run["run_id"]).single().execute()
    return dict(found.data)


async def site_progress(ada: AsyncClient, run: Row) -> dict[str, Row]:
    found: Any = await ada.table("search_run_sites").select("site, progress").eq("run_id", run["run_id"]).execute()
    return {row["site"]: row["progress"] for row in found.data}


async def test_each_site_has_its_own(ada: AsyncClient, service: AsyncClient, run: Row) -> None:
    assert await site_progress(ada, run) == {"indeed": {"step": "searching"}, "linkedin": {"step": "queued"}}
    await tell(service, run, current=3, total=25, details={"channel": "a"})
    told = {"step": "enriching", "current": 3, "total": 25, "details": {"channel": "a"}}
    assert (await site_progress(ada, run))["indeed"] == told
    assert (await run_progress(ada, run))["progress"] == told | {"site": "indeed"}

    found = page("indeed", 1, [uuid4().hex for _ in range(2)])
    found["progress"] = {"step": "scoring", "site": "indeed", "current": None, "total": None, "details": {}}
    await save_page(service, **lease(run), **found)
    assert (await site_progress(ada, run))["indeed"] == {"step": "scoring", "details": {}}
    await start_site(service, run, "linkedin")
    assert (await site_progress(ada, run))["linkedin"] == {"step": "searching"}
    assert (await run_progress(ada, run))["progress"] == {"step": "searching", "site": "linkedin"}
    await tell(service, run, "scoring", current=7, details={"x": 1})
    await finish_site(service, run, site="indeed")
    assert (await site_progress(ada, run))["indeed"] == {"step": "finished"}


async def test_it_is_written_at_most_once_in_an_interval(
    ada: AsyncClient, service: AsyncClient, run: Row, configure: Configure
) -> None:
    await tell(service, run, current=1)
    await configure("progress_interval", "1 hour")
    before = await run_progress(ada, run)
    await tell(service, run, current=2)
    found = page("indeed", 1, [uuid4().hex]) | {"progress": {"step": "searching", "site": "indeed", "current": 3}}
    await save_page(service, **lease(run), **found)
    assert await run_progress(ada, run) == before
    assert (await site_progress(ada, run))["indeed"]["current"] == 1


async def test_the_more_runs_are_searched_the_less_often_is_each_written(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await configure("max_running_per_user", None)
    await enqueue(ada, kind, search_term=term)
    for _ in range(2):
        await enqueue(bob, kind)
    runs = {run["parameters"]["search_term"]: run for run in await claim(service, kind, slots=3)}
    searched = await scalar(database, "select count(*) from worker.leases")

    async def seconds() -> float:
        told = {"step": "searching", "site": "indeed"}
        answer: float = await call(service, "worker_write_progress", **lease(runs[term]), progress=told)
        return answer

    await configure("progress_interval", "1000 seconds")
    await configure("max_changes_per_interval", searched)
    assert 900 < await seconds() <= 1000
    await configure("max_changes_per_interval", 1)
    assert 1000 * searched - 100 < await seconds() <= 1000 * searched
    # Each of its followers costs as much as the run.
    for _ in range(2):
        await enqueue(bob, kind, search_term=term)
    assert 3000 * searched - 100 < await seconds() <= 3000 * searched
    await configure("max_live_followers", 1)
    assert 1000 * searched - 100 < await seconds() <= 1000 * searched


async def test_telling_the_same_again_touches_no_site(
    ada: AsyncClient, service: AsyncClient, database: Connection, run: Row
) -> None:
    await tell(service, run, current=1)
    versions = "select array_agg(xmin::text order by site) from public.search_run_sites where run_id = %s"
    before = await (await database.execute(versions, [run["run_id"]])).fetchall()
    await tell(service, run, current=1)
    assert await (await database.execute(versions, [run["run_id"]])).fetchall() == before
    assert (await site_progress(ada, run))["indeed"]["current"] == 1


@pytest.mark.parametrize("way", ["release", "retry"])
async def test_a_site_that_is_searched_again_does_not_go_back(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, run: Row, way: str
) -> None:
    await tell(service, run, "searching", current=1200, total=2500)
    if way == "release":
        await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
        step = "queued"
    else:
        failure = {"error_code": "network", "error_message": "reset", "retryable": True}
        await finish_site(service, run, site="indeed", **failure)
        await start_site(service, run, "linkedin")
        await finish_site(service, run, site="linkedin")
        await finish_run(service, run)
        await database.execute("update public.search_runs set run_after = now() where id = %s", [run["run_id"]])
        step = "retrying"
    far = {"current": 1200, "total": 2500}
    assert (await site_progress(ada, run))["indeed"] == {"step": step} | far
    (again,) = await claim(service, kind)
    await start_site(service, again, "indeed")
    assert (await site_progress(ada, again))["indeed"] == {"step": "searching"} | far
    await tell(service, again, "searching", current=0, total=2500)
    assert (await site_progress(ada, again))["indeed"] == {"step": "searching"} | far
    await tell(service, again, "searching", current=1300, total=2600)
    assert (await site_progress(ada, again))["indeed"] == {"step": "searching", "current": 1300, "total": 2600}
    # Another step is counted anew.
    await tell(service, again, "scoring", current=0, total=10)
    assert (await site_progress(ada, again))["indeed"] == {"step": "scoring", "current": 0, "total": 10}


counts = st.none() | st.integers(min_value=0, max_value=2**53)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(st.tuples(st.sampled_from(["a", "b"]), counts, counts), min_size=1, max_size=8))
async def test_within_a_step_current_never_falls(
    database: Connection, told: list[tuple[str, int | None, int | None]]
) -> None:
    progress: Row = {"step": "queued"}
    for step, current, total in told:
        answer = await database.execute(
            "select worker.merge_site_progress(%s, %s)",
            [Jsonb(progress), Jsonb({"step": step, "site": "indeed", "current": current, "total": total})],
        )
        ((after,),) = await answer.fetchall()
        former = progress if progress["step"] == step else {}
        known = [number for number in (former.get("current"), current) if number is not None]
        expected = {
            "step": step,
            "current": max(known, default=None),
            "total": former.get("total") if total is None else total,
        }
        assert after == {name: value for name, value in expected.items() if value is not None}
        progress = after


@pytest.mark.parametrize(
    ("progress", "message"),
    [
        (None, "progress must be an object with a step, which is a text"),
        ([], "progress must be an object with a step, which is a text"),
        ({"site": "indeed"}, "progress must be an object with a step, which is a text"),
        ({"site": "indeed", "step": 1}, "progress must be an object with a step, which is a text"),
        ({"step": "searching"}, "site must be one of the sites of the run, not NULL"),
        ({"step": "searching", "site": "bayt"}, "site must be one of the sites of the run, not 'bayt'"),
        ({"step": "searching", "site": "indeed", "current": "1"}, "progress.current must be a number"),
    ],
)
async def test_bad_progress_is_refused_with_the_field(
    service: AsyncClient, run: Row, progress: Any, message: str
) -> None:
    refused = await refusal(service, service.rpc("worker_write_progress", lease(run) | {"progress": progress}))
    assert (refused.status, refused.code, refused.message) == (400, "22023", message)
