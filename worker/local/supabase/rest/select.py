"""The parameter `select`: the columns of a resource, and what is embedded in its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.fields import Field, parse_path
from worker.local.supabase.rest.scanner import Scanner

_AGGREGATE = re.compile(r"\.(?:sum|avg|count|max|min)\(\)")
_SPACES = re.compile(r"[ \t]*")
_CAST = re.compile(r"::")
_BEFORE_HINTS = re.compile(r"(?=(?:![^!,()]+){1,2}\()")


@dataclass(frozen=True, slots=True)
class Column:
    """A selected column, a value within its JSON, or its aggregate."""

    field: Field
    alias: str | None = None
    is_aggregate: bool = False


ALL = Column(Field("*"))
"""All columns."""


@dataclass(frozen=True, slots=True)
class Select:
    """What is selected of a resource. Empty, all columns."""

    columns: list[Column] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)

    @property
    def has_aggregates(self) -> bool:
        """Whether it has sums, counts and the like."""
        inner = (embed.select.has_aggregates for embed in self.embeds)
        return any(column.is_aggregate for column in self.columns) or any(inner)

    @property
    def is_hidden(self) -> bool:
        """Whether an embed of it is joined, but not returned: it has no columns, as in `notes()`."""
        return not self.columns and all(embed.select.is_hidden for embed in self.embeds)


@dataclass(frozen=True, slots=True)
class Embed:
    """A related resource that is embedded in each row.

    Attributes:
        target: Name of a table, of a foreign key, or of its column.
        hint: Name of the relationship, if several are possible.
        is_inner: Whether rows without a related one are left out.
        select: What is selected of it.
    """

    target: str
    alias: str | None
    hint: str | None
    is_inner: bool
    select: Select

    @property
    def key(self) -> str:
        """Its key in the row."""
        return self.alias or self.target


def parse_select(text: str) -> Select:
    """Read the parameter `select`.

    Raises:
        RestError: It does not follow the grammar (PGRST100), or the local stack does not support a part of it.
    """
    scanner = Scanner(text, "select parameter")
    select = _select(scanner) if text else Select()
    scanner.end()
    return select


def _select(scanner: Scanner) -> Select:
    select = Select()
    for item in scanner.separated(lambda: _item(scanner)):
        if isinstance(item, Embed):
            select.embeds.append(item)
        else:
            select.columns.append(item)
    return select


def _item(scanner: Scanner) -> Column | Embed:
    if scanner.take("*"):
        return ALL
    if scanner.take("..."):
        raise unsupported("spread embeds (...)")
    alias, name = None, scanner.name()
    if not scanner.sees("::") and scanner.take(":"):
        alias, name = name, scanner.name()
    if name == "count" and scanner.take("()"):
        return _aggregate(scanner, "*")
    path = parse_path(scanner)
    if scanner.match(_AGGREGATE):
        return _aggregate(scanner, name)
    if scanner.match(_CAST):
        raise unsupported("casts (::)")
    hint, is_inner = (None, False) if path else _hint(scanner)
    if not path and scanner.take("("):
        select = Select() if scanner.take(")") else _embedded(scanner)
        return Embed(name, alias, hint, is_inner, select)
    scanner.match(_SPACES)
    if not (scanner.is_at_end() or scanner.sees(",") or scanner.sees(")")):
        scanner.fail('"->>", "->", "::", ".", ")", "," or end of input')
    return Column(Field(name, path), alias)


def _aggregate(scanner: Scanner, name: str) -> Column:
    if scanner.match(_CAST):
        scanner.name()
    return Column(Field(name), is_aggregate=True)


def _embedded(scanner: Scanner) -> Select:
    select = _select(scanner)
    scanner.expect(")")
    return select


def _hint(scanner: Scanner) -> tuple[str | None, bool]:
    """Return the name of the relationship, and whether the join is an inner one."""
    hint, joins = None, []
    if not scanner.match(_BEFORE_HINTS):
        return None, False
    while scanner.take("!"):
        name = scanner.name()
        if name in ("inner", "left"):
            joins.append(name)
        else:
            hint = hint or name
    return hint, joins[:1] == ["inner"]
