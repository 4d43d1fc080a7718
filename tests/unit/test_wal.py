"""The decoder of `pgoutput`, against messages written as the protocol's documentation lays them out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.local.supabase.realtime.wal import Change, Decoder

COMMITTED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
OID = 16384
XID = 42
UNCHANGED_TOAST = object()

Values = list[str | object | None]


def string(text: str) -> bytes:
    return text.encode() + b"\0"


def begin(committed_at: datetime = COMMITTED_AT) -> bytes:
    microseconds = (committed_at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return struct.pack(">cQqI", b"B", 4711, microseconds, XID)


def relation(columns: list[str], key: set[str], schema: str = "public", table: str = "runs") -> bytes:
    body = struct.pack(">cI", b"R", OID) + string(schema) + string(table) + struct.pack(">cH", b"d", len(columns))
    for column in columns:
        body += struct.pack(">B", column in key) + string(column) + struct.pack(">Ii", 25, -1)
    return body


def row(values: Values) -> bytes:
    body = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            body += b"n"
        elif isinstance(value, str):
            body += b"t" + struct.pack(">i", len(value.encode())) + value.encode()
        else:
            body += b"u"
    return body


def insert(values: Values) -> bytes:
    return struct.pack(">cI", b"I", OID) + b"N" + row(values)


def update(values: Values, *, old: bytes = b"") -> bytes:
    return struct.pack(">cI", b"U", OID) + old + b"N" + row(values)


def delete(old: bytes) -> bytes:
    return struct.pack(">cI", b"D", OID) + old


COMMIT = struct.pack(">cBQQq", b"C", 0, 1, 2, 3)
TABLE = relation(["id", "status", "body"], {"id"})


def decode(messages: Iterable[bytes]) -> list[Change]:
    decoder = Decoder()
    return [change for message in messages for change in decoder.feed(message)]


def decode_one(message: bytes) -> Change:
    [change] = decode([begin(), TABLE, message, COMMIT])
    return change


def test_an_insert_carries_the_row_and_when_it_was_committed() -> None:
    change = decode_one(insert(["1", None, "grüße"]))

    assert change.type == "INSERT"
    assert (change.relation.oid, change.relation.schema, change.relation.table) == (OID, "public", "runs")
    assert (change.committed_at, change.xid) == (COMMITTED_AT, XID)
    assert change.record == {"id": "1", "status": None, "body": "grüße"}
    assert change.old_record == {}


def test_an_update_that_keeps_the_key_has_it_as_its_old_record() -> None:
    change = decode_one(update(["1", "running", "x"]))

    assert change.type == "UPDATE"
    assert change.record == {"id": "1", "status": "running", "body": "x"}
    assert change.old_record == {"id": "1"}


def test_an_update_of_the_key_has_the_old_one_without_the_other_columns() -> None:
    change = decode_one(update(["2", "running", "x"], old=b"K" + row(["1", None, None])))

    assert change.record["id"] == "2"
    assert change.old_record == {"id": "1"}


def test_an_unchanged_toasted_value_is_missing() -> None:
    assert decode_one(update(["1", "running", UNCHANGED_TOAST])).record == {"id": "1", "status": "running"}


def test_with_replica_identity_full_an_unchanged_toasted_value_is_taken_from_the_old_row() -> None:
    change = decode_one(update(["1", "running", UNCHANGED_TOAST], old=b"O" + row(["1", "pending", "long"])))

    assert change.record == {"id": "1", "status": "running", "body": "long"}
    assert change.old_record == {"id": "1", "status": "pending", "body": "long"}
    assert change.unchanged == {"body"}


def test_a_delete_has_the_key_alone() -> None:
    change = decode_one(delete(b"K" + row(["1", None, None])))

    assert (change.type, change.record, change.old_record) == ("DELETE", {}, {"id": "1"})


def test_with_replica_identity_full_a_delete_has_the_whole_row() -> None:
    change = decode_one(delete(b"O" + row(["1", None, "x"])))

    assert change.old_record == {"id": "1", "status": None, "body": "x"}


def test_what_is_no_row_change_is_passed_over() -> None:
    truncate = struct.pack(">cIBI", b"T", 1, 0, OID)
    enum_type = struct.pack(">cI", b"Y", 16400) + string("public") + string("run_status")
    origin = struct.pack(">cQ", b"O", 1) + string("upstream")
    emitted = struct.pack(">cBQ", b"M", 1, 5) + string("prefix") + struct.pack(">I", 2) + b"hi"

    messages = [begin(), origin, TABLE, enum_type, emitted, truncate, insert(["1", None, None]), COMMIT]

    assert [change.type for change in decode(messages)] == ["INSERT"]


def test_each_change_has_the_relation_and_the_commit_before_it() -> None:
    later = COMMITTED_AT + timedelta(seconds=1)
    renamed = relation(["id", "state"], {"id"})

    first, second = decode(
        [begin(), TABLE, insert(["1", "a", "b"]), COMMIT, begin(later), renamed, insert(["2", "c"]), COMMIT]
    )

    assert (first.committed_at, first.record) == (COMMITTED_AT, {"id": "1", "status": "a", "body": "b"})
    assert (second.committed_at, second.record) == (later, {"id": "2", "state": "c"})


def test_a_relation_says_whether_its_identity_is_the_whole_row() -> None:
    assert not decode_one(insert(["1", "a", "b"])).relation.has_whole_identity

    whole = relation(["id"], {"id"}).replace(b"d\x00\x01", b"f\x00\x01")
    [change] = decode([begin(), whole, insert(["1"]), COMMIT])

    assert change.relation.has_whole_identity


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)


@st.composite
def inserts(draw: st.DrawFn) -> tuple[list[bytes], dict[str, str | None]]:
    columns = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    values = draw(st.lists(st.none() | texts, min_size=len(columns), max_size=len(columns)))
    messages = [begin(), relation(columns, {columns[0]}, draw(names), draw(names)), insert(list(values)), COMMIT]
    return messages, dict(zip(columns, values, strict=True))


@given(inserts())
def test_every_row_comes_back(example: tuple[list[bytes], dict[str, str | None]]) -> None:
    messages, expected = example

    [change] = decode(messages)

    assert change.record == expected
