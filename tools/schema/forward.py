"""Begins a migration that follows released ones: with the functions and comments that the schema files have changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tools.schema.files import released_migrations, schema_files
from worker.local.supabase.migrations import read_migrations, split_statements

_CREATE = re.compile(r"create function (?=[\w.]+\s*\()")
_LEADING_COMMENTS = re.compile(r"\A(?:--.*\n|\s)*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def begin_migration(project: Path, name: str) -> Path:
    """Write a migration with the functions and comments of the schema files that no migration has.

    What else has changed, such as a table, is left to people: the statement that creates the table does not say how the
    one that is there becomes it.

    Args:
        project: The folder with `config.toml`, `schemas/` and `migrations/`.
        name: The name of the migration, such as `faster_claims`.

    Returns:
        The file.

    Raises:
        ValueError: The name is not one, no migration is released, or every function and comment is in one.
        ReleasedMigrationError: A released migration was changed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name must have small letters, digits and _ only, and begin with a letter: {name!r}")
    if not released_migrations(project):
        raise ValueError("no migration is released yet: ./scripts/schema rewrites them")
    migrations = read_migrations(project / "migrations")
    known = {_as_first_created(statement) for migration in migrations for statement in migration.statements}
    changed = [statement for statement in _functions_and_comments(project) if statement not in known]
    if not changed:
        raise ValueError("every function and comment of supabase/schemas is in a migration: write the others by hand")
    now = int(datetime.now(UTC).strftime("%Y%m%d%H%M%S"))
    version = max(now, *(int(migration.version) + 1 for migration in migrations))
    path = project / "migrations" / f"{version}_{name}.sql"
    path.write_text("\n".join(f"{_CREATE.sub('create or replace function ', each, count=1)};\n" for each in changed))
    return path


def _functions_and_comments(project: Path) -> Iterator[str]:
    for file in schema_files(project):
        for statement in map(_as_first_created, split_statements(file.text)):
            if _CREATE.match(statement) or statement.startswith("comment on "):
                yield statement


def _as_first_created(statement: str) -> str:
    code = _LEADING_COMMENTS.sub("", statement)
    return code.replace("create or replace function ", "create function ", 1)
