"""The relationships of all tables and views, derived from the foreign keys of the database by the rules of PostgREST.

A view has the relationships of a table whose key it selects: if all columns of a foreign key are plain columns of a
view, the view refers to what the table refers to. If all columns that a foreign key refers to are in a view, what
refers to the table refers to the view as well.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.local.supabase.rest.relationships import Cardinality, Relationship
from worker.local.supabase.rest.sql import SCHEMA
from worker.local.supabase.rest.view_columns import ViewColumn

Columns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view.

    Attributes:
        columns: Names of the columns, by their number as text.
        definition: The hash of the stored query of a view.
    """

    oid: int
    schema: str
    name: str
    is_view: bool
    columns: Mapping[str, str]
    definition: str | None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A primary key, or a foreign key.

    Attributes:
        relation: The oid of the table.
        key: Numbers of its columns.
        target: The oid of the table that a foreign key refers to.
        target_key: Numbers of the columns there.
        is_unique: Whether the columns of a foreign key are unique together.
        is_inherited: Whether it is that of a partition.
    """

    type: str
    name: str
    relation: int
    key: Sequence[int]
    target: int
    target_key: Sequence[int]
    is_unique: bool
    is_inherited: bool


@dataclass(frozen=True, slots=True)
class _Reference:
    """A foreign key between tables or views, with the columns of both ends."""

    name: str
    relation: Relation
    columns: Columns
    target: Relation
    target_columns: Columns
    is_unique: bool

    @property
    def is_self(self) -> bool:
        return self.relation == self.target


class ForeignKeys:
    """The foreign keys of a database.

    Args:
        relations: The tables with keys, and the views.
        constraints: The primary and foreign keys.
        views: The columns of the views, by their oid.
    """

    def __init__(
        self,
        relations: Iterable[Relation],
        constraints: Iterable[Constraint],
        views: Mapping[int, Sequence[ViewColumn]],
    ) -> None:
        self._relations = {relation.oid: relation for relation in relations}
        self._views = views
        keys = [key for key in constraints if key.relation in self._relations]
        self._view_columns = self._columns_of_views()
        self._primary_keys = self._keys(keys)
        references = [key for key in keys if key.type == "f" and key.target in self._relations and not key.is_inherited]
        self._references = [reference for key in references for reference in self._referring(key)]
        self._relationships = list(self._all())

    def relationships(self, origin: str) -> list[Relationship]:
        """Return the relationships of a table or view of the exposed schema."""
        return [found for found in self._relationships if found.origin == origin]

    def related(self) -> list[tuple[str, str]]:
        """Return the names of all tables and views that are related."""
        return [(found.origin, found.target) for found in self._relationships]

    def primary_key(self, name: str) -> set[str]:
        """Return the columns of the primary key of a table or view of the exposed schema."""
        return {
            column
            for oid, columns in self._primary_keys.items()
            for column in columns
            if (self._relations[oid].schema, self._relations[oid].name) == (SCHEMA, name)
        }

    def _all(self) -> Iterator[Relationship]:
        for reference in self._references:
            if reference.relation.schema == reference.target.schema == SCHEMA:
                yield _relationship(reference, is_inverse=False)
                yield _relationship(reference, is_inverse=True)
        by_relation = defaultdict(list)
        for reference in self._references:
            if not reference.is_unique and reference.relation.schema == SCHEMA:
                by_relation[reference.relation.oid].append(reference)
        for oid, references in by_relation.items():
            for one, other in itertools.permutations(references, 2):
                both = {*one.columns, *other.columns}
                if one.name != other.name and both <= {*self._primary_keys.get(oid, ())}:
                    yield from _many_to_many(one, other)

    def _columns_of_views(self) -> dict[int, dict[tuple[int, int], list[str]]]:
        """Return the columns of each view by what they refer to, also through other views."""
        direct = self._views
        found: dict[int, dict[tuple[int, int], list[str]]] = {}
        for oid, view in self._relations.items():
            if oid not in direct or view.schema != SCHEMA:
                continue
            columns = found[oid] = defaultdict(list)
            for column in direct[oid]:
                name = view.columns.get(str(column.number))
                table, number = column.table, column.column
                seen: set[tuple[int, int]] = set()
                while name is not None and (table, number) not in seen:
                    seen.add((table, number))
                    columns[table, number].append(name)
                    inner = [one for one in direct.get(table, ()) if one.number == number]
                    if inner:
                        table, number = inner[0].table, inner[0].column
        return found

    def _keys(self, constraints: Sequence[Constraint]) -> dict[int, Columns]:
        """Return the columns of the primary keys of tables and views."""
        found: dict[int, Columns] = {}
        for key in constraints:
            if key.type == "p":
                found[key.relation] = found.get(key.relation, ()) + _names(self._relations[key.relation], key.key)
                for view, columns in self._views_of(key.relation, key.key):
                    found[view.oid] = found.get(view.oid, ()) + columns[0]
        return found

    def _views_of(self, relation: int, key: Sequence[int]) -> Iterator[tuple[Relation, list[Columns]]]:
        """Yield the views that have all columns of a key, with the ways in which they have them."""
        for oid, columns in self._view_columns.items():
            ways = [columns.get((relation, number), []) for number in key]
            if all(ways):
                yield self._relations[oid], list(itertools.product(*ways))

    def _referring(self, key: Constraint) -> Iterator[_Reference]:
        """Yield a foreign key, and those that views have by it."""
        relation, target = self._relations[key.relation], self._relations[key.target]
        ours = [(relation, [_names(relation, key.key)]), *self._views_of(key.relation, key.key)]
        theirs = [(target, [_names(target, key.target_key)]), *self._views_of(key.target, key.target_key)]
        for (one, ways), (other, other_ways) in itertools.product(ours, theirs):
            for columns, target_columns in itertools.product(ways, other_ways):
                yield _Reference(key.name, one, columns, other, target_columns, key.is_unique)


def _names(relation: Relation, key: Sequence[int]) -> Columns:
    return tuple(relation.columns[str(number)] for number in key)


def _pairs(ours: Columns, theirs: Columns) -> list[list[str]]:
    return [[one, other] for one, other in zip(ours, theirs, strict=True)]


def _relationship(reference: _Reference, *, is_inverse: bool) -> Relationship:
    ends = [(reference.relation, reference.columns), (reference.target, reference.target_columns)]
    (origin, ours), (target, theirs) = reversed(ends) if is_inverse else ends
    cardinality = Cardinality.ONE_TO_MANY if is_inverse else Cardinality.MANY_TO_ONE
    return Relationship(
        origin=origin.name,
        target=target.name,
        is_self=reference.is_self,
        cardinality=Cardinality.ONE_TO_ONE if reference.is_unique else cardinality,
        constraint=[reference.name],
        columns=_pairs(ours, theirs),
        is_target_view=target.is_view,
    )


def _many_to_many(one: _Reference, other: _Reference) -> Iterator[Relationship]:
    if one.target.schema == other.target.schema == SCHEMA:
        yield Relationship(
            origin=one.target.name,
            target=other.target.name,
            is_self=one.target == other.target,
            cardinality=Cardinality.MANY_TO_MANY,
            constraint=[one.relation.name, one.name, other.name],
            columns=_pairs(one.target_columns, one.columns),
            target_columns=_pairs(other.target_columns, other.columns),
            is_target_view=other.target.is_view,
        )


PREPARE = """
prepare pgrst_foreign_keys as
with used as (
    select unnest(array[conrelid, confrelid]) as oid
    from pg_constraint where contype in ('p', 'f') and connamespace <> 'pg_catalog'::regnamespace
    union
    select c.oid from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('v', 'm') and n.nspname in ('public', 'extensions')
), relations as (
    select c.oid::bigint as oid, n.nspname as schema, c.relname as name, c.relkind in ('v', 'm') as is_view,
        (
            select json_object_agg(a.attnum, a.attname order by a.attnum) from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        ) as columns,
        md5(r.ev_action::text) as definition
    from used
    join pg_class c using (oid)
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN' and c.relkind in ('v', 'm')
), constraints as (
    select k.oid, k.contype as type, k.conname as name, k.conrelid::bigint as relation, k.conkey as key,
        k.confrelid::bigint as target, coalesce(k.confkey, '{}') as target_key, k.conparentid <> 0 as is_inherited,
        exists (
            select from pg_constraint u
            where u.conrelid = k.conrelid and u.contype in ('p', 'u')
                and u.conkey @> k.conkey and k.conkey @> u.conkey
        ) as is_unique
    from pg_constraint k
    where k.contype in ('p', 'f') and k.connamespace <> 'pg_catalog'::regnamespace
)
select
    (select json_agg(r order by r.oid)::text from relations r),
    (select json_agg(to_jsonb(k) - 'oid' order by k.oid)::text from constraints k);

prepare pgrst_definitions as
select r.ev_class::bigint, r.ev_action::text
from pg_rewrite r
where r.ev_class = any ($1::bigint[]) and r.rulename = '_RETURN';

prepare pgrst_computed as
select p.proname::text
from pg_proc p
join pg_class o on o.reltype = p.proargtypes[0] and o.relnamespace = 'public'::regnamespace and o.relname = $1
join pg_class t on t.reltype = p.prorettype
where p.pronargs = 1 and p.pronamespace = 'public'::regnamespace;

prepare pgrst_represented as
select exists (
    select from pg_attribute a
    join pg_type t on t.oid = a.atttypid and t.typtype = 'd'
    join pg_cast x on x.castcontext = 'i' and x.castmethod = 'f'
        and ((x.castsource = t.oid and x.casttarget in ('json'::regtype, 'text'::regtype))
            or (x.casttarget = t.oid and x.castsource in ('json'::regtype, 'text'::regtype)))
    join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'public'::regnamespace and c.relname = any ($1::text[]) and a.attnum > 0
        and not a.attisdropped
);
"""
