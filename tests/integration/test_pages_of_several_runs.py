"""`worker_save_pages` saves small pages of several runs in one call, and each of them has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, rows
from tests.support.queue import (
    SAVE_PAGES,
    START_SEARCH,
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    items,
    lease,
    page,
    refusal,
    start_site,
)
from tests.support.stack import SignIn
from worker.database.queue import Queue
from worker.local.supabase.stack import Endpoints
from worker.model import FoundPage, Item, Lease, Page, Transformed

SITE = "indeed"


@pytest.fixture
async def runs(ada: AsyncClient, service: AsyncClient, kind: str) -> list[Row]:
    """Five claimed runs of one site, whose searches have started."""
    for _ in range(5):
        await enqueue(ada, kind, sites=[SITE])
    claimed = await claim(service, kind, slots=5)
    for run in claimed:
        assert (await start_site(service, run, SITE))["granted"]
    return claimed


def found(run: Row, *external_ids: str, number: int = 1, **changed: Any) -> Row:
    return {**lease(run), **page(SITE, number, external_ids), **changed}


async def save(service: AsyncClient, *pages: Row) -> list[Row]:
    answers: list[Row] = await call(service, "worker_save_pages", pages=pages)
    return answers


async def test_each_run_has_its_own_answer(
    service: AsyncClient, ada: AsyncClient, connect_database: Connect, runs: list[Row]
) -> None:
    good, cancelled, lost, locked, wrong = runs
    await call(ada, "cancel_search", run_id=cancelled["run_id"])
    holder = await connect_database()
    await holder.execute("begin")
    await holder.execute("select from public.search_runs where id = %s for no key update", [locked["run_id"]])
    async with asyncio.timeout(10):
        answers = await save(
            service, found(good, "a", "b"), found(cancelled, "a"), found(lost | {"lease_token": str(uuid4())}, "a"),
            found(locked, "a"), found(wrong, "a", site="bayt"),
        )  # fmt: skip
    await holder.execute("rollback")
    assert answers[0].items() >= {"state": "done", "status": "completed", "results": 2, "new": 2}.items()
    assert [answer["state"] for answer in answers[1:]] == ["cancelled", "lease_lost", "busy", "refused"]
    assert answers[4]["message"] == "site must be one that was started with worker_start_sites, not 'bayt'"
    assert [answer["state"] for answer in await save(service, found(locked, "a"))] == ["done"]


async def test_the_same_pages_again_answer_the_same(
    service: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    pages = [found(run, "a", f"{number}", ends="run") for number, run in enumerate(runs)]
    first = await save(service, *pages)
    assert [(answer["results"], answer["end"]["run"]["status"]) for answer in first] == [(2, "success")] * 5
    assert await save(service, *pages) == first
    ids = [UUID(run["run_id"]) for run in runs]
    counted = "select count(*) from public.search_results where run_id = any (%s)"
    assert await rows(database, counted, [ids]) == [(10,)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "pages must be an array of 1 to 100 objects"),
        (lambda _: {}, "pages must be an array of 1 to 100 objects"),
        (lambda runs: [found(runs[0])] * 101, "pages must be an array of 1 to 100 objects"),
        (lambda runs: [found(runs[0])] * 2, "pages must have a run_id in each object, and each run once"),
        (lambda runs: [found(runs[0]), found(runs[1], items={})], "items must be an array"),
        (lambda runs: [found(runs[0]), found(runs[1], errors=None)], "errors must be an array"),
        (lambda runs: [found(runs[0], ends="all")], "ends must be site, run or null, not 'all'"),
    ],
)
async def test_wrong_arguments_are_refused(service: AsyncClient, runs: list[Row], change: Any, message: str) -> None:
    refused = await refusal(service, service.rpc("worker_save_pages", {"pages": change(runs)}))
    assert refused == Refusal(400, "22023", message)


async def test_the_page_of_a_prober_is_sent_alone(service: AsyncClient, database: Connection, runs: list[Row]) -> None:
    """It closes the breaker of its site, whose row must not be locked before those of other sites."""
    prober, other = runs[:2]
    await database.execute(
        "insert into worker.site_health (site, prober_run_id, paused_until) values (%s, %s, now() - interval '1 s')"
        " on conflict (site, account, exit) do update"
        " set prober_run_id = excluded.prober_run_id, paused_until = excluded.paused_until",
        [SITE, prober["run_id"]],
    )
    answers = await save(service, found(prober, "a"), found(other, "b"))
    assert [answer["state"] for answer in answers] == ["busy", "done"]
    assert [answer["state"] for answer in await save(service, found(prober, "a"))] == ["done"]
    health = "select prober_run_id, paused_until from worker.site_health where site = %s and account = ''"
    assert await rows(database, health, [SITE]) == [(None, None)]


async def test_calls_with_the_same_things_in_another_order_do_not_deadlock(
    connect_database: Connect, runs: list[Row]
) -> None:
    connections = [await connect_database() for _ in range(2)]
    halves = runs[:2], runs[2:4]
    for number in range(1, 7):
        things = [f"{number}-{thing}" for thing in range(12)]

        def pages(half: int, number: int = number, things: list[str] = things) -> Jsonb:
            orders = things, things[::-1]
            return Jsonb(
                [found(run, *orders[(half + place) % 2], number=number) for place, run in enumerate(halves[half])]
            )

        async with asyncio.timeout(20):
            answers = await asyncio.gather(
                *(rows(each, SAVE_PAGES, [pages(half)]) for half, each in enumerate(connections))
            )
        saved = [answer for ((found_of_call,),) in answers for answer in found_of_call]
        assert [(answer["state"], answer["results"]) for answer in saved] == [("done", 12)] * 4


async def test_of_pages_that_are_sent_together_a_bad_one_fails_alone(service: AsyncClient, runs: list[Row]) -> None:
    queue = Queue(service, worker_id="worker-1", lease_seconds=3600, outage_seconds=30)

    async def save_one(run: Row, posted_at: str) -> str:
        item = Item(external_id=uuid4().hex, title="Engineer", url="https://example.com", posted_at=posted_at)
        one = FoundPage(SITE, 1, None, "test", Page(1, {}, 5), Transformed(1, (item,), (), {}, 0))
        saved = await queue.save_page(Lease(UUID(run["run_id"]), UUID(run["lease_token"])), one)
        return saved.status

    async with asyncio.timeout(30):
        statuses = await asyncio.gather(
            *(save_one(run, "2026-02-31" if run is runs[3] else "2026-02-03") for run in runs)
        )
    await queue.close()
    assert statuses == ["completed", "completed", "completed", "failed", "completed"]


# Together as one by one ------------------------------------------------------------------------------------------

KEYS = st.sampled_from([None, "x", "y", "z"])
THINGS = st.lists(st.tuples(st.integers(1, 6), KEYS, st.sampled_from(["Acme", "Bolt"])), max_size=5)


class Twin:
    """Runs of the same searches in one of two kinds, which must end alike."""

    def __init__(self, database: psycopg.Connection[Any], users: list[UUID], *, is_private: bool) -> None:
        self.database, self.kind = database, f"twin-{uuid4().hex}"
        database.execute("insert into worker.kinds (kind, is_private) values (%s, %s)", [self.kind, is_private])
        database.execute(
            """
            insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
            select %s, name, type, is_required, minimum, maximum, allowed, default_value
            from worker.parameter_rules where kind = 'jobs'
            """,
            [self.kind],
        )
        for user in users:
            database.execute(
                "insert into public.search_runs (user_id, kind, source, parameters) values (%s, %s, 'cron', %s)",
                [user, self.kind, Jsonb({"search_term": uuid4().hex, "sites": ["indeed", "linkedin"]})],
            )
        claimed = database.execute(
            "select run_id::text, lease_token::text from public.worker_claim_runs"
            "('w', array[%s], 10, 3600, gen_random_uuid(), '[]') order by run_id",
            [self.kind],
        ).fetchall()
        by_user = "select id::text from public.search_runs where kind = %s order by position, created_at, id"
        order = [run_id for (run_id,) in database.execute(by_user, [self.kind]).fetchall()]
        self.leases = [
            {"run_id": run_id, "lease_token": token}
            for run_id, token in sorted(claimed, key=lambda row: order.index(row[0]))
        ]
        for held in self.leases:
            for site in ("indeed", "linkedin"):
                database.execute(START_SEARCH, [held["run_id"], held["lease_token"], site, 1])

    def save(self, pages: list[Row]) -> list[Row]:
        (answers,) = self.database.execute(SAVE_PAGES, [Jsonb(pages)]).fetchone() or ((),)
        return [{name: answer[name] for name in ("state", "status", "results")} for answer in answers]

    def state(self) -> list[Any]:
        """What was stored, without what differs by chance."""
        things = self.database.execute(
            """
            select item.canonical_key, item.organization, root.keys
            from public.items as item
            cross join lateral (
                select array_agg(other.canonical_key order by other.canonical_key) as keys
                from public.items as other
                where coalesce(other.duplicate_of, other.id) = coalesce(item.duplicate_of, item.id)
            ) as root
            where item.kind = %s order by 1, 2, 3
            """,
            [self.kind],
        ).fetchall()
        runs = [
            self.database.execute(
                "select run.jobs_found, run.items_found, array_agg(result.site || ' ' || item.canonical_key order by"
                " result.site, item.canonical_key) from public.search_runs as run"
                " left join public.search_results as result on result.run_id = run.id"
                " left join public.items as item on item.id = result.item_id where run.id = %s group by run.id",
                [held["run_id"]],
            ).fetchone()
            for held in self.leases
        ]
        return [things, runs]


@pytest.fixture
def database_of_twins(stack: Endpoints) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        yield connection


async def test_pages_that_are_saved_together_end_as_pages_that_are_saved_one_by_one(
    sign_in: SignIn, database_of_twins: psycopg.Connection[Any]
) -> None:
    users = [UUID((await (await sign_in()).auth.get_user()).user.id) for _ in range(3)]  # type: ignore[union-attr]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.sampled_from(["indeed", "linkedin"]), THINGS), min_size=3, max_size=3), st.booleans())
    def compare(pages_of_runs: list[tuple[str, list[tuple[int, str | None, str]]]], is_private: bool) -> None:
        together, apart = (Twin(database_of_twins, users, is_private=is_private) for _ in range(2))
        prefix = uuid4().hex

        def pages(twin: Twin) -> list[Row]:
            return [
                {
                    **held,
                    **page(site, 1, []),
                    "items": [
                        item | {"apply_key": key and f"{prefix} {key}", "organization": name,
                                "organization_key": f"{prefix} {name}"}
                        for item, (_, key, name) in zip(
                            items([f"{prefix}-{thing}" for thing, _, _ in things]), things, strict=True)
                    ],
                }
                for held, (site, things) in zip(twin.leases, pages_of_runs, strict=True)
            ]  # fmt: skip

        try:
            answers = together.save(pages(together))
            assert answers == [answer for each in pages(apart) for answer in apart.save([each])]
            assert together.state() == apart.state()
        finally:
            for twin in (together, apart):
                database_of_twins.execute("delete from public.search_runs where kind = %s", [twin.kind])
                database_of_twins.execute("delete from worker.kinds where kind = %s", [twin.kind])

    compare()
