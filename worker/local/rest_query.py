"""From a query string to SQL: what to select, which rows, in which order.

The grammar is PostgREST 14's (https://docs.postgrest.org/en/v14/references/api.html), as far as its clients use it.
Names become quoted identifiers; values become literals without a type, which Postgres infers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl

from psycopg.sql import SQL, Composable, Composed, Identifier

from worker.local.rest_errors import RestError
from worker.local.rest_schema import Relationship

_T = TypeVar("_T")

MAX_ROWS = 1000  # a Supabase project's default

_OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
    "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "isdistinct": "is distinct from",
    "in": "= any", "is": "is",
}  # fmt: skip
_RESERVED = ("select", "columns", "on_conflict")
_RESERVED_IN_RESOURCES = ("and", "or", "order", "limit", "offset")

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rf"[ \t]*({_QUOTED}|[\w$ -]+)", re.DOTALL)
_ORDER = re.compile(r"(?:\.(asc|desc))?(?:\.nulls(first|last))?")
_CONNECTIVE = re.compile(r"[ \t]*(not\.)?(and|or)[ \t]*\(")
_OPERATION = re.compile(rf"(not\.)?({'|'.join(_OPERATORS)})\.")
_IS = re.compile(r"null|not_null|true|false|unknown", re.IGNORECASE)
_VALUE = re.compile(rf"(?:({_QUOTED})|\{{[^{{}}]*\}})(?=[,)]|\Z)|[^,)]*", re.DOTALL)
_INTEGER = re.compile(r"[0-9]{1,18}")


def sql(template: str, *parts: Composable | str) -> Composed:
    """Return `template` with its `{}` replaced: by SQL, or by a value."""
    return SQL(template).format(*parts)


def joined(separator: str, parts: Iterable[Composable]) -> Composed:
    """Return `parts` with `separator` between them."""
    return SQL(separator).join(parts)


def where(conditions: Sequence[Composable]) -> Composable:
    """Return the `where` clause of these conditions; empty without any."""
    return sql(" where {}", joined(" and ", conditions)) if conditions else SQL("")


@dataclass(slots=True)
class Resource:
    """What is read of a table, or of a function's rows, with what is embedded in it by foreign keys.

    Attributes:
        name: Of the table or function; the rows' label within the statement.
        alias: Its key in the rows that it is embedded in.
        relationship: By which it is embedded.
        columns: Names of the columns that `items` and `embedded` need.
        conditions: All of which must hold.
        limit: Number of rows at most. All rows if None.
    """

    name: str
    alias: str = ""
    relationship: Relationship | None = None
    columns: list[str] = field(default_factory=list)
    items: list[Composable] = field(default_factory=list)
    embedded: list[Resource] = field(default_factory=list)
    conditions: list[Composable] = field(default_factory=list)
    order: list[Composable] = field(default_factory=list)
    limit: int | None = MAX_ROWS
    offset: int = 0

    @property
    def source(self) -> Composable:
        """The table itself."""
        return Identifier("public", self.name)

    def column(self, name: str) -> Composable:
        """Return a column; all of them for `*`."""
        return sql("{}.*", Identifier(self.name)) if name == "*" else Identifier(self.name, name)

    def select(self, source: Composable) -> Composable:
        """Return the query of its rows, read from `source`."""
        values = [sql("{} as {}", inner.embedding(), Identifier(inner.alias)) for inner in self.embedded]
        items = joined(", ", [*self.items, *values])
        parts = [sql("select {} from {} as {}", items, source, Identifier(self.name)), where(self.conditions)]
        if self.order:
            parts.append(sql(" order by {}", joined(", ", self.order)))
        if self.limit is not None:
            parts.append(SQL(f" limit {self.limit} offset {self.offset}"))
        return Composed(parts)

    def count(self, source: Composable) -> Composable:
        """Return the expression of how many rows match, whatever the limit."""
        return sql("(select count(*) from {} as {}{})", source, Identifier(self.name), where(self.conditions))

    def embedding(self) -> Composable:
        """Return the value that stands for its rows in the row that it is embedded in."""
        rows = self.select(self.source)
        if self.relationship and self.relationship.is_to_many:
            return sql("coalesce((select json_agg(pgrst_row)::jsonb from ({}) as pgrst_row), '[]')", rows)
        return sql("(select row_to_json(pgrst_row)::jsonb from ({}) as pgrst_row)", rows)


class Query:
    """A query string.

    Args:
        text: Percent-encoded, as it was sent.

    Attributes:
        columns: The part of the body that counts, where `columns=` tells.
        unique: Columns of `on_conflict=`, by which rows are known to exist.
        arguments: Parameters without an operator, which are a function's arguments in a call by GET.
        select: What is asked for of each row.

    Raises:
        RestError: It does not follow the grammar (PGRST100).
    """

    def __init__(self, text: str) -> None:
        self._parameters = parse_qsl(text, keep_blank_values=True)
        self.columns = self._names("columns")
        self.unique = self._names("on_conflict")
        self.arguments = {key: value for key, value in self._parameters if _is_argument(key, value)}
        self.select = dict(self._parameters).get("select") or "*"

    def _names(self, key: str) -> list[str] | None:
        if (value := dict(self._parameters).get(key)) is None:
            return None
        scanner = _Scanner(value, f"{key} parameter")
        return sorted(set(scanner.separated(scanner.name)))

    def resource(self, name: str, relationships: Sequence[Relationship], *, skip_arguments: bool = False) -> Resource:
        """Return what is asked for of `name`, a table or a function.

        Args:
            name: What the path names.
            relationships: By which something can be embedded.
            skip_arguments: Whether parameters without an operator are a function's arguments.

        Raises:
            RestError: The query string does not follow the grammar, or embeds what is not related.
        """
        resource = Resource(name)
        scanner = _Scanner(self.select, "select parameter")
        scanner.separated(lambda: _select(scanner, resource, relationships))
        scanner.end()
        for key, value in self._parameters:
            if key not in _RESERVED and not (skip_arguments and key in self.arguments):
                _add(resource, key, value)
        return resource


def _is_argument(key: str, value: str) -> bool:
    is_reserved = key in _RESERVED or key.rpartition(".")[2] in _RESERVED_IN_RESOURCES
    return not is_reserved and not _OPERATION.match(value)


def _add(root: Resource, key: str, value: str) -> None:
    keys = _Scanner(key, "tree path")
    *path, last = keys.separated(keys.name, ".")
    is_negated = path[-1:] == ["not"]
    resource = _embedded(root, path[:-1] if is_negated else path)
    scanner = _Scanner(value, last)
    if last in ("and", "or"):
        scanner = _Scanner(f"{'not.' if is_negated else ''}{last}{value}", "logic tree")
        resource.conditions.append(_condition(scanner, resource))
    elif last == "order":
        resource.order = scanner.separated(lambda: _order(scanner, resource))
    elif last == "limit":
        resource.limit = min(scanner.integer(), MAX_ROWS)
    elif last == "offset":
        resource.offset = scanner.integer()
    else:
        scanner = _Scanner(value, "filter")
        resource.conditions.append(_filter(scanner, resource, last, scanner.rest))
    scanner.end()


def _embedded(root: Resource, path: list[str]) -> Resource:
    if not path:
        return root
    for resource in root.embedded:
        if path in ([resource.alias], [resource.name]):
            return resource
    raise RestError(400, "PGRST108", f"'{'.'.join(path)}' is not an embedded resource in this request")


def _select(scanner: _Scanner, resource: Resource, relationships: Sequence[Relationship]) -> None:
    if scanner.take("*"):
        resource.columns.append("*")
        resource.items.append(resource.column("*"))
        return
    alias = name = scanner.name()
    if scanner.take(":"):
        name = scanner.name()
    if scanner.take("("):
        inner = _embed(resource, name, alias, relationships)
        scanner.separated(lambda: _select(scanner, inner, ()))
        scanner.expect(")")
    else:
        resource.columns.append(name)
        resource.items.append(sql("{} as {}", resource.column(name), Identifier(alias)))


def _embed(outer: Resource, name: str, alias: str, relationships: Sequence[Relationship]) -> Resource:
    found = [relationship for relationship in relationships if relationship.target == name]
    if not found:
        message = f"Could not find a relationship between '{outer.name}' and '{name}' in the schema cache"
        raise RestError(400, "PGRST200", message)
    if len(found) > 1:
        message = f"Could not embed because more than one relationship was found for '{outer.name}' and '{name}'"
        raise RestError(300, "PGRST201", message)
    inner = Resource(name, alias, found[0])
    for ours, theirs in found[0].columns:
        inner.conditions.append(sql("{} = {}", inner.column(theirs), outer.column(ours)))
        outer.columns.append(ours)
    outer.embedded.append(inner)
    return inner


def _order(scanner: _Scanner, resource: Resource) -> Composable:
    column = resource.column(scanner.name())
    found = scanner.match(_ORDER)
    assert found is not None, "it matches the empty string"
    direction, nulls = found[1] or "asc", f" nulls {found[2]}" if found[2] else ""
    return sql(f"{{}} {direction}{nulls}", column)


def _condition(scanner: _Scanner, resource: Resource) -> Composable:
    connective = scanner.match(_CONNECTIVE)
    if connective is None:
        name = scanner.name()
        scanner.expect(".")
        return _filter(scanner, resource, name, scanner.value)
    conditions = scanner.separated(lambda: _condition(scanner, resource))
    scanner.expect(")")
    return sql(f"{'not ' if connective[1] else ''}({{}})", joined(f" {connective[2]} ", conditions))


def _filter(scanner: _Scanner, resource: Resource, name: str, operand: Callable[[], str]) -> Composable:
    operation = scanner.match(_OPERATION)
    if operation is None:
        scanner.fail("operator (eq, gt, ...)")
    negation, operator = "not " if operation[1] else "", operation[2]
    value: Composable | str
    if operator == "in":
        scanner.expect("(")
        values = scanner.separated(scanner.value)
        scanner.expect(")")
        value = sql("({})", "{}" if values == [""] else _array_literal(values))
    elif operator == "is":
        word = scanner.match(_IS)
        if word is None:
            scanner.fail("isVal: (null, not_null, true, false, unknown)")
        value = SQL(word[0].replace("_", " "))
    else:
        value = operand()
        if operator in ("like", "ilike"):
            value = value.replace("*", "%")
    return sql(f"{negation}({{}} {_OPERATORS[operator]} {{}})", resource.column(name), value)


def _array_literal(values: Iterable[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


class _Scanner:
    """Reads a parameter from left to right."""

    def __init__(self, text: str, what: str) -> None:
        self._text = text
        self._what = what
        self._position = 0

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._position)
        if found:
            self._position = found.end()
        return found

    def take(self, literal: str) -> bool:
        return self.match(re.compile(rf"[ \t]*{re.escape(literal)}")) is not None

    def expect(self, literal: str) -> None:
        if not self.take(literal):
            self.fail(f'"{literal}"')

    def rest(self) -> str:
        start, self._position = self._position, len(self._text)
        return self._text[start:]

    def end(self) -> None:
        if self._text[self._position :].strip():
            self.fail("end of input")

    def separated(self, item: Callable[[], _T], separator: str = ",") -> list[_T]:
        items = [item()]
        while self.take(separator):
            items.append(item())
        return items

    def name(self) -> str:
        found = self.match(_NAME)
        if found is None:
            self.fail("field name (* or [a..z0..9_$])")
        return _unquoted(found[1].strip())

    def value(self) -> str:
        found = self.match(_VALUE)
        assert found is not None, "it matches the empty string"
        return found[0] if found[1] is None else _unquoted(found[1])

    def integer(self) -> int:
        found = self.match(_INTEGER)
        if found is None:
            self.fail("integer")
        return int(found[0])

    def fail(self, expected: str) -> NoReturn:
        message = f'"failed to parse {self._what} ({self._text})" (line 1, column {self._position + 1})'
        found = f'"{self._text[self._position]}"' if self._position < len(self._text) else "end of input"
        raise RestError(400, "PGRST100", message, details=f"unexpected {found} expecting {expected}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text.startswith('"') else text
