"""The migrations on every version of PostgreSQL that is at hand, and as the Supabase CLI and its linters see them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.database import new_database
from tests.support.node import needs_cli
from tools.postgres import POSTGRES_15, throwaway_postgres
from tools.schema.document import DOCUMENT, describe_schema
from tools.schema.types import CLI
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres, embedded_binaries

PROJECT = DOCUMENT.parent
LINTER = Path("/usr/share/postgresql/15/extension/plpgsql_check.control")


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement)


def test_they_apply_once_and_make_the_same_on_every_version(database_url: str, migrations_here: Path) -> None:
    assert len(apply_migrations(database_url, migrations_here)) == len(list(migrations_here.glob("*.sql")))
    assert apply_migrations(database_url, migrations_here) == []
    with throwaway_postgres(bin_folder=embedded_binaries()) as embedded:
        dsn = embedded.dsn("postgres")
        apply_migrations(dsn, migrations_here)
        assert describe_schema(database_url) == describe_schema(dsn)
        apply_migrations(dsn, migrations_folder())
        assert describe_schema(dsn) == DOCUMENT.read_text()


# An older project grants everything on what `postgres` makes in `public`; some were set to do so in every schema.
OLD_DEFAULT_PRIVILEGES = [
    f"alter default privileges for role postgres {where} grant all on {what} to anon, authenticated, service_role"
    for where in ("in schema public", "")
    for what in ("tables", "functions", "sequences")
]


def test_the_age_of_a_project_makes_no_difference_to_grants(postgres: Postgres, migrations_here: Path) -> None:
    new, old = new_database(postgres), new_database(postgres)
    execute(old, *OLD_DEFAULT_PRIVILEGES)
    for dsn in (new, old):
        apply_migrations(dsn, migrations_here)
    assert grants(old) == grants(new)


def grants(dsn: str) -> list[Any]:
    """Every right on what is in the two schemas that is not the owner's."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            """
            with acls as (
                select oid::regclass::text as object, relacl as acl, relowner as owner, relnamespace as schema
                from pg_class where relkind in ('r', 'v', 'S')
                union all
                select attrelid::regclass || '.' || attname, attacl, relowner, relnamespace
                from pg_attribute join pg_class on pg_class.oid = attrelid where attacl is not null
                union all
                select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner, pronamespace
                from pg_proc
                union all
                select nspname, nspacl, nspowner, oid from pg_namespace where nspname = 'worker'
            )
            select object, grantee::regrole::text, privilege_type
            from acls, aclexplode(acl)
            where schema in ('public'::regnamespace, 'worker'::regnamespace) and grantee <> owner
            order by 1, 2, 3
            """
        ).fetchall()


# The CLI --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_project() -> Iterator[str]:
    """The URL of a new project's database."""
    with throwaway_postgres(bin_folder=embedded_binaries()) as postgres:
        yield postgres.dsn("postgres")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the CLI project: the CLI writes into it."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT, folder / "supabase", ignore=shutil.ignore_patterns(".temp", ".branches"))
    return folder


def run_cli(workdir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CLI is not None
    return subprocess.run(
        [CLI, *arguments],
        cwd=workdir,
        env=os.environ | {"HOME": str(workdir), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def advisors(workdir: Path, dsn: str) -> subprocess.CompletedProcess[str]:
    return run_cli(workdir, "db", "advisors", "--remote", dsn, "--output-format", "json", "--fail-on", "warn")


@needs_cli
def test_the_cli_pushes_them_once_and_its_advisors_find_nothing(workdir: Path, empty_project: str) -> None:
    pushed = run_cli(workdir, "db", "push", "--remote", empty_project, "--yes")
    assert pushed.returncode == 0, pushed.stderr
    for file in migrations_folder().glob("*.sql"):
        assert f"Applying migration {file.name}" in pushed.stderr
    again = run_cli(workdir, "db", "push", "--remote", empty_project, "--yes")
    assert again.returncode == 0, again.stderr
    assert "Remote database is up to date" in again.stdout
    assert apply_migrations(empty_project, migrations_folder()) == []

    advice = advisors(workdir, empty_project)
    assert advice.returncode == 0, advice.stdout
    assert [found for found in json.loads(advice.stdout)["results"] if found["level"] != "INFO"] == []
    # And they do look: a table that everybody may write to is found.
    execute(empty_project, "create table public.open (id int)", "grant all on public.open to anon")
    advice = advisors(workdir, empty_project)
    assert advice.returncode == 1
    assert "rls_disabled_in_public" in advice.stdout


@needs_cli
@pytest.mark.skipif(not LINTER.exists(), reason="needs Debian's postgresql-15-plpgsql-check")
def test_the_linter_finds_nothing(workdir: Path) -> None:
    with throwaway_postgres(bin_folder=POSTGRES_15) as postgres:
        dsn = postgres.dsn("postgres")
        apply_migrations(dsn, migrations_folder())
        # Only a superuser may; on the platform it is there for the asking.
        execute(postgres.dsn(), "create extension plpgsql_check with schema extensions")
        command = ("db", "lint", "--schema", "public,worker", "--level", "warning", "--fail-on", "warning")
        linted = run_cli(workdir, *command, "--remote", dsn, "--output-format", "json")
        assert linted.returncode == 0, linted.stdout
        assert json.loads(linted.stdout)["results"] == []
        # And it does look.
        execute(dsn, "create function worker.wrong() returns int language plpgsql as 'begin return missing; end'")
        linted = run_cli(workdir, *command, "--remote", dsn, "--output-format", "json")
        assert linted.returncode == 1
        assert "worker.wrong" in linted.stdout
