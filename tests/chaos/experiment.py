"""The experiment: it runs searches while faults happen, waits until all have ended, and checks the invariants."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from tests.chaos.counts import Counts, count
from tests.chaos.invariants import Broken, Expectation, violations, violations_so_far
from tests.chaos.plan import (
    SITES,
    USERS,
    BoardFault,
    ExitFault,
    Fault,
    GatewayFault,
    Plan,
    PostgresFault,
    WorkerFault,
)
from tests.chaos.reference import listed, search_undisturbed
from tests.chaos.stage import Stage, set_up
from tests.chaos.users import Users, signed_up
from tests.chaos.workers import Place, left_over, problems_of_log, worker_environment
from worker.cli.log import JsonFormatter

CALM_SECONDS = 60
CALM_SECONDS_A_RUN = 0.5
WATCH_SECONDS = 30
LOOK_SECONDS = 0.2
FIRE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an experiment."""

    counts: Counts
    broken: Broken


async def experiment(plan: Plan, folder: Path) -> Outcome:
    """Carry out a plan.

    Args:
        plan: The searches and the faults, with their times.
        folder: Folder for the data and the logs.

    Raises:
        ProcessError: The searches fail even without faults.
    """
    report = _progress_printer()
    _log_to(folder / "stack.log")
    broken: Broken = {}
    async with set_up(folder, report) as stage, signed_up(stage.url, stage.anon_key, USERS) as users:
        await _set_limits(stage)
        report(f"without faults: {len(plan.references)} searches of {len(SITES)} boards")
        wanted = await search_undisturbed(stage, users, plan.references, folder / "reference.log")
        # Only now: at the rate limit of zip_recruiter, the last of eight searches waits for about 15 s without faults.
        await _set_longest_wait(stage)

        await _schedule(stage, users, plan)
        report(
            f"{plan.workers} workers start; {len(plan.searches)} searches, {len(plan.schedules)} schedules, "
            f"{len(plan.faults)} faults"
        )
        places = [Place(number, worker_environment(stage), folder, report) for number in range(plan.workers)]
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_look_on(stage, broken))
            firing = tasks.create_task(_fire_schedules(stage))
            for place in places:
                tasks.create_task(place.keep_running())
            async with asyncio.TaskGroup() as chaos:
                for search in plan.searches:
                    chaos.create_task(users.search(search))
                for fault in plan.faults:
                    chaos.create_task(_strike(fault, stage, places))
            report("no more faults")
            unended = await stage.unended(CALM_SECONDS + len(plan.searches) * CALM_SECONDS_A_RUN)
            unseen = await _unseen(stage, users)
            looking.cancel()
            firing.cancel()
            for place in places:
                tasks.create_task(place.close())

        expectation = Expectation(
            asked=[(users.ids[search.user], search.key) for search in (*plan.references, *plan.searches)],
            wanted=wanted,
            listed=listed(stage, plan.references),
            possible_errors=plan.possible_errors,
            unheard=[(worker_id,) for place in places for worker_id in place.unheard],
        )
        async with stage.database() as database:
            broken |= await violations(database, expectation)
        counts = await count(stage, plan)

    broken |= {
        "every run ends after the faults": unended,
        "a watcher sees how the run ends": unseen,
        "a worker ends when it receives a signal, and only then": [text for place in places for text in place.problems],
        "no process outlives its worker": await asyncio.to_thread(
            left_over, {group for place in places for group in place.groups}
        ),
        "logs have no tracebacks and only JSON": [
            text for log in (folder / "stack.log", *(place.log for place in places)) for text in problems_of_log(log)
        ],
    }
    return Outcome(counts, {name: rows for name, rows in broken.items() if rows})


def _progress_printer() -> Callable[[str], None]:
    started = time.monotonic()
    return lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


def _log_to(file: Path) -> None:
    handler = logging.FileHandler(file)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


async def _set_limits(stage: Stage) -> None:
    async with stage.database() as database:
        await database.execute(
            """
            update worker.settings set retry_delay = '1 second', max_retry_delay = '4 seconds',
                max_pending_per_user = null, max_per_hour_per_user = null, max_running_per_user = 2,
                freshness = '2 seconds', inline_wait = '200 milliseconds', schedule_jitter = '1 second'
            """
        )
        await database.execute(
            "update worker.breaker_rules set failures = 2, pause = '1 second', max_pause = '5 seconds'"
        )
        # A run that waits for a free search slot is due after 30 s, which is longer than the maximum wait here.
        await database.execute(
            "insert into worker.bucket_limits (bucket, searches) select site, 100 from unnest(%s::text[]) as site",
            [[*SITES]],
        )


async def _set_longest_wait(stage: Stage) -> None:
    async with stage.database() as database:
        await database.execute("update worker.settings set max_site_wait = '15 seconds'")


async def _schedule(stage: Stage, users: Users, plan: Plan) -> None:
    async with stage.database() as database:
        # Whole minutes would be too long here.
        await database.execute(
            """
            create or replace function worker.schedule_problem(time_zone text, times time[], weekdays smallint[])
            returns text language sql stable set search_path = '' return null::text
            """
        )
        for schedule in plan.schedules:
            await database.execute(
                """
                with saved as (
                    insert into public.saved_searches (user_id, name, kind, parameters) values (%s, %s, 'jobs', %s)
                    returning id
                )
                insert into public.search_schedules (saved_search_id, time_zone, times)
                select saved.id, 'UTC', array(
                    select (date_trunc('second', worker.now() at time zone 'UTC') + make_interval(secs => slot))::time
                    from unnest(%s::float[]) as slot)
                from saved
                """,
                [users.ids[schedule.user], schedule.name, Jsonb(schedule.parameters), [*schedule.slots]],
            )


async def _strike(fault: Fault, stage: Stage, places: Sequence[Place]) -> None:
    await asyncio.sleep(fault.at)
    match fault:
        case WorkerFault():
            await places[fault.worker].strike(fault)
        case GatewayFault():
            await stage.break_gateway(fault)
        case PostgresFault():
            await stage.restart_postgres(fault)
        case BoardFault():
            await stage.break_board(fault)
        case ExitFault():
            await stage.break_exit(fault)


async def _look_on(stage: Stage, broken: Broken) -> None:
    """Check repeatedly the invariants that hold at all times."""
    while True:
        with suppress(psycopg.OperationalError):  # Postgres is being restarted
            async with stage.database() as database:
                while True:
                    broken |= await violations_so_far(database)
                    await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(LOOK_SECONDS)


async def _fire_schedules(stage: Stage) -> None:
    """Fire schedules beside the workers, as pg_cron would."""
    while True:
        with suppress(psycopg.OperationalError):  # Postgres is being restarted
            async with stage.database() as database:
                while True:
                    await database.execute("select public.worker_fire_schedules()")
                    await asyncio.sleep(FIRE_SECONDS)
        await asyncio.sleep(FIRE_SECONDS)


async def _unseen(stage: Stage, users: Users) -> list[str]:
    """Return the runs that ended in another way than their watchers saw."""
    seen = await users.watched(WATCH_SECONDS)
    async with stage.database() as database:
        cursor = await database.execute(
            "select id::text, status::text from public.search_runs where id = any (%s::uuid[])", [list(seen)]
        )
        ended: list[tuple[str, str]] = await cursor.fetchall()
    return [f"{run_id}: {status}, seen: {seen[run_id]}" for run_id, status in ended if seen[run_id] != status]
