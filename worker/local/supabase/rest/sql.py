"""Builds SQL. Names become quoted identifiers, values become literals whose type Postgres infers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier

SCHEMA = "public"


def sql(template: str, *parts: Composable | str) -> Composed:
    """Return `template` with each `{}` replaced by SQL or by a value."""
    return SQL(template).format(*parts)


def joined(separator: str, parts: Iterable[Composable]) -> Composed:
    """Return `parts` with `separator` between them."""
    return SQL(separator).join(parts)


def where(conditions: Sequence[Composable]) -> Composable:
    """Return the `where` clause of these conditions. Empty without conditions."""
    return sql(" where {}", joined(" and ", conditions)) if conditions else SQL("")


def column(label: Sequence[str], name: str) -> Composable:
    """Return a column of the rows with this alias, or of this table. All columns for `*`."""
    return sql("{}.*", Identifier(*label)) if name == "*" else Identifier(*label, name)


def array_literal(values: Iterable[str]) -> str:
    """Return the text of an array with these values."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"
