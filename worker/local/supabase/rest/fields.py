"""What selects, filters and orders refer to: a column, or a value within the JSON of a column."""

from __future__ import annotations

import re
from dataclasses import dataclass

from worker.local.supabase.rest.scanner import Scanner

_ARROW = re.compile(r"->(>?)")
# PostgREST reads `->0` as an index only before one of these. Before anything else, `0` is a key.
_INDEX = re.compile(r"(-?)([0-9]+)(?=->|::|[.,]|\Z)")


@dataclass(frozen=True, slots=True)
class Step:
    """A step into JSON.

    Attributes:
        is_text: Whether it gives text (`->>`), not JSON (`->`).
        is_index: Whether `operand` is the index of an array, not the key of an object.
        operand: The key. An index has a sign.
    """

    is_text: bool
    is_index: bool
    operand: str


@dataclass(frozen=True, slots=True)
class Field:
    """A column, with the path into its JSON. Without a path, the whole column. `*` stands for all columns."""

    name: str
    path: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """Its key in a row: the last key of the path, or the name of the column."""
        return next((step.operand for step in reversed(self.path) if not step.is_index), self.name)


def parse_field(scanner: Scanner) -> Field:
    """Read a name and the path after it, such as `data->by->>name` or `data->isbn->0`."""
    return Field(scanner.name(), parse_path(scanner))


def parse_path(scanner: Scanner) -> tuple[Step, ...]:
    """Read a path. Empty if there is none here."""
    steps = []
    while arrow := scanner.match(_ARROW):
        index = scanner.match(_INDEX)
        operand = scanner.key() if index is None else f"{index[1] or '+'}{index[2]}"
        steps.append(Step(arrow[1] == ">", index is not None, operand))
    return tuple(steps)
