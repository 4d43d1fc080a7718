"""From the resources of a request to SQL: which columns and rows to read, joined with those that are embedded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from psycopg.sql import SQL, Composable, Identifier

from worker.local.supabase.rest.conditions import OPERATORS, TEXT_SEARCH, Filter, Logic
from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.fields import Field
from worker.local.supabase.rest.ranges import Range, range_of_parameters
from worker.local.supabase.rest.relationships import Relationship
from worker.local.supabase.rest.resources import Order, Resource, not_embedded
from worker.local.supabase.rest.schema import ColumnTypes
from worker.local.supabase.rest.select import ALL
from worker.local.supabase.rest.sql import SCHEMA, array_literal, column, joined, sql, where


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        item: The item of the `from` clause.
        label: What the columns are qualified with: an alias, or the schema and the name of a table.
        name: The name of the table, or of the query before the main one.
    """

    item: Composable
    label: tuple[str, ...]
    name: str

    @classmethod
    def table(cls, name: str) -> Source:
        """Return the source of the rows of a table."""
        return cls(Identifier(SCHEMA, name), (SCHEMA, name), name)

    @classmethod
    def aliased(cls, *name: str, alias: str) -> Source:
        """Return the source of the rows of a table or a query, with an alias."""
        return cls(sql("{} as {}", Identifier(*name), Identifier(alias)), (alias,), name[-1])


@dataclass(slots=True)
class ReadPlan:
    """Which columns and rows to read of one resource.

    Attributes:
        source: Where its rows come from.
        resource: What is asked of it.
        types: The types of columns, by the name of the resource.
        embedded: What is embedded in its rows.
        joining: The conditions that join it to the outer resource.
        conditions: Which rows to read.
        rows: The range of the matching rows. `None` for all.
    """

    source: Source
    resource: Resource
    types: ColumnTypes
    embedded: list[_Join]
    joining: list[Composable] = field(default_factory=list)
    conditions: list[Filter | Logic] = field(default_factory=list)
    rows: Range | None = None

    @property
    def names(self) -> list[str]:
        """Names of the columns that it needs of its source, for its rows and to join. `*` stands for all."""
        selected = [item.field.name for item in self.resource.select.columns]
        return selected + [ours for inner in self.embedded for ours, _ in inner.relationship.columns]

    @property
    def filtered(self) -> list[str]:
        """Names of the columns in conditions, also in those on what is embedded."""
        return [*self._filtered(self.conditions)] + [name for inner in self.embedded for name in inner.plan.filtered]

    def select(self) -> Composable:
        """Return the query of its rows."""
        columns = self.resource.select.columns or ([] if self.embedded else [ALL])
        items = [
            sql("{} as {}", self._value(item.field), Identifier(item.alias or item.field.key))
            if item.alias or item.field.path
            else self._value(item.field)
            for item in columns
        ]
        items += [inner.value() for inner in self.embedded if not inner.is_hidden]
        joins = joined("", [inner.join() for inner in self.embedded])
        conditions = [*(self._condition(one, _is_null) for one in self.conditions), *self.joining]
        query = sql("select {} from {}{}{}", joined(", ", items), self.source.item, joins, where(conditions))
        if self.resource.order:
            query += sql(" order by {}", joined(", ", map(self._order, self.resource.order)))
        if self.rows is not None:
            limit = "all" if self.rows.upper is None else f"'{1 + self.rows.upper - self.rows.lower}'"
            query += SQL(f" limit {limit} offset '{self.rows.lower}'")
        return query

    def matching(self) -> Composable:
        """Return the query that has one row for each matching row, without the limit."""
        conditions = [*(self._condition(one, _has_none) for one in self.conditions), *self.joining]
        conditions += [inner.exists() for inner in self.embedded if inner.is_inner]
        return sql("select 1 from {}{}", self.source.item, where(conditions))

    def restrict(self) -> list[Composable]:
        """Return its conditions, and have none any more: they select which rows to change, not which to return."""
        conditions, self.conditions = self.conditions, []
        return [self._condition(one, None) for one in conditions]

    def _value(self, wanted: Field) -> Composable:
        value = column(self.source.label, wanted.name)
        if wanted.path and not self.types.is_json(self._name, wanted.name):
            value = sql("to_jsonb({})", value)
        return _within(value, wanted)

    @property
    def _name(self) -> str:
        embed = self.resource.embed
        return self.source.label[-1] if embed is None else embed.target

    def _join_of(self, key: str) -> _Join | None:
        return next((inner for inner in self.embedded if inner.key == key), None)

    def _order(self, order: Order) -> Composable:
        if order.embed is None:
            value = self._value(order.field)
        else:
            inner = self._join_of(order.embed)
            if inner is None:
                raise not_embedded(order.embed)
            if not inner.relationship.is_to_one:
                details = f"'{self.source.name}' and '{inner.key}' do not form a many-to-one or one-to-one relationship"
                message = f"A related order on '{inner.key}' is not possible"
                raise RestError(400, "PGRST118", message, details=details)
            value = _within(column((inner.alias,), order.field.name), order.field)
        return sql(f"{{}} {order.direction}{order.nulls}", value)

    def _condition(self, condition: Filter | Logic, is_null: _JoinCondition | None) -> Composable:
        """Return a condition as SQL.

        Args:
            condition: The condition.
            is_null: Makes the condition that something embedded is null. `None` to read it as that of a column.
        """
        negation = "not " if condition.is_negated else ""
        if isinstance(condition, Logic):
            parts = [self._condition(part, is_null) for part in condition.conditions]
            return sql(f"{negation}({{}})", joined(f" {condition.connective} ", parts))
        inner = self._null_join(condition) if is_null else None
        if is_null is None or inner is None:
            return self._filter(condition)
        return sql(f"{negation}{{}}", is_null(inner))

    def _null_join(self, condition: Filter) -> _Join | None:
        """Return the embedded resource, if the condition is whether it is null."""
        is_null = (condition.operator, condition.operand) == ("is", "null") and not condition.field.path
        return self._join_of(condition.field.name) if is_null else None

    def _filter(self, condition: Filter) -> Composable:
        negation = "not " if condition.is_negated else ""
        operand: Composable | str
        if condition.is_text_search:
            return sql(f"{negation}({{}})", self._text_search(condition))
        if isinstance(condition.operand, list):
            values = condition.operand
            operand = sql("({})", "{}" if values == [""] else array_literal(values))
        elif condition.operator == "is":
            operand = SQL(condition.operand)
        else:
            operand = condition.operand
        operator = OPERATORS[condition.operator]
        if condition.quantifier:
            operand = sql(f"{condition.quantifier}({{}})", operand)
        return sql(f"{negation}({{}} {operator} {{}})", self._value(condition.field), operand)

    def _text_search(self, condition: Filter) -> Composable:
        assert isinstance(condition.operand, str), "only `in` has a list"
        config: Composable = SQL("") if condition.config is None else sql("{}, ", condition.config)
        value, wanted = self._value(condition.field), condition.field
        if self.types.needs_vector(self._name, wanted.name):
            value = sql("to_tsvector({}{})", config, value)
        return sql(f"{{}} @@ {TEXT_SEARCH[condition.operator]}({{}}{{}})", value, config, condition.operand)

    def _filtered(self, conditions: list[Filter | Logic]) -> Iterator[str]:
        for condition in conditions:
            if isinstance(condition, Logic):
                yield from self._filtered(condition.conditions)
            else:
                inner = self._null_join(condition)
                yield condition.field.name if inner is None else inner.alias


@dataclass(frozen=True, slots=True)
class _Join:
    """What is embedded in the rows of an outer resource.

    Attributes:
        key: Its key in the outer rows.
        alias: Alias of its rows, or of the array of them.
        is_inner: Whether outer rows without a related one are left out.
        is_hidden: Whether it is joined, but not returned.
    """

    key: str
    alias: str
    is_inner: bool
    is_hidden: bool
    relationship: Relationship
    plan: ReadPlan

    def value(self) -> Composable:
        """Return the item of the outer `select` list: its rows as JSON."""
        alias, key = Identifier(self.alias), Identifier(self.key)
        if self.relationship.is_to_one:
            return sql("row_to_json({}.*)::jsonb as {}", alias, key)
        return sql("coalesce({}, '[]') as {}", Identifier(self.alias, self.alias), key)

    def join(self) -> Composable:
        """Return the join in the outer `from` clause."""
        alias, kind = Identifier(self.alias), "inner" if self.is_inner else "left"
        if self.relationship.is_to_one:
            return sql(f" {kind} join lateral ({{}}) as {{}} on true", self.plan.select(), alias)
        array = sql("select json_agg({0})::jsonb as {0} from ({1}) as {0}", alias, self.plan.select())
        condition = sql("{} is not null", alias) if self.is_inner else SQL("true")
        return sql(f" {kind} join lateral ({{}}) as {{}} on {{}}", array, alias, condition)

    def exists(self) -> Composable:
        """Return the condition that an outer row has a related one."""
        return sql("exists ({})", self.plan.matching())


_JoinCondition = Callable[[_Join], Composable]


def _is_null(inner: _Join) -> Composable:
    return sql("({} is not distinct from null)", Identifier(inner.alias))


def _has_none(inner: _Join) -> Composable:
    return sql("not {}", inner.exists())


def plan_read(root: Resource, source: Source, types: ColumnTypes, *, is_change: bool = False) -> ReadPlan:
    """Return the plan of a request.

    Args:
        root: Its resources, with their relationships.
        source: Where the rows of the table or the function come from.
        types: The types of columns.
        is_change: Whether rows are changed. Then what is embedded has no limit.
    """
    return _plan(root, source, types, depth=0, is_change=is_change)


def _plan(resource: Resource, source: Source, types: ColumnTypes, *, depth: int, is_change: bool) -> ReadPlan:
    joins = [_joined(inner, source, types, depth=depth + 1, is_change=is_change) for inner in resource.embedded]
    return ReadPlan(source, resource, types, joins, conditions=resource.conditions)


def _joined(resource: Resource, outer: Source, types: ColumnTypes, *, depth: int, is_change: bool) -> _Join:
    embed, relationship = resource.embed, resource.relationship
    assert embed is not None, "only the root is not embedded"
    assert relationship is not None, "relationships are found before a request is planned"
    if relationship.junction is None:
        source = Source.aliased(SCHEMA, relationship.target, alias=f"{relationship.target}_{depth}")
        joining = [_equal(source.label, theirs, outer.label, ours) for ours, theirs in relationship.columns]
    else:
        junction = (SCHEMA, relationship.junction)
        table = Source.table(relationship.target)
        source = replace(table, item=sql("{}, {}", table.item, Identifier(*junction)))
        joining = [_equal(source.label, theirs, junction, middle) for theirs, middle in relationship.target_columns]
        joining += [_equal(outer.label, ours, junction, middle) for ours, middle in relationship.columns]
    plan = _plan(resource, source, types, depth=depth, is_change=is_change)
    plan.joining = joining
    plan.rows = None if is_change else _embedded_range(resource)
    alias = f"{relationship.origin}_{embed.key}_{depth}"
    return _Join(embed.key, alias, embed.is_inner, embed.select.is_hidden, relationship, plan)


def _equal(label: tuple[str, ...], name: str, other_label: tuple[str, ...], other_name: str) -> Composable:
    return sql("{} = {}", column(label, name), column(other_label, other_name))


def _within(value: Composable, wanted: Field) -> Composable:
    """Return what the path of a field leads to."""
    for step in wanted.path:
        operand = sql("{}::int" if step.is_index else "{}", step.operand)
        value = sql("{}->>{}" if step.is_text else "{}->{}", value, operand)
    return value


def _embedded_range(resource: Resource) -> Range:
    rows = range_of_parameters(resource.limit, resource.offset)
    if rows.lower < 0 or (rows.upper is not None and rows.upper < rows.lower - 1):
        raise unsupported("negative limits and offsets of what is embedded")
    return rows.capped()
