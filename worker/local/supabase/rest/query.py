"""The query string: what to select, which rows, in which order.

The grammar is that of PostgREST 14 (https://docs.postgrest.org/en/v14/references/api.html). What the local stack does
not support is refused here, before the database is queried.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from worker.local.supabase.rest.conditions import Filter, Logic, is_operation, parse_condition, parse_filter
from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.fields import Field, parse_field, parse_path
from worker.local.supabase.rest.resources import Order, Path, Resource
from worker.local.supabase.rest.scanner import Scanner
from worker.local.supabase.rest.select import parse_select

_RESERVED = ("select", "columns", "on_conflict")

_ORDER = re.compile(r"[ \t]*(?:\.(asc|desc))?(?:\.nulls(first|last))?")


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
        limits: The parameters `limit` and `offset` of the table, and of each embedded resource.

    Raises:
        RestError: It does not follow the grammar (PGRST100), or the local stack does not support a part of it.
    """

    def __init__(self, text: str, *, has_arguments: bool = False) -> None:
        pairs = _pairs(text)
        self.canonical = _canonical(pairs)
        parameters = [(name, value) for name, value in pairs if value is not None]
        first = dict(reversed(parameters))
        self.limits: dict[Path, dict[str, str]] = {}
        self.arguments: dict[str, str] = {}
        self._filters: list[tuple[Path, Filter]] = []
        self._logic: list[tuple[Path, Logic]] = []
        self._orders: list[tuple[Path, list[Order]]] = []
        for name, value in parameters:
            if name not in _RESERVED:
                self._read(name, value, has_arguments=has_arguments)
        self.columns = _names("columns", first.get("columns"))
        self.select = parse_select(first.get("select", "*"))
        self.unique = _names("on_conflict", first.get("on_conflict"))

    @property
    def has_logic_within(self) -> bool:
        """Whether it has logic trees on what is embedded."""
        return any(path for path, _ in self._logic)

    def resources(self, *, is_change: bool) -> Resource:
        """Return the tree of its resources, each with its conditions, order and limits.

        Args:
            is_change: Whether rows are changed. Then limits are ignored.

        Raises:
            RestError: It refers to a resource that is not embedded (PGRST108).
        """
        root = Resource.of_select(self.select)
        # In the order of PostgREST: the first failure decides the response.
        for path, condition in reversed(self._filters):
            root.find(path).conditions.insert(0, condition)
        for path, order in reversed(self._orders):
            root.find(path).order = order
        for path, limits in () if is_change else self.limits.items():
            found = root.find(path)
            found.limit, found.offset = limits.get("limit"), limits.get("offset")
        for path, logic in reversed(self._logic):
            root.find(path).conditions.insert(0, logic)
        return root

    def _read(self, key: str, value: str, *, has_arguments: bool) -> None:
        *_, last = key.split(".")
        if last in ("limit", "offset"):
            path, _field = _path(key)
            self.limits.setdefault(path, {})[last] = value
        elif last in ("and", "or"):
            path, _field = _path(key)
            negation = "not." if "not" in path else ""
            scanner = Scanner(f"{negation}{last}{value}", "logic tree", shown=value)
            logic = parse_condition(scanner)
            scanner.end()
            assert isinstance(logic, Logic), "it begins with `and` or `or`"
            self._logic.append((tuple(name for name in path if name != "not"), logic))
        elif last == "order":
            path, _field = _path(key)
            scanner = Scanner(value, "order")
            order = scanner.separated(lambda: _order(scanner))
            if not scanner.is_at_end():
                scanner.fail('delimiter (.), "," or end of input')
            self._orders.append((path, order))
        else:
            self._read_filter(key, value, has_arguments=has_arguments)

    def _read_filter(self, key: str, value: str, *, has_arguments: bool) -> None:
        path, field = _path(key)
        if has_arguments and not is_operation(value):
            if path or field.path:
                raise unsupported(f"the argument name '{key}'")
            self.arguments[field.name] = value
            return
        scanner = Scanner(value, "filter")
        condition = parse_filter(scanner, field, scanner.rest)
        scanner.end()
        self._filters.append((path, condition))


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


def _path(key: str) -> tuple[Path, Field]:
    scanner = Scanner(key, "tree path")
    names = [scanner.name()]
    while scanner.take("."):
        names.append(scanner.name())
    field = Field(names[-1], parse_path(scanner))
    scanner.end()
    return tuple(names[:-1]), field


def _order(scanner: Scanner) -> Order:
    field, embed = parse_field(scanner), None
    if not field.path and scanner.take("("):
        embed, field = field.name, parse_field(scanner)
        scanner.expect(")")
    found = scanner.match(_ORDER)
    assert found is not None, "it matches the empty string"
    return Order(field, embed, found[1] or "asc", f" nulls {found[2]}" if found[2] else "")
