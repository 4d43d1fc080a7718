"""A query string: what to select, which rows, in which order.

The grammar is PostgREST 14's (https://docs.postgrest.org/en/v14/references/api.html). What of it the local stack does
not know is refused here, before anything is asked of the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from worker.local.supabase.rest.errors import unknown
from worker.local.supabase.rest.scanner import Scanner

OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
    "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "isdistinct": "is distinct from",
    "in": "= any", "is": "is",
}  # fmt: skip
_RESERVED = ("select", "columns", "on_conflict")
_RESERVED_IN_RESOURCES = ("and", "or", "order", "limit", "offset")

_ORDER = re.compile(r"(?:\.(asc|desc))?(?:\.nulls(first|last))?")
_CONNECTIVE = re.compile(r"[ \t]*(not\.)?(and|or)[ \t]*\(")
_OPERATION = re.compile(rf"(not\.)?({'|'.join(OPERATORS)})\.")
_UNKNOWN_OPERATION = re.compile(
    r"(?:not\.)?((?:sl|sr|nxr|nxl|adj|(?:pl|ph|w)?fts(?:\([\w $]+\))?)"
    r"|(?:eq|gte?|lte?|i?like|i?match)\((?:any|all)\))\."
)
_BEGUN_OPERATION = re.compile(r"(?:not|in|is)\.")
_IS = re.compile(r"null|not_null|true|false|unknown", re.IGNORECASE)
_AGGREGATE = re.compile(r"\.(?:sum|avg|count|max|min)\(\)")
_SPACES = re.compile(r"[ \t]*")
_CAST = re.compile(r"::")
_BEFORE_HINTS = re.compile(r"(?=(?:![^!,()]+){1,2}\()")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is selected, or all of them: `*`."""

    name: str
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """Something related that is embedded in each row.

    Attributes:
        target: Names what is embedded: a table, a foreign key, or its column.
        hint: By which relationship.
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
class Filter:
    """A condition on a column.

    Attributes:
        operand: A text, several for `in`, or the keyword for `is`.
    """

    column: str
    is_negated: bool
    operator: str
    operand: str | list[str]


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions of which all or any have to hold."""

    is_negated: bool
    connective: str
    conditions: list[Filter | Logic]


@dataclass(frozen=True, slots=True)
class Order:
    """A column that rows are ordered by."""

    column: str
    direction: str
    nulls: str


@dataclass(slots=True)
class Part:
    """What is asked of the table itself, or of something embedded in it."""

    conditions: list[Filter | Logic] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    limit: str | None = None
    offset: str | None = None


class Query:
    """A query string.

    Args:
        text: Percent-encoded, as it was sent.
        has_arguments: Whether parameters without an operator are a function's arguments.

    Attributes:
        canonical: Its parameters in their order by name, percent-encoded.
        columns: The part of the body that counts, where `columns=` tells.
        unique: Columns of `on_conflict=`, by which rows are known to exist.
        arguments: A function's arguments.
        selected: The columns that are asked for.
        embeds: What is embedded.
        has_aggregates: Whether it asks for sums, counts and the like.
        parts: What is asked of the table (path `()`), and of what is embedded in it.

    Raises:
        RestError: It does not follow the grammar (PGRST100), or the local stack does not know what it asks for.
    """

    def __init__(self, text: str, *, has_arguments: bool = False) -> None:
        pairs = _pairs(text)
        self.canonical = _canonical(pairs)
        parameters = [(name, value) for name, value in pairs if value is not None]
        first = dict(reversed(parameters))
        self.parts: dict[tuple[str, ...], Part] = {(): Part()}
        self.arguments: dict[str, str] = {}
        self.has_aggregates = False
        for name, value in parameters:
            if name not in _RESERVED:
                self._read(name, value, has_arguments=has_arguments)
        self.columns = _names("columns", first.get("columns"))
        self.selected: list[Column] = []
        self.embeds: list[Embed] = []
        self._select(first.get("select", "*"))
        self.unique = _names("on_conflict", first.get("on_conflict"))

    @property
    def root(self) -> Part:
        """What is asked of the table itself."""
        return self.parts[()]

    def _part(self, path: tuple[str, ...]) -> Part:
        return self.parts.setdefault(path, Part())

    def _read(self, key: str, value: str, *, has_arguments: bool) -> None:
        last = key.rpartition(".")[2]
        if last in ("limit", "offset"):
            part = self._part(tuple(key.split(".")[:-1]))
            setattr(part, last, value)
            return
        path, last = _path(key)
        if last in ("and", "or"):
            negation = "not." if "not" in path else ""
            scanner = Scanner(f"{negation}{last}{value}", "logic tree", shown=value)
            logic = _condition(scanner)
            scanner.end()
            self._part(tuple(name for name in path if name != "not")).conditions.append(logic)
        elif last == "order":
            scanner = Scanner(value, "order")
            order = scanner.separated(lambda: _order(scanner))
            self._part(path).order = self._part(path).order or order
            if not scanner.is_at_end():
                scanner.fail('delimiter (.), "," or end of input')
        elif has_arguments and not _is_operation(value):
            if path:
                raise unknown(f"the argument name '{key}'")
            self.arguments[last] = value
        else:
            scanner = Scanner(value, "filter")
            condition = _filter(scanner, last, scanner.rest)
            scanner.end()
            self._part(path).conditions.append(condition)

    def _select(self, text: str) -> None:
        if text:
            scanner = Scanner(text, "select parameter")
            for item in scanner.separated(lambda: self._item(scanner)):
                if isinstance(item, Embed):
                    self.embeds.append(item)
                else:
                    self.selected.append(item)
            scanner.end()
        if not (self.selected or self.embeds):
            self.selected.append(Column("*"))

    def _item(self, scanner: Scanner) -> Column | Embed:
        if scanner.take("*"):
            return Column("*")
        if scanner.take("..."):
            raise unknown("spread embeds (...)")
        alias, name = None, scanner.name()
        if not scanner.sees("::") and scanner.take(":"):
            alias, name = name, scanner.name()
        if name == "count" and scanner.take("()"):
            return self._aggregate(scanner, "*")
        if scanner.sees("->"):
            raise unknown("JSON paths (-> and ->>) in select")
        if scanner.match(_AGGREGATE):
            return self._aggregate(scanner, name)
        if scanner.match(_CAST):
            raise unknown("casts (::)")
        hint = _hint(scanner)
        if scanner.take("("):
            return self._embed(scanner, Embed(name, alias, hint, []))
        if not (scanner.is_at_end() or scanner.sees(",") or scanner.sees(")")):
            scanner.fail('"->>", "->", "::", ".", ")", "," or end of input')
        return Column(name, alias)

    def _aggregate(self, scanner: Scanner, name: str) -> Column:
        self.has_aggregates = True
        if scanner.match(_CAST):
            scanner.name()
        return Column(name)

    def _embed(self, scanner: Scanner, embed: Embed) -> Embed:
        if scanner.take(")"):
            raise unknown("embeds without columns")
        for item in scanner.separated(lambda: self._item(scanner)):
            if isinstance(item, Embed):
                raise unknown("embeds within embeds")
            embed.columns.append(item)
        scanner.expect(")")
        return embed


def _pairs(text: str) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for parameter in filter(None, re.split("[&;]", text)):
        name, is_given, value = parameter.partition("=")
        try:
            pairs.append((_decoded(name), _decoded(value) if is_given else None))
        except UnicodeDecodeError:
            raise unknown("query strings that are not UTF-8") from None
    return pairs


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _canonical(pairs: list[tuple[str, str | None]]) -> str:
    values: dict[str, list[str]] = {}
    for name, value in sorted(pairs, key=lambda pair: pair[0].encode()):
        values.setdefault(name, []).append(value or "")
    # PostgREST encodes each byte as if it were a character of its own.
    return "&".join(f"{_encoded(name)}={','.join(map(_encoded, given))}" for name, given in values.items())


def _encoded(text: str) -> str:
    return quote(text.encode().decode("latin-1"), safe="-_.~")


def _names(name: str, value: str | None) -> list[str] | None:
    if value is None:
        return None
    scanner = Scanner(value, f"{name} parameter")
    names = scanner.separated(scanner.name)
    scanner.end()
    return names if name == "on_conflict" else sorted(set(names))


def _path(key: str) -> tuple[tuple[str, ...], str]:
    scanner = Scanner(key, "tree path")
    names = [scanner.name()]
    while scanner.take("."):
        names.append(scanner.name())
    if scanner.sees("->"):
        raise unknown("JSON paths (-> and ->>) in filters")
    scanner.end()
    return tuple(names[:-1]), names[-1]


def _is_operation(value: str) -> bool:
    return any(pattern.match(value) for pattern in (_OPERATION, _UNKNOWN_OPERATION, _BEGUN_OPERATION))


def _hint(scanner: Scanner) -> str | None:
    hint = None
    if not scanner.match(_BEFORE_HINTS):
        return None
    while scanner.take("!"):
        name = scanner.name()
        if name == "inner":
            raise unknown("inner joins (!inner)")
        if name != "left":
            hint = name
    return hint


def _order(scanner: Scanner) -> Order:
    name = scanner.name()
    if scanner.sees("->"):
        raise unknown("JSON paths (-> and ->>) in order")
    if scanner.sees("("):
        raise unknown("the order by columns of what is embedded")
    found = scanner.match(_ORDER)
    assert found is not None, "it matches the empty string"
    return Order(name, found[1] or "asc", f" nulls {found[2]}" if found[2] else "")


def _condition(scanner: Scanner) -> Filter | Logic:
    connective = scanner.match(_CONNECTIVE)
    if connective is None:
        name = scanner.name()
        if scanner.sees("->"):
            raise unknown("JSON paths (-> and ->>) in filters")
        scanner.expect(".")
        return _filter(scanner, name, scanner.value)
    conditions = scanner.separated(lambda: _condition(scanner))
    scanner.expect(")")
    return Logic(connective[1] is not None, connective[2], conditions)


def _filter(scanner: Scanner, name: str, operand: Callable[[], str]) -> Filter:
    if (refused := scanner.match(_UNKNOWN_OPERATION)) is not None:
        raise unknown(f"the operator {refused[1]}")
    operation = scanner.match(_OPERATION)
    if operation is None:
        scanner.fail('"not" or operator (eq, gt, ...)')
    is_negated, operator = operation[1] is not None, operation[2]
    if operator == "in":
        scanner.expect("(")
        scanner.match(_SPACES)
        values = scanner.separated(scanner.value)
        scanner.expect(")")
        return Filter(name, is_negated, operator, values)
    if operator == "is":
        word = scanner.match(_IS)
        if word is None:
            scanner.fail("isVal: (null, not_null, true, false, unknown)")
        return Filter(name, is_negated, operator, word[0].lower().replace("_", " "))
    value = operand()
    return Filter(name, is_negated, operator, value.replace("*", "%") if operator.endswith("like") else value)
