"""The tree of a request's resources: the table or the function, what is embedded in its rows, and what is in those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.local.supabase.rest.conditions import Filter, Logic
from worker.local.supabase.rest.errors import RestError
from worker.local.supabase.rest.fields import Field
from worker.local.supabase.rest.relationships import Relationship
from worker.local.supabase.rest.select import Embed, Select

Path = tuple[str, ...]
"""The names of embedded resources, from the outermost to the innermost. Empty for the table or the function."""


@dataclass(frozen=True, slots=True)
class Order:
    """An item of the parameter `order`.

    Attributes:
        embed: Name of the embedded resource whose field it is, if it is not that of the resource itself.
    """

    field: Field
    embed: str | None
    direction: str
    nulls: str


@dataclass(slots=True)
class Resource:
    """A resource of a request.

    Attributes:
        embed: How it is embedded. `None` for the table or the function.
        select: What is selected of it.
        embedded: What is embedded in its rows, in the order of their columns.
        relationship: Its relationship to the outer resource, once that is known.
    """

    embed: Embed | None
    select: Select
    embedded: list[Resource]
    conditions: list[Filter | Logic] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    limit: str | None = None
    offset: str | None = None
    relationship: Relationship | None = None

    @classmethod
    def of_select(cls, select: Select, embed: Embed | None = None) -> Resource:
        """Return the tree of what is selected, without conditions."""
        return cls(embed, select, [cls.of_select(inner.select, inner) for inner in select.embeds])

    def find(self, path: Path) -> Resource:
        """Return an embedded resource. PostgREST moves what it finds to the front, so its column comes first.

        Raises:
            RestError: There is none (PGRST108).
        """
        if not path:
            return self
        name, *rest = path
        for place, inner in enumerate(self.embedded):
            if inner.embed is not None and name in (inner.embed.target, inner.embed.alias):
                found = inner.find(tuple(rest))
                self.embedded.insert(0, self.embedded.pop(place))
                return found
        raise not_embedded(name)

    def all(self) -> Iterator[Resource]:
        """Yield it and all that are embedded in it, the outer before the inner."""
        yield self
        for inner in self.embedded:
            yield from inner.all()

    @property
    def needs_types(self) -> bool:
        """Whether its SQL depends on the types of columns: it reads within JSON, or searches text."""
        filters = [*_filters(self.conditions)]
        columns = [column.field for column in self.select.columns]
        fields = [*columns, *(order.field for order in self.order), *(one.field for one in filters)]
        return any(field.path for field in fields) or any(one.is_text_search for one in filters)


def _filters(conditions: list[Filter | Logic]) -> Iterator[Filter]:
    for condition in conditions:
        if isinstance(condition, Filter):
            yield condition
        else:
            yield from _filters(condition.conditions)


def not_embedded(name: str) -> RestError:
    """Return the error that no resource of this name is embedded (PGRST108)."""
    return RestError(
        400,
        "PGRST108",
        f"'{name}' is not an embedded resource in this request",
        hint=f"Verify that '{name}' is included in the 'select' query parameter.",
    )
