"""The cursor of a search over several company boards."""

from __future__ import annotations

import math
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from worker.model import Json


class Position(BaseModel):
    """Position of a search within one board.

    Attributes:
        share: Most jobs that the board may contribute; 0: not started.
        given: Jobs found so far.
        start: Offset of the current response within the board.
        taken: Matching jobs of the current response that were yielded.
        is_done: Whether the board is finished.
    """

    model_config = ConfigDict(frozen=True)

    share: NonNegativeInt = 0
    given: NonNegativeInt = 0
    start: NonNegativeInt = 0
    taken: NonNegativeInt = 0
    is_done: bool = False

    def after(self, count: int) -> Position:
        """Return the position after `count` more jobs of the current response."""
        return self.model_copy(update={"given": self.given + count, "taken": self.taken + count})

    def at_next(self, count: int) -> Position:
        """Return the position of the next response, after a response with `count` jobs."""
        return self.model_copy(update={"start": self.start + count, "taken": 0})

    def done(self) -> Position:
        """Return the position at the end of the board."""
        return self.model_copy(update={"is_done": True})


class Cursor(BaseModel):
    """The cursor of a search over several boards.

    Attributes:
        published_since: Earliest date of publication; None: any. Kept, because `hours_old` counts from the start of the
            search.
        positions: Positions of the boards that were started.
    """

    model_config = ConfigDict(frozen=True)

    published_since: datetime | None = None
    positions: dict[str, Position] = Field(default_factory=dict)

    @classmethod
    def of(cls, cursor: Json) -> Cursor | None:
        """Parse a page's cursor. Return None if there is none or its format is unknown; the search then restarts."""
        try:
            return cls.model_validate(cursor)
        except ValidationError:
            return None

    @property
    def found(self) -> int:
        """Jobs found on all boards."""
        return sum(position.given for position in self.positions.values())

    def at(self, board: str) -> Position:
        """Return the position within a board."""
        return self.positions.get(board, Position())

    def moved(self, board: str, position: Position) -> Cursor:
        """Return the cursor with a new position within a board."""
        return self.model_copy(update={"positions": {**self.positions, board: position}})

    def with_share(self, board: str, results_wanted: int, boards_left: int) -> Cursor:
        """Assign a board its share of the remaining results, if it has none yet."""
        position = self.at(board)
        share = position.share or math.ceil((results_wanted - self.found) / boards_left)
        return self.moved(board, position.model_copy(update={"share": share}))
