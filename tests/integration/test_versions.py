"""Which workers the database lets take runs, and what a worker does that it refuses: also one that works already."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.commands import run_command
from tests.support.database import Connection, rows, scalar
from tests.support.listings import Listings
from tests.support.queue import SITES, call, enqueue, found_ids, refusal, run_of, user_id
from tests.support.stack import worker_environment
from tests.support.workers import worker_of
from worker.database import queue
from worker.database.queue import SCHEMA_VERSION
from worker.errors import CallRefusedError, VersionMismatchError
from worker.local.supabase.stack import Endpoints
from worker.model import Page
from worker.sources import Search

REPLACE = re.escape("replace it by one of the release whose migrations were pushed")
PUSH = re.escape("push the migrations of its release, then start it")

pytestmark = pytest.mark.own_stack

SetVersion: TypeAlias = Callable[[int], Awaitable[None]]


@pytest.fixture
async def set_version(database: Connection) -> AsyncIterator[SetVersion]:
    """Sets the version of the database, until the end of the test."""
    definition = await scalar(database, "select pg_get_functiondef('worker.schema_version()'::regprocedure)")

    async def to(version: int) -> None:
        await database.execute(definition.replace(f"RETURN {SCHEMA_VERSION}", f"RETURN {version}").encode())

    yield to
    await to(SCHEMA_VERSION)


def both(database: int, worker: int = SCHEMA_VERSION) -> str:
    return f"the database has version {database}, and the worker is made for version {worker}"


# The gate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("made_for", "refused"), [(-2, REPLACE), (-1, None), (0, None), (1, PUSH), (None, None)])
@pytest.mark.parametrize("function", ["worker_claim_runs", "worker_start_import"])
async def test_the_database_gives_runs_to_its_version_and_the_one_before(
    *, service: AsyncClient, ada: AsyncClient, kind: str, function: str, made_for: int | None, refused: str | None
) -> None:
    version = made_for if made_for is None else SCHEMA_VERSION + made_for
    run = await enqueue(ada, kind)
    arguments = {"worker_id": "w", "lease_seconds": 3600, "claim_id": str(uuid4()), "schema_version": version} | (
        {"kinds": [kind], "slots": 1, "held": []}
        if function == "worker_claim_runs"
        else {"owner": await user_id(ada), "kind": kind, "name": "a", "sites": ["indeed"], "records": 1,
              "idempotency_key": "a"}
    )  # fmt: skip
    if refused is None:
        assert await call(service, function, **arguments)
        return
    answer = await refusal(service, service.rpc(function, arguments))
    assert (answer.status, answer.code) == (412, "PT412")
    assert answer.message is not None
    assert re.fullmatch(f"{both(SCHEMA_VERSION, SCHEMA_VERSION + (made_for or 0))}: {refused}", answer.message)
    assert (await run_of(ada, run["id"]))["status"] == "pending"


# The worker ---------------------------------------------------------------------------------------------------------


async def test_a_worker_works_with_the_next_version(
    *, stack: Endpoints, set_version: SetVersion, ada: AsyncClient, kind: str, tmp_path: Path
) -> None:
    source = Listings(kind, SITES, tmp_path / "log")
    run = await enqueue(ada, kind, sites=SITES)
    await set_version(SCHEMA_VERSION + 1)
    await worker_of(stack, source).once()
    assert (await run_of(ada, run["id"]))["status"] == "success"
    term = run["parameters"]["search_term"]
    assert await found_ids(ada, run["id"]) == source.all_ids(term, *SITES)


@pytest.mark.parametrize("is_renamed", [False, True])
@pytest.mark.parametrize(("steps", "says"), [(-1, PUSH), (2, REPLACE)])
async def test_a_worker_refuses_an_older_database_and_one_that_is_two_versions_ahead(
    *, stack: Endpoints, database: Connection, set_version: SetVersion, ada: AsyncClient, kind: str, tmp_path: Path,
    steps: int, says: str, is_renamed: bool
) -> None:  # fmt: skip
    source = Listings(kind, SITES, tmp_path / "log")
    run = await enqueue(ada, kind, sites=SITES)
    await set_version(SCHEMA_VERSION + steps)
    if is_renamed:  # what it was called with in another version
        await database.execute("alter function public.worker_claim_runs rename to worker_take_runs")
    try:
        with pytest.raises(VersionMismatchError, match=f"{both(SCHEMA_VERSION + steps)}: {says}"):
            await asyncio.wait_for(worker_of(stack, source).run(), 30)
    finally:
        if is_renamed:
            await database.execute("alter function public.worker_take_runs rename to worker_claim_runs")
    assert source.fetched == []
    assert (await run_of(ada, run["id"]))["attempts"] == 0


async def test_a_missing_function_alone_says_nothing_of_the_version(
    stack: Endpoints, database: Connection, kind: str, tmp_path: Path
) -> None:
    await database.execute("alter function public.worker_claim_runs rename to worker_take_runs")
    try:
        with pytest.raises(CallRefusedError, match="PGRST202") as raised:
            await asyncio.wait_for(worker_of(stack, Listings(kind, SITES, tmp_path / "log")).run(), 30)
    finally:
        await database.execute("alter function public.worker_take_runs rename to worker_claim_runs")
    assert not isinstance(raised.value, VersionMismatchError)


async def test_a_worker_that_is_two_versions_behind_in_the_middle_of_a_search_gives_it_back_and_ends(
    *, stack: Endpoints, database: Connection, set_version: SetVersion, ada: AsyncClient, kind: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    source = Listings(kind, SITES, tmp_path / "log")
    run = await enqueue(ada, kind, sites=SITES)
    is_amid = asyncio.Event()

    async def stay(_: Search, page: int) -> None:
        if page == 2 and not is_amid.is_set():
            is_amid.set()
            await asyncio.Event().wait()

    source.before_page = stay
    worker = worker_of(stack, source, WORKER_POLL_SECONDS="0.1", WORKER_POLL_IDLE_SECONDS="0.1")
    working = asyncio.create_task(worker.run())
    await is_amid.wait()
    await set_version(SCHEMA_VERSION + 2)
    with pytest.raises(VersionMismatchError, match=f"{both(SCHEMA_VERSION + 2)}: {REPLACE}"):
        await asyncio.wait_for(working, 30)
    left = await run_of(ada, run["id"])
    assert (left["status"], left["attempts"], left["rescues"]) == ("pending", 0, 0)
    assert await rows(database, "select from worker.leases where run_id = %s", [run["id"]]) == []

    # Its replacement continues after the page that was saved.
    monkeypatch.setattr(queue, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    await worker_of(stack, source).once()
    assert (await run_of(ada, run["id"]))["status"] == "success"
    assert await found_ids(ada, run["id"]) == source.all_ids(run["parameters"]["search_term"], *SITES)
    assert sorted(source.fetched) == sorted((site, page) for site in SITES for page in (1, 2, 3))


async def test_a_run_ends_although_the_claim_that_goes_with_its_end_is_refused(
    stack: Endpoints, ada: AsyncClient, kind: str, tmp_path: Path, set_version: SetVersion
) -> None:
    class FindsNothing(Listings):
        async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:  # noqa: ARG002
            await set_version(SCHEMA_VERSION + 2)
            none: tuple[Page, ...] = ()
            for page in none:
                yield page

    run = await enqueue(ada, kind, sites=SITES[:1])
    # Without a free place there is no claim of its own, which would be refused before the run ends.
    worker = worker_of(stack, FindsNothing(kind, SITES, tmp_path / "log"), WORKER_CONCURRENCY="1")
    with pytest.raises(VersionMismatchError, match=f"{both(SCHEMA_VERSION + 2)}: {REPLACE}"):
        await asyncio.wait_for(worker.run(), 30)
    assert (await run_of(ada, run["id"]))["status"] == "success"


@pytest.mark.parametrize("command", [["run"], ["once"], ["drain"]])
async def test_the_command_says_it_and_fails(stack: Endpoints, set_version: SetVersion, command: list[str]) -> None:
    await set_version(SCHEMA_VERSION + 2)
    answer = await asyncio.to_thread(run_command, worker_environment(stack), *command)
    assert answer.returncode == 1
    assert re.search(f"The queue cannot be used: .*{both(SCHEMA_VERSION + 2)}: {REPLACE}", answer.stderr)
