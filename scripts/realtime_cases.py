"""The cases of the comparison: a table, the subscriptions to it, and the statements that change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        columns: Columns of the table `t`. It has row level security, with a policy for a column `owner`.
        changes: Statements, each a transaction.
        items: Subscriptions in addition to the one for all changes.
        before: Statements before the subscriptions.
    """

    name: str
    columns: str
    changes: tuple[str, ...]
    items: tuple[dict[str, Any], ...] = ()
    before: tuple[str, ...] = ()


VALUES = {
    "smallint": "1", "bigint": "9007199254740993", "numeric": "0.10000000000000000001", "numeric(10,2)": "1.5",
    "real": "0.1", "float8": "1e20", "boolean": "true", "text": "'quotes \" \\ \n \u0001 gr\u00fc\u00dfe'",
    "varchar(20)": "'abc'", "char(5)": "'abc'", '"char"': "'a'", "name": "'abc'", "bytea": r"'\x00ff'",
    "jsonb": """'{"b": [1, 2.50, null], "a": "x"}'""", "json": """'{"b": 1e2,  "a": 1}'""", "uuid": f"'{ALICE}'",
    "timestamptz": "'2026-01-02 03:04:05.678+02'", "timestamp": "'2026-01-02 03:04:05'", "date": "'2026-01-02'",
    "time": "'03:04'", "timetz": "'03:04+02'", "interval": "'1 day 02:00'", "oid": "5", "regclass": "'pg_class'",
    "int4range": "'[1,5)'", "text[]": """'{a,"b c, d",null}'""", "int[]": "'{1,null}'", "boolean[]": "'{t,f}'",
    "bit(3)": "B'101'", "bit varying": "B'101'", "money": "12.5", "inet": "'10.0.0.1/8'", "point": "'(1,2)'",
    "tsvector": "'a:1 b:2'", "xml": "'<a/>'", "jsonpath": "'$.a'", "mood": "'sad'", "positive": "5", "pair": "'(1,a)'",
}  # fmt: skip
_FILTERS = (
    "n=eq.1", "n=neq.1", "n=gt.0", "n=not.eq.1", "n=is.null", "n=not.is.null", "n=isdistinct.1", "n=in.(1,2)",
    "n=not.in.(1,2)", "t=like.a%", "t=ilike.A%", "t=not.like.a%", "t=match.^a", "t=imatch.^A", "t=eq.abc",
    "v=like.a%", "v=match.a", "c=like.a%", "c=eq.abc", "c=eq.axy", "n=like.1", "n=match.1", "b=like.a", "b=is.true",
    "n=is.true", "b=is.maybe", "t=match.(", "t=eq.", "n=eq.x", "nope=eq.1", "secret=eq.1", "e=eq.sad", "e=like.s",
    "e=eq.angry", "n=eq.99999999999", "id=eq.1", "n=eq.1,t=eq.abc", "n=is.null,t=eq.abc", "j=isdistinct.1",
    f"n=in.({','.join(map(str, range(100)))})", f"n=in.({','.join(map(str, range(101)))})", "n=in.()",
    "p=eq.5", "p=eq.-5", "m=match.a", "m=like.a%", "y=eq.\\x00ff", "t=in.(abc,null)", "b=eq.true", "b=in.(true)",
)  # fmt: skip
_LONG = "repeat('x', 10000)"
_WIDE = "id int primary key, owner uuid, n int, t text, secret text"
_MANY = f"(1, '{ALICE}', null, 'a', 'b')"

CASES = (
    *(
        Case(f"type {name}", f"id int primary key, v {name}", (f"insert into t values (1, {value}), (2, null)",))
        for name, value in VALUES.items()
    ),
    Case("NaN", "id int primary key, v numeric, w float8", ("insert into t values (1, 'NaN', '-Infinity')",)),
    Case("infinity", "id int primary key, v date, w timestamp", ("insert into t values (1, 'infinity', '-infinity')",)),
    Case("generated", "id int primary key, v int generated always as (id + 1) stored", ("insert into t values (1)",)),
    Case(
        "filters",
        "id int primary key, n int, t text, v varchar, c char(5), b boolean, e mood, j jsonb, p positive,"
        " m name, y bytea, secret text",
        (
            r"insert into t values (1, 1, 'abc', 'abc', 'abc', true, 'sad', '1', 5, 'abc', '\x00ff', 's')",
            "insert into t values (2, null, null, null, null, null, null, null, null, null, null, null)",
            "insert into t values (3, 5, 'xyz', 'xyz', 'xyz', false, 'ok', '3', 6, 'xyz', '\\x01', 's')",
        ),
        tuple({"filter": text} for text in _FILTERS),
        ("revoke select on t from authenticated, anon", "grant select (id,n,t,v,c,b,e,j,p,m,y) on t to authenticated"),
    ),
    Case(
        "select",
        _WIDE,
        (
            f"insert into t values (1, '{ALICE}', 1, 'abc', 's')",
            "update t set t = 'd' where id = 1",
            "update t set id = 2 where id = 1",
            "delete from t where id = 2",
        ),
        (
            {"select": ["t"]}, {"select": ["t", "n"]}, {"select": ["n", "t"]}, {"select": ["id"]}, {"select": ["nope"]},
            {"select": ["secret"]}, {"select": []}, {"select": ["t"], "filter": "n=eq.1"}, {"select": ["t", "t"]},
        ),
        ("revoke select on t from authenticated", "grant select (id, owner, n, t) on t to authenticated"),
    ),
    Case(
        "over the limit",
        _WIDE + ", j jsonb, k text",
        (
            f"insert into t values (1, '{ALICE}', null, repeat('x', 1048576), 's', 'null', repeat('y', 62))",
            "update t set n = 1, k = repeat('y', 63)",
            "delete from t",
        ),
        ({"select": ["t"]}, {"filter": "n=is.null"}),
    ),
    *(
        Case(
            f"{count} escaped bytes",
            "id int primary key, t text, u varchar(5), v numeric(5,1)",
            (f"insert into t values (1, repeat(chr(10), {count // 2}) || repeat('x', {count % 2}), 'a', 1)",),
        )
        for count in range(1048576 - 438, 1048576 - 430)  # the limit is reached between them
    ),
    *(
        Case(
            f"unchanged TOAST, identity {identity}",
            "id int primary key, owner uuid, t text, n int",
            ("update t set n = 2", "update t set t = 'short'", "update t set id = 3, n = 4", "delete from t"),
            ({"filter": f"t=eq.{'x' * 10000}"}, {"filter": "n=eq.2"}, {"filter": "n=eq.4"}, {"select": ["n"]},
             {"filter": "t=not.eq.y"}, {"filter": "t=is.null"}, {"filter": "t=not.is.null"}),
            ("alter table t alter t set storage external", f"alter table t replica identity {identity}",
             f"insert into t values (1, '{ALICE}', {_LONG}, 1)"),
        )
        for identity in ("default", "full")
    ),
    Case(
        "unchanged TOAST over the limit, identity full",
        "id int primary key, owner uuid, t text, n int, u text",
        ("update t set n = 2", "delete from t"),
        (),
        ("alter table t alter t set storage external", "alter table t replica identity full",
         f"insert into t values (1, '{ALICE}', repeat('x', 600000), 1, null)"),
    ),
    Case(
        "identity index",
        "id int primary key, owner uuid, n int not null unique, t text",
        ("update t set t = 'b'", "update t set n = 2", "delete from t"),
        ({"filter": "n=eq.2"}, {"filter": "id=eq.1"}),
        ("alter table t replica identity using index t_n_key", f"insert into t values (1, '{ALICE}', 1, 'a')"),
    ),
    Case(
        "identity full, without row level security",
        _WIDE,
        ("update t set n = 2", "delete from t"),
        ({"filter": "t=eq.a"}, {"filter": "n=eq.1"}, {"select": ["n"]}),
        ("alter table t disable row level security", "alter table t replica identity full",
         f"insert into t values {_MANY}"),
    ),
    Case("no primary key", "id int, t text", ("insert into t values (1, 'a')", "update t set t = 'b'", "delete from t"),
         ({"filter": "id=eq.2"}, {"select": ["t"]}), ("alter table t replica identity full",)),
    Case("key not readable", "id int primary key, owner uuid, t text",
         ("insert into t values (1, null, 'a')", "update t set t = 'b'", "delete from t"),
         ({"filter": "t=eq.x"}, {"select": ["t"]}, {"event": "DELETE"}),
         ("revoke select on t from authenticated", "grant select (t, owner) on t to authenticated")),
    Case("key of two", "id char(3), k text, owner uuid, n int, primary key (k, id)",
         (f"insert into t values ('abc', 'x', '{ALICE}', 1)", "update t set n = 2", "update t set k = 'y'",
          "delete from t"), ({"filter": "k=eq.x"}, {"select": ["n"]})),
    Case("events", _WIDE, (f"insert into t values {_MANY}", "update t set n = 2", "delete from t"),
         tuple({"event": event} for event in ("INSERT", "update", "DELETE", "TRUNCATE", "*"))),
    Case("gone", _WIDE, (f"with a as (insert into t values {_MANY}) select", "delete from t")),
    Case("nobody may", _WIDE, (f"insert into t values {_MANY}", "delete from t"), ({"filter": "n=eq.1"},),
         ("revoke select on t from authenticated, anon",)),
    Case("odd names", 'id int primary key, "odd %name" int, "a""b" text, position int, "Ä" text',
         ("""insert into t values (1, 2, 'x', 3, 'y')""",), ({"filter": "odd %name=eq.2"}, {"filter": 'a"b=eq.x'})),
    Case("patterns in names", "id int primary key", ("insert into t values (1)",),
         ({"table": "_"}, {"table": "%"}, {"schema": "pub%"}, {"table": "*"}, {"table": "tt"})),
)  # fmt: skip
