"""`scripts/schema` after a release, in a copy of the project: it demands a migration that makes the whole change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.upgrade.releases import ROOT, change_schema, complete_migration, copy_project
from tools.schema.update import CLIENT
from worker.database.queue import SCHEMA_VERSION

MISSING_COLUMN = "-| `first_worker` | `text` | yes |  | The worker that claimed it first. |"
MISSING_FUNCTION = "-worker.schema_version(): "


def schema(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command in a copy of the repository; return its exit code and output."""
    command = [sys.executable, "-m", "tools.schema", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


def migrations(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project / "migrations").iterdir()}


def test_after_a_release_a_change_of_the_schema_needs_a_migration(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / CLIENT).mkdir(parents=True)
    assert schema(tmp_path, "--release") == (0, "", "")
    released = migrations(project)
    assert {line.split("/")[1] for line in (project / "released.sha256").read_text().splitlines()} == released.keys()
    code, _, problem = schema(tmp_path, "--migration", "next")
    assert (code, migrations(project)) == (1, released)
    assert problem.startswith("every function and comment of supabase/schemas is in a migration")

    change_schema(project, version=SCHEMA_VERSION + 1)
    code, _, problem = schema(tmp_path)
    assert code == 1
    assert MISSING_COLUMN in problem
    assert MISSING_FUNCTION in problem
    assert "write the change as supabase/migrations/<14 digits>_<name>.sql, then run ./scripts/schema again" in problem
    assert migrations(project) == released
    assert not (project / "SCHEMA.md").exists()

    # It begins the migration that tests/upgrade/test_upgrade.py pushes: the column is left to people.
    assert schema(tmp_path, "--migration", "Next release")[0] == 1
    code, said, _ = schema(tmp_path, "--migration", "next_release")
    begun = tmp_path / said.splitlines()[0].removeprefix("wrote ")
    assert (code, migrations(project).keys() - released.keys()) == (0, {begun.name})
    assert begun.name > max(released)
    first_lines = [line for line in begun.read_text().splitlines() if line.startswith(("create ", "comment "))]
    assert [line.partition("(")[0] for line in first_lines] == [
        "create or replace function worker.schema_version",
        "comment on column public.search_runs.first_worker is 'The worker that claimed it first.';",
        "create or replace function worker.start_runs",
    ]

    complete_migration(begun)
    assert schema(tmp_path) == (0, "", "")
    assert migrations(project) == released | {begun.name: begun.read_text()}
    assert "| `first_worker` | `text` |" in (project / "SCHEMA.md").read_text()
    assert schema(tmp_path, "--migration", "again")[0] == 1

    # A released one must stay as it is.
    changed = project / "migrations" / min(released)
    changed.write_text(changed.read_text() + "\n")
    problem = f"supabase/migrations/{changed.name} is released and must not change."
    problem += " Restore it, and write a new migration.\n"
    assert schema(tmp_path) == (1, "", problem)
    assert schema(tmp_path, "--migration", "again") == (1, "", problem)


def test_before_the_first_release_there_is_nothing_to_follow(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "released.sha256").unlink(missing_ok=True)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    expected = (1, "", "no migration is released yet: ./scripts/schema rewrites them\n")
    assert schema(tmp_path, "--migration", "next") == expected
