"""Embeddings and what is found by them, from the queue to a user's request, on a stack of this module's own."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, rows, wait_until_blocked
from tests.support.queue import Refusal, Row, call, refusal, user_id
from tests.support.stack import SignIn
from worker.database.answers import NearDuplicates
from worker.database.client import open_client
from worker.database.queue import Queue
from worker.engine.background import ChoreError
from worker.engine.chores import IDLE_SECONDS, Embedding, NearDuplicateMerging
from worker.engine.embedding_models import DIMENSIONS, EmbedderError, OfflineEmbedder, TextRefusedError, Vector
from worker.errors import CallRefusedError, DatabaseUnreachableError
from worker.local.supabase.stack import Endpoints

pytestmark = [pytest.mark.pgvector, pytest.mark.own_stack]

MODEL = "directions"


@pytest.fixture(autouse=True)
async def no_items(database: Connection) -> AsyncIterator[None]:
    """The database has no items and no model, and its own clock."""
    await database.execute("select worker.change_embedding_model(null)")
    await database.execute("truncate public.items cascade")
    yield
    await move_clock(database, "0")


async def move_clock(database: Connection, interval: str) -> None:
    statement = """
        create or replace function worker.now() returns timestamptz language sql stable set search_path = ''
        return clock_timestamp() + interval {}
    """
    await database.execute(sql.SQL(statement).format(interval))


@pytest.fixture
async def queues(stack: Endpoints) -> AsyncIterator[tuple[Queue, Queue]]:
    """The queue as two workers have it."""
    async with AsyncExitStack() as resources:

        async def queue(worker_id: str) -> Queue:
            client = await resources.enter_async_context(
                open_client(stack.url, stack.service_role_key, timeout_seconds=30)
            )
            return Queue(client, worker_id=worker_id, lease_seconds=60, outage_seconds=30)

        yield await queue("one"), await queue("two")


@pytest.fixture
def queue(queues: tuple[Queue, Queue]) -> Queue:
    return queues[0]


async def add(
    database: Connection,
    title: str,
    *,
    kind: str = "jobs",
    owner: str | None = None,
    organization: str | None = "Acme",
    city: str | None = None,
    description: str | None = None,
    posted_at: str | None = None,
    duplicate_of: UUID | None = None,
) -> UUID:
    """Add an item; as the load does, to the queue as well if anything is embedded."""
    answer = await database.execute(
        """
        with item as (
            insert into public.items (kind, owner_id, title, organization, organization_key, city, place_key,
                                      description, url, posted_at, duplicate_of, canonical_key, first_seen_at,
                                      last_seen_at)
            values (%(kind)s, %(owner)s, %(title)s, %(organization)s, lower(%(organization)s), %(city)s,
                    lower(%(city)s) || '||', %(description)s, 'https://example.com', %(posted_at)s, %(duplicate_of)s,
                    'site:' || gen_random_uuid(), worker.now(), worker.now())
            returning id
        ), queued as (
            insert into worker.embedding_queue (item_id, due_at) select id, worker.now() from item
            where (select embedding_model from worker.settings) is not null
        )
        select id from item
        """,
        {
            "kind": kind, "owner": owner, "title": title, "organization": organization, "city": city,
            "description": description, "posted_at": posted_at, "duplicate_of": duplicate_of,
        },
    )  # fmt: skip
    row = await answer.fetchone()
    assert row is not None
    item_id: UUID = row[0]
    return item_id


async def change_text(database: Connection, item_id: UUID, title: str) -> None:
    """Change an item's text as the load does."""
    await database.execute("update public.items set title = %s where id = %s", [title, item_id])
    await database.execute(
        """
        insert into worker.embedding_queue as queued (item_id, due_at) values (%s, worker.now())
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null
        """,
        [item_id],
    )


def toward(degrees: float) -> Vector:
    """A vector of that angle to the one of 0 degrees."""
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), *[0.0] * (DIMENSIONS - 2)]


class Directions:
    """Embeds each text into the direction that its first word names in degrees; it is told what to refuse."""

    name = MODEL
    batch = 10

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: Exception | None = None
        self.refused: set[str] = set()

    async def embed(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        self.texts += texts
        if self.error:
            raise self.error
        titles = [text.split()[0] for text in texts]
        return [
            TextRefusedError(f"cannot read {title}") if title in self.refused else toward(float(title))
            for title in titles
        ]


async def embed_all(queue: Queue, embedder: Any = None) -> None:
    """Embed whatever is due."""
    chore = Embedding(queue, embedder or Directions(), on_saved=lambda: None)
    while await chore() == 0:
        pass


async def embedded(database: Connection) -> dict[UUID, list[float]]:
    found = await rows(database, "select item_id, embedding::text from public.item_embeddings")
    return {item_id: json.loads(embedding) for item_id, embedding in found}


async def queued(database: Connection) -> list[Any]:
    """Attempts, whether it was given up, and the error of each item in the queue."""
    return await rows(
        database, "select attempts, due_at = 'infinity', error from worker.embedding_queue order by item_id"
    )


# From the queue to the table ---------------------------------------------------------------------------------------


async def test_the_first_model_that_comes_embeds_all_that_is_there(
    database: Connection, queue: Queue, service: AsyncClient
) -> None:
    known = {await add(database, str(degrees), description="x" * 3000) for degrees in range(25)}
    status = await call(service, "worker_status")
    assert (status["embedding_model"], status["embeddings_waiting"]) == (None, 0)
    embedder = Directions()
    chore = Embedding(queue, embedder, on_saved=lambda: None)
    assert await chore() == 0
    status = await call(service, "worker_status")
    assert (status["embedding_model"], status["embeddings_waiting"], status["embeddings_failed"]) == (MODEL, 15, 0)
    await embed_all(queue, embedder)
    assert (await embedded(database)).keys() == known
    assert await queued(database) == []
    assert len(embedder.texts) == 25
    assert embedder.texts[0].partition(" ")[2] == "Acme " + "x" * 3000

    assert await chore() == IDLE_SECONDS
    later = await add(database, "90")
    await embed_all(queue)
    assert (await embedded(database))[later][:2] == [0, 1]


async def test_a_batch_of_the_model_may_be_larger_than_one_call_saves(database: Connection, queue: Queue) -> None:
    await database.execute(
        """
        insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
        select 'jobs', n % 360, 'https://example.com', n, now(), now() from generate_series(1, 600) as n
        """
    )
    embedder = Directions()
    embedder.batch = 600
    await embed_all(queue, embedder)
    wrong = await rows(
        database,
        """
        select item.title, kept.embedding::text from public.items as item
        left join public.item_embeddings as kept on kept.item_id = item.id
        where abs((kept.embedding::text::json ->> 0)::float - cosd(item.title::float)) < 0.01 is not true
        """,
    )
    assert wrong == []
    assert await queued(database) == []


async def test_a_large_backlog_is_queued_piece_by_piece(database: Connection, service: AsyncClient) -> None:
    await database.execute(
        """
        insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
        select 'jobs', n, 'https://example.com', n, now(), now() from generate_series(1, 12000) as n
        """
    )
    waiting = []
    for _ in range(5):
        claimed = await call(service, "worker_claim_embeddings", model=MODEL, batch=2048)
        waiting.append((len(claimed["items"]), (await call(service, "worker_status"))["embeddings_waiting"]))
        # The claims run out.
        await database.execute("delete from worker.embedding_queue where due_at > now()")
    assert waiting == [(2048, 5000), (2048, 2952), (2048, 5904), (2048, 3856), (2048, 3808)]
    claimed = await call(service, "worker_claim_embeddings", model=MODEL, batch=2048)
    assert (len(claimed["items"]), claimed["due_in_seconds"]) == (1760, None)
    assert await rows(database, "select from worker.embedding_backfill") == []


async def test_two_workers_embed_each_item_once(database: Connection, queues: tuple[Queue, Queue]) -> None:
    known = {await add(database, str(degrees)) for degrees in range(60)}
    one, two = Directions(), Directions()
    await asyncio.gather(embed_all(queues[0], one), embed_all(queues[1], two))
    assert sorted(one.texts + two.texts) == sorted(f"{degrees} Acme" for degrees in range(60))
    assert (await embedded(database)).keys() == known


async def test_a_claim_runs_out(database: Connection, queues: tuple[Queue, Queue]) -> None:
    item_id = await add(database, "0")
    one, two = queues
    lost = await one.claim_embeddings(MODEL, 10)
    nothing = await two.claim_embeddings(MODEL, 10)
    assert nothing.items == ()
    assert nothing.due_in_seconds == pytest.approx(300, abs=30)

    await move_clock(database, "5 minutes 1 second")
    found = await two.claim_embeddings(MODEL, 10)
    assert [item.id for item in found.items] == [item_id]
    assert await one.save_embeddings(MODEL, lost.mark, {item_id: toward(10)}) == 0
    assert await embedded(database) == {}
    assert await two.save_embeddings(MODEL, found.mark, {item_id: toward(0)}) == 1
    # Again, as after an answer that was lost.
    assert await two.save_embeddings(MODEL, found.mark, {item_id: toward(0)}) == 0
    assert (await embedded(database))[item_id][:2] == [1, 0]


async def test_a_text_that_changes_meanwhile_is_embedded_again(database: Connection, queue: Queue) -> None:
    item_id = await add(database, "0")
    claimed = await queue.claim_embeddings(MODEL, 10)
    await change_text(database, item_id, "90")
    assert await queue.save_embeddings(MODEL, claimed.mark, {item_id: toward(0)}) == 0
    await queue.fail_embeddings(claimed.mark, {item_id: "too late"})
    assert await queued(database) == [(0, False, None)]
    await embed_all(queue)
    assert (await embedded(database))[item_id][:2] == [0, 1]


async def test_an_item_that_goes_meanwhile_is_not_missed(database: Connection, queue: Queue) -> None:
    gone, stays = await add(database, "0"), await add(database, "1")
    claimed = await queue.claim_embeddings(MODEL, 10)
    await database.execute("delete from public.items where id = %s", [gone])
    assert await queue.save_embeddings(MODEL, claimed.mark, {gone: toward(0), stays: toward(1)}) == 1
    assert (await embedded(database)).keys() == {stays}


async def test_what_is_refused_comes_later_and_is_given_up_in_the_end(
    database: Connection, queue: Queue, service: AsyncClient
) -> None:
    bad, good = await add(database, "1"), await add(database, "2")
    embedder = Directions()
    embedder.refused = {"1"}
    chore = Embedding(queue, embedder, on_saved=lambda: None)
    waits = []
    for _ in range(8):
        await chore()
        waits += await rows(
            database,
            # Before Postgres 17 no time can be taken from infinity.
            "select attempts, round((extract(epoch from due_at) - extract(epoch from worker.now())) / 60)"
            " from worker.embedding_queue",
        )
        await database.execute("update worker.embedding_queue set due_at = worker.now() where due_at < 'infinity'")
    assert waits == [(1, 1), (2, 4), (3, 16), (4, 64), (5, 256), (6, 1024), (7, 4096), (8, math.inf)]
    assert await queued(database) == [(8, True, "cannot read 1")]
    status = await call(service, "worker_status")
    assert (status["embeddings_waiting"], status["embeddings_failed"]) == (0, 1)
    assert await chore() == IDLE_SECONDS
    assert embedder.texts.count("1 Acme") == 8
    assert (await embedded(database)).keys() == {good}

    # Another text, another chance.
    await change_text(database, bad, "3")
    await embed_all(queue, embedder)
    assert (await embedded(database)).keys() == {bad, good}


@pytest.mark.parametrize(("asked", "given"), [(None, None), (20.0, 20.0), (1e9, 3600)])
async def test_a_model_out_of_reach_costs_no_item_an_attempt(
    database: Connection, queue: Queue, asked: float | None, given: float | None
) -> None:
    await add(database, "0")
    embedder = Directions()
    embedder.error = EmbedderError("HTTP 503", retry_after_seconds=asked)
    with pytest.raises(ChoreError, match="HTTP 503") as failure:
        await Embedding(queue, embedder, on_saved=lambda: None)()
    assert failure.value.retry_in_seconds == given
    assert await queued(database) == [(0, False, None)]


async def test_another_model_is_refused_until_the_database_is_told(database: Connection, queue: Queue) -> None:
    item_id = await add(database, "0")
    claimed = await queue.claim_embeddings(MODEL, 10)
    for refused in (
        queue.claim_embeddings("other", 10),
        queue.save_embeddings("other", claimed.mark, {item_id: toward(1)}),
    ):
        with pytest.raises(CallRefusedError, match=f"'{MODEL}'.* not 'other'.*worker.change_embedding_model.'other'."):
            await refused
    await queue.save_embeddings(MODEL, claimed.mark, {item_id: toward(0)})
    late = await add(database, "2")
    claimed = await queue.claim_embeddings(MODEL, 10)

    await database.execute("select worker.change_embedding_model('other')")
    assert await embedded(database) == {}
    with pytest.raises(CallRefusedError, match=f"'other'.* not '{MODEL}'"):
        await queue.save_embeddings(MODEL, claimed.mark, {late: toward(2)})
    again = await queue.claim_embeddings("other", 10)
    assert {item.id for item in again.items} == {item_id, late}


async def test_of_two_models_at_once_one_is_kept(database: Connection, queues: tuple[Queue, Queue]) -> None:
    await add(database, "0")
    answers = await asyncio.gather(
        *(queue.claim_embeddings(model, 10) for queue in queues for model in ("a", "b", "c")), return_exceptions=True
    )
    refusals = [answer for answer in answers if isinstance(answer, CallRefusedError)]
    claims = [answer.items for answer in answers if not isinstance(answer, BaseException)]
    assert (len(refusals), sorted(map(len, claims))) == (4, [0, 1])


async def test_a_load_that_did_not_see_the_model_is_waited_for(
    connect_database: Connect, database: Connection, queue: Queue
) -> None:
    loading = await connect_database()
    async with loading.transaction():
        item_id = await add(loading, "0")
        claim = asyncio.create_task(queue.claim_embeddings(MODEL, 10))
        await wait_until_blocked(database, loading)
    assert [item.id for item in (await claim).items] == [item_id]


@pytest.mark.parametrize(
    "statement",
    [
        "select public.worker_save_embeddings('directions', %s, %s)",
        "select public.worker_fail_embeddings(%s, %s)",
    ],
    ids=["save", "fail"],
)
async def test_a_page_that_changes_texts_and_their_embedding_never_wait_in_a_circle(
    connect_database: Connect, database: Connection, queue: Queue, statement: LiteralString
) -> None:
    items = sorted([await add(database, "0") for _ in range(20)])
    claimed = await queue.claim_embeddings(MODEL, 20)
    answers = [{"item_id": str(item), "embedding": toward(0), "message": "no"} for item in reversed(items)]
    loading, embedding = await connect_database(), await connect_database()
    async with loading.transaction():
        await change_text(loading, items[0], "1")
        embedded_late = asyncio.create_task(embedding.execute(statement, [claimed.mark, Jsonb(answers)]))
        await wait_until_blocked(database, loading)
        for item in items[1:]:
            await change_text(loading, item, "1")
    await embedded_late
    assert await queued(database) == [(0, False, None)] * len(items)
    assert await embedded(database) == {}


async def test_a_model_is_changed_while_embeddings_are_saved(connect_database: Connect, database: Connection) -> None:
    await database.execute("select worker.change_embedding_model(%s)", [MODEL])
    item_id = await add(database, "0")
    saving, changing = await connect_database(), await connect_database()
    async with saving.transaction():
        await saving.execute("delete from worker.embedding_queue where item_id = %s", [item_id])
        change = asyncio.create_task(changing.execute("select worker.change_embedding_model('other')"))
        await wait_until_blocked(database, saving)
        await saving.execute(
            "insert into public.item_embeddings (item_id, embedding, embedded_at) values (%s, %s, now())",
            [item_id, json.dumps(toward(0))],
        )
    await change
    assert await embedded(database) == {}


@pytest.mark.parametrize(
    ("vector", "problem"),
    [([0.1] * 255, "expected 256 dimensions, not 255"), ([math.pi] * 257, "expected 256 dimensions, not 257")],
)
async def test_a_vector_of_another_length_is_refused(
    database: Connection, queue: Queue, vector: Vector, problem: str
) -> None:
    item_id = await add(database, "0")
    claimed = await queue.claim_embeddings(MODEL, 10)
    with pytest.raises(CallRefusedError, match=problem):
        await queue.save_embeddings(MODEL, claimed.mark, {item_id: vector})
    assert len(await queued(database)) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"model": MODEL, "batch": 0}, "batch must be an integer from 1 to 2048"),
        ({"model": MODEL, "batch": None}, "batch must be an integer from 1 to 2048"),
        ({"model": "", "batch": 1}, "model must be 1 to 200 characters long"),
        ({"model": None, "batch": 1}, "model must be 1 to 200 characters long"),
    ],
)
async def test_bad_claims_are_refused(service: AsyncClient, arguments: Row, problem: str) -> None:
    refused = await refusal(service, service.rpc("worker_claim_embeddings", arguments))
    assert refused == Refusal(400, "22023", problem)


# By meaning --------------------------------------------------------------------------------------------------------


async def matched(client: AsyncClient, **arguments: Any) -> list[Row]:
    found: list[Row] = await call(client, "match_items", **arguments)
    return found


async def similar(client: AsyncClient, item_id: UUID, **arguments: Any) -> list[str]:
    return [row["title"] for row in await call(client, "similar_items", item_id=str(item_id), **arguments)]


async def test_the_nearest_come_first(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    ids = {degrees: await add(database, str(degrees), description="d") for degrees in (0, 10, 20, 40, 80, 160)}
    await embed_all(queue)
    user = await sign_in()
    first, *others = await matched(user, query_embedding=toward(12), limit=4)
    assert [row["title"] for row in (first, *others)] == ["10", "0", "20", "40"] or [
        row["title"] for row in (first, *others)
    ] == ["10", "20", "0", "40"]
    (whole,) = (await user.table("items").select("*").eq("id", str(ids[10])).execute()).data
    assert isinstance(whole, dict)
    assert first["item_id"] == whole["id"]
    assert first["similarity"] == pytest.approx(math.cos(math.radians(2)), abs=1e-3)
    assert {name: value for name, value in whole.items() if name in first} == {
        name: value for name, value in first.items() if name in whole
    }
    assert len(await matched(user, query_embedding=toward(12), max_distance=0.13)) == 4
    assert await similar(user, ids[0], limit=3) == ["10", "20", "40"]
    assert await similar(user, ids[160]) == ["80", "40", "20", "10", "0"]


async def test_an_embedding_may_be_text(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    await add(database, "0")
    await embed_all(queue)
    (found,) = await matched(await sign_in(), query_embedding=json.dumps(toward(0)))
    assert found["similarity"] == pytest.approx(1)


async def test_each_thing_once(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    root = await add(database, "0")
    duplicate = await add(database, "1", duplicate_of=root)
    other = await add(database, "20")
    for degrees in range(21, 25):
        await add(database, str(degrees), duplicate_of=other)
    await embed_all(queue)
    user = await sign_in()
    assert [row["title"] for row in await matched(user, query_embedding=toward(1))] == ["0", "20"]
    for item_id in (root, duplicate):
        assert await similar(user, item_id) == ["20"]


async def test_only_of_the_kind(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    job = await add(database, "0")
    await add(database, "1", kind="creators")
    await add(database, "2")
    await embed_all(queue)
    user = await sign_in()
    assert await similar(user, job) == ["2"]
    assert [row["title"] for row in await matched(user, query_embedding=toward(0), kind="creators")] == ["1"]
    assert len(await matched(user, query_embedding=toward(0))) == 3
    assert await matched(user, query_embedding=toward(0), kind="nothing") == []


async def test_nobody_finds_what_is_anothers(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    ada, bob = await sign_in(), await sign_in()
    public = await add(database, "0")
    for degrees in range(30):
        await add(database, str(degrees), owner=await user_id(ada))
    bobs = await add(database, "31", owner=await user_id(bob))
    adas = await add(database, "32", owner=await user_id(ada))
    await embed_all(queue)
    assert len(await embedded(database)) == 33

    seen = await matched(bob, query_embedding=toward(0), limit=100)
    assert [row["item_id"] for row in seen] == [str(public), str(bobs)]
    assert len(await matched(ada, query_embedding=toward(0), limit=100)) == 32
    # The user's own are among the nearest, and no more than were asked for.
    assert [row["title"] for row in await matched(ada, query_embedding=toward(32), limit=2)] == ["32", "29"]

    assert await similar(bob, public) == ["31"]
    assert await similar(bob, bobs) == ["0"]
    refused = await refusal(bob, bob.rpc("similar_items", {"item_id": str(adas)}))
    assert refused == Refusal(404, "PT404", "item_id must be the id of an item that you may see")
    stored: list[Any] = (await bob.table("item_embeddings").select("item_id").execute()).data
    assert {row["item_id"] for row in stored} == {str(public), str(bobs)}


async def test_what_is_not_embedded_is_like_nothing(database: Connection, sign_in: SignIn) -> None:
    item_id = await add(database, "0")
    assert await similar(await sign_in(), item_id) == []


@pytest.mark.parametrize(
    ("function", "arguments", "problem"),
    [
        ("match_items", {"query_embedding": [1, 2, 3]}, "query_embedding must be an array of 256 numbers"),
        *(
            ("match_items", {"query_embedding": embedding}, "query_embedding must be an array of 256 numbers")
            for embedding in (
                None,
                [],
                [0.5] * 257,
                [0.5] * 16_001,
                [0.5] * 100_000,
                [None] * 256,
                ["x"] * 256,
                [1e9] * 256,
                [[0.5] * 128] * 2,
                "," * 255,
                "x",
                {"a": [0.5] * 256},
                1,
                [0.5] * 255 + [","],
                f"[{'0.5,' * 255}NaN]",
                f"[{'0.5,' * 255}]",
            )
        ),
        ("match_items", {"query_embedding": toward(0), "limit": 0}, "limit must be an integer from 1 to 200"),
        ("match_items", {"query_embedding": toward(0), "limit": 201}, "limit must be an integer from 1 to 200"),
        ("similar_items", {"item_id": str(uuid4()), "limit": 101}, "limit must be an integer from 1 to 100"),
    ],
)
async def test_bad_questions_are_refused(sign_in: SignIn, function: str, arguments: Row, problem: str) -> None:
    user = await sign_in()
    assert await refusal(user, user.rpc(function, arguments)) == Refusal(400, "22023", problem)


@pytest.fixture
async def crowd(database: Connection, queue: Queue) -> None:
    """4,000 things in all directions; in one of them 1,000 duplicates of one, and in the opposite one 20 rare things.

    As embeddings of texts do, they differ in far fewer than 256 dimensions.
    """
    await queue.claim_embeddings(MODEL, 1)
    await database.execute("select setseed(0.5)")
    await database.execute(
        """
        with item as (
            insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
            select case when n > 4980 then 'rare' else 'jobs' end, n, 'https://example.com', n, now(), now()
            from generate_series(1, 5000) as n
            returning id, title::integer as n
        )
        insert into public.item_embeddings (item_id, embedding, embedded_at)
        select item.id, (
            select array_agg(
                case when dimension = 1 and item.n <= 1000 then 5
                     when dimension = 1 and item.n > 4980 then -5
                     when dimension <= 8 then random() - 0.5
                     else 0 end order by dimension)::extensions.vector::extensions.halfvec(256)
            from generate_series(1, 256) as dimension
        ), now()
        from item
        """
    )
    await database.execute(
        """
        update public.items set duplicate_of = (select id from public.items where title = '1')
        where title::integer between 2 and 1000
        """
    )
    await database.execute("analyze public.items, public.item_embeddings")


async def matched_by_index(database: Connection, user: str, **arguments: Any) -> tuple[list[Row], bool]:
    """What a user finds, and whether the index was read for it."""
    index = "pg_stat_get_xact_numscans('public.item_embeddings_public'::regclass)"
    async with database.transaction():
        ((before,),) = await rows(database, f"select {index}")
        await database.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": user})])
        await database.execute("set local role authenticated")
        ((found,),) = await rows(
            database,
            """
            select coalesce(json_agg(found), '[]')
            from public.match_items(%(query_embedding)s, kind => %(kind)s, "limit" => %(limit)s) as found
            """,
            {"kind": None, **arguments, "query_embedding": json.dumps(arguments["query_embedding"])},
        )
        await database.execute("reset role")
        ((after,),) = await rows(database, f"select {index}")
    return found, after > before


@pytest.mark.usefixtures("crowd")
async def test_the_index_is_read_on_until_enough_may_be_shown(database: Connection, sign_in: SignIn) -> None:
    user = await user_id(await sign_in())
    # The nearest thousand are one thing.
    found, is_indexed = await matched_by_index(database, user, query_embedding=toward(0), limit=50)
    assert is_indexed
    assert (found[0]["title"], len(found)) == ("1", 50)
    similarities = [row["similarity"] for row in found]
    assert similarities == sorted(similarities, reverse=True)
    # The farthest of all.
    found, _ = await matched_by_index(database, user, query_embedding=toward(0), kind="rare", limit=20)
    assert len(found) == 20


@pytest.mark.usefixtures("crowd")
async def test_the_index_finds_what_a_full_scan_finds(database: Connection, sign_in: SignIn) -> None:
    user = await user_id(await sign_in())
    directions = random.Random(5)
    shares = []
    for _ in range(10):
        direction = [directions.uniform(-1, 1) for _ in range(8)] + [0.0] * (DIMENSIONS - 8)
        found, is_indexed = await matched_by_index(database, user, query_embedding=direction, limit=20)
        assert is_indexed
        exact = await rows(
            database,
            """
            select item.id::text from public.item_embeddings as embedded join public.items as item on item.id = item_id
            where duplicate_of is null order by (embedding operator(extensions.<=>) %s::extensions.halfvec) + 0 limit 20
            """,
            [json.dumps(direction)],
        )
        shares.append(len({row["item_id"] for row in found} & {item_id for (item_id,) in exact}) / 20)
    assert sum(shares) / len(shares) > 0.95


# Near-duplicates ---------------------------------------------------------------------------------------------------


async def pairs(queue: Queue) -> set[frozenset[UUID]]:
    """The pairs that are to be compared now."""
    return pairs_of(await queue.claim_near_duplicates(100))


def pairs_of(claimed: NearDuplicates) -> set[frozenset[UUID]]:
    return {frozenset(map(UUID, pair)) for pair in claimed.pairs}


async def test_what_is_near_is_compared_once(database: Connection, queue: Queue) -> None:
    one, two = await add(database, "0"), await add(database, "10")
    await add(database, "30")
    await embed_all(queue)
    claimed = await queue.claim_near_duplicates(100)
    assert pairs_of(claimed) == {frozenset({one, two})}
    assert set(map(UUID, claimed.items)) == {one, two}
    assert (claimed.items[str(one)].title, claimed.items[str(one)].organization_key) == ("0", "acme")
    assert await pairs(queue) == set()

    # Unless the worker says that it has compared them, another one does.
    await move_clock(database, "6 minutes")
    again = await queue.claim_near_duplicates(100)
    assert again.items.keys() == claimed.items.keys()
    await queue.finish_near_duplicates(claimed.mark, claimed.items, [])
    assert await rows(database, "select count(*) from worker.near_duplicate_queue") == [(2,)]
    await queue.finish_near_duplicates(again.mark, again.items, [])
    assert await rows(database, "select count(*) from worker.near_duplicate_queue") == [(0,)]

    # Embedded anew, it is compared anew.
    await change_text(database, one, "1")
    await embed_all(queue)
    assert await pairs(queue) == {frozenset({one, two})}


@pytest.mark.parametrize(
    ("difference", "is_near"),
    [
        ({"title": "18"}, True),
        ({"title": "19"}, False),  # cos 18° > 0.95 > cos 19°
        ({"organization": "Umbrella"}, False),
        ({"organization": None}, False),
        ({"organization": "ACME"}, True),
        ({"kind": "creators"}, False),
        ({"posted_at": "2026-11-08"}, True),
        ({"posted_at": "2026-10-25"}, True),
        ({"posted_at": "2026-11-09"}, False),
        ({"posted_at": "2026-10-24"}, False),
        ({"city": "Berlin"}, False),  # it could not be merged
        ({"city": None}, True),
    ],
)
async def test_what_may_be_the_same(database: Connection, queue: Queue, difference: Row, *, is_near: bool) -> None:
    like: Row = {"title": "0", "posted_at": "2026-11-01", "city": "Bonn"}
    await add(database, **like)
    await add(database, **(like | difference))
    await embed_all(queue)
    assert bool(await pairs(queue)) == is_near


async def test_without_a_date_the_first_sight_counts(database: Connection, queue: Queue) -> None:
    await add(database, "0")
    await move_clock(database, "8 days")
    await add(database, "1")
    await add(database, "2")
    await embed_all(queue)
    assert len(await pairs(queue)) == 1


async def test_what_is_private_is_compared_with_its_owners_alone(
    database: Connection, queue: Queue, sign_in: SignIn
) -> None:
    ada, bob = [await user_id(await sign_in()) for _ in range(2)]
    await add(database, "0")
    await add(database, "1", owner=bob)
    one, two = await add(database, "2", owner=ada), await add(database, "3", owner=ada)
    await embed_all(queue)
    assert await pairs(queue) == {frozenset({one, two})}


async def test_groups_and_what_was_split_are_not_compared(database: Connection, queue: Queue) -> None:
    root = await add(database, "0")
    await add(database, "1", duplicate_of=root)
    split = await add(database, "2", duplicate_of=root)
    await database.execute("update public.items set duplicate_of = null where id = %s", [split])
    await database.execute(
        """
        insert into worker.kept_apart (item_id, other_id)
        select least(id, %(split)s), greatest(id, %(split)s) from public.items where id <> %(split)s
        """,
        {"split": split},
    )
    await embed_all(queue)
    assert await pairs(queue) == set()


async def test_of_many_on_one_template_the_nearest_are_compared(database: Connection, queue: Queue) -> None:
    known = [await add(database, str(number / 10)) for number in range(60)]
    await embed_all(queue)
    claimed = await queue.claim_near_duplicates(1)
    assert len(claimed.pairs) == 20
    everything = await pairs(queue)
    assert {frozenset(pair) for pair in pairwise(known)} <= everything | pairs_of(claimed)


async def test_those_of_the_same_city_are_compared_before_nearer_ones(database: Connection, queue: Queue) -> None:
    same = {await add(database, "0", city="Saint Charles"), await add(database, "10", city="SAINT CHARLES")}
    for number in range(120):
        await add(database, str(number / 12))
    await embed_all(queue)
    compared: set[frozenset[UUID]] = set()
    while found := await pairs(queue):
        compared |= found
    assert frozenset(same) in compared


async def test_confirmed_near_duplicates_are_merged(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    same = [await add(database, f"0 {title}", description="You bake.") for title in ("Baker", "baker", "Baker (m/w/d)")]
    other = await add(database, "0 Cook", description="You bake.")
    longer = await add(database, "0 Baker", description="Nights are free, and the ovens are new.")
    silent = await add(database, "0 Baker")
    await embed_all(queue)

    assert await NearDuplicateMerging(queue)() == IDLE_SECONDS
    groups = await rows(database, "select id, duplicate_of from public.items where duplicate_of is not null")
    assert {item_id for item_id, _ in groups} == set(same[1:])
    assert {root for _, root in groups} == {same[0]}
    assert await rows(database, "select count(*) from worker.near_duplicate_queue") == [(0,)]
    user = await sign_in()
    assert sorted(await similar(user, other)) == ["0 Baker", "0 Baker", "0 Baker"]
    assert {row["item_id"] for row in await call(user, "similar_items", item_id=str(same[2]))} == {
        str(item_id) for item_id in (other, longer, silent)
    }


async def test_a_claim_that_fails_is_followed_by_a_smaller_one(
    database: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, "0")
    await embed_all(queue)
    claim = queue.claim_near_duplicates
    asked: list[int] = []

    async def too_slow(batch: int) -> NearDuplicates:
        asked.append(batch)
        if batch > 40:
            raise DatabaseUnreachableError("canceling statement due to statement timeout")
        return await claim(batch)

    monkeypatch.setattr(queue, "claim_near_duplicates", too_slow)
    chore = NearDuplicateMerging(queue)
    for _ in range(2):
        with pytest.raises(DatabaseUnreachableError):
            await chore()
    await chore()
    with pytest.raises(DatabaseUnreachableError):
        await chore()
    assert asked == [100, 50, 25, 50]


# With a model ------------------------------------------------------------------------------------------------------


async def test_the_offline_model_finds_what_means_the_same(database: Connection, queue: Queue, sign_in: SignIn) -> None:
    titles = ("Senior Python developer", "Backend engineer (Python)", "Night shift baker", "Pastry chef")
    ids: Mapping[str, UUID] = {title: await add(database, title, organization=None) for title in titles}
    await embed_all(queue, OfflineEmbedder())
    user = await sign_in()
    assert (await similar(user, ids["Senior Python developer"]))[0] == "Backend engineer (Python)"
    assert (await similar(user, ids["Night shift baker"]))[0] == "Pastry chef"
    (question,) = await OfflineEmbedder().embed(["bakery jobs"])
    found = await matched(user, query_embedding=question, limit=2)
    assert {row["title"] for row in found} == {"Night shift baker", "Pastry chef"}
