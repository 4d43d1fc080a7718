"""Decodes `pgoutput`, the output of PostgreSQL's logical replication, protocol version 1.

Source of every layout: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

Row: TypeAlias = dict[str, str | None]
"""Values as Postgres's text, by column. A value that the WAL does not have (unchanged TOAST) is missing."""

POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
KEY_FLAG = 1


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when it changed.

    Attributes:
        columns: Names, in the order of the table.
        identity: Names of the columns of `old_record`. By default those of the primary key.
        has_whole_identity: Whether the table has `replica identity full`.
    """

    oid: int
    schema: str
    table: str
    columns: tuple[str, ...]
    identity: frozenset[str]
    has_whole_identity: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one row.

    Attributes:
        committed_at: When its transaction was committed.
        xid: The id of its transaction, with 32 bits.
        record: The row after the change. Empty for `DELETE`.
        old_record: The identity of the row before the change. Empty for `INSERT`. The whole row if the table
            has `replica identity full`.
        unchanged: The columns of `record` that the WAL has in the old row only (TOAST).
    """

    type: Literal["INSERT", "UPDATE", "DELETE"]
    relation: Relation
    committed_at: datetime
    xid: int
    record: Row
    old_record: Row
    unchanged: frozenset[str] = frozenset()


class Decoder:
    """Decodes the messages of one stream, which describes a relation when it first changes."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._committed_at = POSTGRES_EPOCH
        self._xid = 0
        self._changes: list[Change] = []

    def feed(self, message: bytes) -> list[Change]:
        """Return the row changes of a transaction, in their order, once its last message is fed."""
        reader = _Reader(message)
        kind = reader.character()
        if kind == "B":
            _final_lsn, microseconds, self._xid = reader.unpack(">QqI")
            self._committed_at = POSTGRES_EPOCH + timedelta(microseconds=microseconds)
        elif kind == "R":
            relation = reader.relation()
            self._relations[relation.oid] = relation
        elif kind in "IUD":
            (oid,) = reader.unpack(">I")
            self._changes.append(reader.change(kind, self._relations[oid], self._committed_at, self._xid))
        elif kind == "C":
            changes, self._changes = self._changes, []
            return changes
        return []


class _Reader:
    """Reads one message from front to back."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._position = 0

    def take(self, length: int) -> bytes:
        start, self._position = self._position, self._position + length
        return self._message[start : self._position]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def character(self) -> str:
        return self.take(1).decode()

    def string(self) -> str:
        text = self.take(self._message.index(b"\0", self._position) - self._position)
        self.take(1)
        return text.decode()

    def relation(self) -> Relation:
        (oid,) = self.unpack(">I")
        schema, table = self.string(), self.string()
        replica_identity = self.character()
        (count,) = self.unpack(">H")
        columns, identity = [], []
        for _ in range(count):
            (flags,) = self.unpack(">B")
            columns.append(self.string())
            _type_oid, _type_modifier = self.unpack(">Ii")
            if flags & KEY_FLAG:
                identity.append(columns[-1])
        return Relation(oid, schema, table, tuple(columns), frozenset(identity), replica_identity == "f")

    def change(self, kind: str, relation: Relation, committed_at: datetime, xid: int) -> Change:
        old_record: Row = {}
        part = self.character()
        if part in "KO":
            old_record = self._row(relation)
            if part == "K":  # the other columns are present, but null
                old_record = {name: value for name, value in old_record.items() if name in relation.identity}
            if kind == "D":
                return Change("DELETE", relation, committed_at, xid, {}, old_record)
            self.character()
        record = self._row(relation)
        if kind == "I":
            return Change("INSERT", relation, committed_at, xid, record, {})
        # Without an old row, the identity has not changed. A whole old row has the unchanged TOAST values.
        old_record = old_record or {name: record[name] for name in record if name in relation.identity}
        unchanged = frozenset(old_record.keys() - record.keys())
        return Change("UPDATE", relation, committed_at, xid, old_record | record, old_record, unchanged)

    def _row(self, relation: Relation) -> Row:
        self.unpack(">H")  # the number of columns
        row: Row = {}
        for name in relation.columns:
            form = self.character()
            if form == "n":
                row[name] = None
            elif form == "t":
                (length,) = self.unpack(">i")
                row[name] = self.take(length).decode()
        return row
