"""Two releases that follow each other: their migrations, and the workers that are made for them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tools.schema.files import PROJECT, released_migrations

ROOT = Path(__file__).parents[2]

RELEASED = "629cb3d495f59552e49a9cac3de9ce122e71689c"
"""The commit of the last release."""

# What the next release changes: a column of the busiest table, and the function that each claim calls.
COLUMN = "first_worker text"
COMMENT = "comment on column public.search_runs.first_worker is 'The worker that claimed it first.'"
LAST_COLUMN = "    completed_at timestamptz,\n"
FIRST_CONSTRAINT = "    constraint search_runs_idempotency_key"
FIRST_INDEX = "\ncreate index search_runs_ready on"
COUNTED = "        set status = 'running', attempts = run.attempts + 1,"
FIRST_WORKER = "            first_worker = coalesce(run.first_worker, asked.worker_id),"
CHANGES = [
    ("tables/runs", f"{LAST_COLUMN}{FIRST_CONSTRAINT}", f"{LAST_COLUMN}    {COLUMN},\n{FIRST_CONSTRAINT}"),
    ("tables/runs", FIRST_INDEX, f"\n{COMMENT};\n{FIRST_INDEX}"),
    ("runs/claim", COUNTED, f"{COUNTED}\n{FIRST_WORKER}"),
]
_VERSION = re.compile(r"(?<=create function worker.schema_version\(\) returns integer\n).*?return (\d+);", re.DOTALL)


def copy_project(to: Path) -> Path:
    """Copy the database of this project, with what was released of it; return the folder."""
    project = to / "supabase"
    for name in ("schemas", "migrations"):
        shutil.copytree(PROJECT / name, project / name)
    for path in (PROJECT / "config.toml", PROJECT / "released.sha256"):
        if path.exists():
            shutil.copy(path, project)
    return project


def copy_released(project: Path, to: Path) -> None:
    """Copy the migrations of the last release; before the first one, all that there are."""
    names = released_migrations(project) or [path.name for path in (project / "migrations").glob("*.sql")]
    to.mkdir(parents=True)
    for name in names:
        shutil.copy(project / "migrations" / name, to)


def change_schema(project: Path, *, version: int) -> None:
    """Change the schema files of a project as its next release does.

    Args:
        project: The folder.
        version: The version of the RPCs after it.
    """
    for name, old, new in CHANGES:
        _replace(project, name, old, new)
    text = _VERSION.search(_file(project, "kernel/versions").read_text())
    assert text is not None
    _replace(project, "kernel/versions", text[0], text[0].replace(f"return {text[1]};", f"return {version};"))


def complete_migration(migration: Path) -> None:
    """Write what the command that began a migration has left to people: the new column."""
    migration.write_text(f"alter table public.search_runs add column {COLUMN};\n\n{migration.read_text()}")


def copy_released_worker(to: Path) -> dict[str, str]:
    """Copy the worker of the last release; skip the test where git does not have it.

    Returns:
        The environment variables with which `python -m worker` runs the copy.
    """
    archived = subprocess.run(["git", "-C", ROOT, "archive", RELEASED, "worker"], check=False, capture_output=True)
    if archived.returncode != 0:
        pytest.skip(f"git does not have the last release: {archived.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as files:
        files.extractall(to, filter="data")
    return _environment(to)


def copy_worker(to: Path, *, schema_version: int, version: str) -> dict[str, str]:
    """Copy the worker of this checkout as one that is made for a version of the RPCs; otherwise as above."""
    shutil.copytree(ROOT / "worker", to / "worker")
    for name, pattern, value in (
        ("database/queue.py", r"(?m)^SCHEMA_VERSION = \d+$", f"SCHEMA_VERSION = {schema_version}"),
        ("version.py", r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"'),
    ):
        path = to / "worker" / name
        text, count = re.subn(pattern, value, path.read_text())
        assert count == 1, name
        path.write_text(text)
    return _environment(to)


def _environment(folder: Path) -> dict[str, str]:
    # Otherwise `-m` would find the checkout first, in the current folder.
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _file(project: Path, name: str) -> Path:
    return project / "schemas" / f"{name}.sql"


def _replace(project: Path, name: str, old: str, new: str) -> None:
    path = _file(project, name)
    text = path.read_text()
    assert text.count(old) == 1, name
    path.write_text(text.replace(old, new))
