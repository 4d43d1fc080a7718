"""What an upgrade makes of the counts of a project: later sums are complete from the first counted run on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import LiteralString

import psycopg

from tools.postgres import throwaway_postgres
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import embedded_binaries

FIRST_RELEASE = "20261129090000_search_worker.sql"
COUNTED: LiteralString = """
insert into worker.run_stats
select 'day', '2026-11-01T00:00:00Z', site, kind, source::public.run_source, outcome, error_code, runs,
       worker.histogram(array_fill(3.0::float8, array[runs])), worker.histogram(array_fill(7.0::float8, array[runs])),
       runs, 2 * runs, 3 * runs, 4 * runs, runs, 5 * runs, 6 * runs
from (values
    ('', 'jobs', 'manual', 'success', '', 10), ('', 'jobs', 'cron', 'failed', 'blocked', 2),
    ('linkedin', 'jobs', 'manual', 'completed', '', 1), ('linkedin', 'people', 'manual', 'completed', '', 2),
    ('indeed', 'jobs', 'manual', 'completed', '', 4), ('indeed', 'jobs', 'cron', 'failed', 'blocked', 5),
    ('indeed', 'jobs', 'manual', 'failed', 'blocked', 6), ('indeed', 'jobs', 'manual', 'failed', 'network', 7)
) as counted (site, kind, source, outcome, error_code, runs)
"""
SUMMED: LiteralString = """
select site, outcome, runs, durations[3], attempts, pages, requests, items, new_items, valid_items, invalid_items,
       errors
from worker.site_totals
order by site, outcome
"""


def test_an_upgrade_sums_what_was_counted_before_it(tmp_path: Path) -> None:
    shutil.copy(migrations_folder() / FIRST_RELEASE, tmp_path)
    with throwaway_postgres(bin_folder=embedded_binaries()) as postgres:
        dsn = postgres.dsn("postgres")
        apply_migrations(dsn, tmp_path)
        with psycopg.connect(dsn, autocommit=True) as database:
            database.execute(COUNTED)
        apply_migrations(dsn, migrations_folder())
        with psycopg.connect(dsn) as database:
            summed = database.execute(SUMMED).fetchall()
    sums = [
        ("indeed", "completed", 4, {}),
        ("indeed", "failed", 18, {"blocked": 11, "network": 7}),
        ("linkedin", "completed", 3, {}),
    ]
    assert summed == [
        (site, outcome, n, n, n, 2 * n, 3 * n, 4 * n, n, 5 * n, 6 * n, errors) for site, outcome, n, errors in sums
    ]
