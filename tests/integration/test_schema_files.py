"""The migrations create what `supabase/schemas/` declares, also once some of them are released."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.schema.difference import declared_database, difference
from tools.schema.files import (
    PROJECT,
    ReleasedMigrationError,
    make_migrations,
    release_migrations,
    released_migrations,
    schema_files,
)
from tools.schema.update import CLIENT, update_project
from worker.local.supabase.postgres import Postgres

NEW_FUNCTION = """\
create function worker.tomorrow() returns timestamptz language sql stable set search_path = ''
return worker.now() + interval '1 day';
"""
NEW_MESSAGE = "insert into worker.messages (code, sentence) values\n    ('closed', '{site} has closed'),\n"
# Changes of the schema files, and the statements of a migration that makes the same changes.
CHANGES = [
    ("tables/settings", "    next_at timestamptz not null\n)", "    next_at timestamptz not null,\n    note text\n)"),
    ("tables/settings", "('seen_users', '-infinity');", "('seen_users', '-infinity'), ('reports', '-infinity');"),
    ("kernel/messages", "insert into worker.messages (code, sentence) values\n", NEW_MESSAGE),
    ("kernel/clock", "HH24:MI:SS", "HH24:MI"),
    ("kernel/clock", "create function worker.format_time", f"{NEW_FUNCTION}\ncreate function worker.format_time"),
]
FORWARD = [
    "alter table worker.housekeeping add column note text;",
    "insert into worker.housekeeping (task, next_at) values ('reports', '-infinity');",
    "insert into worker.messages (code, sentence) values ('closed', '{site} has closed');",
    """\
create or replace function worker.format_time(at timestamptz) returns text language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"');
""",
    NEW_FUNCTION,
    "revoke all on function worker.tomorrow() from public, anon, authenticated, service_role;",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, none of whose migrations is released."""
    project = tmp_path / "supabase"
    for name in ("schemas", "migrations"):
        shutil.copytree(PROJECT / name, project / name)
    shutil.copy(PROJECT / "config.toml", project)
    (tmp_path / CLIENT).mkdir(parents=True)
    return project


@pytest.fixture
def changed(project: Path) -> Path:
    """A copy of the project whose schema files were changed after a release."""
    release_migrations(project)
    for name, old, new in CHANGES:
        path = project / "schemas" / f"{name}.sql"
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
    return project


def add_migration(project: Path, statements: list[str]) -> None:
    (project / "migrations" / "20991231235959_forward.sql").write_text("\n".join(statements))


def read_migrations(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project / "migrations").iterdir()}


def test_the_migrations_create_what_the_files_declare(postgres: Postgres) -> None:
    assert difference(postgres, PROJECT) == ""


def test_a_forward_migration_must_make_the_whole_change(postgres: Postgres, changed: Path) -> None:
    declared = declared_database(postgres, changed)
    for left_out in FORWARD:
        if left_out == NEW_FUNCTION:  # the revoke needs it
            continue
        add_migration(changed, [statement for statement in FORWARD if statement != left_out])
        assert difference(postgres, changed, declared=declared) != "", left_out
    add_migration(changed, FORWARD)
    assert difference(postgres, changed, declared=declared) == ""


def test_a_migration_that_is_not_released_is_rewritten(project: Path) -> None:
    (project / "migrations" / "20991231235959_forward.sql").write_text("select 1;")
    path = project / "schemas" / "kernel" / "clock.sql"
    path.write_text(path.read_text().replace("HH24:MI:SS", "HH24:MI"))
    assert update_project(project) is None
    assert read_migrations(project) == make_migrations(schema_files(project))
    assert (project / "SCHEMA.md").read_text() == (PROJECT / "SCHEMA.md").read_text()


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_released_migration_must_not_change(project: Path, is_deleted: bool) -> None:
    assert released_migrations(project) == []
    release_migrations(project)
    names = sorted(read_migrations(project))
    assert released_migrations(project) == names

    path = project / "migrations" / names[0]
    if is_deleted:
        path.unlink()
    else:
        path.write_text(path.read_text() + "\n")
    with pytest.raises(ReleasedMigrationError, match=names[0]):
        released_migrations(project)
    problem = update_project(project)
    assert problem is not None
    assert names[0] in problem
