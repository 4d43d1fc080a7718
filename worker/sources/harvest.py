"""Collects the matching jobs from the pages of a board that has no search of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.model import Item, Json


class Harvest:
    """The jobs that one search has found so far, each once and at most `wanted`.

    Args:
        parse: Turns a record into an item, like `Source.parse`.
        matches: Returns whether an item matches the search.
        wanted: Number of jobs to find.
        found_ids: External ids of the jobs found before the search was resumed. Pages may repeat them.

    Attributes:
        found_ids: External ids of all jobs found.
        read: Number of records on the last page.
        has_news: Whether the last page had a job that no earlier page had.
        drift: The error if no record of the last page is readable: the board's format may have changed. Else None.
    """

    def __init__(
        self,
        parse: Callable[[Json], Item],
        matches: Callable[[Item], bool],
        wanted: int,
        found_ids: Iterable[str] = (),
    ) -> None:
        self._parse = parse
        self._matches = matches
        self._wanted = wanted
        self.found_ids = [*found_ids]
        self._seen = {*self.found_ids}
        self.read = 0
        self.has_news = False
        self.drift: SiteError | None = None

    @property
    def found(self) -> int:
        """Number of jobs found."""
        return len(self.found_ids)

    @property
    def is_complete(self) -> bool:
        """Whether enough jobs were found."""
        return self.found >= self._wanted

    def select(self, records: Sequence[Json] | None) -> list[Json]:
        """Return the records to keep of a page, in its order.

        Unreadable records are kept, so that they show up as errors of the page.

        Args:
            records: The records of the page; None if the page has no list of records.
        """
        selected: list[Json] = []
        unreadable: list[InvalidItemError] = []
        self.has_news = False
        self.read = len(records or ())
        for record in records or ():
            try:
                item = self._parse(record)
            except InvalidItemError as error:
                unreadable.append(error)
                selected.append(record)
                continue
            if item.external_id in self._seen:
                continue
            self._seen.add(item.external_id)
            self.has_news = True
            if not self.is_complete and self._matches(item):
                self.found_ids.append(item.external_id)
                selected.append(record)
        self.drift = _drift(records, unreadable)
        return selected


def _drift(records: Sequence[Json] | None, unreadable: Sequence[InvalidItemError]) -> SiteError | None:
    if records is None:
        return SiteError(ErrorCode.UNVERIFIED, "the answer has no list of jobs; the site may have changed")
    if not records or len(unreadable) < len(records):
        return None
    reason = f"{unreadable[0].field or 'the first job'} {unreadable[0]}"
    return SiteError(
        ErrorCode.UNVERIFIED, f"none of {len(records)} jobs can be read; the site may have changed: {reason}"
    )
