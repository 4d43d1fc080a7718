"""The commands of the operator for collections, as processes, on a local stack."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.saved_searches import while_the_name_is_saved
from tests.support.stack import worker_environment
from worker.cli.collection_file import DEFAULT_OWNER
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

FILE = """
namespace = "uk"

[[collection]]
name = "care"
terms = ["nurse", "carer"]
places = ["Leeds", "York"]
sites = ["jsearch"]
times = "08:00,16:45"
weekdays = "mon-fri"
zone = "Europe/London"
"""


@pytest.fixture
def environment(stack: Endpoints, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "uk.toml").write_text(FILE)
    return os.environ | worker_environment(stack) | {"COLUMNS": "160", "UK": str(tmp_path / "uk.toml")}


def test_a_file_is_applied_twice_and_listed(environment: dict[str, str], stack: Endpoints) -> None:
    first = run_command(environment, "collections", "apply", environment["UK"])
    assert (first.returncode, first.stderr) == (0, f"Created the user {DEFAULT_OWNER}, without a password.\n")
    applied = f"uk: 4 searches of {DEFAULT_OWNER}. "
    assert first.stdout == f"{applied}Added: 4, changed: 0, removed: 0, unchanged: 0\n"
    again = run_command(environment, "collections", "apply", environment["UK"])
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"{applied}Added: 0, changed: 0, removed: 0, unchanged: 4\n"

    with psycopg.connect(stack.db_url, autocommit=True) as database:
        user = database.execute("select id, encrypted_password from auth.users where email = %s", [DEFAULT_OWNER])
        assert [row[1] for row in user] == [None]
        database.execute("insert into worker.site_health (site, account) values ('jsearch', '')")
        database.execute(
            "insert into worker.site_buckets (bucket, quota, quota_used, quota_resets_at)"
            " values ('jsearch', 200, 12, now() + interval '1 day')"
        )
    listed = run_command(environment, "collections", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    header, line = listed.stdout.splitlines()
    assert header.split() == ["Collection", "Searches", "Next", "Last", "Found", "New", "Quotas"]
    assert line.split()[:2] == ["uk/care", "4"]
    assert line.rstrip().endswith("jsearch 12 of 200 used")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("mon-fri", "monday", "collection 1 (care): weekdays: 'monday' is not a weekday;"),
        ("Europe/London", "London", "collection care: zone must be the IANA name of a time zone"),
        (
            '"jsearch"',
            '"monster"',
            "search 'wrong/care: carer in Leeds': sites must be a list of 1 to 20 of",
        ),
        (
            "times =",
            'kind = "cars"\ntimes =',
            "search 'wrong/care: carer in Leeds': kind must be one of creators, jobs, people",
        ),
        (
            "times =",
            'kind = "creators"\ntimes =',
            "search 'wrong/care: carer in Leeds': places is not known; kind creators knows",
        ),
        ('"uk"', '"wrong"\nuser = "a@b"', "the user cannot be created: Unable to validate email address"),
    ],
)
def test_a_wrong_file_changes_nothing(
    environment: dict[str, str], stack: Endpoints, old: str, new: str, problem: str
) -> None:
    path = Path(environment["UK"])
    path.write_text(FILE.replace(old, new).replace('"uk"', '"wrong"'))
    answer = run_command(environment, "collections", "apply", str(path))
    assert (answer.returncode, answer.stdout) == (1 if "created" in problem else 2, "")
    assert answer.stderr.count("\n") == 1
    assert problem in answer.stderr
    with psycopg.connect(stack.db_url) as database:
        written = database.execute("select from public.saved_searches where collection like 'wrong/%'")
        assert written.rowcount == 0


def test_a_missing_file_and_a_wrong_key(environment: dict[str, str], stack: Endpoints) -> None:
    answer = run_command(environment, "collections", "apply", "missing.toml")
    assert (answer.returncode, answer.stderr) == (2, "missing.toml cannot be read: No such file or directory\n")
    anon = environment | {"SUPABASE_SERVICE_ROLE_KEY": stack.anon_key}
    for arguments in (["apply", environment["UK"]], ["list"]):
        answer = run_command(anon, "collections", *arguments)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert "The queue cannot be used: " in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_name_that_the_user_has_just_saved_is_refused(environment: dict[str, str], stack: Endpoints) -> None:
    path = Path(environment["UK"])
    path.write_text('namespace = "race"\n')
    assert run_command(environment, "collections", "apply", str(path)).returncode == 0
    path.write_text(FILE.replace('"uk"', '"race"'))
    answer = while_the_name_is_saved(
        stack,
        DEFAULT_OWNER,
        "race/care: carer in Leeds",
        lambda: run_command(environment, "collections", "apply", str(path)),
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == (
        f"{path}: user {DEFAULT_OWNER} has just saved a search under a name of these collections. Try again.\n"
    )
