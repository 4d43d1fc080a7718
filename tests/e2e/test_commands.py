"""The commands of a user, as processes, on a local stack."""

from __future__ import annotations

import os
from uuid import uuid4

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.saved_searches import while_the_name_is_saved
from worker.database.user import LOCAL_USER, signed_in_as
from worker.local.supabase.stack import Endpoints


@pytest.fixture
def environment(stack: Endpoints) -> dict[str, str]:
    return os.environ | {
        "SUPABASE_URL": stack.url,
        "SUPABASE_ANON_KEY": stack.anon_key,
        "COLUMNS": "160",
    }


def test_enqueue_prints_the_run_and_runs_lists_it(environment: dict[str, str]) -> None:
    key = str(uuid4())
    arguments = ["enqueue", "welder", "--location", "Leeds", "--sites", "indeed,bayt", "--results", "5", "--key", key]
    first = run_command(environment, *arguments, "--param", "is_remote=true")
    assert (first.returncode, first.stderr) == (0, "")
    assert run_command(environment, *arguments).stdout == first.stdout

    listed = run_command(environment, "runs")
    assert listed.returncode == 0
    assert first.stdout.strip() in listed.stdout
    assert "welder, Leeds" in listed.stdout
    assert "·indeed ·bayt" in listed.stdout


@pytest.mark.parametrize("kind", ["people", "creators"])
def test_other_kinds_than_jobs_can_be_enqueued(environment: dict[str, str], kind: str) -> None:
    answer = run_command(environment, "enqueue", "welder", "--kind", kind)
    assert (answer.returncode, answer.stderr) == (0, "")
    (line,) = (line for line in run_command(environment, "runs").stdout.splitlines() if answer.stdout.strip() in line)
    assert f"{kind}: welder" in line
    run_command(environment, "cancel", answer.stdout.strip())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enqueue", "welder", "--sites", "google"], "parameters.sites must be a list of"),
        (["enqueue", "welder", "--results", "5000"], "parameters.results_wanted must be an integer from 1 to 1000"),
        (["enqueue", "welder", "--param", "colour=red"], "parameters.colour is not known"),
        (["enqueue", "welder", "--param", "colour"], "must be NAME=VALUE"),
        (["enqueue"], "parameters.search_term is required"),
        (["enqueue", "welder", "--kind", "cars"], "kind must be one of"),
        (["enqueue", "welder", "--kind", "people", "--location", "Leeds"], "parameters.location is not known"),
        (["watch", "nonsense"], "must be the id of a run"),
        (["schedule", "nurses", "--at", "25:00"], "argument --at: '25:00' is not a time of day"),
        (["schedule", "nurses", "--at", "08:00", "--days", "mo-fr"], "argument --days: 'mo-fr' is not a weekday"),
        (["save", "nurses", "nurse", "--results", "0"], "parameters.results_wanted must be an integer from 1 to 1000"),
        (["save", "", "nurse"], "Refused: name must be a text of 1 to 200 characters"),
        (["save", "n" * 201, "nurse"], "Refused: name must be a text of 1 to 200 characters"),
        (["drain", "--max-seconds", "9"], "argument --max-seconds: must be 10 or more"),
        (["drain", "--max-seconds", "abc"], "argument --max-seconds: must be 10 or more"),
        (["runs", "--limit", "0"], "argument --limit: must be 1 or more"),
        (["reprocess", "--since", "yesterday"], "argument --since: must be a date or a time, such as 2026-11-22"),
        (["reprocess", "--status", "fetched"], "argument --status: invalid choice: 'fetched'"),
        (["reprocess", "--stat", "failed"], "unrecognized arguments: --stat failed"),
        (["reprocess"], "SUPABASE_SERVICE_ROLE_KEY: is required"),
        ([], "COMMAND"),
    ],
)
def test_wrong_use_says_what_is_wrong(environment: dict[str, str], arguments: list[str], message: str) -> None:
    answer = run_command(environment, *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_watching_a_run_that_is_not_ones_own_ends(environment: dict[str, str]) -> None:
    answer = run_command(environment, "watch", str(uuid4()))
    assert answer.returncode == 1
    assert "You have no such run" in answer.stderr


def test_a_real_project_needs_a_user(environment: dict[str, str]) -> None:
    answer = run_command(environment | {"SUPABASE_URL": "https://abc.supabase.co"}, "runs")
    assert answer.returncode == 2
    assert "SUPABASE_EMAIL, SUPABASE_PASSWORD: are required" in answer.stderr


def test_a_refused_user_is_told(environment: dict[str, str]) -> None:
    user = {"SUPABASE_EMAIL": "nobody@example.com", "SUPABASE_PASSWORD": "wrong"}
    answer = run_command(environment | user, "runs")
    assert answer.returncode == 2
    assert "SUPABASE_EMAIL, SUPABASE_PASSWORD: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("arguments", [["runs"], ["enqueue", "welder"], ["watch", str(uuid4())]])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"SUPABASE_URL": "http://127.0.0.1:1"}, "connection"), ({"SUPABASE_ANON_KEY": "wrong"}, "Invalid API key")],
)
def test_a_project_that_cannot_be_used_is_a_line(
    environment: dict[str, str], arguments: list[str], wrong: dict[str, str], reason: str
) -> None:
    answer = run_command(environment | wrong, *arguments)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("Supabase cannot be used: ")
    assert reason in line


async def test_a_kind_without_a_search_term_can_be_watched(stack: Endpoints, environment: dict[str, str]) -> None:
    kind = f"events-{uuid4()}"
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("insert into worker.kinds (kind) values (%s)", [kind])
        database.execute(
            """
            insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
            select %s, name, type, is_required, minimum, maximum, allowed, default_value
            from worker.parameter_rules where kind = 'jobs' and name in ('sites', 'results_wanted')
            """,
            [kind],
        )
        async with signed_in_as(stack.url, stack.anon_key, *LOCAL_USER, create=True) as user:
            run = await user.enqueue(kind, {})
        database.execute(
            "update public.search_runs set status = 'cancelled', completed_at = now() where id = %s", [run["id"]]
        )
        answer = run_command(environment, "watch", run["id"])
        database.execute("delete from public.search_runs where id = %s", [run["id"]])
        database.execute("delete from worker.kinds where kind = %s", [kind])
    assert (answer.returncode, answer.stderr) == (0, "")
    assert kind[:10] in answer.stdout
    assert f"\nRun {run['id']}: cancelled" in answer.stdout


def test_a_run_is_cancelled_and_searched_once_more(environment: dict[str, str]) -> None:
    run_id = run_command(environment, "enqueue", "welder", "--sites", "indeed").stdout.strip()
    cancelled = run_command(environment, "cancel", run_id)
    assert (cancelled.returncode, cancelled.stdout, cancelled.stderr) == (0, "cancelled\n", "")
    assert run_command(environment, "cancel", run_id).stdout == "cancelled\n"

    again = run_command(environment, "rerun", run_id)
    assert (again.returncode, again.stderr) == (0, "")
    listed = run_command(environment, "runs", "--limit", "2").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == [again.stdout.strip(), run_id]
    assert "pending" in listed[1]
    assert "cancelled" in listed[2]
    assert run_command(environment, "cancel", again.stdout.strip()).returncode == 0


@pytest.mark.parametrize("name", ["cancel", "rerun"])
def test_a_run_that_is_not_ones_own_cannot_be_touched(environment: dict[str, str], name: str) -> None:
    answer = run_command(environment, name, str(uuid4()))
    assert (answer.returncode, answer.stderr) == (2, "Refused: run_id must be the id of one of your runs\n")


def test_a_search_is_saved_scheduled_listed_and_unscheduled(environment: dict[str, str]) -> None:
    name = f"nurses {uuid4().hex[:8]}"
    saved = run_command(environment, "save", name, "nurse", "--location", "Leeds")
    assert (saved.returncode, saved.stderr) == (0, "")
    assert run_command(environment, "save", name, "nurse", "--sites", "indeed").stdout == saved.stdout
    schedule = ["schedule", name, "--at", "8:00,16:45", "--days", "mon-fri"]
    refused = run_command(environment, *schedule, "--zone", "Mars")
    assert (refused.returncode, refused.stderr) == (
        2,
        "Refused: time_zone must be the IANA name of a time zone, such as Europe/London\n",
    )
    scheduled = run_command(environment, *schedule, "--zone", "Europe/London")
    assert (scheduled.returncode, scheduled.stderr) == (0, "")

    def listed() -> str:
        answer = run_command(environment, "searches")
        assert (answer.returncode, answer.stderr) == (0, "")
        (line,) = (line for line in answer.stdout.splitlines() if line.startswith(name))
        return line

    assert "08:00,16:45 mon-fri Europe/London" in listed()
    assert run_command(environment, "unschedule", name).returncode == 0
    assert "08:00" not in listed()
    unknown = run_command(environment, "unschedule", "no such search")
    assert unknown.returncode == 1
    assert "You have no saved search 'no such search'" in unknown.stderr


def test_a_name_that_another_request_has_just_saved_is_refused(stack: Endpoints, environment: dict[str, str]) -> None:
    name = uuid4().hex
    assert run_command(environment, "save", f"{name} of the user", "nurse").returncode == 0
    answer = while_the_name_is_saved(
        stack, LOCAL_USER[0], name, lambda: run_command(environment, "save", name, "nurse")
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == f"Refused: another request has just saved a search of the name '{name}'. Try again.\n"


def test_names_reach_the_terminal_as_text_on_one_line(environment: dict[str, str]) -> None:
    name = f"{uuid4().hex[:8]}\x1b[2J\nforged"
    assert run_command(environment, "save", name, "nurse").returncode == 0
    unknown = run_command(environment, "unschedule", "\x1b[2J\nforged")
    (line,) = unknown.stderr.splitlines()
    assert line.startswith("You have no saved search '\N{REPLACEMENT CHARACTER}[2J forged'. You have: ")
    assert f"{name[:8]}\N{REPLACEMENT CHARACTER}[2J forged" in line
