"""The whole way of a search: a user's row, the worker as a process, real scrapers, the boards on loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.support.database import Configure
from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user
from tests.support.workers import drain, worker_of, worker_process
from worker.database.answers import FinishedRun
from worker.database.queue import Queue
from worker.database.user import FollowedRun, User
from worker.database.wakeup import Wakeup
from worker.engine.worker import Worker
from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.local.boards import Boards
from worker.local.supabase.faulty_gateway import FaultyGateway, Outage
from worker.local.supabase.stack import Endpoints
from worker.model import Item, Json, Lease, Page
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

AGES = itertools.count(5000)


pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module", autouse=True)
def failures_cost_nothing(stack: Endpoints) -> None:
    """Failed sites are retried without delay, and no site is paused for its failures."""
    change(stack, "update worker.settings set retry_delay = '0'")
    change(stack, "update worker.breaker_rules set failures = 1000")


@pytest.fixture(autouse=True)
def no_history(stack: Endpoints) -> None:
    """No site is known as better than another, and none was asked just now."""
    change(stack, "truncate worker.site_health, worker.site_buckets")


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


def change(stack: Endpoints, statement: LiteralString, *arguments: object) -> None:
    """Change the database as its owner."""
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        connection.execute(statement, arguments)


def files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def spooled(folder: Path) -> list[Any]:
    """The items that wait on disk."""
    return [item for path in folder.glob("*/*.json") for item in json.loads(path.read_text())["items"]]


async def last(user: User) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The user's last run, and its sites by name."""
    (run,) = await user.runs(1)
    return run, {site["site"]: site for site in run["run_sites"]}


async def sightings(user: User, run_id: str) -> int:
    """How often the things that a run found are on its sites."""
    return sum(len(item["sites"]) for item in await user.items(run_id, limit=1000))


async def until(user: User, run_id: str, condition: Callable[[FollowedRun], bool]) -> FollowedRun:
    """Follow a run until it is as it should be."""
    async with aclosing(user.follow([run_id])) as states:
        async for state in states:
            if condition(state[run_id]):
                return state[run_id]
    raise AssertionError(f"it ended otherwise: {state[run_id]}")


async def page_under_way(user: User, boards: Boards, run_id: str) -> None:
    """Wait until a page is saved, and LinkedIn is asked for another."""
    await until(user, run_id, lambda run: run.sites["linkedin"]["jobs_found"] > 0)
    await boards.wait_for_requests("linkedin", len(boards.requests("linkedin")) + 1)


@pytest.fixture
def clock(stack: Endpoints) -> Iterator[Callable[[str], None]]:
    """Moves the database's clock ahead, for as long as the test takes."""
    with psycopg.connect(stack.db_url, autocommit=True) as connection:

        def ahead(interval: str) -> None:
            statement = """
                create or replace function worker.now() returns timestamptz language sql stable set search_path = ''
                return clock_timestamp() + interval {}
            """
            connection.execute(sql.SQL(statement).format(interval))

        yield ahead
        ahead("0")


async def test_one_site(stack: Endpoints, boards: Boards, user: User) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    log = await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["jobs_found"], run["error_code"]) == ("success", 25, None)
    assert run["progress_current"] == run["progress_total"] == 25
    assert (run["attempts"], run["rescues"]) == (1, 0)
    assert run["started_at"] < run["completed_at"]
    assert (sites["indeed"]["status"], sites["indeed"]["jobs_found"]) == ("completed", 25)

    items = await user.items(run_id, limit=100)
    known = {(listing.title, listing.company) for listing in boards.listings if listing.site == "indeed"}
    assert len({item["item_id"] for item in items}) == 25
    assert {(item["title"], item["organization"]) for item in items} <= known
    assert all(item["is_new"] for item in items)

    (summary,) = [line for line in log if line.get("sites") and line["run_id"] == run_id]
    assert [(site["site"], site["status"], site["jobs_found"]) for site in summary["sites"]] == [
        ("indeed", "completed", 25)
    ]
    assert "✓ indeed" in summary["message"]


async def test_several_sites_are_searched_in_the_order_told(stack: Endpoints, boards: Boards, user: User) -> None:
    run_id = await enqueue_jobs(user, "zip_recruiter", "linkedin", "indeed")
    await drain(stack, boards)

    run, sites = await last(user)
    assert run["status"] == "success"
    assert {site["status"] for site in sites.values()} == {"completed"}
    assert run["jobs_found"] == sum(site["jobs_found"] for site in sites.values()) == 75
    assert await sightings(user, run_id) == 75
    starts = sorted(sites.values(), key=lambda site: site["started_at"])
    with psycopg.connect(stack.db_url) as database:
        claims = "select data -> 'sites' from public.run_events where run_id = %s and event = 'claimed'"
        assert [[site["site"] for site in starts]] == [told for (told,) in database.execute(claims, [run_id])]


async def test_a_blocked_board_fails_alone(stack: Endpoints, boards: Boards, user: User) -> None:
    boards.fail("glassdoor", "blocked")
    run_id = await enqueue_jobs(user, "indeed", "glassdoor", "linkedin")
    log = await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["error_code"], run["jobs_found"]) == ("partial", "blocked", 50)
    assert run["error_message"] == "Glassdoor is not answering at the moment."
    assert [sites[site]["status"] for site in ("indeed", "glassdoor", "linkedin")] == [
        "completed",
        "failed",
        "completed",
    ]
    assert (sites["glassdoor"]["error_code"], sites["glassdoor"]["retryable"]) == ("blocked", True)
    assert (run["attempts"], sites["glassdoor"]["attempts"], sites["indeed"]["attempts"]) == (3, 3, 1)
    assert {item["site"] for item in await user.items(run_id, limit=100)} == {"indeed", "linkedin"}
    summary = [line["message"] for line in log if line.get("sites")][-1]
    assert "✗ glassdoor" in summary
    assert "Sites completed: 2 of 3, failed: 1" in summary


async def test_all_boards_fail_each_with_its_reason(stack: Endpoints, boards: Boards, user: User) -> None:
    boards.fail("indeed", "rate_limited")
    boards.fail("linkedin", "server_error")
    await enqueue_jobs(user, "indeed", "linkedin", "naukri", country="usa")
    await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["jobs_found"]) == ("failed", 0)
    assert {name: site["error_code"] for name, site in sites.items()} == {
        "indeed": "rate_limited",
        "linkedin": "upstream",
        "naukri": "invalid_parameters",
    }
    assert sites["naukri"]["retryable"] is False
    assert {name: site["attempts"] for name, site in sites.items()} == {"indeed": 3, "linkedin": 3, "naukri": 0}
    assert "country" in sites["naukri"]["error_message"]
    assert run["error_message"] == " ".join(site["error_message"] for site in sites.values())


async def test_nothing_found_is_a_success(stack: Endpoints, boards: Boards, user: User) -> None:
    await enqueue_jobs(user, "indeed", "linkedin", search_term="xylophone zookeeper qwertz")
    await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["jobs_found"], run["error_code"]) == ("success", 0, None)
    assert run["progress_current"] == run["progress_total"]
    assert {site["status"] for site in sites.values()} == {"completed"}


async def test_pages_before_a_failure_are_kept(stack: Endpoints, boards: Boards, user: User) -> None:
    boards.fail("linkedin", "rate_limited", from_page=3)
    run_id = await enqueue_jobs(user, "linkedin", results_wanted=60)
    await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], sites["linkedin"]["status"]) == ("partial", "partial")
    assert sites["linkedin"]["error_code"] == "rate_limited"
    assert run["jobs_found"] == await sightings(user, run_id) == 20


async def test_the_search_outlives_the_client_that_enqueued_it(stack: Endpoints, boards: Boards) -> None:
    name = str(uuid4())
    async with signed_in_user(stack, name) as enqueuing:
        run_id = await enqueue_jobs(enqueuing, "indeed")
    await drain(stack, boards)
    async with signed_in_user(stack, name) as reloading:
        run, _ = await last(reloading)
        assert (run["id"], run["status"], run["jobs_found"]) == (run_id, "success", 25)


async def test_the_owner_watches_it_live(stack: Endpoints, boards: Boards, user: User, configure: Configure) -> None:
    await configure("progress_interval", "0")  # the boards answer at once
    run_id = await enqueue_jobs(user, "linkedin", "indeed", results_wanted=30)
    seen: list[dict[str, Any]] = []
    async with worker_process(stack, boards, "run"), aclosing(user.follow([run_id])) as states:
        async for state in states:
            run = state[run_id]
            seen.append(run.run | {"sites": {name: site["status"] for name, site in run.sites.items()}})

    statuses = [run["status"] for run in seen]
    assert list(dict.fromkeys(statuses)) == ["pending", "running", "success"]
    progress = [run["progress_current"] for run in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) > 2
    assert {run["sites"]["linkedin"] for run in seen} == {"pending", "running", "completed"}
    assert seen[-1]["jobs_found"] == 60


async def test_a_run_that_another_user_asks_for_is_not_there(stack: Endpoints, user: User) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    async with signed_in_user(stack) as other, aclosing(other.follow([run_id])) as states:
        assert await anext(states) == {}
    async with signed_in_user(stack) as other:
        assert await other.runs(10) == []
        assert await other.items(run_id, 10) == []


async def test_a_board_that_drips_is_killed_and_the_lease_is_kept_meanwhile(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    boards.fail("indeed", "drip")
    run_id = await enqueue_jobs(user, "indeed", "linkedin")
    change(stack, "update public.search_runs set max_attempts = 1 where id = %s", run_id)
    # The site takes longer than the lease, and a second worker would rescue the run if a heartbeat were late.
    impatient = {"WORKER_LEASE_SECONDS": "5", "WORKER_SITE_TIMEOUT_SECONDS": "6"}
    async with (
        worker_process(stack, boards, "run", WORKER_ID="first", **impatient) as worker,
        worker_process(stack, boards, "run", WORKER_ID="second", WORKER_POLL_IDLE_SECONDS="0.5", **impatient) as other,
        aclosing(user.follow([run_id])) as states,
    ):
        async for state in states:
            run = state[run_id]
        for process in (worker, other):
            process.process.send_signal(signal.SIGTERM)
            assert (await process.ended())[0] == 0

    assert (run.run["status"], run.run["rescues"], run.run["attempts"]) == ("partial", 0, 1)
    assert run.sites["indeed"]["error_code"] == "timeout"
    assert run.sites["linkedin"]["jobs_found"] == 25


async def test_sigterm_releases_the_run_and_the_next_worker_goes_on_at_the_next_site(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    boards.fail("linkedin", "drip")
    run_id = await enqueue_jobs(user, "indeed", "linkedin")
    async with worker_process(stack, boards, "run", WORKER_GRACE_SECONDS="0") as worker:
        async with aclosing(user.follow([run_id])) as states:
            async for state in states:
                if state[run_id].sites["linkedin"]["status"] == "running":
                    break
        worker.process.send_signal(signal.SIGTERM)
        code, _ = await worker.ended()
    assert code == 0

    run, sites = await last(user)
    assert (run["status"], run["attempts"], run["jobs_found"]) == ("pending", 0, 25)
    assert (sites["indeed"]["status"], sites["linkedin"]["status"]) == ("completed", "pending")

    boards.heal()
    asked = len(boards.requests("indeed"))
    log = await drain(stack, boards)
    (summary,) = [line["message"] for line in log if line.get("sites") and line["run_id"] == run_id]
    assert "Sites completed: 2 of 2" in summary  # also the one that the first worker searched
    run, sites = await last(user)
    assert (run["status"], run["attempts"], run["jobs_found"]) == ("success", 1, 50)
    assert len(boards.requests("indeed")) == asked


async def test_a_killed_worker_is_replaced(
    stack: Endpoints, boards: Boards, user: User, clock: Callable[[str], None]
) -> None:
    boards.fail("linkedin", "hang")
    run_id = await enqueue_jobs(user, "indeed", "linkedin")
    async with worker_process(stack, boards, "run") as worker:
        await until(user, run_id, lambda run: run.sites["linkedin"]["status"] == "running")
        worker.process.kill()
        await worker.ended()
    boards.heal()
    clock("1 hour")  # past the lease
    await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["rescues"], run["attempts"], run["jobs_found"]) == ("success", 1, 1, 50)
    assert [sites[site]["attempts"] for site in ("indeed", "linkedin")] == [1, 2]
    assert await sightings(user, run_id) == 50


async def test_a_sleep_of_the_machine_costs_nothing(
    stack: Endpoints, boards: Boards, user: User, clock: Callable[[str], None]
) -> None:
    boards.fail("linkedin", "hang")
    run_id = await enqueue_jobs(user, "linkedin", "indeed")
    async with worker_process(stack, boards, "run", WORKER_SITE_TIMEOUT_SECONDS="5") as worker:
        await boards.wait_for_requests("linkedin", 1)
        clock("1 hour")  # past the lease, and the first to come is this worker's claim, or its heartbeat
        boards.heal()
        finished = await until(user, run_id, lambda run: run.is_final)
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0
    assert (finished.run["status"], finished.run["rescues"], finished.run["jobs_found"]) == ("success", 0, 50)


async def test_a_run_that_was_rescued_from_a_worker_and_claimed_by_it_again_is_searched_once(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    # In one transaction, so that no heartbeat comes in between. The first statement waits for calls of the worker,
    # because a claim rescues no run that is locked.
    take_away = """
        select from public.search_runs where id in (select run_id from worker.leases) for no key update;
        update worker.leases set expires_at = worker.now() - interval '1 second';
        select from public.worker_claim_runs('another', '{}', 1, 60, gen_random_uuid(), '[]')
    """
    boards.fail("indeed", "hang")
    run_id = await enqueue_jobs(user, "indeed")
    async with worker_process(stack, boards, "run") as worker:
        await boards.wait_for_requests("indeed", 1)
        change(stack, take_away)
        await boards.wait_for_requests("indeed", 2)
        boards.heal()
        change(stack, take_away)
        finished = await until(user, run_id, lambda run: run.is_final)
        worker.process.send_signal(signal.SIGTERM)
        code, log = await worker.ended()
    assert (finished.run["status"], finished.run["rescues"], finished.run["jobs_found"]) == ("success", 2, 25)
    assert code == 0
    assert not [line for line in log if line["level"] == "ERROR"]


class OnePlace(Source):
    """A source of one site: the test says how it is fetched, and which ids a page holds."""

    name = "test"
    kind = "jobs"
    sites: Sequence[str] = ("indeed",)
    parameters = SearchParameters

    def __init__(self, fetch: Callable[[], AsyncGenerator[Page, None]], read: Callable[[Page], Sequence[Json]]) -> None:
        self._fetch = fetch
        self._read = read

    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:  # noqa: ARG002
        return self._fetch()

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        return self._read(page)

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        if not isinstance(record, str):
            raise InvalidItemError("must be a text", "id")
        return Item(record, f"Engineer {record}", f"https://example.com/{record}")


async def one_page() -> AsyncGenerator[Page, None]:
    yield Page(1, {}, 5)


def worker(stack: Endpoints, source: Source, **settings: object) -> Worker:
    """A worker with short leases."""
    return worker_of(stack, source, WORKER_LEASE_SECONDS=5, **settings)


async def test_a_slow_parse_delays_no_heartbeat(stack: Endpoints, user: User) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    parsing, go_on = threading.Event(), threading.Event()

    def read_slowly(_: Page) -> Sequence[Json]:
        parsing.set()
        assert go_on.wait(30)
        return []

    working = asyncio.create_task(worker(stack, OnePlace(one_page, read_slowly)).once())
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as database:
        await asyncio.to_thread(parsing.wait, 30)
        statement = "select expires_at from worker.leases where run_id = %s"
        expiries: set[Any] = set()
        async with asyncio.timeout(30):
            while len(expiries) < 4:
                expiries |= set(await (await database.execute(statement, [run_id])).fetchall())
    go_on.set()
    await working
    run, _ = await last(user)
    assert (run["status"], run["rescues"]) == ("success", 0)


async def test_a_run_that_is_claimed_again_before_the_worker_knows_that_it_gave_it_back_is_not_dropped(
    stack: Endpoints, user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fetches = itertools.count(1)
    is_claimed_again = asyncio.Event()
    finish_run = Queue.finish_run

    async def fetch() -> AsyncGenerator[Page, None]:
        if next(fetches) == 1:
            raise SiteError(ErrorCode.UPSTREAM, "503")
        yield Page(1, {}, 5)

    async def finish_run_with_a_late_answer(queue: Queue, lease: Lease) -> FinishedRun:
        finished = await finish_run(queue, lease)
        await is_claimed_again.wait()
        return finished

    monkeypatch.setattr(Queue, "finish_run", finish_run_with_a_late_answer)
    run_id = await enqueue_jobs(user, "indeed")
    with caplog.at_level("INFO"):
        searching = worker(stack, OnePlace(fetch, lambda _: []), WORKER_POLL_SECONDS=0.1)
        working = asyncio.create_task(searching.drain(60))
        await until(user, run_id, lambda run: (run.run["status"], run.run["attempts"]) == ("running", 2))
        is_claimed_again.set()
        await working
    run, _ = await last(user)
    assert (run["status"], run["attempts"], run["rescues"]) == ("success", 2, 0)
    statuses = [record.status for record in caplog.records if record.name == "worker.engine.summary"]  # type: ignore[attr-defined]  # an extra
    assert statuses == ["pending", "success"]
    assert not [
        record for record in caplog.records if record.levelname == "WARNING" and record.name == "worker.engine.loop"
    ]


@pytest.mark.parametrize("fallbacks", [[], ["linkedin"]], ids=["", "with fallback sites"])
async def test_a_run_that_is_being_ended_takes_no_place_unless_fallback_sites_may_follow(
    *, stack: Endpoints, user: User, monkeypatch: pytest.MonkeyPatch, fallbacks: list[str]
) -> None:
    is_ending, second_began, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    pauses = asyncio.Semaphore(0)
    pause = Wakeup.pause
    fetches = itertools.count(1)
    finish_site = Queue.finish_site

    async def fetch() -> AsyncGenerator[Page, None]:
        if next(fetches) == 2:
            second_began.set()
        yield Page(1, {}, 5)

    async def finish_site_later(queue: Queue, *arguments: Any, **options: Any) -> FinishedRun | None:
        is_ending.set()
        await go_on.wait()
        return await finish_site(queue, *arguments, **options)

    async def noted_pause(wakeup: Wakeup, *, found_work: bool) -> None:
        if is_ending.is_set():
            pauses.release()
        await pause(wakeup, found_work=found_work)

    monkeypatch.setattr(Queue, "finish_site", finish_site_later)
    monkeypatch.setattr(Wakeup, "pause", noted_pause)
    parameters = {"fallback_sites": fallbacks} if fallbacks else {}
    for _ in range(2):
        await enqueue_jobs(user, "indeed", **parameters)
    searching = worker(stack, OnePlace(fetch, lambda _: []), WORKER_CONCURRENCY=1, WORKER_POLL_SECONDS=0.1)
    async with asyncio.timeout(60):
        working = asyncio.create_task(searching.drain(60))
        await is_ending.wait()
        if fallbacks:
            for _ in range(3):  # it could have claimed the second run in between
                await pauses.acquire()
            assert not second_began.is_set()
        else:
            await second_began.wait()
        go_on.set()
        await working
    assert [run["status"] for run in await user.runs(2)] == ["success", "success"]


# A future takes no StopIteration, which a `next` without a default raises; and a SystemExit ends a process.
@pytest.mark.parametrize(
    ("error", "code"), [(LookupError(), "unverified"), (StopIteration(), "unverified"), (SystemExit(3), "internal")]
)
async def test_whatever_a_parser_raises_fails_the_site_alone(
    stack: Endpoints, user: User, error: BaseException, code: str
) -> None:
    def fail(_: Page) -> Sequence[Json]:
        raise error

    run_id = await enqueue_jobs(user, "indeed")
    change(stack, "update public.search_runs set max_attempts = 1 where id = %s", run_id)
    await worker(stack, OnePlace(one_page, fail)).once()
    run, sites = await last(user)
    assert (run["status"], sites["indeed"]["error_code"]) == ("failed", code)


async def test_a_failure_amid_an_outage_loses_no_page_that_waits_on_disk(
    stack: Endpoints, user: User, tmp_path: Path
) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    change(stack, "update public.search_runs set max_attempts = 1 where id = %s", run_id)
    first_is_saved, go_on = asyncio.Event(), asyncio.Event()

    async def three_pages() -> AsyncGenerator[Page, None]:
        yield Page(1, {}, 5)
        first_is_saved.set()
        await go_on.wait()
        yield Page(2, {}, 5)
        yield Page(3, {}, 5)

    def fail_at_last(page: Page) -> Sequence[Json]:
        if page.number == 3:
            raise SystemExit("not as it was")
        return [str(uuid4())]

    async with FaultyGateway(stack.url) as gateway:
        source = OnePlace(three_pages, fail_at_last)
        faulty = worker(stack, source, SUPABASE_URL=gateway.url, WORKER_SPOOL_DIR=tmp_path)
        working = asyncio.create_task(faulty.once())
        await first_is_saved.wait()
        gateway.fail(Outage.UNAVAILABLE)
        go_on.set()
        async with asyncio.timeout(30):
            while not spooled(tmp_path):
                await gateway.failed(1)
        gateway.heal()
        await working
    run, sites = await last(user)
    assert (run["status"], run["jobs_found"]) == ("partial", 2)
    assert (sites["indeed"]["status"], sites["indeed"]["error_code"]) == ("partial", "internal")
    assert not spooled(tmp_path)


async def test_a_page_that_the_database_refuses_is_kept_on_disk_and_told(
    stack: Endpoints, user: User, tmp_path: Path
) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    change(stack, "update public.search_runs set max_attempts = 1 where id = %s", run_id)

    async def pages() -> AsyncGenerator[Page, None]:
        yield Page(1, ["before"], 5)
        yield Page(0, ["refused"], 5)  # pages are numbered from 1
        yield Page(2, ["after"], 5)

    source = OnePlace(pages, lambda page: page.payload if isinstance(page.payload, list) else [])
    await worker(stack, source, WORKER_SPOOL_DIR=tmp_path).once()

    run, sites = await last(user)
    assert (run["status"], run["jobs_found"]) == ("partial", 2)
    assert sites["indeed"]["error_code"] == "internal"
    (path,) = files(tmp_path, "refused/*/*.json")
    assert json.loads(path.read_text())["raw"]["payload"] == ["refused"]
    with psycopg.connect(stack.db_url) as database:
        alerts = "select data from public.run_events where run_id = %s and event = 'alert'"
        ((alert,),) = database.execute(alerts, [run_id]).fetchall()
    assert (alert["reason"], alert["page"], alert["file"]) == ("page_refused", 0, path.name)
    assert "raw_collections_page_number" in alert["message"]


async def test_every_page_is_kept_as_a_file_if_asked_for(stack: Endpoints, user: User, tmp_path: Path) -> None:
    run_id = await enqueue_jobs(user, "indeed")

    async def pages() -> AsyncGenerator[Page, None]:
        yield Page(1, ["as-it-\0came"], 5)

    source = OnePlace(pages, lambda page: page.payload if isinstance(page.payload, list) else [])
    await worker(stack, source, WORKER_BACKUP_DIR=tmp_path).once()
    (path,) = files(tmp_path, "????/??/??/*.json")
    assert path.name == f"{run_id}.indeed.1.000001.json"
    assert json.loads(path.read_text())["payload"] == ["as-it-\0came"]
    (item,) = await user.items(run_id, limit=10)
    assert item["url"].endswith("/as-it-came")


async def test_a_backup_that_cannot_be_written_stops_no_search(stack: Endpoints, user: User, tmp_path: Path) -> None:
    await enqueue_jobs(user, "indeed")
    (tmp_path / "file").write_text("")
    source = OnePlace(one_page, lambda _: ["a"])
    await worker(stack, source, WORKER_BACKUP_DIR=tmp_path / "file").once()
    run, _ = await last(user)
    assert (run["status"], run["jobs_found"]) == ("success", 1)


async def test_a_scheduled_repeat_asks_for_what_is_newer_and_stops_when_nothing_is_new(
    stack: Endpoints, user: User
) -> None:
    change(stack, "update worker.settings set freshness = '0'")
    term, asked, fetched = uuid4().hex, list[datetime | None](), list[int]()
    held = [[f"{term}-{page}-{record}" for record in range(3)] for page in range(4)]

    class Board(OnePlace):
        ends_without_news = True

        def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
            asked.append(search.newer_than)
            return super().fetch(search)

    async def pages() -> AsyncGenerator[Page, None]:
        for number, ids in enumerate(held, start=1):
            fetched.append(number)
            yield Page(number, [*ids], 5)

    async def repeat() -> dict[str, bool]:
        fetched.clear()
        change(
            stack,
            "insert into public.search_runs (user_id, kind, source, parameters) "
            "select user_id, kind, 'cron', parameters from public.search_runs where id = %s",
            first,
        )
        await worker(stack, board).once()
        run, _ = await last(user)
        assert run["status"] == "success"
        return {item["url"].rpartition("/")[2]: item["is_new"] for item in await user.items(run["id"], limit=100)}

    board = Board(pages, lambda page: page.payload if isinstance(page.payload, list) else [])
    first = await enqueue_jobs(user, "indeed", search_term=term)
    await worker(stack, board).once()
    assert (asked, fetched) == ([None], [1, 2, 3, 4])

    assert not any((await repeat()).values())
    assert fetched == [1]
    held[0][0], held[2][0] = f"{term}-new", f"{term}-late"
    assert {name for name, is_new in (await repeat()).items() if is_new} == {f"{term}-new"}
    assert fetched == [1, 2]
    started = datetime.fromisoformat((await user.runs(3))[-1]["started_at"])
    assert asked[1] == asked[2] == started.replace(minute=0, second=0, microsecond=0)


async def test_a_failed_site_is_searched_again_later_and_only_it(
    stack: Endpoints, boards: Boards, user: User, clock: Callable[[str], None]
) -> None:
    change(stack, "update worker.settings set retry_delay = '10 minutes'")
    boards.fail("linkedin", "rate_limited")
    run_id = await enqueue_jobs(user, "indeed", "linkedin")
    log = await drain(stack, boards)

    run, sites = await last(user)
    assert (run["status"], run["error_code"], run["attempts"]) == ("pending", "rate_limited", 1)
    assert run["progress"] == {"step": "retrying", "details": {"sites": ["linkedin"]}}
    assert (sites["indeed"]["status"], sites["linkedin"]["status"]) == ("completed", "pending")
    assert sites["linkedin"]["error_code"] == "rate_limited"
    assert await sightings(user, run_id) == run["jobs_found"] == 25
    (summary,) = [line for line in log if line.get("sites") and line["run_id"] == run_id]
    assert 450 <= summary["retry_in_seconds"] <= 750
    assert "retry in" in summary["message"]

    boards.heal()
    asked = len(boards.requests("indeed"))
    await drain(stack, boards)
    assert (await last(user))[0]["status"] == "pending"
    clock("751 seconds")
    await drain(stack, boards)
    change(stack, "update worker.settings set retry_delay = '0'")

    run, sites = await last(user)
    assert (run["status"], run["error_code"], run["attempts"], run["jobs_found"]) == ("success", None, 2, 50)
    assert {name: site["attempts"] for name, site in sites.items()} == {"indeed": 1, "linkedin": 2}
    assert len(boards.requests("indeed")) == asked


async def test_drain_waits_for_what_a_sites_pace_puts_off(stack: Endpoints, boards: Boards, user: User) -> None:
    change(stack, "update worker.settings set inline_wait = '0'")
    change(stack, "insert into worker.bucket_limits (bucket, min_delay_seconds) values ('indeed', 7)")
    change(stack, "delete from worker.site_buckets where bucket = 'indeed'")
    change(stack, "insert into worker.site_buckets (bucket, exit, last_at) values ('indeed', 'boards', now())")
    run_id = await enqueue_jobs(user, "indeed")
    log = await drain(stack, boards)
    change(stack, "delete from worker.bucket_limits where bucket = 'indeed'")
    change(stack, "update worker.settings set inline_wait = default")
    assert [line["status"] for line in log if line.get("sites") and line["run_id"] == run_id] == ["pending", "success"]


async def test_a_waiting_worker_comes_back_for_the_next_attempt_by_itself(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    change(stack, "update worker.settings set retry_delay = '1 second'")
    boards.fail("indeed", "blocked")
    run_id = await enqueue_jobs(user, "indeed")
    async with worker_process(stack, boards, "run", WORKER_POLL_IDLE_SECONDS="600") as worker:
        await worker.logged(": pending, retry in")
        boards.heal()
        finished = await until(user, run_id, lambda run: run.is_final)
    change(stack, "update worker.settings set retry_delay = '0'")
    assert (finished.run["status"], finished.run["attempts"]) == ("success", 2)


# Woken by Realtime, a worker would not see a cancellation for 20 s; without, it has to look by itself.
@pytest.mark.parametrize("command", [["run"], ["drain"]], ids=["woken", "not-woken"])
async def test_a_cancelled_search_is_killed_and_nothing_comes_after(
    stack: Endpoints, boards: Boards, user: User, command: list[str]
) -> None:
    boards.fail("linkedin", "hang")
    run_id = await enqueue_jobs(user, "indeed", "linkedin", "glassdoor")
    async with worker_process(stack, boards, *command) as worker:
        await boards.wait_for_requests("linkedin", 1)
        scrapers = [
            scraper for forkserver in psutil.Process(worker.process.pid).children() for scraper in forkserver.children()
        ]
        cancelled = await user.cancel(run_id)
        assert (cancelled["status"], cancelled["jobs_found"]) == ("cancelled", 25)
        await worker.logged("dropped: cancelled")
        gone, alive = await asyncio.to_thread(psutil.wait_procs, scrapers, timeout=30)
        assert (len(gone), alive) == (1, [])
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0
    run, _ = await last(user)
    assert run == cancelled | {"run_sites": run["run_sites"]}
    sites = {site["site"]: site["status"] for site in run["run_sites"]}
    assert sites == {"indeed": "completed", "linkedin": "skipped", "glassdoor": "skipped"}
    assert boards.requests("glassdoor") == []


@pytest.mark.parametrize("outage", [Outage.UNAVAILABLE, Outage.HANG_UP, Outage.LOST_ANSWER, Outage.DEAD_CONNECTION])
async def test_an_outage_amid_a_search_costs_nothing(
    stack: Endpoints, boards: Boards, user: User, outage: Outage
) -> None:
    run_id = await enqueue_jobs(user, "linkedin", results_wanted=50)
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "run", SUPABASE_URL=gateway.url) as worker,
    ):
        await until(user, run_id, lambda run: run.sites["linkedin"]["jobs_found"] > 0)
        gateway.fail(outage)
        await gateway.failed(3)
        gateway.heal()
        finished = await until(user, run_id, lambda run: run.is_final)
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0
    assert (finished.run["status"], finished.run["jobs_found"]) == ("success", 50)
    assert (finished.run["rescues"], finished.run["attempts"]) == (0, 1)


async def test_what_is_fetched_in_an_outage_waits_on_disk_and_is_saved_after_it(
    stack: Endpoints, boards: Boards, user: User, tmp_path: Path, clock: Callable[[str], None]
) -> None:
    await enqueue_jobs(user, "linkedin", results_wanted=50)
    await drain(stack, boards)
    undisturbed = len(boards.requests("linkedin"))
    boards.forget_requests()

    run_id = await enqueue_jobs(user, "linkedin", results_wanted=50)
    environment = {"WORKER_SPOOL_DIR": str(tmp_path), "JOBSPY_PAGE_DELAY_SECONDS": "1,1"}
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "run", SUPABASE_URL=gateway.url, **environment) as worker,
    ):
        await page_under_way(user, boards, run_id)
        gateway.fail(Outage.UNAVAILABLE)
        await worker.logged("pages wait on disk")
        assert spooled(tmp_path)
        clock("1 hour")  # the lease runs out meanwhile
        gateway.heal()
        finished = await until(user, run_id, lambda run: run.is_final)
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0
    assert (finished.run["status"], finished.run["jobs_found"]) == ("success", 50)
    assert (finished.run["rescues"], finished.run["attempts"]) == (0, 1)
    assert len(boards.requests("linkedin")) == undisturbed
    assert not spooled(tmp_path)


async def test_drain_waits_for_the_end_of_an_outage_while_it_holds_a_run(
    stack: Endpoints, boards: Boards, user: User, tmp_path: Path
) -> None:
    run_id = await enqueue_jobs(user, "linkedin", results_wanted=50)
    environment = {"WORKER_SPOOL_DIR": str(tmp_path), "JOBSPY_PAGE_DELAY_SECONDS": "1,1", "WORKER_LEASE_SECONDS": "5"}
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "drain", SUPABASE_URL=gateway.url, **environment) as worker,
    ):
        await until(user, run_id, lambda run: run.sites["linkedin"]["jobs_found"] > 0)
        gateway.fail(Outage.UNAVAILABLE)
        await worker.logged("Cannot claim")
        gateway.heal()
        code, _ = await worker.ended()
    run, _ = await last(user)
    assert (code, run["status"], run["jobs_found"], run["rescues"]) == (0, "success", 50, 0)


async def test_what_a_killed_worker_left_on_disk_is_saved_by_the_next(
    stack: Endpoints, boards: Boards, user: User, tmp_path: Path, clock: Callable[[str], None]
) -> None:
    run_id = await enqueue_jobs(user, "linkedin", results_wanted=50)
    environment = {"WORKER_SPOOL_DIR": str(tmp_path), "JOBSPY_PAGE_DELAY_SECONDS": "1,1"}
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "run", SUPABASE_URL=gateway.url, **environment) as worker,
    ):
        await page_under_way(user, boards, run_id)
        gateway.fail(Outage.UNAVAILABLE)
        await worker.logged("pages wait on disk")
        worker.process.kill()
        await worker.ended()
    saved = (await last(user))[0]["jobs_found"]
    left = spooled(tmp_path)
    boards.fail("linkedin", "blocked")
    clock("1 hour")
    await drain(stack, boards, **environment)

    run, sites = await last(user)
    assert (run["status"], sites["linkedin"]["status"], run["rescues"]) == ("partial", "partial", 1)
    assert run["jobs_found"] == saved + len(left) > saved
    assert not spooled(tmp_path)


async def test_without_a_disk_the_search_waits_for_the_database(
    stack: Endpoints, boards: Boards, user: User, tmp_path: Path
) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    environment = {"WORKER_SPOOL_DIR": str(no_folder), "JOBSPY_PAGE_DELAY_SECONDS": "1,1"}
    run_id = await enqueue_jobs(user, "linkedin", results_wanted=50)
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "run", SUPABASE_URL=gateway.url, **environment) as worker,
    ):
        await page_under_way(user, boards, run_id)
        gateway.fail(Outage.UNAVAILABLE)
        await worker.logged("its search waits")
        gateway.heal()
        finished = await until(user, run_id, lambda run: run.is_final)
    assert (finished.run["status"], finished.run["jobs_found"]) == ("success", 50)


async def test_a_worker_that_starts_amid_an_outage_waits_for_its_end(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    run_id = await enqueue_jobs(user, "indeed")
    async with FaultyGateway(stack.url) as gateway:
        gateway.fail(Outage.UNAVAILABLE)
        async with worker_process(stack, boards, "run", SUPABASE_URL=gateway.url):
            await gateway.failed(4)
            gateway.heal()
            finished = await until(user, run_id, lambda run: run.is_final)
    assert finished.run["status"] == "success"


async def test_an_outage_does_not_hold_up_the_stop(stack: Endpoints, boards: Boards) -> None:
    async with (
        FaultyGateway(stack.url) as gateway,
        worker_process(stack, boards, "run", SUPABASE_URL=gateway.url) as worker,
    ):
        await worker.logged("Ready")
        gateway.fail(Outage.UNAVAILABLE)
        await worker.logged("worker_claim_runs failed (name resolution failed)")
        worker.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):  # it retries for a lease of 60 s
            assert (await worker.ended())[0] == 0


async def test_once_takes_one_run(stack: Endpoints, boards: Boards, user: User) -> None:
    first = await enqueue_jobs(user, "indeed")
    second = await enqueue_jobs(user, "indeed")
    async with worker_process(stack, boards, "once") as worker:
        code, _ = await worker.ended()
    assert code == 0
    assert {run["id"]: run["status"] for run in await user.runs(2)} == {first: "success", second: "pending"}
    await drain(stack, boards)


async def test_a_drained_queue_is_left_at_once(stack: Endpoints, boards: Boards) -> None:
    assert await drain(stack, boards)


@pytest.mark.parametrize(
    ("environment", "code", "message"),
    [
        ({"SUPABASE_SERVICE_ROLE_KEY": ""}, 2, "SUPABASE_SERVICE_ROLE_KEY: is required"),
        ({"SUPABASE_URL": "nowhere"}, 2, "SUPABASE_URL: must be an address"),
        ({"WORKER_CONCURRENCY": "0"}, 2, "WORKER_CONCURRENCY: "),
        ({"SUPABASE_SERVICE_ROLE_KEY": "wrong"}, 1, "The queue cannot be used"),
    ],
)
async def test_wrong_settings_are_named_at_start(
    stack: Endpoints, boards: Boards, environment: dict[str, str], code: int, message: str
) -> None:
    async with worker_process(stack, boards, "run", **environment) as worker:
        _, stderr = await worker.process.communicate()
    assert (worker.process.returncode, message in stderr.decode()) == (code, True), stderr
    assert "Traceback" not in stderr.decode()
