"""From a query to SQL: what is read of a table, or of a function's rows, with what is embedded in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composable, Composed, Identifier

from worker.local.supabase.rest.errors import RestError, unknown
from worker.local.supabase.rest.query import OPERATORS, Column, Embed, Filter, Logic, Order, Part, Query
from worker.local.supabase.rest.ranges import Range, of_parameters
from worker.local.supabase.rest.relationships import Relationship
from worker.local.supabase.rest.sql import SCHEMA, array_literal, column, joined, sql, where


@dataclass(slots=True)
class Resource:
    """What is read, and what of it.

    Attributes:
        label: What its rows are called within the statement.
        selected: The columns that are asked for.
        names: Of the columns that are needed for that, and for what is embedded; `*` stands for all.
        filtered: Names of the columns that conditions are about.
        rows: Which of the rows that match. All of them if None.
    """

    label: str
    selected: list[Column]
    names: list[str] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    embedded: list[_Embedded] = field(default_factory=list)
    conditions: list[Composable] = field(default_factory=list)
    order: list[Composable] = field(default_factory=list)
    rows: Range | None = None

    def select(self, source: Composable) -> Composable:
        """Return the query of its rows, read from `source`."""
        items = [_item(self.label, item) for item in self.selected]
        items += [sql("{} as {}", inner.value(), Identifier(inner.key)) for inner in self.embedded]
        selected = joined(", ", items)
        parts = [sql("select {} from {} as {}", selected, source, Identifier(self.label)), where(self.conditions)]
        if self.order:
            parts.append(sql(" order by {}", joined(", ", self.order)))
        if self.rows is not None:
            limit = "all" if self.rows.upper is None else f"'{1 + self.rows.upper - self.rows.lower}'"
            parts.append(SQL(f" limit {limit} offset '{self.rows.lower}'"))
        return Composed(parts)

    def count(self, source: Composable) -> Composable:
        """Return the expression of how many rows match, whatever the limit."""
        return sql("(select count(*) from {} as {}{})", source, Identifier(self.label), where(self.conditions))


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A resource within another one, whose rows are joined to it by its conditions."""

    key: str
    table: str
    is_to_one: bool
    resource: Resource

    def value(self) -> Composable:
        """Return the JSON of its rows in the row that it is embedded in."""
        rows = self.resource.select(Identifier(SCHEMA, self.table))
        if self.is_to_one:
            return sql("(select row_to_json(pgrst_row)::jsonb from ({}) as pgrst_row)", rows)
        return sql("coalesce((select json_agg(pgrst_row)::jsonb from ({}) as pgrst_row), '[]')", rows)


def resource(
    label: str, query: Query, related: Sequence[tuple[Embed, Relationship]], *, is_changed: bool = False
) -> Resource:
    """Return what `query` asks of the rows with this label.

    Args:
        label: Of the table, or of the function's rows.
        query: The query string.
        related: What is embedded, and by which relationship.
        is_changed: Whether rows are changed: then limits count for nothing.

    Raises:
        RestError: It asks something of what is not embedded (PGRST108).
    """
    root = Resource(label, query.selected, [item.name for item in query.selected])
    inner: dict[str, Resource] = {}
    for embed, relationship in related:
        child = Resource(f"{relationship.target}_1", embed.columns)
        for ours, theirs in relationship.columns:
            root.names.append(ours)
            child.conditions.append(sql("{} = {}", column(child.label, theirs), column(label, ours)))
        child.rows = None if is_changed else Range().capped()
        root.embedded.append(_Embedded(embed.key, relationship.target, relationship.is_to_one, child))
        for name in (embed.target, embed.key):
            inner.setdefault(name, child)
    for path, part in query.parts.items():
        if is_changed and path and not (part.conditions or part.order):
            continue
        asked = root if not path else _found(path, inner)
        if not path:
            _check_conditions(part, [embed.key for embed, _ in related])
        _add(asked, part)
        if path and not is_changed and (part.limit is not None or part.offset is not None):
            asked.rows = _embedded_range(part)
    return root


def _found(path: tuple[str, ...], embedded: dict[str, Resource]) -> Resource:
    missing = path[0] if path[0] not in embedded else path[1] if len(path) > 1 else None
    if missing is None:
        return embedded[path[0]]
    raise RestError(
        400,
        "PGRST108",
        f"'{missing}' is not an embedded resource in this request",
        hint=f"Verify that '{missing}' is included in the 'select' query parameter.",
    )


def _embedded_range(part: Part) -> Range:
    rows = of_parameters(part.limit, part.offset)
    if rows.lower < 0 or (rows.upper is not None and rows.upper < rows.lower - 1):
        raise unknown("negative limits and offsets of what is embedded")
    return rows.capped()


def _check_conditions(part: Part, keys: list[str]) -> None:
    """Refuse conditions that are about whether something embedded is there."""
    conditions = list(part.conditions)
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, Logic):
            conditions += condition.conditions
        elif condition.column in keys and (condition.operator, condition.operand) == ("is", "null"):
            raise unknown("filters on whether something embedded is null")


def _add(asked: Resource, part: Part) -> None:
    asked.conditions += [_condition(asked, condition) for condition in part.conditions]
    asked.order = [_order(asked.label, order) for order in part.order]


def _item(label: str, item: Column) -> Composable:
    if item.name == "*" or item.alias is None:
        return column(label, item.name)
    return sql("{} as {}", column(label, item.name), Identifier(item.alias))


def _order(label: str, order: Order) -> Composable:
    return sql(f"{{}} {order.direction}{order.nulls}", column(label, order.column))


def _condition(asked: Resource, condition: Filter | Logic) -> Composable:
    negation = "not " if condition.is_negated else ""
    if isinstance(condition, Logic):
        parts = [_condition(asked, part) for part in condition.conditions]
        return sql(f"{negation}({{}})", joined(f" {condition.connective} ", parts))
    asked.filtered.append(condition.column)
    operand: Composable | str
    if isinstance(condition.operand, list):
        values = condition.operand
        operand = sql("({})", "{}" if values == [""] else array_literal(values))
    elif condition.operator == "is":
        operand = SQL(condition.operand)
    else:
        operand = condition.operand
    operator = OPERATORS[condition.operator]
    return sql(f"{negation}({{}} {operator} {{}})", column(asked.label, condition.column), operand)
