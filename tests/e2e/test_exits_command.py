"""The command `exits`, as a process: on a local stack, and at played boards."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from subprocess import CompletedProcess
from typing import Any

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.exits import EndlessArbeitnow, exits_of
from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user
from tests.support.workers import drain
from worker.local.boards import SITES, Boards, ExitRule, Failure
from worker.local.boards.sites import BOARDS
from worker.local.supabase.stack import Endpoints
from worker.sources.registry import load_sources

pytestmark = pytest.mark.own_stack


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards(instead={"arbeitnow": EndlessArbeitnow}) as running:
        yield running


async def exits(*arguments: str, **settings: str) -> CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200", **settings}
    return await asyncio.to_thread(run_command, environment, "exits", *arguments)


async def known(stack: Endpoints) -> tuple[list[dict[str, Any]], str]:
    """The exits as JSON, and as people read them."""
    settings = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}
    answer = await exits("--json", **settings)
    assert (answer.returncode, answer.stderr) == (0, "")
    return json.loads(answer.stdout), (await exits(**settings)).stdout


async def test_what_was_sent_through_each_exit_today(stack: Endpoints, boards: Boards) -> None:
    boards.block_exits("arbeitnow", ExitRule(pages=2))
    boards.exits.break_exit("dead")
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("insert into worker.bucket_limits (bucket, min_delay_seconds) values ('arbeitnow', 0.01)")
    async with signed_in_user(stack) as user:
        for site in ("arbeitnow", "linkedin"):
            await enqueue_jobs(user, site, search_term="nurse", results_wanted=30)
        named = exits_of(boards, "a-dead", "b", "c").replace("a-dead:played", "dead:played")
        await drain(stack, boards, WORKER_EXITS=named, WORKER_HTTP_CA_CERT=str(boards.ca_cert))
        assert {run["status"] for run in await user.runs(2)} == {"success"}

    rows, text = await known(stack)
    by_place = {(row["exit"], row["site"]): row for row in rows}
    dead = [row for (name, _), row in by_place.items() if name == "a-dead"]
    assert {(row["state"], row["paused_by"], row["refused"]) for row in dead} == {("open", "exit_failed", 1)}, rows
    assert sum(row["requests"] for row in rows if row["site"] == "arbeitnow") == len(boards.requests("arbeitnow")) + 1
    assert sum(row["refused"] for row in rows if row["site"] == "arbeitnow") == 2
    assert by_place["c", "arbeitnow"]["bytes"] > 1000
    assert sum(row["bytes"] for row in rows if row["site"] == "linkedin") > 1000
    assert "a-dead does not work: it fails at all sites that it is used for." in text
    assert "blocked; paused until " in text
    assert "127.0.0.1" not in text


async def test_without_searches_there_is_nothing_to_show(stack: Endpoints) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("truncate worker.site_health, worker.exit_stats")
    assert await known(stack) == ([], "No site was asked yet.\n")


async def test_each_exit_is_asked_once(boards: Boards) -> None:
    boards.exits.break_exit("wrong")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = {
        "WORKER_EXITS": f"{exits_of(boards, 'well', 'wrong')},dead=http://user:hunter2@127.0.0.1:{port}",
        "WORKER_HTTP_CA_CERT": str(boards.ca_cert),
    }
    answer = await exits("test", "--site", "arbeitnow", "--json", **settings)
    well, wrong, dead = json.loads(answer.stdout)
    assert (well["outcome"], well["answer"]["family"]) == ("ok", "IPv4")
    assert wrong["outcome"] == dead["outcome"] == "exit_failed"
    assert wrong["message"].endswith("407 Proxy Authentication Required")
    assert (answer.returncode, answer.stderr) == (1, "")
    assert [request.path for request in boards.requests("arbeitnow")] == ["/robots.txt"]
    assert "hunter2" not in answer.stdout

    text = (await exits("test", "--site", "arbeitnow", **settings)).stdout
    assert text.count("the exit does not work: ") == 2
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [(Failure.CAPTCHA, "blocked"), (Failure.RATE_LIMITED, "rate_limited"), (Failure.RESET, "network")],
)
async def test_a_failure_of_the_site_is_none_of_the_exit(boards: Boards, failure: Failure, outcome: str) -> None:
    boards.fail("linkedin", failure)
    settings = {"WORKER_EXITS": exits_of(boards, "well"), "WORKER_HTTP_CA_CERT": str(boards.ca_cert)}
    answer = await exits("test", "--json", **settings)
    (tested,) = json.loads(answer.stdout)
    assert (tested["site"], tested["outcome"], answer.returncode) == ("linkedin", outcome, 0)


async def test_a_site_that_is_none() -> None:
    answer = await exits("test", "--site", "nowhere")
    assert answer.returncode == 2
    assert answer.stderr.startswith("--site: 'nowhere' is not one of arbeitnow, ashby, bayt, ")


def test_the_hosts_are_those_of_the_sites() -> None:
    played = {board.site: board.hosts for board in BOARDS}
    named = {site: host for source in load_sources() for site, host in source.hosts.items()}
    assert {site for site, host in named.items() if host not in played[site]} == set()
    assert set(SITES) - set(named) == {"jsearch", "unipile"}  # their hosts depend on settings
