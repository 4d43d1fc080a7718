"""The parameter `select`: the columns of a resource, and what is embedded in its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.scanner import Scanner

_AGGREGATE = re.compile(r"\.(?:sum|avg|count|max|min)\(\)")
_CAST = re.compile(r"::")
_BEFORE_HINTS = re.compile(r"(?=(?:![^!,()]+){1,2}\()")


@dataclass(frozen=True, slots=True)
class Column:
    """A selected column, or its aggregate. `*` stands for all columns."""

    name: str
    alias: str | None = None
    is_aggregate: bool = False


@dataclass(frozen=True, slots=True)
class Embed:
    """A related resource that is embedded in each row.

    Attributes:
        target: Name of a table, of a foreign key, or of its column.
        hint: Name of the relationship, if several are possible.
    """

    target: str
    alias: str | None
    hint: str | None
    columns: list[Column]

    @property
    def key(self) -> str:
        """Its key in the row."""
        return self.alias or self.target


@dataclass(frozen=True, slots=True)
class Select:
    """What is selected of a resource."""

    columns: list[Column] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)

    @property
    def has_aggregates(self) -> bool:
        """Whether it has sums, counts and the like."""
        columns = [*self.columns, *(column for embed in self.embeds for column in embed.columns)]
        return any(column.is_aggregate for column in columns)


def parse_select(text: str) -> Select:
    """Read the parameter `select`. Empty, it selects all columns.

    Raises:
        RestError: It does not follow the grammar (PGRST100), or the local stack does not support a part of it.
    """
    select = Select()
    if text:
        scanner = Scanner(text, "select parameter")
        for item in scanner.separated(lambda: _item(scanner)):
            if isinstance(item, Embed):
                select.embeds.append(item)
            else:
                select.columns.append(item)
        scanner.end()
    if not (select.columns or select.embeds):
        select.columns.append(Column("*"))
    return select


def _item(scanner: Scanner) -> Column | Embed:
    if scanner.take("*"):
        return Column("*")
    if scanner.take("..."):
        raise unsupported("spread embeds (...)")
    alias, name = None, scanner.name()
    if not scanner.sees("::") and scanner.take(":"):
        alias, name = name, scanner.name()
    if name == "count" and scanner.take("()"):
        return _aggregate(scanner, "*")
    if scanner.sees("->"):
        raise unsupported("JSON paths (-> and ->>) in select")
    if scanner.match(_AGGREGATE):
        return _aggregate(scanner, name)
    if scanner.match(_CAST):
        raise unsupported("casts (::)")
    hint = _hint(scanner)
    if scanner.take("("):
        return _embed(scanner, Embed(name, alias, hint, []))
    if not (scanner.is_at_end() or scanner.sees(",") or scanner.sees(")")):
        scanner.fail('"->>", "->", "::", ".", ")", "," or end of input')
    return Column(name, alias)


def _aggregate(scanner: Scanner, name: str) -> Column:
    if scanner.match(_CAST):
        scanner.name()
    return Column(name, is_aggregate=True)


def _embed(scanner: Scanner, embed: Embed) -> Embed:
    if scanner.take(")"):
        raise unsupported("embeds without columns")
    for item in scanner.separated(lambda: _item(scanner)):
        if isinstance(item, Embed):
            raise unsupported("embeds within embeds")
        embed.columns.append(item)
    scanner.expect(")")
    return embed


def _hint(scanner: Scanner) -> str | None:
    hint = None
    if not scanner.match(_BEFORE_HINTS):
        return None
    while scanner.take("!"):
        name = scanner.name()
        if name == "inner":
            raise unsupported("inner joins (!inner)")
        if name != "left":
            hint = name
    return hint
