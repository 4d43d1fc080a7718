from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

from worker.local.errors import LocalError
from worker.local.loopback import free_port
from worker.local.supabase.migrations import available_extensions
from worker.local.supabase.postgres import Postgres, embedded_binaries

PASSWORD = "a-password-of-the-stack"


def server(data: Path, *, port: int | None = None) -> Postgres:
    return Postgres(data, port or free_port(), password=PASSWORD)


def synced(postgres: Postgres) -> str:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        ((setting,),) = connection.execute("show fsync").fetchall()
    assert isinstance(setting, str)
    return setting


def test_the_disk_is_waited_for_unless_that_is_turned_off(postgres: Postgres, data_folder: Path) -> None:
    assert synced(postgres) == "off"
    with server(data_folder) as running:
        assert synced(running) == "on"


def test_role_postgres_owns_what_it_makes_and_is_no_superuser(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        assert connection.info.parameter_status("is_superuser") == "off"
        connection.execute(
            """
            create schema private;
            create table public.notes (
                id bigint generated always as identity primary key,
                owner uuid not null default auth.uid() references auth.users (id),
                body text
            );
            comment on table public.notes is 'Notes';
            alter table public.notes enable row level security;
            create policy own on public.notes to authenticated using (owner = (select auth.uid()));
            grant select, insert on public.notes to authenticated;
            alter publication supabase_realtime add table public.notes;
            """
        )
        published = "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
        assert connection.execute(published).fetchall() == [("notes",)]


def test_role_postgres_creates_a_trusted_extension(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        if "pg_trgm" not in available_extensions(connection):
            pytest.skip("this Postgres has no pg_trgm")
        connection.execute("create extension pg_trgm with schema extensions")


def test_extension_vector_is_there_if_postgres_has_it(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        available = connection.execute("select count(*) from pg_available_extensions where name = 'vector'").fetchone()
        if available == (0,):
            pytest.skip("this Postgres has no pgvector")
        connection.execute("create extension if not exists vector with schema extensions")
        distance = connection.execute("select '[1,2]'::vector <-> '[1,5]'::extensions.vector").fetchone()
        assert distance == (3.0,)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_new_tables_are_closed_to_the_api_until_granted(postgres: Postgres, role: str) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("create table if not exists public.closed (id int primary key)")
    with psycopg.connect(postgres.dsn("authenticator")) as connection:
        connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.closed")


def test_claims_of_the_request_are_what_auth_functions_return(postgres: Postgres) -> None:
    user = "0193a6c5-8f0e-7c4e-9d3b-2f6a1c5e7b90"
    with psycopg.connect(postgres.dsn("authenticator")) as connection:
        connection.execute("set local role authenticated")
        call = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'session_id'"
        assert connection.execute(call).fetchone() == (None, None, None, None)
        connection.execute(
            "select set_config('request.jwt.claims', %s, true)",
            (f'{{"sub": "{user}", "role": "authenticated", "email": "a@b.co", "session_id": "s"}}',),
        )
        assert connection.execute(call).fetchone() == (user, "authenticated", "a@b.co", "s")


def test_api_roles_have_the_platforms_attributes(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        roles = {
            role: (login, bypass, settings)
            for role, login, bypass, settings in connection.execute(
                "select rolname, rolcanlogin, rolbypassrls, rolconfig from pg_roles where rolname !~ '^(pg_|supabase)'"
            )
        }
    assert roles == {
        "anon": (False, False, ["statement_timeout=3s"]),
        "authenticated": (False, False, ["statement_timeout=8s"]),
        "service_role": (False, True, None),
        "authenticator": (True, False, ["statement_timeout=8s", "lock_timeout=8s"]),
        "postgres": (True, True, None),
    }


def test_a_password_is_needed(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn().replace("a-password", "another"))


def test_data_survives_a_restart(data_folder: Path) -> None:
    with server(data_folder) as first, psycopg.connect(first.dsn("postgres")) as connection:
        connection.execute("create table public.kept as select 42 as answer")
    with server(data_folder) as second, psycopg.connect(second.dsn("postgres")) as connection:
        assert connection.execute("select answer from public.kept").fetchone() == (42,)


def test_an_initdb_that_was_broken_off_is_done_again(data_folder: Path) -> None:
    unfinished = data_folder / "pgdata.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with server(data_folder) as postgres, psycopg.connect(postgres.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert not unfinished.exists()


def test_data_of_another_version_is_refused(data_folder: Path) -> None:
    (data_folder / "pgdata").mkdir()
    (data_folder / "pgdata" / "PG_VERSION").write_text("13\n")
    if os.geteuid() == 0:
        shutil.chown(data_folder / "pgdata", "nobody")
    with pytest.raises(LocalError, match=r"made by PostgreSQL 13, but this is PostgreSQL 1[5-8]:"):
        server(data_folder).start()


def test_a_port_in_use_is_named(data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"port {port} on 127.0.0.1"):
            server(data_folder, port=port).start()


def test_data_in_use_is_refused_and_left_running(data_folder: Path) -> None:
    with server(data_folder) as first:
        with pytest.raises(LocalError, match="in use by a running server"):
            server(data_folder).start()
        with psycopg.connect(first.dsn()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_lock_file_whose_process_is_another_one_is_stale(data_folder: Path) -> None:
    with server(data_folder):
        lock = (data_folder / "pgdata" / "postmaster.pid").read_text().splitlines()
    lock[0] = str(os.getppid())
    (data_folder / "pgdata" / "postmaster.pid").write_text("\n".join(lock))
    with server(data_folder) as postgres, psycopg.connect(postgres.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_postgres_ends_with_an_owner_that_is_killed(data_folder: Path) -> None:
    owner_script = """
        import sys
        from pathlib import Path
        from worker.local.supabase.postgres import Postgres

        with Postgres(Path(sys.argv[1]), int(sys.argv[2]), password=sys.argv[3]):
            print("ready", flush=True)
            sys.stdin.read()
    """
    port = free_port()
    successor = server(data_folder, port=port)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(owner_script), data_folder, str(port), PASSWORD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        with psycopg.connect(successor.dsn()) as connection:
            owner.send_signal(signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select pg_sleep(100)")
    # Port and data are free again.
    with successor, psycopg.connect(successor.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_data_of_another_stack_is_refused(data_folder: Path) -> None:
    with server(data_folder):
        pass
    with pytest.raises(LocalError, match="password authentication failed"):
        Postgres(data_folder, free_port(), password="another").start()
    assert not (data_folder / "pgdata" / "postmaster.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_a_folder_that_the_servers_user_cannot_reach_is_refused(data_folder: Path) -> None:
    closed = data_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(LocalError, match=r"may not enter .* choose a data folder elsewhere"):
        server(closed / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700


def played_installation(folder: Path, version: str) -> Path:
    """An installation whose `postgres` says only which version it is."""
    for program in ("postgres", "initdb"):
        (folder / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / program).chmod(0o755)
    return folder


def test_an_installation_without_programs_is_refused(tmp_path: Path, data_folder: Path) -> None:
    with pytest.raises(
        LocalError, match=r"there is no postgres in .*: name the folder that `pg_config --bindir` prints"
    ):
        Postgres(data_folder, free_port(), password=PASSWORD, bin_folder=tmp_path).start()


def test_a_version_that_supabase_does_not_host_any_more_is_refused(tmp_path: Path, data_folder: Path) -> None:
    bin_folder = played_installation(tmp_path, "14.20 (Debian 14.20-1)")
    with pytest.raises(LocalError, match=r"is PostgreSQL 14: 15 or newer is needed"):
        Postgres(data_folder, free_port(), password=PASSWORD, bin_folder=bin_folder).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_an_installation_that_the_servers_user_cannot_reach_is_copied(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.local.supabase.postgres.account._CACHE", data_folder / "cache")
    data_folder.chmod(0o755)
    package = embedded_binaries().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in package.parent.glob(f"{package.name}*"):
        if part.is_dir():
            shutil.copytree(part, closed / part.name)
    binaries = closed / package.name / "pginstall" / "bin"
    with (
        Postgres(data_folder / "data", free_port(), password=PASSWORD, bin_folder=binaries) as running,
        psycopg.connect(running.dsn("postgres")) as connection,
    ):
        assert connection.execute("select 1").fetchone() == (1,)
