"""A relationship between two tables or views, and the one that an embed refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.select import Embed


class Cardinality(StrEnum):
    """The cardinality of a relationship, with PostgREST's names."""

    ONE_TO_MANY = "one-to-many"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_ONE = "one-to-one"
    MANY_TO_MANY = "many-to-many"
    COMPUTED = "computed"


@dataclass(frozen=True, slots=True)
class Relationship:
    """A foreign key, seen from one of its ends, or two foreign keys of a junction table.

    Attributes:
        origin: The table at this end.
        target: The table at the other end. For a computed relationship, the function.
        constraint: Name of the foreign key. For a junction table, its name and those of its two foreign keys.
        columns: Pairs of columns that are equal, of this end and of the target. For a junction table, the pairs of
            this end and of that table.
        is_target_view: Whether the target is a view.
        target_columns: For a junction table, the pairs of the target and of that table.
    """

    origin: str
    target: str
    is_self: bool
    cardinality: Cardinality
    constraint: list[str]
    columns: list[list[str]]
    is_target_view: bool
    target_columns: list[list[str]] = field(default_factory=list)

    @classmethod
    def computed(cls, origin: str, function: str) -> Relationship:
        """Return the relationship that a function computes."""
        return cls(origin, function, False, Cardinality.COMPUTED, [function], [], False)

    @property
    def is_to_one(self) -> bool:
        """Whether the other end has at most one row."""
        return self.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE)

    @property
    def junction(self) -> str | None:
        """The junction table. `None` for a single foreign key."""
        return self.constraint[0] if self.cardinality is Cardinality.MANY_TO_MANY else None

    @property
    def is_by_key(self) -> bool:
        """Whether it is a single foreign key."""
        return self.cardinality not in (Cardinality.MANY_TO_MANY, Cardinality.COMPUTED)

    def matches(self, target: str, hint: str | None) -> bool:
        """Return whether an embed with this target and hint refers to it, by the rules of PostgREST."""
        if self.cardinality is Cardinality.COMPUTED:
            return target == self.target
        column, target_column = self._single_columns()
        if self.is_self and hint is None:
            return (target == self.target and self.cardinality is Cardinality.ONE_TO_MANY) or (
                target == column and self.cardinality is Cardinality.MANY_TO_ONE
            )
        if self.is_self:
            return target == self.target and self.cardinality is Cardinality.ONE_TO_MANY and hint == target_column
        if hint is None:
            is_by_key = self.is_by_key and not self.is_target_view
            return target == self.target or (is_by_key and target in (self.constraint[0], column))
        return target == self.target and (
            hint == self.constraint[0] or (self.is_by_key and hint in (column, target_column))
        )

    def _single_columns(self) -> tuple[str | None, str | None]:
        if self.is_by_key and len(self.columns) == 1:
            return self.columns[0][0], self.columns[0][1]
        return None, None

    def description(self) -> dict[str, str]:
        """Return its description in the error PGRST201."""
        ours, theirs = ([pair[side] for pair in self.columns] for side in (0, 1))
        if self.cardinality is Cardinality.MANY_TO_MANY:
            others = [pair[1] for pair in self.target_columns]
            table, first, second = self.constraint
            words = f"{table} using {first}({', '.join(theirs)}) and {second}({', '.join(others)})"
        else:
            ends = f"{self.origin}({', '.join(ours)}) and {self.target}({', '.join(theirs)})"
            words = f"{self.constraint[0]} using {ends}"
        return {
            "cardinality": self.cardinality,
            "embedding": f"{self.origin} with {self.target}",
            "relationship": words,
        }


def choose_relationship(found: Sequence[Relationship], origin: str, embed: Embed) -> Relationship | None:
    """Return the relationship that an embed refers to. `None` if there is none.

    Raises:
        RestError: There is more than one (PGRST201), or the local stack does not support its cardinality.
    """
    matching = [relationship for relationship in found if relationship.matches(embed.target, embed.hint)]
    if not matching:
        return None
    if len(matching) > 1:
        target = embed.target
        message = f"Could not embed because more than one relationship was found for '{origin}' and '{target}'"
        hints = ", ".join(f"'{relationship.target}!{relationship.constraint[0]}'" for relationship in matching)
        raise RestError(
            300,
            "PGRST201",
            message,
            details=[relationship.description() for relationship in matching],
            hint=f"Try changing '{target}' to one of the following: {hints}. "
            "Find the desired relationship in the 'details' key.",
        )
    if matching[0].cardinality is Cardinality.COMPUTED:
        raise unsupported("computed relationships")
    return matching[0]


_ORDER = {cardinality: place for place, cardinality in enumerate(Cardinality)}


def in_order(found: Sequence[Relationship]) -> list[Relationship]:
    """Return relationships in the order in which PostgREST lists them."""
    return sorted(
        found,
        key=lambda one: (
            one.cardinality is Cardinality.COMPUTED,
            one.target,
            one.is_self,
            _ORDER[one.cardinality],
            one.constraint,
            one.columns,
        ),
    )
