"""Files that are imported from the command line, by processes that end and by one that is killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.stack import worker_environment
from worker.database.user import LOCAL_USER, signed_in_as
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

USER = LOCAL_USER[0]


@pytest.fixture
async def environment(stack: Endpoints) -> dict[str, str]:
    """The settings of a worker, for a stack that has the user."""
    async with signed_in_as(stack.url, stack.anon_key, *LOCAL_USER, create=True):
        return os.environ | worker_environment(stack) | {"WORKER_LEASE_SECONDS": "5"}


def listings(path: Path, count: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "site", "title", "job_url", "company", "job_type", "is_remote"))
        writer.writerows(
            (
                f"in-{number}",
                "indeed",
                f"Welder {number}",
                f"https://a.example/{number}",
                f"Of {number}",
                "fulltime",
                "",
            )
            for number in range(count)
        )
    return path


def test_a_table_of_jobspy_becomes_a_finished_run(
    environment: dict[str, str], stack: Endpoints, tmp_path: Path
) -> None:
    path = str(listings(tmp_path / "listings.csv", 150))
    answer = run_command(environment, "import", path, "--user", USER)
    assert (answer.returncode, answer.stderr) == (0, "Run: success. Items: 150, invalid: 0\n")
    with psycopg.connect(stack.db_url) as database:
        found = database.execute(
            "select status::text, jobs_found, source::text from public.search_runs where id = %s",
            [answer.stdout.strip()],
        )
        assert found.fetchall() == [("success", 150, "import")]
    again = run_command(environment, "import", path, "--user", USER)
    assert (again.returncode, again.stdout) == (0, answer.stdout)
    assert again.stderr == "The file was imported before.\n"

    watched = run_command(environment | {"SUPABASE_ANON_KEY": stack.anon_key}, "watch", answer.stdout.strip())
    assert watched.returncode == 0
    assert "Total found: 150" in watched.stdout

    answer = run_command(environment, "import", path, "--user", "nobody@example.com")
    assert answer.returncode == 2
    assert "there is no user 'nobody@example.com'; a user is named by id or e-mail address" in answer.stderr


def one_value(database: psycopg.Connection[Any], query: Any) -> Any:
    row = database.execute(query).fetchone()
    return row and row[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_searches_an_import_whose_process_has_ended(
    environment: dict[str, str], stack: Endpoints, tmp_path: Path, number: signal.Signals
) -> None:
    path = str(listings(tmp_path / f"{number.name}.csv", 1500 + number))
    arguments = ["import", path, "--user", USER]
    status = f"select status::text from public.search_runs where parameters ->> 'search_term' = '{number.name}.csv'"
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        command = [sys.executable, "-m", "worker", *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            saved = f"select count(*) from worker.raw_collections where query ->> 'search_term' = '{number.name}.csv'"
            while not one_value(database, saved):
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate()
        assert process.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 130)
        assert one_value(database, status) == ("running" if number is signal.SIGKILL else "partial")

        if number is signal.SIGKILL:
            busy = run_command(environment, *arguments)
            assert (busy.returncode, busy.stderr[:27]) == (1, "The file is being imported.")
            time.sleep(5.5)
        # Without proxies, and no board is played: a worker that searched would fail.
        drained = run_command(environment, "drain", "--max-seconds", "20")
        assert drained.returncode == 0
        assert "Searching" not in drained.stderr
        events = (
            "select array_agg(distinct event) from public.run_events where event in ('rescued', 'retried', 'released')"
        )
        assert one_value(database, events) is None
        assert one_value(database, status) in ("partial", "failed")
    answer = run_command(environment, *arguments)
    assert (answer.returncode, answer.stderr) == (0, f"Run: success. Items: {1500 + number:,}, invalid: 0\n")
