"""From a query string to SQL: which columns and rows to read of a table or a function, with embedded resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composable, Composed, Identifier

from worker.local.supabase.rest.conditions import OPERATORS, Filter, Logic
from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.query import Order, Part, Query
from worker.local.supabase.rest.ranges import Range, range_of_parameters
from worker.local.supabase.rest.relationships import Relationship
from worker.local.supabase.rest.select import Column, Embed
from worker.local.supabase.rest.sql import SCHEMA, array_literal, column, joined, sql, where


@dataclass(slots=True)
class ReadPlan:
    """Which columns and rows to read of one resource.

    Attributes:
        label: Alias of its rows in the statement.
        selected: The selected columns.
        names: Names of the columns that these, and the embedded resources, need. `*` stands for all.
        filtered: Names of the columns in conditions.
        rows: The range of the matching rows. `None` for all.
    """

    label: str
    selected: list[Column]
    names: list[str] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    embedded: list[_EmbeddedPlan] = field(default_factory=list)
    conditions: list[Composable] = field(default_factory=list)
    order: list[Composable] = field(default_factory=list)
    rows: Range | None = None

    def select(self, source: Composable) -> Composable:
        """Return the query of its rows from `source`."""
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
        """Return the expression of the number of matching rows, without the limit."""
        return sql("(select count(*) from {} as {}{})", source, Identifier(self.label), where(self.conditions))


@dataclass(frozen=True, slots=True)
class _EmbeddedPlan:
    """An embedded resource. Its conditions join it to the outer resource."""

    key: str
    table: str
    is_to_one: bool
    plan: ReadPlan

    def value(self) -> Composable:
        """Return the SQL of its rows as JSON, in a row of the outer resource."""
        rows = self.plan.select(Identifier(SCHEMA, self.table))
        if self.is_to_one:
            return sql("(select row_to_json(pgrst_row)::jsonb from ({}) as pgrst_row)", rows)
        return sql("coalesce((select json_agg(pgrst_row)::jsonb from ({}) as pgrst_row), '[]')", rows)


def plan_read(
    label: str, query: Query, related: Sequence[tuple[Embed, Relationship]], *, is_changed: bool = False
) -> ReadPlan:
    """Return the plan of a query string.

    Args:
        label: Alias of the rows of the table or the function.
        query: The query string.
        related: The embeds, each with its relationship.
        is_changed: Whether rows are changed. Then limits are ignored.

    Raises:
        RestError: It has a condition on a resource that is not embedded (PGRST108).
    """
    root = ReadPlan(label, query.select.columns, [item.name for item in query.select.columns])
    inner: dict[str, ReadPlan] = {}
    for embed, relationship in related:
        child = ReadPlan(f"{relationship.target}_1", embed.columns)
        for ours, theirs in relationship.columns:
            root.names.append(ours)
            child.conditions.append(sql("{} = {}", column(child.label, theirs), column(label, ours)))
        child.rows = None if is_changed else Range().capped()
        root.embedded.append(_EmbeddedPlan(embed.key, relationship.target, relationship.is_to_one, child))
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


def _found(path: tuple[str, ...], embedded: dict[str, ReadPlan]) -> ReadPlan:
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
    rows = range_of_parameters(part.limit, part.offset)
    if rows.lower < 0 or (rows.upper is not None and rows.upper < rows.lower - 1):
        raise unsupported("negative limits and offsets of what is embedded")
    return rows.capped()


def _check_conditions(part: Part, keys: list[str]) -> None:
    """Refuse conditions on whether an embedded resource is null."""
    conditions = list(part.conditions)
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, Logic):
            conditions += condition.conditions
        elif condition.column in keys and (condition.operator, condition.operand) == ("is", "null"):
            raise unsupported("filters on whether something embedded is null")


def _add(asked: ReadPlan, part: Part) -> None:
    asked.conditions += [_condition(asked, condition) for condition in part.conditions]
    asked.order = [_order(asked.label, order) for order in part.order]


def _item(label: str, item: Column) -> Composable:
    if item.name == "*" or item.alias is None:
        return column(label, item.name)
    return sql("{} as {}", column(label, item.name), Identifier(item.alias))


def _order(label: str, order: Order) -> Composable:
    return sql(f"{{}} {order.direction}{order.nulls}", column(label, order.column))


def _condition(asked: ReadPlan, condition: Filter | Logic) -> Composable:
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
