"""The command `stats`, as a process, on a local stack."""

from __future__ import annotations

import json
import os

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.stack import worker_environment
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

COUNTS = """
insert into worker.run_stats
select span, date_trunc(span, now(), 'UTC'), site, 'jobs', 'manual', outcome, error_code, runs,
       worker.histogram(array_fill(seconds, array[runs])), worker.histogram(array_fill(1.5::float8, array[runs])), runs,
       40, 80, 1200, 300, 90, 10
from (values ('hour'), ('day')) as span (span)
cross join (values ('', 'success', '', 9, 30.0::float8), ('', 'failed', 'blocked', 1, 200.0),
                   ('indeed', 'completed', '', 3, 20.0), ('indeed', 'failed', 'blocked', 1, 9.0))
    as counted (site, outcome, error_code, runs, seconds)
"""
TOTALS = """
insert into worker.run_totals
select span, begins_at, outcome, runs, durations, waits, pages, requests, items, new_items
from worker.run_stats
where site = ''
"""
SITE_TOTALS = """
insert into worker.site_totals
select span, begins_at, site, outcome, runs, worker.tally(array_fill(error_code, array[runs::integer])), durations,
       attempts, pages, requests, items, new_items, valid_items, invalid_items
from worker.run_stats
where site <> ''
"""


@pytest.fixture(scope="module")
def environment(stack: Endpoints) -> dict[str, str]:
    return os.environ | worker_environment(stack)


def test_before_anything_ended(environment: dict[str, str]) -> None:
    shown = run_command(environment, "stats")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.endswith(": 0. Items: 0, new: 0. Pages: 0, requests: 0\n")


def test_what_ended_is_shown(environment: dict[str, str], stack: Endpoints) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute(COUNTS)
        database.execute(TOTALS)
        database.execute(SITE_TOTALS)
        database.execute("insert into worker.queue_samples values (now(), 7, 2, 3)")
        database.execute(
            "insert into worker.site_health (site, account, paused_until) values ('\x1b[31mevil', '', now() + '1 day')"
        )
    shown = run_command(environment, "stats", "--since", "2d")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout
    runs, outcomes, times, errors, queue, _, header, *sites = shown.stdout.splitlines()
    assert runs.endswith(": 10. Items: 2,400, new: 600. Pages: 80, requests: 160")
    assert outcomes == "success 9 (90.0 %)  partial 0 (0.0 %)  failed 1 (10.0 %)  cancelled 0 (0.0 %)"
    assert times == "Duration: p50 46.7 s, p95 3.5 min. Wait: p50 1.5 s, p95 2.0 s"
    assert errors == "Errors: blocked 1"
    assert queue.endswith(": 7 ready, 2 delayed, 3 running")
    assert header.split() == [
        "Site", "Searches", "Completed", "p50", "p95", "Requests", "Found", "New", "Invalid", "State", "Errors",
    ]  # fmt: skip
    (indeed,) = [line for line in sites if line.startswith("indeed")]
    assert " ".join(indeed.split()) == "indeed 4 75.0 % 25.0 s 29.5 s 160 2,400 600 10.0 % closed blocked 1"
    assert any("open until" in line for line in sites)

    answer = json.loads(run_command(environment, "stats", "--json").stdout)
    assert answer["overview"]["runs"] == 10
    assert "indeed" in [site["site"] for site in answer["sites"]]


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("yesterday", "must be hours or days, such as 24h or 7d, or a date or time, such as 2026-11-22"),
        ("7w", "must be hours or days"),
        ("401d", "--since: since must be a time of the last 400 days"),
        ("2199-01-01", "--since: since must be a time of the last 400 days"),
    ],
)
def test_a_wrong_time_is_refused(environment: dict[str, str], since: str, reason: str) -> None:
    refused = run_command(environment, "stats", "--since", since)
    assert refused.returncode == 2
    assert reason in refused.stderr


def test_without_a_database(environment: dict[str, str]) -> None:
    failed = run_command(environment | {"SUPABASE_URL": "http://127.0.0.1:9"}, "stats")
    assert failed.returncode == 1
    assert "The queue cannot be used:" in failed.stderr
