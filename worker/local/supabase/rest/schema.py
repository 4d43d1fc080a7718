"""The tables and functions of schema `public`, and which of the functions of one name takes given arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from worker.local.supabase.rest.errors import RestError, unsupported


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view.

    Attributes:
        types: Types of the columns by name, as in a column list.
        has_representations: Whether the domain of a column has an implicit cast, which PostgREST would apply.
    """

    name: str
    is_view: bool
    has_representations: bool
    types: dict[str, str]
    primary_key: list[str]


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Attributes:
        optional_arguments: How many of its arguments have a default. They are the last ones.
        is_volatile: Whether it may change something. Otherwise it is called in a read-only transaction.
        returns_composite: Whether it returns rows with columns, not plain values.
        returned_type: Name of the type of these rows: that of a table, or `record`.
        unsupported_feature: A feature of it that the local stack does not support, if any.
    """

    name: str
    argument_names: list[str]
    argument_types: list[str]
    optional_arguments: int
    is_volatile: bool
    returns_set: bool
    returns_void: bool
    returns_composite: bool
    returned_type: str
    unsupported_feature: str | None

    @property
    def types(self) -> dict[str, str]:
        """Types of the arguments, by name."""
        return dict(zip(self.argument_names, self.argument_types, strict=True))

    @property
    def label(self) -> str:
        """Alias of its rows in a statement."""
        return self.returned_type if self.returns_composite else self.name

    @property
    def takes_a_body(self) -> bool:
        """Whether its only argument has no name, and takes the whole body."""
        return self.argument_names == [""]

    def accepts(self, arguments: set[str]) -> bool:
        """Return whether it can be called with exactly these named arguments."""
        required = self.argument_names[: len(self.argument_names) - self.optional_arguments]
        return arguments.issuperset(required) and arguments.issubset(self.argument_names)

    def __str__(self) -> str:
        return f"public.{self.name}({', '.join(f'{name} => {type_}' for name, type_ in self.types.items())})"


@dataclass(frozen=True, slots=True)
class ColumnTypes:
    """What a request has to know of the types of columns.

    Attributes:
        known: The types of columns, by table and column. Of a domain, that which it is based on, if that matters.
    """

    known: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def is_json(self, table: str, column: str) -> bool:
        """Return whether a column is JSON. Of what is no table, nothing is known."""
        return self.known.get((table, column)) in ("json", "jsonb")

    def needs_vector(self, table: str, column: str) -> bool:
        """Return whether PostgREST converts a column by `to_tsvector` to search it. Only a known one that is none."""
        return self.known.get((table, column), "tsvector") != "tsvector"


def choose_function(found: Sequence[Function], arguments: set[str], *, is_post: bool) -> Function | None:
    """Return the function that takes these arguments, among those of one name. `None` if there is none.

    Raises:
        RestError: There is more than one (PGRST203), or the local stack does not support it.
    """
    accepting = [function for function in found if function.accepts(arguments)]
    if not accepting and is_post and any(function.takes_a_body for function in found):
        raise unsupported("functions with a single unnamed parameter")
    if not accepting:
        return None
    if len(accepting) > 1:
        message = f"Could not choose the best candidate function between: {', '.join(map(str, accepting))}"
        hint = (
            "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
        )
        raise RestError(300, "PGRST203", message, hint=hint)
    if accepting[0].unsupported_feature:
        raise unsupported(accepting[0].unsupported_feature)
    return accepting[0]


# A type modifier of -1 makes format_type write `bpchar` and `"bit"`, where `character` and `bit` would be of length 1.
PREPARE = """
prepare pgrst_table as
select c.relname::text as name, c.relkind in ('v', 'm') as is_view,
    bool_or(t.typtype = 'd' and exists (
        select from pg_cast x
        where x.castcontext = 'i' and x.castmethod = 'f'
            and ((x.castsource = t.oid and x.casttarget in ('json'::regtype, 'text'::regtype))
                or (x.casttarget = t.oid and x.castsource in ('json'::regtype, 'text'::regtype)))
    )) as has_representations,
    json_object_agg(a.attname, format_type(a.atttypid, -1)) as types,
    coalesce(array_agg(a.attname::text order by a.attname) filter (where a.attnum = any (k.conkey)), '{}')
        as primary_key
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p') and not c.relispartition
    and c.relname = $1
group by c.oid;

prepare pgrst_types as
with recursive found as (
    select c.relname::text as table_name, a.attname::text as column_name, t.oid as type, t.typbasetype as base,
        0 as depth
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p')
        and c.relname = any ($1::text[])
    union all
    select f.table_name, f.column_name, t.oid, t.typbasetype, f.depth + 1
    from found f
    join pg_type t on t.oid = f.base
)
select table_name, column_name, type::regtype::text from found
where depth = 0 or type = 'tsvector'::regtype
order by depth;

prepare pgrst_function as
select p.proname as name, i.names as argument_names, i.types as argument_types,
    p.pronargdefaults as optional_arguments, p.provolatile = 'v' as is_volatile, p.proretset as returns_set,
    p.prorettype = 'void'::regtype as returns_void, coalesce(c.relname, t.typname) as returned_type,
    t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false) as returns_composite,
    case
        when p.provariadic > 0 then 'variadic functions'
        when p.proconfig::text ~ '(statement_timeout|plan_filter.statement_cost_limit|default_transaction_isolation)='
            then 'functions that set statement_timeout or default_transaction_isolation'
    end as unsupported_feature
from pg_proc p
join pg_type r on r.oid = p.prorettype
join pg_type t on t.oid = case when r.typtype = 'd' then r.typbasetype else r.oid end
left join pg_class c on c.oid = t.typrelid
cross join lateral (
    select
        coalesce(array_agg(coalesce(a.name, '') order by a.place), '{}'),
        coalesce(array_agg(format_type(a.type, -1) order by a.place), '{}')
    from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes::text[])
        with ordinality as a (type, name, mode, place)
    where a.mode is null or a.mode in ('i', 'b', 'v')
) as i (names, types)
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.proname = $1
    and p.prorettype <> 'trigger'::regtype
    and (
        not '' = any (i.names)
        or (cardinality(i.names) = 1 and i.types[1] in ('bytea', 'json', 'jsonb', 'text', 'xml'))
    )
order by p.pronargs, obj_description(p.oid, 'pg_proc') nulls first, i.names, i.types;
"""
