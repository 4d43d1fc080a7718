"""The size of a change on the platform: that of the text that `wal2json` writes, after Postgres has read it as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.columns import FLOATING_TYPES

MAX_RECORD_BYTES = 1024 * 1024  # the platform's `poll_max_record_bytes`
NUMERIC_TYPES = ("int2", "int4", "int8", *FLOATING_TYPES)
MAX_ESCAPE_BYTES = 6  # as in \u0000
MAX_HEAD_BYTES = 1024  # more than the names of a column and its type, and the digits of a float


class LoggedColumn(NamedTuple):
    """A value of a change, with what `wal2json` writes about its column.

    Attributes:
        text: The value as text. `None` for a null, and for a generated value, which Postgres does not publish.
        rendered: The value as JSON.
    """

    name: str
    label: str
    full_type: str
    type_oid: int
    text: str | None
    rendered: str | None
    is_key: bool


def may_be_too_large(values: Collection[str | None]) -> bool:
    """Return whether `is_too_large` has to be asked, which takes longer than the rest of a change.

    Args:
        values: All values of a change, both as texts and as JSON.
    """
    length = sum(len(value) for value in values if value is not None)
    return MAX_ESCAPE_BYTES * length + MAX_HEAD_BYTES * (len(values) + 1) > MAX_RECORD_BYTES


def is_too_large(change: wal.Change, new: Sequence[LoggedColumn], old: Sequence[LoggedColumn]) -> bool:
    """Return whether the platform sends the change without its long values."""
    committed_at = change.committed_at.isoformat(sep=" ").replace("+00:00", "")
    timestamp = (committed_at.rstrip("0") if "." in committed_at else committed_at) + "+00"
    head = {
        "pk": [{"name": c.name, "type": c.full_type, "typeoid": c.type_oid} for c in (new or old) if c.is_key],
        "table": change.relation.table,
        "action": change.type[0],
        "schema": change.relation.schema,
        "timestamp": timestamp,
    }
    parts = {"columns": new, "identity": old}
    size = _size(head) + sum(len(f', "{name}": []') + _size_of(values) for name, values in parts.items() if values)
    return size > MAX_RECORD_BYTES


def _size_of(columns: Sequence[LoggedColumn]) -> int:
    heads = [{"name": c.name, "type": c.full_type, "value": 0, "typeoid": c.type_oid} for c in columns]
    return _size(heads) - len("[]") + sum(_size_of_value(column) - len("0") for column in columns)


def _size_of_value(column: LoggedColumn) -> int:
    if column.rendered is None:
        return len("null")
    if column.text is None or column.label == "bool":
        return len(column.rendered.encode())
    if column.label in NUMERIC_TYPES:
        return len(format(Decimal(column.text), "f"))
    return _size(column.text[2:] if column.label == "bytea" else column.text)


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
