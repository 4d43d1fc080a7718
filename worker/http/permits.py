"""The right to ask a site, as a search takes it."""

from __future__ import annotations

from typing import Protocol

from worker.model import Observed


class Permits(Protocol):
    """What a search asks before it asks its site."""

    async def take(self, bucket: str | None = None, requests: int = 1) -> None:
        """Wait until so many requests may be sent, if that is soon.

        Args:
            bucket: One of the source's `limits`; None: the site's own.
            requests: How many requests.

        Raises:
            SiteWaitingError: It is not soon.
            SiteError: It is later than a run waits.
        """
        ...

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Pass on what the site tells of its limits, for all workers to keep to."""
        ...
