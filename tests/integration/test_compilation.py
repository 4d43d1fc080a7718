"""What PostgreSQL compiles, where it is built with a compiler: nothing that takes longer to compile than to run."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.database import new_database
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

COLLECTION = {
    "name": "care",
    "kind": "jobs",
    "terms": ["nurse", "carer"],
    "places": ["Leeds, UK", "York"],
    "sites": ["indeed"],
    "time_zone": "Europe/London",
    "times": ["16:45"],
    "weekdays": [1, 2, 3],
}


def test_calls_with_lists_in_lists_are_not_compiled(postgres: Postgres, migrations_here: Path) -> None:
    url = new_database(postgres)
    apply_migrations(url, migrations_here)
    name = url.rpartition("/")[2]
    with psycopg.connect(postgres.dsn(), dbname=name, autocommit=True) as database:
        if database.execute("select pg_jit_available()").fetchone() != (True,):
            pytest.skip("this Postgres is built without a compiler")
        owner = str(uuid4())
        database.execute("insert into auth.users (id) values (%s)", [owner])
        plans: list[str] = []
        database.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        database.execute("load 'auto_explain'")
        for setting, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_nested_statements": "on",
            "auto_explain.log_level": "notice",
        }.items():
            database.execute("select set_config(%s, %s, false)", [setting, value])
        database.execute("set role service_role")
        database.execute("select public.worker_apply_collections('here', %s, %s)", [owner, Jsonb([COLLECTION])])
        database.execute("select from public.admin_sites(now() - interval '1 day')")
    assert any("saved_searches" in plan for plan in plans)
    assert [plan for plan in plans if "JIT:" in plan] == []
