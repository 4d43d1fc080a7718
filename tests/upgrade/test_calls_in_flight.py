"""A call that began before a push finds every function that it may still call."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.upgrade.releases import copy_project, copy_released
from tools.postgres import throwaway_postgres
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import embedded_binaries

PATIENCE_SECONDS = 30
FUNCTIONS: LiteralString = """
select oid from pg_proc where pronamespace in ('worker'::regnamespace, 'public'::regnamespace) order by oid
"""
IS_WAITING: LiteralString = """
select exists (
    select from pg_stat_activity
    where pid <> pg_backend_pid() and query like '%select worker.wait_for_earlier_transactions(%')
"""


def test_what_a_release_replaces_is_dropped_after_the_calls_that_may_need_it(tmp_path: Path) -> None:
    copy_released(copy_project(tmp_path), tmp_path / "released")
    with throwaway_postgres(bin_folder=embedded_binaries()) as postgres, ThreadPoolExecutor(1) as pushing:
        dsn = postgres.dsn("postgres")
        apply_migrations(dsn, tmp_path / "released")
        # Calls come from another role than the one that pushes, which sees less of its sessions.
        caller = postgres.dsn("authenticator")
        with psycopg.connect(caller) as call, psycopg.connect(dsn, autocommit=True) as database:
            released = call.execute(FUNCTIONS).fetchall()
            version = database.execute("select worker.schema_version()").fetchone()
            push = pushing.submit(apply_migrations, dsn, migrations_folder())
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not database.execute(IS_WAITING).fetchall()[0][0]:
                assert not push.done(), push.result()
                assert time.monotonic() < deadline, "the push does not wait"
                time.sleep(0.01)
            assert database.execute("select worker.schema_version()").fetchone() != version
            assert {*released} <= {*call.execute(FUNCTIONS).fetchall()}
            call.commit()
            push.result(PATIENCE_SECONDS)
            assert not {*released} <= {*database.execute(FUNCTIONS).fetchall()}
