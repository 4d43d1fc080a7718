"""The exits of one search: which one it uses, and what happens if a site refuses it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

from worker.database.answers import Granted
from worker.database.queue import Queue
from worker.errors import ErrorCode, ExitError, SiteError
from worker.http import Exit
from worker.http.exits import DIRECT
from worker.http.usage import Usage
from worker.model import Lease, RunSite

logger = logging.getLogger(__name__)

MAX_EXITS_A_PAGE = 5
"""Exits through which a page is asked again. Then its site fails, and is retried as after any other failure."""

EXIT_FAILED = "exit_failed"
_REFUSALS = (ErrorCode.BLOCKED, ErrorCode.RATE_LIMITED)


class LeftExits:
    """The exits that searches of this process have left, so that requests that wait for their time do not use them."""

    def __init__(self) -> None:
        self._left_at: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, site: str, via: Exit) -> None:
        """Note that a site refused an exit just now."""
        self._left_at[site, via.name] = asyncio.get_running_loop().time()

    def has_since(self, site: str, via: Exit, since: float) -> bool:
        """Whether a site refused an exit after a time of the event loop's clock."""
        return self._left_at[site, via.name] > since


class Route:
    """The exits of one search of a site.

    Args:
        queue: The queue, which chooses the exit.
        lease: The right to write to the run.
        site: The site.
        exits: The exits through which this worker may search the site; at least one.
        left: The exits that searches of this process have left.
        usage: Counts the refusals.
        counts_by_exit: Whether the site knows this worker by its address. Otherwise it knows a key or an account, and
            another exit changes nothing, unless the exit itself fails.

    Attributes:
        site: The site.
        current: The exit that the search uses.
        offered: The exits that the database chooses from; None: it does not distinguish them at this site.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        site: RunSite,
        exits: Sequence[Exit],
        *,
        left: LeftExits,
        usage: Usage,
        counts_by_exit: bool,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self.site = site
        self._exits = {each.name: each for each in exits}
        self._left = left
        self._usage = usage
        self._asked_again = 0
        self.current = exits[0]
        is_distinguished = counts_by_exit and any(each.name != DIRECT for each in exits)
        self.offered = tuple(exits) if is_distinguished else None

    def use(self, granted: Granted) -> None:
        """Use the exit that the database has chosen, if it distinguishes them."""
        if self.offered is not None and granted.exit is not None:
            self.current = self._exits[granted.exit]

    def was_left_since(self, since: float) -> bool:
        """Whether another search of this process has left the current exit since a time of the event loop's clock."""
        return self.offered is not None and self._left.has_since(self.site.site, self.current, since)

    def note_page(self) -> None:
        """Note that the site has answered with a page."""
        self._asked_again = 0

    async def leave(self, error: SiteError) -> None:
        """Use another exit after a failure that says something about the exit, for all searches.

        Raises:
            SiteError: `error`, if another exit would not help, or several have not.
            SiteWaitingError: All exits are paused.
            LeaseLostError: The run was cancelled, or its lease expired.
            QueueError: The database refused the call, or could not be reached in time.
        """
        code = EXIT_FAILED if isinstance(error, ExitError) else str(error.code)
        is_refusal = isinstance(error, ExitError) or (error.code in _REFUSALS and not error.is_final)
        has_others = len(self._exits) > 1 or self.current.rotating
        if not is_refusal or not has_others or self._asked_again == MAX_EXITS_A_PAGE:
            raise error
        self._asked_again += 1
        former = self.current
        self._usage.add_refusal(self.site.site, former)
        if self.offered is not None:
            self._left.add(self.site.site, former)
            granted = await self._queue.leave_exit(
                self._lease, self.site, former, code=code, error=error, exits=self.offered
            )
            self.use(granted)
        elif isinstance(error, ExitError) and len(self._exits) > 1:
            del self._exits[former.name]
            self.current = next(iter(self._exits.values()))
        else:
            raise error
        logger.info(
            "Run %s: %s is asked through exit %s instead of %s: %s: %s",
            self._lease.run_id, self.site.site, self.current.name, former.name, code, error.message,
        )  # fmt: skip
