"""What a worker's process does beside its searches."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import pytest

from tests.support.database import Connection, rows, scalar
from tests.support.loopback import LOOPBACK, Server, listen
from tests.support.queue import enqueue_jobs
from tests.support.stack import HAS_PGVECTOR, signed_in_user
from tests.support.workers import drain, worker_process
from worker.database.user import User
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

PATIENCE = 60.0

FOUND: LiteralString = "select count(*) from public.items"
EMBEDDED: LiteralString = "select count(*) from public.item_embeddings"


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running


# Each search below wants another number of results: an equal one would be answered with what was found before.


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


@pytest.fixture(autouse=True)
async def no_items(database: Connection) -> None:
    """The database has no items and no model."""
    if HAS_PGVECTOR:
        await database.execute("select worker.change_embedding_model(null)")
    await database.execute("truncate public.items cascade")


class Endpoint:
    """An endpoint of embeddings that does not answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        self.asked.set()
        await reader.read()


@asynccontextmanager
async def silent_endpoint() -> AsyncIterator[tuple[Endpoint, dict[str, str]]]:
    """The endpoint, and a worker's settings for it."""
    endpoint = Endpoint()
    server = Server()
    async with listen(server, endpoint.serve):
        url = f"http://{LOOPBACK}:{server.port}/v1"
        yield endpoint, {"WORKER_EMBEDDING_MODEL": "small", "WORKER_EMBEDDING_URL": url}


@pytest.mark.pgvector
async def test_what_a_drain_finds_is_embedded_before_it_ends(
    stack: Endpoints, boards: Boards, user: User, database: Connection
) -> None:
    await enqueue_jobs(user, "indeed", "linkedin", results_wanted=10)
    log = await drain(stack, boards, WORKER_EMBEDDING_MODEL="wordllama")
    assert await scalar(database, EMBEDDED) == await scalar(database, FOUND) > 0
    assert await scalar(database, "select count(*) from worker.near_duplicate_queue") == 0
    assert not [line for line in log if line["level"] == "ERROR"]


@pytest.mark.pgvector
async def test_a_waiting_worker_embeds_what_it_finds(
    stack: Endpoints, boards: Boards, user: User, database: Connection
) -> None:
    async with worker_process(stack, boards, "run", WORKER_EMBEDDING_MODEL="wordllama") as worker:
        await worker.logged("Ready")
        await enqueue_jobs(user, "indeed", results_wanted=11)
        await worker.logged("items embedded by wordllama")
        assert await scalar(database, EMBEDDED) == await scalar(database, FOUND) > 0
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0


@pytest.mark.pgvector
async def test_results_do_not_wait_for_embeddings(
    stack: Endpoints, boards: Boards, user: User, database: Connection
) -> None:
    await database.execute(
        """
        insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
        values ('jobs', 'Engineer', 'https://example.com', 'site:1', now(), now())
        """
    )
    async with silent_endpoint() as (endpoint, settings), worker_process(stack, boards, "run", **settings) as worker:
        async with asyncio.timeout(PATIENCE):
            await endpoint.asked.wait()
        await enqueue_jobs(user, "indeed", results_wanted=12)
        summary = await worker.logged("Sites completed: 1 of 1")
        assert summary["status"] == "success"
        # Nor does the end.
        worker.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE / 2):
            code, _ = await worker.ended()
        assert code == 0
        assert endpoint.requests == 1


@pytest.mark.parametrize("command", [("once",), ("drain", "--max-seconds", "30")])
async def test_old_pages_are_deleted_by_a_worker_that_is_busy(
    stack: Endpoints, boards: Boards, user: User, database: Connection, command: tuple[str, ...]
) -> None:
    await enqueue_jobs(user, "indeed", results_wanted=30 + len(command))
    await drain(stack, boards)
    await database.execute("update worker.raw_collections set fetched_at = now() - interval '15 days' where true")
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'retention'")
    await enqueue_jobs(user, "indeed", results_wanted=20 + len(command))
    async with worker_process(stack, boards, *command) as worker:
        assert (await worker.ended())[0] == 0
    old = "select count(*) from worker.raw_collections where fetched_at < now() - interval '14 days'"
    assert await scalar(database, old) == 0


async def test_what_a_worker_has_searched_is_counted(
    stack: Endpoints, boards: Boards, user: User, database: Connection
) -> None:
    due = "update worker.housekeeping set next_at = '-infinity' where task = 'run_counts'"
    await database.execute(due)
    await database.execute("select public.worker_count_runs()")  # what other tests have searched
    await database.execute("truncate worker.run_stats, worker.run_totals, worker.site_totals")
    await database.execute(due)
    await enqueue_jobs(user, "indeed", "linkedin", results_wanted=17)
    async with worker_process(stack, boards, "once") as worker:
        assert (await worker.ended())[0] == 0
    counted = await rows(
        database,
        """
        select site, outcome, runs, items > 0, pages > 0, requests > 0 from worker.run_stats
        where span = 'hour' and begins_at >= date_trunc('hour', now()) and attempts = 1
        """,
    )
    assert sorted(counted) == [
        ("", "success", 1, True, True, True),
        ("indeed", "completed", 1, True, True, True),
        ("linkedin", "completed", 1, True, True, True),
    ]


@pytest.mark.pgvector
async def test_a_model_that_the_database_does_not_have_ends_nothing(
    stack: Endpoints, boards: Boards, user: User, database: Connection
) -> None:
    await database.execute("select worker.change_embedding_model('another')")
    await enqueue_jobs(user, "indeed", results_wanted=14)
    log = await drain(stack, boards, WORKER_EMBEDDING_MODEL="wordllama")
    assert await scalar(database, FOUND) > 0
    (failure,) = [line for line in log if line["level"] == "ERROR"]
    assert failure["message"].startswith("Embedding failed, again in ")
    assert "select worker.change_embedding_model('wordllama')" in failure["message"]
