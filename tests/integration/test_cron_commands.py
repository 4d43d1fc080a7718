"""The commands that `worker.cron_commands()` lists, with a pg_cron that is played: the servers here have none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.database import Connection, rows, scalar

pytestmark = pytest.mark.own_stack

CHECK = "select public.worker_check_alerts()"
FIRE = "select public.worker_fire_schedules() from generate_series(1, 5)"


@pytest.fixture
async def cron(database: Connection) -> AsyncIterator[Connection]:
    """A database with the tables and the function of pg_cron (https://github.com/citusdata/pg_cron)."""
    await database.execute(
        """
        create schema cron;
        create table cron.job (jobname text primary key, schedule text, command text, active boolean default true);
        create table cron.job_run_details (runid bigint, end_time timestamptz);
        create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql
        begin atomic
            insert into cron.job values (job_name, schedule, command)
            on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command, active = true;
            select 1::bigint;
        end;
        """
    )
    yield database
    await database.execute("drop schema cron cascade")


async def commands(database: Connection) -> list[str]:
    return [command for (command,) in await rows(database, "select worker.cron_commands()")]


async def test_a_server_without_pg_cron(database: Connection) -> None:
    available = await scalar(database, "select exists (select from pg_available_extensions where name = 'pg_cron')")
    found = await commands(database)
    if available:
        assert found[0] == "create extension pg_cron;"
        assert len(found) == 4
    else:
        assert [command[:2] for command in found] == ["--"]


async def test_the_commands_make_jobs_that_work(cron: Connection) -> None:
    for command in await commands(cron):
        await cron.execute(command.encode())
    jobs = {name: (schedule, command) for name, schedule, command, _ in await rows(cron, "select * from cron.job")}
    assert jobs["fire-schedules"] == ("* * * * *", FIRE)
    assert len(await rows(cron, FIRE)) == 5
    assert jobs["check-alerts"] == ("* * * * *", CHECK)
    assert (await scalar(cron, CHECK)).keys() == {"opened", "resolved", "due_in_seconds"}
    await cron.execute("insert into cron.job_run_details values (1, now() - interval '8 days'), (2, now())")
    await cron.execute(jobs["forget-fired-schedules"][1].encode())
    assert await rows(cron, "select runid from cron.job_run_details") == [(2,)]
    assert await commands(cron) == []


async def test_a_job_that_is_not_active_is_listed_again(cron: Connection) -> None:
    for command in await commands(cron):
        await cron.execute(command.encode())
    await cron.execute("update cron.job set active = false where jobname = 'fire-schedules'")
    (command,) = await commands(cron)
    assert command.startswith("select cron.schedule('fire-schedules', '* * * * *'")
    await cron.execute(command.encode())
    assert await commands(cron) == []
