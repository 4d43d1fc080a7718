"""The query string: what to select, which rows, in which order.

The grammar is that of PostgREST 14 (https://docs.postgrest.org/en/v14/references/api.html). What the local stack does
not support is refused here, before the database is queried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from worker.local.supabase.rest.conditions import Filter, Logic, is_operation, parse_condition, parse_filter
from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.scanner import Scanner
from worker.local.supabase.rest.select import parse_select

_RESERVED = ("select", "columns", "on_conflict")

_ORDER = re.compile(r"(?:\.(asc|desc))?(?:\.nulls(first|last))?")


@dataclass(frozen=True, slots=True)
class Order:
    """An item of the parameter `order`."""

    column: str
    direction: str
    nulls: str


@dataclass(slots=True)
class Part:
    """The conditions, order and limits for the table, or for an embedded resource."""

    conditions: list[Filter | Logic] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    limit: str | None = None
    offset: str | None = None


class Query:
    """A query string.

    Args:
        text: Percent-encoded, as sent.
        has_arguments: Whether parameters without an operator are arguments of a function.

    Attributes:
        canonical: Its parameters, sorted by name and percent-encoded.
        columns: The members of the body that are used, if `columns=` names them.
        unique: The columns of `on_conflict=`.
        arguments: The arguments of a function.
        select: The parameter `select`.
        parts: The conditions, order and limits for the table (path `()`), and for each embedded resource.

    Raises:
        RestError: It does not follow the grammar (PGRST100), or the local stack does not support a part of it.
    """

    def __init__(self, text: str, *, has_arguments: bool = False) -> None:
        pairs = _pairs(text)
        self.canonical = _canonical(pairs)
        parameters = [(name, value) for name, value in pairs if value is not None]
        first = dict(reversed(parameters))
        self.parts: dict[tuple[str, ...], Part] = {(): Part()}
        self.arguments: dict[str, str] = {}
        for name, value in parameters:
            if name not in _RESERVED:
                self._read(name, value, has_arguments=has_arguments)
        self.columns = _names("columns", first.get("columns"))
        self.select = parse_select(first.get("select", "*"))
        self.unique = _names("on_conflict", first.get("on_conflict"))

    @property
    def root(self) -> Part:
        """The part for the table itself."""
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
            logic = parse_condition(scanner)
            scanner.end()
            self._part(tuple(name for name in path if name != "not")).conditions.append(logic)
        elif last == "order":
            scanner = Scanner(value, "order")
            order = scanner.separated(lambda: _order(scanner))
            self._part(path).order = self._part(path).order or order
            if not scanner.is_at_end():
                scanner.fail('delimiter (.), "," or end of input')
        elif has_arguments and not is_operation(value):
            if path:
                raise unsupported(f"the argument name '{key}'")
            self.arguments[last] = value
        else:
            scanner = Scanner(value, "filter")
            condition = parse_filter(scanner, last, scanner.rest)
            scanner.end()
            self._part(path).conditions.append(condition)


def _pairs(text: str) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for parameter in filter(None, re.split("[&;]", text)):
        name, is_given, value = parameter.partition("=")
        try:
            pairs.append((_decoded(name), _decoded(value) if is_given else None))
        except UnicodeDecodeError:
            raise unsupported("query strings that are not UTF-8") from None
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
        raise unsupported("JSON paths (-> and ->>) in filters")
    scanner.end()
    return tuple(names[:-1]), names[-1]


def _order(scanner: Scanner) -> Order:
    name = scanner.name()
    if scanner.sees("->"):
        raise unsupported("JSON paths (-> and ->>) in order")
    if scanner.sees("("):
        raise unsupported("the order by columns of what is embedded")
    found = scanner.match(_ORDER)
    assert found is not None, "it matches the empty string"
    return Order(name, found[1] or "asc", f" nulls {found[2]}" if found[2] else "")
