"""A worker inside an application: the programs of docs/embedding.md, and how a worker is stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.example_embedding import application, lifespan
from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user, worker_environment
from worker import Item, Json, Page, Search, SearchParameters, Settings, Source, Worker
from worker.database.user import FollowedRun, User
from worker.local.loopback import free_port
from worker.local.supabase.stack import Endpoints

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "embedding.md").read_text()


def blocks(language: str) -> list[str]:
    """The blocks of code of the document, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module", autouse=True)
def rule(stack: Endpoints) -> None:
    """The stack knows the site of the document."""
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        (rule,) = blocks("sql")
        connection.execute(rule.encode())


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


@pytest.fixture
def environment(stack: Endpoints, tmp_path: Path) -> dict[str, Any]:
    return worker_environment(stack) | {
        "WORKER_SPOOL_DIR": str(tmp_path),
        "WORKER_POLL_SECONDS": "0.1",
        "WORKER_GRACE_SECONDS": "20",
    }


async def until(user: User, run_id: str, *statuses: str) -> FollowedRun:
    async with asyncio.timeout(60), aclosing(user.follow([run_id])) as states:
        async for state in states:
            if state[run_id].run["status"] in statuses:
                return state[run_id]
    raise AssertionError(f"it ended otherwise: {state[run_id]}")


def test_the_document_has_the_programs_as_they_are_tested() -> None:
    programs = [ROOT / "tests" / "example_embedding" / name for name in ("application.py", "lifespan.py")]
    assert blocks("python") == [program.read_text() for program in programs]


async def test_an_application_searches_beside_its_other_work(user: User, environment: dict[str, Any]) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.example_embedding.application",
        cwd=ROOT,
        env=os.environ | environment | {"PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        run_id = await enqueue_jobs(user, "vacancies", search_term="nurse")
        assert (await until(user, run_id, "success", "partial", "failed")).run["status"] == "success"
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/")).text == "3\n"
        assert {item["title"] for item in await user.items(run_id, limit=10)} == {"Nurse", "Night nurse"}
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_an_application_ends_when_its_worker_is_refused(
    monkeypatch: pytest.MonkeyPatch, stack: Endpoints, environment: dict[str, Any]
) -> None:
    for name, value in (environment | {"PORT": "0", "SUPABASE_SERVICE_ROLE_KEY": stack.anon_key}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ExceptionGroup, match="TaskGroup") as raised:
        await asyncio.wait_for(application.main(), 30)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
    assert "permission denied" in str(raised.value.exceptions[0])


async def test_a_worker_lives_as_long_as_a_web_application(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environment: dict[str, Any]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    handled = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    tasks = asyncio.all_tasks()
    with caplog.at_level("INFO", logger="worker"):
        async with asyncio.timeout(30), lifespan.lifespan(None):
            while "Ready: searching creators, jobs, people" not in caplog.text:  # noqa: ASYNC110 (a log sets no event)
                await asyncio.sleep(0.01)
            assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handled
    assert asyncio.all_tasks() == tasks


# Stopping ------------------------------------------------------------------------------------------------------------


class Held(Source):
    """A source whose one page comes when the test lets it."""

    name = "held"
    kind = "jobs"
    sites: Sequence[str] = ("vacancies",)
    parameters = SearchParameters

    def __init__(self) -> None:
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:  # noqa: ARG002
        self.is_asked.set()
        await self.may_answer.wait()
        yield Page(1, ["a"], 5, is_last=True)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        return page.payload if isinstance(page.payload, list) else []

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        return Item(str(record), "Nurse", "https://example.com/a")


def embedded(environment: dict[str, Any], source: Source) -> Worker:
    return Worker(Settings(**environment), sources=[source], handle_signals=False)


async def test_the_end_of_the_block_waits_for_running_searches(user: User, environment: dict[str, Any]) -> None:
    run_id, source = await enqueue_jobs(user, "vacancies", search_term=uuid4().hex), Held()
    async with asyncio.timeout(60), embedded(environment, source) as worker:
        running = asyncio.create_task(worker.run())
        await source.is_asked.wait()
        asyncio.get_running_loop().call_later(0.5, source.may_answer.set)
    assert running.done()
    (run,) = await user.runs(1)
    assert (run["id"], run["status"]) == (run_id, "success")


async def test_a_second_stop_releases_them_at_once(user: User, environment: dict[str, Any]) -> None:
    run_id, source = await enqueue_jobs(user, "vacancies", search_term=uuid4().hex), Held()
    async with asyncio.timeout(15), embedded(environment, source) as worker:
        running = asyncio.create_task(worker.run())
        await source.is_asked.wait()
        for _ in range(3):
            worker.stop()
        await running
    (run,) = await user.runs(1)
    assert (run["id"], run["status"], run["rescues"]) == (run_id, "pending", 0)
    await user.cancel(run_id)


async def test_the_block_does_not_hurry_what_was_asked_to_stop(user: User, environment: dict[str, Any]) -> None:
    await enqueue_jobs(user, "vacancies", search_term=uuid4().hex)
    source = Held()
    async with asyncio.timeout(60), embedded(environment, source) as worker:
        running = asyncio.create_task(worker.run())
        await source.is_asked.wait()
        worker.stop()
        asyncio.get_running_loop().call_later(0.5, source.may_answer.set)
    assert running.done()
    assert (await user.runs(1))[0]["status"] == "success"


async def test_a_worker_that_was_stopped_does_not_start(user: User, environment: dict[str, Any]) -> None:
    run_id, source = await enqueue_jobs(user, "vacancies", search_term=uuid4().hex), Held()
    worker = embedded(environment, source)
    worker.stop()
    async with asyncio.timeout(10), worker:
        await worker.run()
        await worker.once()
    async with asyncio.timeout(10), embedded(environment, source) as later:
        running = asyncio.create_task(later.run())  # has no turn before the block ends
    await running
    assert not source.is_asked.is_set()
    assert (await user.cancel(run_id))["attempts"] == 0


async def test_a_worker_works_once_at_a_time_and_again_afterwards(user: User, environment: dict[str, Any]) -> None:
    source = Held()
    source.may_answer.set()
    worker = embedded(environment, source)
    for _ in range(2):
        run_id = await enqueue_jobs(user, "vacancies", search_term=uuid4().hex)
        working = asyncio.create_task(worker.once())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="this worker works already"):
            await worker.run()
        await working
        (run,) = await user.runs(1)
        assert (run["id"], run["status"]) == (run_id, "success")
