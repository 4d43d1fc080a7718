"""What a REST request has to know of schema `public`. It is read for each request, so that it is never out of date.

For that it has to be quick: its queries are prepared on each connection, and sent with what begins the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.local.rest_errors import RestError


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view.

    Attributes:
        types: Type of each column, as it is written in a column list.
    """

    name: str
    types: dict[str, str]
    primary_key: list[str]


@dataclass(frozen=True, slots=True)
class Relationship:
    """A foreign key, seen from one of its ends.

    Attributes:
        columns: Pairs of columns that are equal: of this end, and of `target`.
        is_to_many: Whether rows of `target` refer to this end, and not the other way round.
    """

    target: str
    columns: list[list[str]]
    is_to_many: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Attributes:
        optional_arguments: How many of its arguments, the last ones, have a default.
        returns_composite: Whether it returns rows of columns, rather than plain values.
        returned_table: The table whose rows it returns, if it does.
    """

    name: str
    argument_names: list[str]
    argument_types: list[str]
    optional_arguments: int
    returns_set: bool
    returns_void: bool
    returns_composite: bool
    returned_table: str | None

    @property
    def types(self) -> dict[str, str]:
        """Types of the arguments by name."""
        return dict(zip(self.argument_names, self.argument_types, strict=True))

    def accepts(self, arguments: set[str]) -> bool:
        """Whether it can be called with just these named arguments."""
        required = self.argument_names[: len(self.argument_names) - self.optional_arguments]
        return arguments.issuperset(required) and arguments.issubset(self.argument_names)

    def __str__(self) -> str:
        return f"public.{self.name}({', '.join(f'{name} => {type_}' for name, type_ in self.types.items())})"


def choose_table(found: Sequence[Table], name: str) -> Table:
    """Return the table or view that was found by its `name`.

    Raises:
        RestError: There is none (PGRST205).
    """
    if not found:
        raise RestError(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")
    return found[0]


def choose_function(found: Sequence[Function], name: str, arguments: set[str]) -> Function:
    """Return the one that takes these arguments among the functions that were found by their `name`.

    Raises:
        RestError: There is none (PGRST202), or more than one (PGRST203).
    """
    accepting = [function for function in found if function.accepts(arguments)]
    if not accepting:
        called = f"({', '.join(sorted(arguments))})" if arguments else " without parameters"
        message = f"Could not find the function public.{name}{called} in the schema cache"
        raise RestError(404, "PGRST202", message)
    if len(accepting) > 1:
        message = f"Could not choose the best candidate function between: {', '.join(map(str, accepting))}"
        raise RestError(300, "PGRST203", message)
    return accepting[0]


# A type modifier of -1 makes format_type write `bpchar` and `"bit"`, where `character` and `bit` would be of length 1.
PREPARE = """
prepare pgrst_table as
select c.relname as name, json_object_agg(a.attname, format_type(a.atttypid, -1)) as types,
    coalesce(array_agg(a.attname::text) filter (where a.attnum = any (k.conkey)), '{}') as primary_key
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p') and c.relname = $1
group by c.relname;

prepare pgrst_relationship as
select t.relname as target, side.is_to_many,
    array(
        select array[ours.attname::text, theirs.attname::text]
        from unnest(side.keys, side.target_keys) as pair (key, target_key)
        join pg_attribute ours on ours.attrelid = o.oid and ours.attnum = pair.key
        join pg_attribute theirs on theirs.attrelid = t.oid and theirs.attnum = pair.target_key
    ) as columns
from pg_constraint k
cross join lateral (
    values (k.conrelid, k.conkey, k.confrelid, k.confkey, false), (k.confrelid, k.confkey, k.conrelid, k.conkey, true)
) as side (origin, keys, target, target_keys, is_to_many)
join pg_class o on o.oid = side.origin and o.relnamespace = 'public'::regnamespace
join pg_class t on t.oid = side.target and t.relnamespace = 'public'::regnamespace
where k.contype = 'f' and k.conparentid = 0 and o.relname = $1;

prepare pgrst_function as
select p.proname as name, i.names as argument_names, i.types as argument_types,
    p.pronargdefaults as optional_arguments, p.proretset as returns_set,
    p.prorettype = 'void'::regtype as returns_void, c.relname as returned_table,
    t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false) as returns_composite
from pg_proc p
join pg_type t on t.oid = p.prorettype
left join pg_class c on c.oid = t.typrelid and c.relnamespace = 'public'::regnamespace
cross join lateral (
    select
        coalesce(array_agg(coalesce(a.name, '') order by a.place), '{}'),
        coalesce(array_agg(format_type(a.type, -1) order by a.place), '{}')
    from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes::text[])
        with ordinality as a (type, name, mode, place)
    where a.mode is null or a.mode in ('i', 'b', 'v')
) as i (names, types)
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.proname = $1
order by p.oid
"""
