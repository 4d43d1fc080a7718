from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.database import new_database
from tests.support.node import needs_cli
from tools.schema.types import CLI
from worker.local.errors import LocalError
from worker.local.supabase.migrations import apply_migrations, split_statements
from worker.local.supabase.postgres import Postgres

# Every way to hide a semicolon. `RECORDED` is what CLI 3.1.0 writes into its history for it.
TRICKY = r"""

-- leading comment; with semicolon
create table public.a (id int primary key, t text default 'x;''y', "we;ird" text);

create function public.f() returns void language plpgsql set search_path = '' as $body$
begin
  perform 1; -- $x$
  raise notice '; %', $q$ ; $q$;
end;
$body$;

/* block /* nested ; */ still ; */ select 1;
create function public.g(a int) returns int language sql set search_path = ''
begin atomic
  select a; select case when a > 1 then 2 end;
end;
comment on table public.a is E'it\'s; fine';
insert into public.a values (1, ';', '('), (2, (select ';'), '--');;
select $a1$ ; $a1$, 1 as "a""b;c", U&'\0061;', 1 as ende, 1 as a$b$c ;
select 5-3, 6/2, ((1)), (2) ;  
do $$ begin null; end $$;
create rule r as on insert to public.a do also (select 1; select 2);
select 'end'  ;
-- trailing comment; really
"""  # noqa: W291 - space before the end of a line is one of the tricks
RECORDED = [
    (
        "-- leading comment; with semicolon\ncreate table public.a (id int primary key, t text default "
        "'x;''y', \"we;ird\" text)"
    ),
    (
        "create function public.f() returns void language plpgsql set search_path = '' as $body$\nbegin\n"
        "  perform 1; -- $x$\n  raise notice '; %', $q$ ; $q$;\nend;\n$body$"
    ),
    "/* block /* nested ; */ still ; */ select 1",
    (
        "create function public.g(a int) returns int language sql set search_path = ''\nbegin atomic\n"
        "  select a; select case when a > 1 then 2 end;\nend"
    ),
    r"comment on table public.a is E'it\'s; fine'",
    "insert into public.a values (1, ';', '('), (2, (select ';'), '--')",
    r"""select $a1$ ; $a1$, 1 as "a""b;c", U&'\0061;', 1 as ende, 1 as a$b$c""",
    "select 5-3, 6/2, ((1)), (2)",
    "do $$ begin null; end $$",
    "create rule r as on insert to public.a do also (select 1; select 2)",
    "select 'end'",
    "-- trailing comment; really",
]
FILES = {
    "20260101000000_tricky.sql": TRICKY,
    "20260101000001_no_end.sql": "select 1; select 2",
    "20260101000002_windows.sql": "\ufeffselect 1;\r\n\r\nselect 2;\r\n",
    "20260101000003_comment_only.sql": "-- only a comment\n",
    "20260101000004_empty.sql": "",
    "20260101000005_.sql": "select 1;\n \u00a0select 2;\u2003\n",
    "20260101000006_transaction.sql": "begin;\nselect 1;\ncommit;\n",
    "notes.sql": "no migration",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CLI project's folder of migrations."""
    migrations = tmp_path / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "test"\n')
    return migrations


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, newline="")


def history(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        ).fetchall()


def columns_of_history(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select column_name, data_type, is_nullable from information_schema.columns"
            " where table_schema = 'supabase_migrations' order by ordinal_position"
        ).fetchall()


def run_cli(folder: Path, *arguments: str) -> str:
    assert CLI is not None
    answer = subprocess.run([CLI, *arguments], cwd=folder.parents[1], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout + answer.stderr


def test_history_is_the_one_that_the_cli_writes(database_url: str, folder: Path) -> None:
    write(folder, FILES)
    apply_migrations(database_url, folder)
    assert history(database_url) == [
        ("20260101000000", "tricky", RECORDED),
        ("20260101000001", "no_end", ["select 1", "select 2"]),
        ("20260101000002", "windows", ["select 1", "select 2"]),
        ("20260101000003", "comment_only", ["-- only a comment"]),
        ("20260101000004", "empty", []),
        ("20260101000005", "", ["select 1", "select 2"]),
        ("20260101000006", "transaction", ["begin", "select 1", "commit"]),
    ]


@needs_cli
def test_cli_writes_the_same_history(postgres: Postgres, database_url: str, folder: Path) -> None:
    write(folder, FILES)
    apply_migrations(database_url, folder)
    theirs = new_database(postgres)
    run_cli(folder, "db", "push", "--remote", theirs, "--yes")
    assert history(theirs) == history(database_url)
    assert columns_of_history(theirs) == columns_of_history(database_url)


@needs_cli
def test_cli_finds_nothing_left_to_do(database_url: str, folder: Path, migrations_here: Path) -> None:
    shutil.copytree(migrations_here, folder, dirs_exist_ok=True)
    apply_migrations(database_url, folder)
    assert "up to date" in run_cli(folder, "db", "push", "--remote", database_url, "--yes")


def test_only_new_migrations_are_applied(database_url: str, folder: Path) -> None:
    write(folder, {"1_first.sql": "create table public.first (id int primary key);"})
    assert [migration.file_name for migration in apply_migrations(database_url, folder)] == ["1_first.sql"]
    write(folder, {"2_second.sql": "alter table public.first add column name text;"})
    assert [migration.file_name for migration in apply_migrations(database_url, folder)] == ["2_second.sql"]
    assert apply_migrations(database_url, folder) == []


def test_projects_migrations_apply_without_superuser(database_url: str, migrations_here: Path) -> None:
    assert apply_migrations(database_url, migrations_here)
    assert apply_migrations(database_url, migrations_here) == []


def test_a_failing_migration_is_named_and_leaves_nothing(database_url: str, folder: Path) -> None:
    write(
        folder,
        {
            "1_good.sql": "create table public.good (id int primary key);",
            "2_bad.sql": "create table public.half (id int primary key); insert into public.half values ('x');",
        },
    )
    with pytest.raises(LocalError) as failure:
        apply_migrations(database_url, folder)
    assert "2_bad.sql" in str(failure.value)
    assert "insert into public.half values ('x')" in str(failure.value)
    assert 'invalid input syntax for type integer: "x"' in str(failure.value)
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("select to_regclass('public.good'), to_regclass('public.half')").fetchone()
    assert tables == ("good", None)
    assert [version for version, *_ in history(database_url)] == ["1"]


def test_settings_of_one_migration_do_not_reach_the_next(database_url: str, folder: Path) -> None:
    write(folder, {"1_sets.sql": "set search_path = '';", "2_relies.sql": "create table relies (id int primary key);"})
    assert len(apply_migrations(database_url, folder)) == 2


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
piece = st.one_of(
    st.sampled_from(["select", "a.b", "1 - 2", "6/2", "end", "x$y$z", "(a; (b);)", "/* ; /* ; */ ' */", "a\n"]),
    text.map(lambda inner: f"""'{inner.replace("'", "''")}'"""),
    text.map(lambda inner: f'''"{inner.replace('"', '""')}"'''),
    text.map(lambda inner: "E'{}'".format(inner.replace("\\", "\\\\").replace("'", "\\'"))),
    text.map(lambda inner: f"$t$ {inner.replace('$', '')} $t$"),
    text.map(lambda inner: f"-- {inner.replace(chr(10), '').replace(chr(13), '')}\n"),
    st.just("begin atomic select 1; select case when true then 2 end; end"),
)
statement = st.lists(piece, max_size=5).map(lambda pieces: " ".join(["select", *pieces, "1"]))


@given(st.lists(statement, max_size=5), st.sampled_from([";", ";\n", " ; ", ";;\n\n"]))
def test_statements_are_split_at_the_semicolons_between_them(statements: list[str], separator: str) -> None:
    assert split_statements(separator.join(statements)) == statements


def test_a_migration_is_left_out_whose_extension_is_missing(
    database_url: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(
        folder,
        {
            "1_needs.sql": 'create extension if not exists "of_another_server" with schema extensions;',
            "2_other.sql": "create table public.other (id int primary key);",
        },
    )
    assert [migration.file_name for migration in apply_migrations(database_url, folder)] == ["2_other.sql"]
    assert caplog.messages == ["Left out 1_needs.sql: this Postgres has no of_another_server"]
