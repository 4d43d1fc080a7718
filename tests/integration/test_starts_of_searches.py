"""`worker_start_sites` starts searches of several runs in one call, and each of them has its own answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, rows
from tests.support.queue import START_SITES, Refusal, Row, call, claim, enqueue, refusal, search_to_start
from tests.support.site_limits import Run, TimedDatabase, connect
from worker.database.queue import Queue
from worker.errors import CallRefusedError, LeaseLostError, SiteWaitingError
from worker.http.exits import OWN_ADDRESS
from worker.model import Lease, RunSite, SiteLimits

SITE = "indeed"


@pytest.fixture
async def runs(ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str) -> list[Row]:
    """Claimed runs of one site, whose searches have not started: three of Ada, then three of Bob."""
    ids = [(await enqueue(user, kind, sites=[SITE]))["id"] for user in (ada, bob) for _ in range(3)]
    return sorted(await claim(service, kind, slots=6), key=lambda run: ids.index(run["run_id"]))


async def start(service: AsyncClient, *searches: Row) -> list[Row]:
    answers: list[Row] = await call(service, "worker_start_sites", searches=searches)
    return answers


def states(answers: list[Row]) -> list[str]:
    return [answer["state"] for answer in answers]


async def test_each_search_has_its_own_answer(
    service: AsyncClient, ada: AsyncClient, database: Connection, connect_database: Connect, runs: list[Row]
) -> None:
    good, cancelled, lost, locked, unknown, wrong = runs
    await call(ada, "cancel_search", run_id=cancelled["run_id"])
    holder = await connect_database()
    await holder.execute("begin")
    await holder.execute("select from public.search_runs where id = %s for no key update", [locked["run_id"]])
    async with asyncio.timeout(10):
        answers = await start(
            service, search_to_start(good, SITE), search_to_start(cancelled, SITE),
            search_to_start(lost | {"lease_token": str(uuid4())}, SITE), search_to_start(locked, SITE),
            search_to_start(unknown, "bayt"), search_to_start(wrong, SITE, limits={SITE: {"searches": "many"}}),
        )  # fmt: skip
    await holder.execute("rollback")
    assert answers[0] == {"state": "started", "admission": {"granted": True, "wait_seconds": 0}}
    assert states(answers[1:]) == ["cancelled", "lease_lost", "busy", "refused", "refused"]
    assert answers[4]["message"] == "site must be one of the sites of the run, not 'bayt'"
    assert answers[5]["message"] == "limits.searches must be an integer from 1 to 1000000"
    searched = "select run_id::text from worker.site_searches where run_id = any (%s)"
    ids = [[UUID(run["run_id"]) for run in runs]]
    assert await rows(database, searched, ids) == [(good["run_id"],)]
    assert states(await start(service, search_to_start(locked, SITE))) == ["started"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attempt": 0}, "attempt must be an integer from 1 to 32767, not 0"),
        ({"attempt": None}, "attempt must be an integer from 1 to 32767, not null"),
        ({"limits": []}, "limits must be an object of limits by bucket"),
        ({"limits": {SITE: {"pace": 1}}}, "limits.pace is not a limit"),
        ({"exits": []}, "exits must be an array of 1 to 100 objects"),
        ({"exits": [{"name": "a", "weight": "heavy"}]}, 'invalid input syntax for type double precision: "heavy"'),
    ],
)
async def test_a_refused_search_fails_alone(service: AsyncClient, runs: list[Row], change: Row, message: str) -> None:
    wrong, good = (search_to_start(run, SITE) for run in runs[:2])
    answers = await start(service, wrong | change, good)
    assert answers[0] == {"state": "refused", "message": message}
    assert answers[1]["state"] == "started"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "searches must be an array of 1 to 100 objects"),
        (lambda _: {}, "searches must be an array of 1 to 100 objects"),
        (lambda runs: [search_to_start(runs[0], SITE)] * 101, "searches must be an array of 1 to 100 objects"),
        (
            lambda runs: [search_to_start(runs[0], SITE)] * 2,
            "searches must have a run_id in each object, and each run once",
        ),
        (lambda _: [{"site": SITE}], "searches must have a run_id in each object, and each run once"),
    ],
)
async def test_wrong_arguments_are_refused(service: AsyncClient, runs: list[Row], change: Any, message: str) -> None:
    refused = await refusal(service, service.rpc("worker_start_sites", {"searches": change(runs)}))
    assert refused == Refusal(400, "22023", message)


async def test_the_same_searches_again_answer_the_same(
    service: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    limits = {SITE: {"searches": 2}}
    searches = [search_to_start(run, SITE, limits=limits) for run in runs]
    first = await start(service, *searches)
    assert states(first) == ["started"] * 2 + ["deferred"] * 4
    events = "select count(*) from public.run_events where run_id = any (%s)"
    ids = [[UUID(run["run_id"]) for run in runs]]
    counted = await rows(database, events, ids)
    again = await start(service, *searches)
    assert (states(again), await rows(database, events, ids)) == (states(first), counted)


async def test_two_calls_with_the_same_searches_in_another_order_do_not_deadlock(
    connect_database: Connect, service: AsyncClient, runs: list[Row]
) -> None:
    connections = [await connect_database() for _ in range(2)]
    limits = {SITE: {"searches": 3}}
    searches = [search_to_start(run, SITE, limits=limits, account=str(place % 2)) for place, run in enumerate(runs)]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(rows(each, START_SITES, [Jsonb(order)])
              for each, order in zip(connections, (searches, searches[::-1]), strict=True))
        )  # fmt: skip
    seen = {state for ((found,),) in answers for state in states(found)}
    assert seen <= {"started", "deferred", "busy"}
    assert sorted(states(await start(service, *searches))) == ["deferred"] * 3 + ["started"] * 3


def test_two_calls_never_admit_more_than_a_site_allows(timed: TimedDatabase, pool: ThreadPoolExecutor) -> None:
    site = timed.new_site()
    halves = [[timed.new_run(site) for _ in range(4)] for _ in range(2)]

    def start_half(half: list[Run]) -> list[str]:
        searches = [element(run, site, limits={site: {"searches": 3}}) for run in half]
        with connect(timed.dsn) as connection:
            (row,) = connection.execute(f"{START_SITES} as answers", [Jsonb(searches)]).fetchall()
        return states(row["answers"])

    found = [state for half in pool.map(start_half, halves) for state in half]
    assert sorted(found) == ["deferred"] * 5 + ["started"] * 3


def test_searches_of_one_call_are_spread_over_the_exits(timed: TimedDatabase) -> None:
    timed.configure(exploration=0)
    site = timed.new_site()
    exits = [{"name": name} for name in ("a", "b", "c")]
    searches = [element(timed.new_run(site), site, exits=exits) for _ in range(6)]
    (row,) = timed.connection.execute(f"{START_SITES} as answers", [Jsonb(searches)]).fetchall()
    assert sorted(answer["admission"]["exit"] for answer in row["answers"]) == ["a", "a", "b", "b", "c", "c"]
    known: LiteralString = "select exit from worker.site_health where site = %s order by exit"
    assert [health["exit"] for health in timed.connection.execute(known, [site])] == ["a", "b", "c"]


def test_a_search_that_may_probe_an_exit_is_sent_alone(timed: TimedDatabase) -> None:
    site = timed.new_site()
    timed.connection.execute(
        "insert into worker.site_health (site, exit, paused_until, paused_by)"
        " values (%s, 'a', worker.now() - interval '1 second', 'blocked')",
        [site],
    )
    searches = [element(timed.new_run(site), site, exits=[{"name": "a"}]) for _ in range(2)]
    (row,) = timed.connection.execute(f"{START_SITES} as answers", [Jsonb(searches)]).fetchall()
    assert row["answers"] == [{"state": "busy"}] * 2
    (row,) = timed.connection.execute(f"{START_SITES} as answers", [Jsonb(searches[:1])]).fetchall()
    assert states(row["answers"]) == ["started"]


def claim_with(timed: TimedDatabase, site: str, runs: int, exits: list[Row]) -> list[Row]:
    """Claim new runs with exits, among which the claim may choose; return the site of each as the worker gets it."""
    for _ in range(runs):
        timed.connection.execute(
            "insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s)",
            [timed.new_user(), timed.kind, Jsonb({"search_term": str(uuid4()), "sites": [site]})],
        )
    claimed = timed.connection.execute(
        "select sites from public.worker_claim_runs('worker', %s, %s, 3600, %s, '[]', null, %s, %s)",
        [[timed.kind], runs, uuid4(), Jsonb({timed.kind: {site: {}}}), Jsonb({site: exits})],
    )
    return [found for row in claimed for found in row["sites"]]


def test_a_claim_chooses_among_exits_as_a_start_does(timed: TimedDatabase) -> None:
    timed.configure(exploration=0)
    site = timed.new_site()
    sites = claim_with(timed, site, 6, [{"name": "a"}, {"name": "b"}, {"name": ""}])
    assert [found["is_started"] for found in sites] == [True] * 6
    assert Counter(found["exit"] for found in sites) == {"a": 2, "b": 2, "": 2}
    known: LiteralString = "select exit from worker.site_health where site = %s order by exit"
    assert [health["exit"] for health in timed.connection.execute(known, [site])] == ["", "a", "b"]
    noted: LiteralString = """
        select data ->> 'exit' as exit, count(*) from public.run_events where event = 'site_started' and site = %s
        group by 1
    """
    told = timed.connection.execute(noted, [site]).fetchall()
    assert {row["exit"]: row["count"] for row in told} == {"a": 2, "b": 2, "direct": 2}


def test_a_claim_starts_nothing_where_an_exit_is_paused(timed: TimedDatabase) -> None:
    site = timed.new_site()
    timed.connection.execute(
        "insert into worker.site_health (site, exit, paused_until, paused_by)"
        " values (%s, 'a', worker.now() + interval '1 hour', 'blocked')",
        [site],
    )
    (found,) = claim_with(timed, site, 1, [{"name": "a"}, {"name": "b"}])
    assert (found["is_started"], found["exit"]) == (False, None)


# Together as one by one ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """What holds at a site."""

    limits: Row
    exits: list[Row] | None
    pause_minutes: int | None


RULES = st.builds(
    Rules,
    limits=st.sampled_from([{}, {"searches": 1}, {"searches": 2}, {"searches_per_account": 1}]),
    exits=st.sampled_from([None, [{"name": "a"}], [{"name": "a"}, {"name": "b", "weight": 2}]]),
    pause_minutes=st.sampled_from([None, None, -1, 10]),
)
SEARCHES = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["", "work"]),
    st.sampled_from(["", "", "", "", "token", "site", "attempt", "limits"]),
)


def element(run: Run, site: str, **others: Any) -> Row:
    return {"run_id": str(run.id), "lease_token": str(run.token), "site": site, "attempt": 1, **others}


SITE_HEALTH: LiteralString = """
select site, account, exit, paused_until, prober_run_id from worker.site_health
where site = any (%s) and (exit <> '' or paused_until is not null) order by 1, 2, 3
"""


def stored(timed: TimedDatabase, runs: list[Run], sites: list[str]) -> list[Any]:
    """What the database knows of the runs and the sites."""
    ids = [run.id for run in runs]
    queries: tuple[tuple[LiteralString, list[Any]], ...] = (
        ("select * from public.search_run_sites where run_id = any (%s) order by run_id, site", ids),
        ("select progress, status from public.search_runs where id = any (%s) order by id", ids),
        ("select run_id, event, site, data from public.run_events where run_id = any (%s) order by 1, 2, 3", ids),
        ("select * from worker.site_searches where run_id = any (%s) order by run_id, site", ids),
        ("select * from worker.site_waits where run_id = any (%s) order by run_id, site", ids),
        (SITE_HEALTH, sites),
    )  # fmt: skip
    return [timed.connection.execute(query, [given]).fetchall() for query, given in queries]


def test_searches_that_are_started_together_end_as_those_that_are_started_one_by_one(timed: TimedDatabase) -> None:
    timed.configure(max_site_wait="1 hour", progress_interval="0")
    sites = [timed.new_site() for _ in range(2)]
    runs = [timed.new_run(*sites) for _ in range(6)]
    database = timed.connection

    def send(searches: list[Row]) -> list[Row]:
        (row,) = database.execute(f"{START_SITES} as answers", [Jsonb(searches)]).fetchall()
        answers: list[Row] = row["answers"]
        return answers

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.tuples(RULES, RULES), st.lists(SEARCHES, min_size=2, max_size=6), st.integers(0, 2))
    def compare(rules: tuple[Rules, Rules], chosen: list[tuple[int, str, str]], begun: int) -> None:
        searches = []
        for run, (place, account, fault) in zip(runs, chosen, strict=False):
            rule = rules[place]
            search = element(run, sites[place], account=account, limits={sites[place]: rule.limits}, exits=rule.exits)
            faults: dict[str, Row] = {
                "token": {"lease_token": str(uuid4())}, "site": {"site": "bayt"}, "attempt": {"attempt": 0},
                "limits": {"limits": {sites[place]: {"searches": 0}}},
            }  # fmt: skip
            searches.append(search | faults.get(fault, {}))
        searches.sort(key=lambda each: (each["site"], each["account"]))

        def one_by_one() -> list[Row]:
            return [answer for each in searches for answer in send([each])]

        def together() -> list[Row]:
            answers = send(searches)
            # As a worker does.
            return [
                send([search])[0] if answer["state"] == "busy" else answer
                for search, answer in zip(searches, answers, strict=True)
            ]

        results = []
        for way in (together, one_by_one):
            with database.transaction(force_rollback=True):
                for site, rule in zip(sites, rules, strict=True):
                    for account in ("", "work"):
                        database.execute(
                            "insert into worker.site_health (site, account, exit, paused_until, paused_by, updated_at)"
                            " select %s, %s, %s, worker.now() + make_interval(mins => %s), 'blocked', worker.now()"
                            " where %s::integer is not null",
                            [site, account, "a" if rule.exits else "", rule.pause_minutes, rule.pause_minutes],
                        )
                for search in searches[:begun]:
                    send([search])
                results.append((way(), stored(timed, runs, sites)))
        assert results[0] == results[1]

    compare()


# The worker --------------------------------------------------------------------------------------------------------


class CountingQueue(Queue):
    """Counts its calls."""

    calls = 0

    def _attempt(self, function: str) -> nullcontext[None]:
        self.calls += function == "worker_start_sites"
        return nullcontext()


async def test_a_worker_starts_together_what_comes_at_once(
    service: AsyncClient, ada: AsyncClient, runs: list[Row]
) -> None:
    queue = CountingQueue(service, worker_id="worker-1", lease_seconds=3600, outage_seconds=30)
    cancelled, wrong, *others = runs
    await call(ada, "cancel_search", run_id=cancelled["run_id"])

    async def start_one(run: Row) -> str:
        held = Lease(UUID(run["run_id"]), UUID(run["lease_token"]))
        site = RunSite("bayt" if run is wrong else SITE, 1)
        try:
            granted = await queue.start_site(held, site, {SITE: SiteLimits(searches=3)}, (OWN_ADDRESS,))
        except (CallRefusedError, LeaseLostError, SiteWaitingError) as error:
            return type(error).__name__
        return f"started through {granted.exit}"

    async with asyncio.timeout(30):
        found = await asyncio.gather(*map(start_one, [others[0], cancelled, wrong, *others[1:]]))
    await queue.close()
    started = "started through direct"
    assert found == [started, "LeaseLostError", "CallRefusedError", started, started, "SiteWaitingError"]
    assert queue.calls == 1
