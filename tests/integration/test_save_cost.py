"""What saving a page reads: its own items and what may be the same things, also in a project that was empty before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from worker.local.supabase.migrations import apply_migrations

SITE = "indeed"
ENQUEUE: LiteralString = """
insert into public.search_runs (user_id, kind, parameters) values (%s, 'jobs', %s)
"""
CLAIM: LiteralString = """
select run_id, lease_token from public.worker_claim_runs('w', '{jobs}', 1, 600, %s, '[]')
"""
SCANS: LiteralString = """
select relname, seq_scan from pg_stat_xact_user_tables
where relname in ('items', 'item_sources', 'search_results') and seq_scan > 0
"""

Connection = psycopg.Connection[dict[str, Any]]


def claimed_run(database: Connection) -> dict[str, str]:
    user_id = uuid4()
    database.execute("insert into auth.users (id) values (%s)", [user_id])
    database.execute(ENQUEUE, [user_id, Jsonb({"search_term": "nurse", "sites": [SITE]})])
    run = database.execute(CLAIM, [uuid4()]).fetchone()
    assert run is not None
    lease = {"run_id": str(run["run_id"]), "lease_token": str(run["lease_token"])}
    database.execute("select public.worker_start_sites(%s)", [Jsonb([lease | {"site": SITE, "attempt": 1}])])
    return lease


def found_page(lease: dict[str, str], number: int) -> dict[str, Any]:
    """A page on which two items are one thing, so that they are merged."""
    raw = {"source": "test", "version": 1, "payload": {}, "response_ms": 5, "calls_used": 1, "transform_ms": 5}
    items = [
        {
            "external_id": f"{number} {position}",
            "position": position,
            "title": "Nurse",
            "url": "https://example.com",
            "match_key": f"nurse | {number} | {position // 2}",
        }
        for position in range(40)
    ]
    site = {"site": SITE, "attempt": 1, "page_number": number}
    return lease | site | {"raw": raw, "items": items, "errors": [], "progress": {"step": "searching"}}


def test_a_page_reads_no_table_of_items_as_a_whole(database_url: str, migrations_here: Path) -> None:
    apply_migrations(database_url, migrations_here)
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as database:
        lease = claimed_run(database)
        # The tables are empty at first, and never analyzed: autovacuum comes once a minute.
        for number in range(1, 11):
            with database.transaction():
                answer = database.execute("select public.worker_save_pages(%s)", [Jsonb([found_page(lease, number)])])
                saved = answer.fetchone()
                assert saved is not None
                assert saved["worker_save_pages"][0]["results"] == 40
                assert database.execute(SCANS).fetchall() == []
