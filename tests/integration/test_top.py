"""`top`, as a process: plain text in a pipe, live on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

from tests.support.commands import run_command
from tests.support.database import Connection
from tests.support.queue import call, claim, enqueue, start_site
from tests.support.stack import SignIn, worker_environment
from worker.cli.main import EXIT_INTERRUPTED
from worker.local.supabase.stack import Endpoints

# `top` shows a bounded number of the runs of a whole project: other tests leave more than that.
pytestmark = pytest.mark.own_stack


@pytest.fixture
def environment(stack: Endpoints) -> dict[str, str]:
    return {**os.environ, **worker_environment(stack), "TERM": "xterm", "COLUMNS": "160", "LINES": "200"}


@contextmanager
def on_a_terminal(environment: dict[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a command on a terminal of its own."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "worker", *arguments]
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True
    ) as started:
        os.close(its)
        try:
            yield started, ours
        finally:
            started.kill()
            os.close(ours)


def shown(terminal: int, pattern: str) -> str:
    """Read from a terminal until the text matches."""
    text = ""
    while not re.search(pattern, text):
        text += os.read(terminal, 65536).decode(errors="replace")
    return text


def read_to_the_end(terminal: int) -> None:
    """Read from a terminal until its process has closed it: a process that writes to it waits for a reader."""
    with suppress(OSError):  # EIO
        while os.read(terminal, 65536):
            pass


async def test_top_shows_queue_runs_and_workers(
    environment: dict[str, str], sign_in: SignIn, service: AsyncClient, kind: str
) -> None:
    user = await sign_in()
    run = await enqueue(user, kind)
    (claimed,) = await claim(service, kind)
    site = claimed["sites"][0]["site"]
    await start_site(service, claimed, site)

    answer = run_command(environment, "top")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"Runs: \d+ ready, \d+ delayed, \d+ running", answer.stdout)
    assert re.search(r"Last minute: +\d+ runs ended", answer.stdout)
    (line,) = (line for line in answer.stdout.splitlines() if run["id"] in line)
    assert site in line
    assert "\x1b" not in answer.stdout


async def test_a_worker_that_has_said_what_it_searches_is_shown(
    environment: dict[str, str], service: AsyncClient, kind: str
) -> None:
    about = {"version": "1.2.3", "sites": {kind: ["board"]}, "concurrency": 7, "started_at": "2026-01-01T00:00:00Z"}
    name = f"worker-of-{kind}"
    arguments = {"worker_id": name, "kinds": [kind], "slots": 1, "lease_seconds": 60, "claim_id": str(uuid4())}
    await call(service, "worker_claim_runs", **arguments, held=[], about=about)
    (line,) = (line for line in run_command(environment, "top").stdout.splitlines() if name in line)
    assert re.search(r"1\.2\.3 +0 of 7", line)


async def test_on_a_terminal_top_follows_until_it_is_interrupted(
    environment: dict[str, str], sign_in: SignIn, service: AsyncClient, kind: str
) -> None:
    user = await sign_in()
    with on_a_terminal(environment, "top", "--interval", "1") as (process, terminal):
        shown(terminal, "Last hour:")
        run = await enqueue(user, kind)
        await claim(service, kind)
        shown(terminal, run["id"])
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(read_to_the_end, terminal)
        assert process.wait(timeout=30) == EXIT_INTERRUPTED


async def test_the_number_of_rows_must_be_in_range(service: AsyncClient) -> None:
    for most in (0, 1001):
        with pytest.raises(APIError, match="most must be an integer from 1 to 1000"):
            await call(service, "worker_activity", most=most)


async def test_an_open_incident_is_shown(environment: dict[str, str], database: Connection) -> None:
    detail = f"Nobody answers {uuid4()}."
    await database.execute(
        "insert into worker.incidents"
        " (rule, subject, value, detail, broken_since, broken_at, opened_at, openings, notice, notice_at)"
        " values ('site_paused', %s, 1, %s, worker.now(), worker.now(), worker.now(), 1, 'opened', worker.now())",
        [f"board-{uuid4()}", detail],
    )
    try:
        (line,) = (line for line in run_command(environment, "top").stdout.splitlines() if detail in line)
        assert re.search(r"Incident since .*: site_paused board-", line)
    finally:
        await database.execute("delete from worker.incidents where detail = %s", [detail])
