"""Sites that have to wait: their runs hold no place meanwhile, go on by themselves, and never wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection, rows
from tests.support.listings import Listings
from tests.support.queue import Row, enqueue, found_ids
from tests.support.stack import SignIn
from tests.support.workers import worker_of
from worker.database.answers import FinishedRun
from worker.database.queue import Queue
from worker.database.user import FollowedRun, User
from worker.engine.execution import Execution
from worker.engine.worker import Worker
from worker.errors import ErrorCode, SiteError
from worker.local.supabase.stack import Endpoints
from worker.model import Observed, Progress, Run, SiteLimits
from worker.sources import Search

# What the worker says of itself.
SEARCHABLE: LiteralString = "select sites -> %s from worker.workers order by seen_at desc limit 1"


@pytest.fixture
async def kind(kind: str, database: Connection) -> str:
    """A kind that is searched for at any site, so that a test is alone with its own."""
    await database.execute(
        "update worker.parameter_rules set allowed = null where kind = %s and name = 'sites'", [kind]
    )
    return kind


@pytest.fixture
def sites() -> tuple[str, str]:
    """Two sites; by their places, the first one is searched first."""
    number = uuid4().hex[:12]
    return f"first-{number}", f"second-{number}"


@pytest.fixture
def source(kind: str, sites: tuple[str, str], tmp_path: Path) -> Listings:
    return Listings(kind, sites, tmp_path / "fetched")


def worker(stack: Endpoints, source: Listings, **settings: object) -> Worker:
    """A worker that searches one run at a time."""
    return worker_of(stack, source, **{"WORKER_CONCURRENCY": 1} | settings)


async def state(user: AsyncClient, run: Row) -> tuple[Row, dict[str, Row]]:
    """A run, and its sites by name."""
    answer = await user.table("search_runs").select("*,search_run_sites(*)").eq("id", run["id"]).single().execute()
    row: Row = answer.data  # type: ignore[assignment]  # what PostgREST answers
    return row, {site["site"]: site for site in row["search_run_sites"]}


async def events(database: Connection, run: Row) -> list[str]:
    rows = await database.execute("select event from public.run_events where run_id = %s order by id", [run["id"]])
    return [event for (event,) in await rows.fetchall()]


async def until(stack: Endpoints, user: AsyncClient, run: Row, condition: Callable[[FollowedRun], bool]) -> FollowedRun:
    """Follow a run live until it is as it should be."""
    async with aclosing(User(user, stack.url, stack.anon_key).follow([run["id"]])) as states:
        async for state in states:
            if condition(followed := state[run["id"]]):
                return followed
    raise AssertionError(f"it ended otherwise: {followed}")


async def pause(database: Connection, site: str, interval: str) -> None:
    """Open the breaker of a site."""
    await database.execute(
        """
        insert into worker.site_health (site, paused_until, paused_by)
        values (%s, worker.now() + %s::interval, 'blocked')
        """,
        [site, interval],
    )


async def let_time_pass(database: Connection, run: Row, site: str) -> None:
    """As if what the run waits for were over."""
    statements: tuple[LiteralString, ...] = (
        "update worker.site_health set paused_until = worker.now() where site = %(site)s",
        "update worker.site_buckets set paused_until = null, next_at = worker.now() where bucket = %(site)s",
        "update worker.site_waits set due_at = worker.now() where run_id = %(run)s",
        "update public.search_runs set run_after = worker.now() where id = %(run)s",
    )
    for statement in statements:
        await database.execute(statement, {"site": site, "run": run["id"]})


async def test_a_paused_site_holds_up_neither_the_other_sites_nor_other_runs(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    paused, calm = sites
    user = await sign_in()
    await pause(database, paused, "10 minutes")
    waiting = await enqueue(user, source.kind, search_term="a", sites=[paused, calm])
    other = await enqueue(user, source.kind, search_term="b", sites=[calm])
    await worker(stack, source).drain(60)

    run, of_site = await state(user, waiting)
    assert (run["status"], run["attempts"], run["jobs_found"]) == ("pending", 0, 12)
    assert run["progress"]["step"] == "waiting"
    (told,) = run["progress"]["details"]["sites"]
    assert (told["site"], told["reason"]) == (paused, "paused")
    assert "is not answering at the moment; it will be tried again at " in told["message"]
    assert run["run_after"] >= told["until"]
    assert (of_site[paused]["status"], of_site[calm]["status"]) == ("pending", "completed")
    assert (await state(user, other))[0]["status"] == "success"

    await let_time_pass(database, waiting, paused)
    await worker(stack, source).drain(60)
    run, of_site = await state(user, waiting)
    assert (run["status"], run["attempts"], of_site[paused]["attempts"]) == ("success", 1, 1)
    assert await found_ids(user, waiting["id"]) == source.all_ids("a", *sites)
    assert [search.site for search in source.searches] == [calm, calm, paused]
    assert (await events(database, waiting))[-5:] == [
        "deferred",
        "claimed",
        "site_started",
        "site_finished",
        "finished",
    ]


async def test_a_run_that_waits_too_long_for_its_only_site_fails_with_the_cause(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    configure: Configure,
    source: Listings,
    sites: tuple[str, str],
) -> None:
    user = await sign_in()
    await pause(database, sites[0], "20 minutes")
    await configure("max_site_wait", "25 minutes")
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).drain(60)
    assert (await state(user, run))[0]["status"] == "pending"

    # The pause was over, a prober failed, and now it is twice as long.
    await let_time_pass(database, run, sites[0])
    await database.execute(
        "update worker.site_health set paused_until = worker.now() + interval '40 minutes' where site = %s", [sites[0]]
    )
    await worker(stack, source).drain(60)
    row, of_site = await state(user, run)
    assert (row["status"], row["error_code"], row["attempts"]) == ("failed", "blocked", 1)
    assert of_site[sites[0]]["retryable"] is False
    assert row["error_message"].endswith(" is not answering at the moment.")
    assert source.searches == []


async def test_a_run_that_waits_too_long_for_one_of_its_sites_is_partial(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    user = await sign_in()
    await pause(database, sites[0], "2 hours")
    run = await enqueue(user, source.kind, sites=[*sites])
    await worker(stack, source).drain(60)
    row, of_site = await state(user, run)
    assert (row["status"], row["error_code"], row["jobs_found"]) == ("partial", "blocked", 12)
    assert {name: site["status"] for name, site in of_site.items()} == {sites[0]: "failed", sites[1]: "completed"}


async def test_a_search_that_meets_its_limit_is_closed_and_goes_on_after_its_last_page(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    limited, free = sites

    async def ask(search: Search, page: int) -> None:  # noqa: ARG001
        await search.permits.take()

    source.before_page = ask
    source.limits = MappingProxyType({limited: SiteLimits(requests=2, period_seconds=1200, burst=2)})
    user = await sign_in()
    run = await enqueue(user, source.kind, search_term="a", sites=[*sites])
    await worker(stack, source).drain(60)

    row, of_site = await state(user, run)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert (of_site[limited]["status"], of_site[limited]["jobs_found"]) == ("pending", 8)
    assert of_site[free]["status"] == "completed"
    assert source.closed == [limited, free]
    assert source.fetched == [(limited, 1), (limited, 2), (free, 1), (free, 2), (free, 3)]

    await let_time_pass(database, run, limited)
    await worker(stack, source).drain(60)
    row, of_site = await state(user, run)
    assert (row["status"], row["attempts"], of_site[limited]["attempts"]) == ("success", 1, 2)
    assert source.fetched[5:] == [(limited, 3)]
    assert await found_ids(user, run["id"]) == source.all_ids("a", *sites)


async def test_a_site_that_asks_to_be_left_alone_is(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    async def ask(search: Search, page: int) -> None:
        if page == 2 and not source.closed:
            await search.permits.observe(Observed(retry_after_seconds=300))
            await search.permits.take()

    source.before_page = ask
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).drain(60)
    row, _ = await state(user, run)
    assert (row["status"], row["progress"]["details"]["sites"][0]["reason"]) == ("pending", "paused")
    await let_time_pass(database, run, sites[0])
    await worker(stack, source).drain(60)
    assert (await state(user, run))[0]["status"] == "success"
    assert source.fetched == [(sites[0], page) for page in (1, 2, 3)]


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """A worker that waits for work."""
    working = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_run_that_was_put_off_wakes_its_worker_when_it_is_due(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    configure: Configure,
    source: Listings,
    sites: tuple[str, str],
) -> None:
    await configure("inline_wait", "0")
    user = await sign_in()
    await pause(database, sites[0], "2 seconds")
    run = await enqueue(user, source.kind, sites=[sites[0]])
    idle = {"WORKER_POLL_IDLE_SECONDS": 600, "WORKER_POLL_SECONDS": 60}
    async with running(worker(stack, source, **idle)):
        await until(stack, user, run, lambda followed: followed.run["status"] == "success")
    assert (await events(database, run))[:3] == ["created", "claimed", "deferred"]


async def test_missing_credentials_fail_the_site_before_anything_else(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    source.credentials = MappingProxyType({"BOARD_URL": True, "BOARD_API_KEY": False})
    await pause(database, sites[0], "10 minutes")
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).once()
    row, of_site = await state(user, run)
    assert (row["status"], row["error_code"], of_site[sites[0]]["retryable"]) == ("failed", "unauthorized", False)
    assert "BOARD" not in row["error_message"]
    assert await rows(database, SEARCHABLE, [source.kind]) == [(None,)]
    (missing,) = await rows(
        database,
        "select data ->> 'message' from public.run_events where run_id = %s and event = 'site_finished'",
        [run["id"]],
    )
    assert missing == (f"{sites[0]} needs BOARD_API_KEY in the worker's environment",)
    assert source.searches == []


async def test_without_an_account_a_site_that_needs_one_fails_and_with_one_it_gets_it(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    database: Connection,
    source: Listings,
    sites: tuple[str, str],
) -> None:
    source.needs_account = True
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).once()
    row, _ = await state(user, run)
    assert (row["status"], row["error_code"]) == ("failed", "unauthorized")
    assert "account" in row["error_message"]
    assert await rows(database, SEARCHABLE, [source.kind]) == [(list(source.sites),)]

    await database.execute(
        "insert into worker.accounts (user_id, site, account) values (%s, %s, 'account-1')", [row["user_id"], sites[0]]
    )
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).once()
    assert (await state(user, run))[0]["status"] == "success"
    assert [search.account for search in source.searches] == ["account-1"]


async def test_a_page_that_does_not_come_ends_the_site_and_its_search_cleans_up(
    stack: Endpoints, sign_in: SignIn, database: Connection, source: Listings, sites: tuple[str, str]
) -> None:
    async def hang(search: Search, page: int) -> None:
        if (search.site, page) == (sites[0], 2):
            await asyncio.Event().wait()

    source.before_page = hang
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[*sites])
    await database.execute("update public.search_runs set max_attempts = 1 where id = %s", [run["id"]])
    await worker(stack, source, WORKER_SITE_TIMEOUT_SECONDS=0.5).once()
    row, of_site = await state(user, run)
    assert (row["status"], row["jobs_found"]) == ("partial", 16)
    assert (of_site[sites[0]]["status"], of_site[sites[0]]["error_code"]) == ("partial", "timeout")
    assert source.closed == [*sites]


async def test_what_a_search_tells_between_its_pages_is_shown(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    configure: Configure,
    source: Listings,
    sites: tuple[str, str],
) -> None:
    go_on = asyncio.Event()

    async def enrich(search: Search, page: int) -> None:
        if page == 2:
            for done in range(1, 100):
                await search.report(Progress("enriching", done, 99, {"channel": f"number \0{done}"}))
            await go_on.wait()

    await configure("progress_interval", "0")
    source.before_page = enrich
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    working = asyncio.create_task(worker(stack, source).once())
    followed = await until(
        stack, user, run, lambda followed: followed.sites[sites[0]]["progress"]["step"] == "enriching"
    )
    assert followed.sites[sites[0]]["progress"] == {
        "step": "enriching",
        "current": 99,
        "total": 99,
        "details": {"channel": "number 99"},
    }
    go_on.set()
    await working
    assert (await state(user, run))[0]["status"] == "success"


async def test_what_a_site_must_not_be_asked_for_again_is_not(
    stack: Endpoints, sign_in: SignIn, source: Listings, sites: tuple[str, str]
) -> None:
    async def refuse(search: Search, page: int) -> None:  # noqa: ARG001
        raise SiteError(ErrorCode.UPSTREAM, "the account is closed", is_final=True)

    source.before_page = refuse
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source).drain(60)
    row, of_site = await state(user, run)
    assert (row["status"], row["attempts"], of_site[sites[0]]["retryable"]) == ("failed", 1, False)


async def test_a_drain_takes_what_comes_back_while_it_asks_for_more(
    *,
    stack: Endpoints,
    sign_in: SignIn,
    source: Listings,
    sites: tuple[str, str],
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await configure("retry_delay", "0")
    asked, ended = asyncio.Event(), asyncio.Event()
    claim, execute = Queue.claim, Execution.execute

    async def claim_slowly(queue: Queue, *arguments: Any, **others: Any) -> list[Run]:
        runs = await claim(queue, *arguments, **others)
        if not runs and not ended.is_set():
            asked.set()
            await ended.wait()
        return runs

    async def execute_and_tell(execution: Execution, run: Run, **options: Any) -> FinishedRun:
        finished = await execute(execution, run, **options)
        ended.set()
        return finished

    async def fail_once(search: Search, page: int) -> None:  # noqa: ARG001
        if not ended.is_set():
            await asked.wait()
            raise SiteError(ErrorCode.NETWORK, "reset")

    monkeypatch.setattr(Queue, "claim", claim_slowly)
    monkeypatch.setattr(Execution, "execute", execute_and_tell)
    source.before_page = fail_once
    user = await sign_in()
    run = await enqueue(user, source.kind, sites=[sites[0]])
    await worker(stack, source, WORKER_CONCURRENCY=2).drain(60)
    row, _ = await state(user, run)
    assert (row["status"], row["attempts"]) == ("success", 2)
