"""Describes the database in one page, from its catalogue and its comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from tools.schema.files import PROJECT

DOCUMENT = PROJECT / "SCHEMA.md"

Row = dict[str, Any]

_SIGNATURE_WIDTH = 100

_INTRODUCTION = """\
# Schema

Made by `./scripts/schema` from the database's own catalog and comments. Frontends use the schema `public`. The schema
`worker` is private: only the worker's functions use it, and the API does not expose it.
"""

_RELATIONS: LiteralString = """
select c.oid, n.nspname as schema, c.relname as name, c.relkind = 'r' as is_table, c.relrowsecurity as has_row_security,
       coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')) as comment
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'worker') and c.relkind in ('r', 'v', 'c')
order by n.nspname, c.relname collate "C"
"""
_COLUMNS: LiteralString = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as is_required,
       case when a.attidentity <> '' then 'identity' else pg_get_expr(d.adbin, d.adrelid) end as default,
       col_description(a.attrelid, a.attnum) as comment
from pg_attribute as a
left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""
# By type, without the not-null constraints that PostgreSQL 18 lists here, too: the columns show them.
_CONSTRAINTS: LiteralString = """
select conname as name, pg_get_constraintdef(oid) as definition
from pg_constraint
where conrelid = %s and contype in ('p', 'u', 'f', 'c')
order by array_position('{p,u,f,c}', contype::text), conname collate "C"
"""
_INDEXES: LiteralString = """
select pg_get_indexdef(i.indexrelid) as definition
from pg_index as i join pg_class as c on c.oid = i.indexrelid
where i.indrelid = %s and not exists (select from pg_constraint where conindid = i.indexrelid and contype in ('p', 'u'))
order by c.relname collate "C"
"""
_POLICIES: LiteralString = """
select polname as name, pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as with_check,
       case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
                   else 'all' end as command,
       (select string_agg(case when role = 0 then 'public' else pg_get_userbyid(role)::text end, ', ')
        from unnest(polroles) as role) as roles
from pg_policy
where polrelid = %s
order by array_position('{*,r,a,w,d}', polcmd::text), polname collate "C"
"""
_GRANTS: LiteralString = """
with granted as (
    select g.grantee, lower(g.privilege_type) as privilege, null as column_name, 0 as column_number
    from pg_class as c, aclexplode(c.relacl) as g
    where c.oid = %(oid)s and g.grantee <> c.relowner
    union all
    select g.grantee, lower(g.privilege_type), a.attname, a.attnum
    from pg_attribute as a, aclexplode(a.attacl) as g
    where a.attrelid = %(oid)s and not a.attisdropped
)
select case when grantee = 0 then 'public' else pg_get_userbyid(grantee)::text end as role,
       privilege, string_agg(column_name, ', ' order by column_number) as columns
from granted
group by grantee, privilege
order by min(case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end),
         array_position('{select,insert,update,delete}', privilege), privilege
"""
_ENUMS: LiteralString = """
select n.nspname || '.' || t.typname as name,
       (select array_agg(e.enumlabel order by e.enumsortorder) from pg_enum as e where e.enumtypid = t.oid) as values
from pg_type as t join pg_namespace as n on n.oid = t.typnamespace
where n.nspname in ('public', 'worker') and t.typtype = 'e'
order by n.nspname, t.typname collate "C"
"""
# Without the functions of extensions that a project has in `public`.
_FUNCTIONS: LiteralString = """
select p.proname as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
       p.prosecdef as is_security_definer, obj_description(p.oid, 'pg_proc') as comment,
       (select string_agg(case when g.grantee = 0 then 'public' else pg_get_userbyid(g.grantee) end, ', '
                          order by pg_get_userbyid(g.grantee))
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as g where g.grantee <> p.proowner) as callers
from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
where n.nspname = %s and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
order by p.proname collate "C", p.oid
"""
_TRIGGERS: LiteralString = """
select pg_get_triggerdef(oid) as definition from pg_trigger
where tgrelid = %s and not tgisinternal
order by tgname collate "C"
"""


# For a table with row level security, Realtime sends the columns of a deleted row that are in both its replica identity
# and its primary key (realtime.apply_rls).
_PUBLISHED: LiteralString = """
select published.schemaname || '.' || published.tablename as name,
       concat_ws(', ', case when publication.pubinsert then 'insert' end,
                 case when publication.pubupdate then 'update' end,
                 case when publication.pubdelete then 'delete' end) as events,
       (select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
        from pg_index as key
        join pg_attribute as a on a.attrelid = key.indrelid and a.attnum = any (key.indkey)
        where key.indrelid = c.oid and key.indisprimary and (c.relreplident in ('d', 'f') or exists (
            select from pg_index as identity
            where identity.indrelid = c.oid and identity.indisreplident and a.attnum = any (identity.indkey)))
       ) as deleted
from pg_publication as publication
join pg_publication_tables as published on published.pubname = publication.pubname
join pg_class as c on c.oid = format('%I.%I', published.schemaname, published.tablename)::regclass
where publication.pubname = 'supabase_realtime' and published.schemaname in ('public', 'worker')
order by published.schemaname, published.tablename
"""
_DELETIONS = """\
Realtime sends inserted and updated rows only to users who may select them. For a deleted row it cannot check that any
more: it sends `old_record` to everybody who listens to the table, regardless of the policies, with the columns in the
last column of this table and no others. A filter on any other column lets no delete through.

The key of a deleted run shows everybody that there was a run, and its owner that it is gone with all that belongs to
it. The keys of deleted sites and results are random and appear in no other table: they do not reveal the run, site,
item or user, only how many rows were deleted. The publication option `publish = 'insert, update'` would stop deletes of
all tables of the project: that decision is left to the project.
"""
# The type after a literal, which is that of its column or argument.
_CAST = re.compile(r"::[a-z_. ]+(?=,|$)")
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (\S+) ON \S+ USING (.*)")
_TRIGGER = re.compile(
    r'CREATE TRIGGER "?(\w+)"? (.*) ON \S+ (?:.* )?FOR EACH (\w+) (?:WHEN \(\((.*)\)\) )?EXECUTE FUNCTION (.*)\(\)'
)


def describe_schema(dsn: str) -> str:
    """Return the description of a database with the migrations, as Markdown. It is the same on PostgreSQL 15 to 18.

    Args:
        dsn: Connection URL of a role that may read the catalogue.
    """
    with psycopg.connect(dsn, connect_timeout=10, row_factory=dict_row) as connection:
        # Names get their schema, regardless of the role's search path.
        connection.execute("set search_path = ''")
        return "\n".join(_document(connection)).rstrip() + "\n"


def _document(connection: psycopg.Connection[Row]) -> Iterator[str]:
    relations = connection.execute(_RELATIONS).fetchall()
    yield _INTRODUCTION
    for schema in ("public", "worker"):
        names = [relation["name"] for relation in relations if relation["schema"] == schema]
        yield f"- [Schema `{schema}`](#schema-{schema}): " + ", ".join(f"[`{name}`](#{name})" for name in names)
        yield f"- [Functions of `{schema}`](#functions-of-{schema})"
    yield "- [Enums](#enums)"
    yield "- [Realtime](#realtime)"
    yield ""
    for schema in ("public", "worker"):
        yield f"## Schema {schema}\n"
        for relation in relations:
            if relation["schema"] == schema:
                yield from _relation(connection, relation)
        yield f"## Functions of {schema}\n"
        for function in connection.execute(_FUNCTIONS, [schema]).fetchall():
            yield from _function(function)
    yield "## Enums\n"
    for enum in connection.execute(_ENUMS).fetchall():
        yield f"- `{enum['name']}`: " + ", ".join(f"`{value}`" for value in enum["values"])
    yield "\n## Realtime\n"
    yield "The publication `supabase_realtime` has:\n"
    yield from _table(
        ("table", "events", "what a delete shows"),
        (
            (_code(row["name"]), row["events"], _code(row["deleted"]))
            for row in connection.execute(_PUBLISHED).fetchall()
        ),
    )
    yield _DELETIONS


def _relation(connection: psycopg.Connection[Row], relation: Row) -> Iterator[str]:
    oid = relation["oid"]
    yield f"### {relation['name']}\n"
    yield f"{relation['comment']}\n"
    if relation["is_table"] and not relation["has_row_security"]:
        yield "**Row level security is off.**\n"
    if not relation["is_table"]:
        yield from _table(
            ("column", "type", "meaning"),
            (
                (_code(column["name"]), _code(column["type"]), column["comment"])
                for column in connection.execute(_COLUMNS, [oid]).fetchall()
            ),
        )
    else:
        yield from _table(
            ("column", "type", "null", "default", "meaning"),
            (
                (
                    _code(column["name"]),
                    _code(column["type"]),
                    "" if column["is_required"] else "yes",
                    _code(_CAST.sub("", column["default"] or "")),
                    column["comment"],
                )
                for column in connection.execute(_COLUMNS, [oid]).fetchall()
            ),
        )
    yield from _list("Keys and checks", _constraints(connection, oid))
    yield from _list("Indexes", (_index(row["definition"]) for row in connection.execute(_INDEXES, [oid]).fetchall()))
    yield from _list(
        "Triggers", (_trigger(row["definition"]) for row in connection.execute(_TRIGGERS, [oid]).fetchall())
    )
    yield from _list("Policies", (_policy(row) for row in connection.execute(_POLICIES, [oid]).fetchall()))
    yield from _list("Grants", _grants(connection.execute(_GRANTS, {"oid": oid}).fetchall()))


def _constraints(connection: psycopg.Connection[Row], oid: int) -> Iterator[str]:
    for row in connection.execute(_CONSTRAINTS, [oid]).fetchall():
        yield f"`{row['name']}`: {_code(row['definition'])}"


def _index(definition: str) -> str:
    match = _INDEX.fullmatch(definition)
    assert match is not None
    unique, name, what = match.groups()
    return f"`{name}`: {_code((unique or '') + what)}"


def _trigger(definition: str) -> str:
    match = _TRIGGER.fullmatch(definition)
    assert match is not None
    name, event, level, condition, function = match.groups()
    when = f" when {_code(condition)}" if condition else ""
    return f"`{name}`: {event.lower()}, for each {level.lower()}{when}, `{function}`"


def _policy(policy: Row) -> str:
    conditions = [
        f"{clause} {_code(_one_line(policy[key]))}"
        for clause, key in (("using", "using"), ("with check", "with_check"))
        if policy[key] is not None
    ]
    return f"{policy['name']}: {policy['command']} to `{policy['roles']}`, {', '.join(conditions)}"


def _grants(rows: Sequence[Row]) -> Iterator[str]:
    for role in dict.fromkeys(row["role"] for row in rows):
        privileges = [
            row["privilege"] + (f" ({row['columns']})" if row["columns"] else "") for row in rows if row["role"] == role
        ]
        yield f"`{role}`: {', '.join(privileges)}"


def _function(function: Row) -> Iterator[str]:
    callers = function["callers"]
    yield f"### {function['name']}\n"
    yield f"```sql\n{_signature(function)}\n```\n"
    yield f"{function['comment']}\n"
    yield (
        f"Callers: {_code(callers) if callers else 'only its owner'}"
        f"{'; it runs with the rights of its owner' if function['is_security_definer'] else ''}.\n"
    )


def _signature(function: Row) -> str:
    arguments = _CAST.sub("", function["arguments"])
    one_line = f"{function['name']}({arguments}) returns {function['result']}"
    if len(one_line) <= _SIGNATURE_WIDTH:
        return one_line
    one_each = arguments.replace(", ", ",\n    ")
    return f"{function['name']}(\n    {one_each}\n) returns {function['result']}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str | None]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join((cell or '').replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = [f"- {line}" for line in lines]
    if found:
        yield from (f"{title}:", *found, "")


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _one_line(expression: str) -> str:
    return re.sub(r"\s+", " ", expression)
