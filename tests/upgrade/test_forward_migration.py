"""`scripts/schema` after a release, in a copy of the project: it demands a migration that makes the whole change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.upgrade.releases import NEXT_MIGRATION, ROOT, add_migration, change_schema, copy_project
from tools.schema.update import CLIENT
from worker.database.queue import SCHEMA_VERSION


def schema(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command in a copy of the repository; return its exit code and what it says of an error."""
    command = [sys.executable, "-m", "tools.schema", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr


def migrations(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project / "migrations").iterdir()}


def test_after_a_release_a_change_of_the_schema_needs_a_migration(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / CLIENT).mkdir(parents=True)
    assert schema(tmp_path, "--release") == (0, "")
    released = migrations(project)
    assert {line.split("/")[1] for line in (project / "released.sha256").read_text().splitlines()} == released.keys()

    statements = change_schema(project, version=SCHEMA_VERSION + 1)
    code, problem = schema(tmp_path)
    assert code == 1
    assert "-| `first_worker` | `text` | yes |  | The worker that claimed it first. |" in problem
    assert "-worker.schema_version(): " in problem
    assert "write the change as supabase/migrations/<14 digits>_<name>.sql, then run ./scripts/schema again" in problem
    assert migrations(project) == released
    assert not (project / "SCHEMA.md").exists()

    # The migration that tests/upgrade/test_upgrade.py pushes: it creates what the changed files declare.
    add_migration(project, statements)
    assert schema(tmp_path) == (0, "")
    assert migrations(project).keys() == released.keys() | {NEXT_MIGRATION}
    assert released.items() <= migrations(project).items()
    assert "| `first_worker` | `text` |" in (project / "SCHEMA.md").read_text()

    # A released one must stay as it is.
    changed = project / "migrations" / min(released)
    changed.write_text(changed.read_text() + "\n")
    code, problem = schema(tmp_path)
    assert (code, problem) == (
        1,
        f"supabase/migrations/{changed.name} is released and must not change. Restore it, and write a new migration.\n",
    )
