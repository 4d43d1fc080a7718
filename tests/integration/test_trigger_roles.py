"""Everything that the database does by itself works for every role that may cause it, on every version of PostgreSQL.

Before PostgreSQL 18 an AFTER trigger runs as the current role when it fires: once a `security definer` function has
returned, that is its caller. So each trigger function has the rights of its owner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, LiteralString, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.database import new_database
from tests.support.queue import START_SEARCH
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import ADMINISTRATOR, Postgres

Database: TypeAlias = psycopg.Connection[Any]

ROLES = ("authenticated", "service_role", "supabase_auth_admin", "postgres")

ADA, BOB = UUID(int=1), UUID(int=2)

# One statement for each operation that a role is granted on a table, or that the owner does by hand. It meets a run
# that is being searched, one that follows it and one that waits for its place; and one that has answered another.
STATEMENTS: Mapping[tuple[str, str], LiteralString] = {
    ("public.search_runs", "INSERT"): """
        insert into public.search_runs (user_id, kind, parameters)
        values (%(ada)s, 'jobs', '{"search_term": "new"}')
    """,
    ("public.search_runs", "UPDATE"): "update public.search_runs set cancel_requested_at = now() where id = %(led)s",
    ("public.search_runs", "DELETE"): "delete from public.search_runs where user_id = %(ada)s",
    ("public.saved_searches", "INSERT"): """
        insert into public.saved_searches (user_id, name, kind, parameters)
        values (%(ada)s, 'another', 'jobs', '{"search_term": "saved"}')
    """,
    ("public.saved_searches", "UPDATE"): "update public.saved_searches set name = 'changed' where id = %(scheduled)s",
    ("public.saved_searches", "DELETE"): "delete from public.saved_searches where user_id = %(ada)s",
    ("public.search_schedules", "INSERT"): """
        insert into public.search_schedules (saved_search_id, time_zone, times)
        values (%(unscheduled)s, 'UTC', '{08:00}')
    """,
    # A policy lets no user pause a schedule as failing.
    ("public.search_schedules", "UPDATE"): """
        update public.search_schedules
        set times = '{09:00}', paused = case current_user when 'authenticated' then 'user' else 'failing' end
        where saved_search_id = %(scheduled)s
    """,
    ("public.search_schedules", "DELETE"): "delete from public.search_schedules where saved_search_id = %(scheduled)s",
    ("public.run_events", "INSERT"): """
        insert into public.run_events (run_id, event, created_at) values (%(led)s, 'inactive_soon', now())
    """,
    ("auth.users", "DELETE"): "delete from auth.users where id = %(ada)s",
    ("worker.site_health", "UPDATE"): "update worker.site_health set paused_until = null where site = 'linkedin'",
}

# What a role may do to which table: by its own rights, and by the foreign keys that pass a deletion on. Then the
# triggers that this fires.
CAUSED = """
with recursive caused (role, relation, event, columns) as (
    select role.rolname, relation.oid, operation.event, array(
        select attribute.attnum from pg_attribute as attribute
        where attribute.attrelid = relation.oid and attribute.attnum > 0 and not attribute.attisdropped
          and operation.event <> 'DELETE'
          and has_column_privilege(role.oid, relation.oid, attribute.attnum, operation.event))
    from pg_roles as role, pg_class as relation, (values ('INSERT'), ('UPDATE'), ('DELETE')) as operation (event)
    where role.rolname = any (%(roles)s) and relation.relkind = 'r'
      and (relation.relnamespace in ('public'::regnamespace, 'worker'::regnamespace)
           or relation.oid = 'auth.users'::regclass)
      and has_schema_privilege(role.oid, relation.relnamespace, 'usage')
      and case operation.event when 'DELETE' then has_table_privilege(role.oid, relation.oid, 'delete')
                               else has_any_column_privilege(role.oid, relation.oid, operation.event) end
    union
    select caused.role, reference.conrelid,
           case reference.confdeltype when 'c' then 'DELETE' else 'UPDATE' end,
           case reference.confdeltype when 'c' then '{}' else reference.conkey end
    from caused
    join pg_constraint as reference
        on reference.confrelid = caused.relation and reference.contype = 'f'
       and reference.confdeltype in ('c', 'n', 'd')
    where caused.event = 'DELETE'
)
"""
GRANTED: LiteralString = f"""
{CAUSED}
select distinct relation::regclass::text, event from caused
where role = %(role)s and (relation = 'auth.users'::regclass or relation::regclass::text like 'public.%%')
  and event = any (array(
      select granted from unnest(array['INSERT', 'UPDATE', 'DELETE']) as granted
      where case granted when 'DELETE' then has_table_privilege(role, relation, 'delete')
                         else has_any_column_privilege(role, relation, granted) end))
"""
FIRED_BY: LiteralString = f"""
{CAUSED}
select distinct trigger.tgfoid::regproc::text
from caused
join pg_trigger as trigger on trigger.tgrelid = caused.relation and not trigger.tgisinternal
where role = %(role)s
  and trigger.tgtype & case event when 'INSERT' then 4 when 'DELETE' then 8 else 16 end <> 0
  and (event <> 'UPDATE' or trigger.tgattr::text = '' or trigger.tgattr::smallint[] && columns)
"""


@pytest.fixture
def superuser(postgres: Postgres, migrations_here: Path) -> Iterator[Database]:
    """A superuser, who may become any role and counts the calls of functions."""
    dsn = new_database(postgres)
    apply_migrations(dsn, migrations_here)
    dsn = postgres.dsn(ADMINISTRATOR).rpartition("/")[0] + "/" + dsn.rpartition("/")[2]
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=") as connection:
        connection.execute("set track_functions = 'all'")
        yield connection


FINISH: LiteralString = """
select public.worker_finish_sites(jsonb_build_array(jsonb_build_object(
    'run_id', %s::text, 'lease_token', %s::text, 'site', %s::text, 'ends_run', true)))
"""


def start_search(superuser: Database, user: UUID, term: str) -> UUID:
    row = superuser.execute(
        "insert into public.search_runs (user_id, kind, parameters) values (%s, 'jobs', %s) returning id",
        [user, json.dumps({"search_term": term, "sites": ["linkedin"]})],
    ).fetchone()
    assert row is not None
    run_id: UUID = row[0]
    return run_id


def claim(superuser: Database, run_id: UUID) -> list[Any]:
    """Claim the only run that is ready; return its id and its token."""
    row = superuser.execute(
        "select run_id, lease_token from public.worker_claim_runs('w', '{jobs}', 1, 3600, %s, '[]')", [uuid4()]
    ).fetchone()
    assert row is not None
    assert row[0] == run_id
    return [*row]


@pytest.fixture
def runs(superuser: Database) -> dict[str, Any]:
    """What `STATEMENTS` meet, and the names that they have for it."""
    superuser.execute("insert into auth.users (id, email) values (%s, 'ada'), (%s, 'bob')", [ADA, BOB])
    unscheduled, scheduled = [
        superuser.execute(
            "insert into public.saved_searches (user_id, name, kind, parameters)"
            """ values (%s, %s, 'jobs', '{"search_term": "saved"}') returning id""",
            [ADA, name],
        ).fetchall()[0][0]
        for name in ("unscheduled", "scheduled")
    ]
    superuser.execute(
        "insert into public.search_schedules (saved_search_id, time_zone, times) values (%s, 'UTC', '{08:00}')",
        [scheduled],
    )
    superuser.execute("insert into worker.bucket_limits (bucket, searches) values ('linkedin', 1)")

    done = start_search(superuser, ADA, "done")
    leased = claim(superuser, done)
    superuser.execute(START_SEARCH, [*leased, "linkedin", 1])
    superuser.execute(FINISH, [*leased, "linkedin"])
    start_search(superuser, BOB, "done")

    led = start_search(superuser, ADA, "led")
    leased = claim(superuser, led)
    superuser.execute(START_SEARCH, [*leased, "linkedin", 1])
    start_search(superuser, BOB, "led")

    waiting = start_search(superuser, BOB, "waiting")
    leased = claim(superuser, waiting)
    superuser.execute(START_SEARCH, [*leased, "linkedin", 1])
    superuser.execute(FINISH, [*leased, None])
    superuser.execute("update worker.site_health set paused_until = now() + interval '1 hour' where site = 'linkedin'")
    found = superuser.execute(
        """
        select (select count(*) from public.search_runs where shared_run_id = %s),
               (select count(*) from public.search_runs where leader_run_id = %s),
               (select count(*) from worker.site_searches where run_id = %s),
               (select count(*) from worker.site_waits where run_id = %s)
        """,
        [done, led, led, waiting],
    ).fetchone()
    assert found == (1, 1, 1, 1)
    return {"ada": ADA, "led": led, "unscheduled": unscheduled, "scheduled": scheduled}


def fired(superuser: Database, role: str, statement: LiteralString, runs: Mapping[str, Any]) -> set[str]:
    """Execute a statement as a role and take it back; return the trigger functions that it called."""
    with superuser.transaction(force_rollback=True):
        claims = json.dumps({"sub": str(ADA), "role": role})
        superuser.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        superuser.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        assert superuser.execute(statement, runs).rowcount >= 1
        superuser.execute("reset role")
        called = superuser.execute(
            """
            select distinct tgfoid::regproc::text from pg_trigger
            where not tgisinternal and pg_stat_get_xact_function_calls(tgfoid) > 0
            """
        )
        return {name for (name,) in called}


@pytest.mark.parametrize("role", ROLES)
def test_every_trigger_runs_for_every_role_that_may_fire_it(
    superuser: Database, runs: dict[str, Any], role: str
) -> None:
    names = {"roles": [*ROLES], "role": role}
    granted = {(table, event) for table, event in superuser.execute(GRANTED, names)}
    if role == "postgres":  # it owns them all
        granted = set(STATEMENTS)
    else:
        granted -= {("auth.users", "INSERT"), ("auth.users", "UPDATE")}  # nothing of ours happens there
    called: set[str] = set()
    for operation in sorted(granted):
        called |= fired(superuser, role, STATEMENTS[operation], runs)
    expected = {name for (name,) in superuser.execute(FIRED_BY, names)}
    if role == "authenticated":
        expected.remove("worker.announce_pause")
    assert expected
    assert expected <= called


def test_every_trigger_is_fired_by_some_role(superuser: Database) -> None:
    triggers = superuser.execute("select distinct tgfoid::regproc::text from pg_trigger where not tgisinternal")
    fired_by_any: set[str] = set()
    for role in ROLES:
        fired_by_any |= {name for (name,) in superuser.execute(FIRED_BY, {"roles": [*ROLES], "role": role})}
    assert {name for (name,) in triggers} == fired_by_any


def test_every_trigger_function_has_the_rights_of_its_owner(superuser: Database) -> None:
    without = superuser.execute(
        """
        select oid::regprocedure::text from pg_proc
        where prorettype = 'trigger'::regtype and pronamespace in ('public'::regnamespace, 'worker'::regnamespace)
          and not prosecdef
        """
    )
    assert without.fetchall() == []


# Of what a default, a constraint, a policy, a view or an index of a table uses in `worker`: what the role that reads or
# writes the table may not use itself. (A trigger's own function needs no such right.)
UNUSABLE: LiteralString = """
select distinct role.rolname, pg_describe_object(used.classid, used.objid, 0),
       pg_describe_object(used.refclassid, used.refobjid, 0)
from pg_depend as used
join lateral (
    select adrelid as relation from pg_attrdef where used.classid = 'pg_attrdef'::regclass and oid = used.objid
    union all
    select conrelid from pg_constraint where used.classid = 'pg_constraint'::regclass and oid = used.objid
    union all
    select polrelid from pg_policy where used.classid = 'pg_policy'::regclass and oid = used.objid
    union all
    select ev_class from pg_rewrite where used.classid = 'pg_rewrite'::regclass and oid = used.objid
    union all
    select indrelid from pg_index where used.classid = 'pg_class'::regclass and indexrelid = used.objid
    union all
    select tgrelid from pg_trigger
    where used.classid = 'pg_trigger'::regclass and oid = used.objid and tgfoid <> used.refobjid
) as place on true
join pg_roles as role on role.rolname = any (%(roles)s)
join pg_class as relation on relation.oid = place.relation
left join pg_proc as function on used.refclassid = 'pg_proc'::regclass and function.oid = used.refobjid
left join pg_class as read
    on used.refclassid = 'pg_class'::regclass and read.oid = used.refobjid and read.oid <> place.relation
where coalesce(function.pronamespace, read.relnamespace) = 'worker'::regnamespace
  and has_schema_privilege(role.oid, relation.relnamespace, 'usage')
  and (has_any_column_privilege(role.oid, relation.oid, 'select, insert, update')
       or has_table_privilege(role.oid, relation.oid, 'delete'))
  and not coalesce(has_function_privilege(role.oid, function.oid, 'execute'),
                   has_table_privilege(role.oid, read.oid, 'select'))
"""


def test_every_expression_of_a_table_can_be_evaluated_by_every_role_that_uses_it(superuser: Database) -> None:
    assert superuser.execute(UNUSABLE, {"roles": [*ROLES]}).fetchall() == []
    # And it does look.
    superuser.execute("alter table public.saved_searches alter created_at set default worker.now()")
    found = superuser.execute(UNUSABLE, {"roles": [*ROLES]}).fetchall()
    assert {role for role, _, _ in found} == {"authenticated", "service_role"}
