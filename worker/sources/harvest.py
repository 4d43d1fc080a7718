"""What a search takes from the pages of a board: each job once, those that are asked for, and as many as are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.model import Item, Json


class Harvest:
    """The jobs that one search has found so far.

    Args:
        parse: Turns a record into an item, as `Source.parse` does.
        is_asked_for: Whether the search asks for an item.
        wanted: How many are wanted.
        found_ids: The site's ids of those that were found before the search went on: pages may repeat them.

    Attributes:
        found_ids: The ids of all that were found, with those.
        read: How many records the last page had.
        has_news: Whether the last page had a job that no page before it had.
        drift: Why the last page counts as none of the board's, if it does: the board may have changed.
    """

    def __init__(
        self,
        parse: Callable[[Json], Item],
        is_asked_for: Callable[[Item], bool],
        wanted: int,
        found_ids: Iterable[str] = (),
    ) -> None:
        self._parse = parse
        self._is_asked_for = is_asked_for
        self._wanted = wanted
        self.found_ids = [*found_ids]
        self._seen = {*self.found_ids}
        self.read = 0
        self.has_news = False
        self.drift: SiteError | None = None

    @property
    def found(self) -> int:
        """How many were found."""
        return len(self.found_ids)

    @property
    def is_complete(self) -> bool:
        """Whether there are as many as are wanted."""
        return self.found >= self._wanted

    def pick(self, records: Sequence[Json] | None) -> list[Json]:
        """Return what to keep of a page, in its order: with the records that cannot be read, so that this is seen.

        Args:
            records: Those of the page; None if it has no list of them.
        """
        picked: list[Json] = []
        unreadable: list[InvalidItemError] = []
        self.has_news = False
        self.read = len(records or ())
        for record in records or ():
            try:
                item = self._parse(record)
            except InvalidItemError as error:
                unreadable.append(error)
                picked.append(record)
                continue
            if item.external_id in self._seen:
                continue
            self._seen.add(item.external_id)
            self.has_news = True
            if not self.is_complete and self._is_asked_for(item):
                self.found_ids.append(item.external_id)
                picked.append(record)
        self.drift = _drift(records, unreadable)
        return picked


def _drift(records: Sequence[Json] | None, unreadable: Sequence[InvalidItemError]) -> SiteError | None:
    if records is None:
        return SiteError(ErrorCode.UNVERIFIED, "the answer has no list of jobs; the site may have changed")
    if not records or len(unreadable) < len(records):
        return None
    reason = f"{unreadable[0].field or 'the first one'} {unreadable[0]}"
    return SiteError(
        ErrorCode.UNVERIFIED, f"none of {len(records)} jobs can be read; the site may have changed: {reason}"
    )
