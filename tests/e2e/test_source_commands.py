"""The command `sources`, as a process, on a local stack."""

from __future__ import annotations

import os
from subprocess import CompletedProcess

import psycopg
import pytest

from tests.support.commands import run_command
from worker.local.supabase.stack import Endpoints


def sources(stack: Endpoints, **settings: str) -> CompletedProcess[str]:
    worker = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key, "COLUMNS": "200"}
    return run_command(os.environ | worker | settings, "sources")


@pytest.fixture
def searched(stack: Endpoints) -> None:
    """Sites as their searches left them. No other test of this stack searches these."""
    with psycopg.connect(stack.db_url) as connection:
        connection.execute(
            """
            insert into worker.site_health (site, success_rate, response_ms, last_error_code, paused_until) values
                ('hellowork', 0.5, 1234, 'timeout', null),
                ('bdjobs', 0.1, 900, 'blocked', now() + interval '1 hour')
            on conflict (site, account, exit) do nothing
            """
        )


@pytest.mark.usefixtures("searched")
def test_the_health_of_each_site_is_told(stack: Endpoints) -> None:
    answer = sources(stack)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = {line.split()[2]: line.rstrip() for line in answer.stdout.splitlines() if len(line.split()) > 2}
    assert lines["hellowork"].endswith("50% succeed, 1234 ms")
    assert "paused until " in lines["bdjobs"]
    assert lines["bdjobs"].endswith(" (blocked)")
    assert lines["remotive"].endswith("not searched yet")
    assert "unknown" not in answer.stdout


def test_a_key_that_is_refused_is_not_shown(stack: Endpoints) -> None:
    answer = sources(stack, SUPABASE_SERVICE_ROLE_KEY=stack.anon_key)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[-1].startswith("Health is unknown: worker_site_health: 42501 permission denied")
    assert stack.anon_key not in answer.stdout
