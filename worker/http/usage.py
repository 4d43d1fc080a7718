"""What was sent through each exit to each site, by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeAlias

from worker.http.exits import Exit

Meter: TypeAlias = Callable[[Exit, int, int], None]
"""Takes the exit, a number of requests and the bytes of their answers."""


def ignore(via: Exit, requests: int, size: int) -> None:
    """Count nothing."""


@dataclass(slots=True)
class Sent:
    """What was sent through one exit to one site.

    Attributes:
        requests: Requests, also those without an answer.
        refused: How often a search left the exit.
        size: Bytes of the bodies of the answers, decompressed.
    """

    requests: int = 0
    refused: int = 0
    size: int = 0


Where: TypeAlias = tuple[date, str, Exit]
"""A day (UTC), a site and an exit."""


class Usage:
    """Counts the requests of a process."""

    def __init__(self) -> None:
        self._sent: defaultdict[Where, Sent] = defaultdict(Sent)
        self._unreported: set[Where] = set()

    def add(self, site: str, via: Exit, requests: int, size: int) -> None:
        """Count requests and the bytes of their answers."""
        sent = self._of(site, via)
        sent.requests += requests
        sent.size += size

    def add_refusal(self, site: str, via: Exit) -> None:
        """Count that a search left an exit."""
        self._of(site, via).refused += 1

    def take(self) -> dict[Where, Sent]:
        """Return the totals that have changed since the last call."""
        changed = {where: self._sent[where] for where in self._unreported}
        self._unreported.clear()
        today = _today()
        for where in [where for where in self._sent if where[0] < today]:
            del self._sent[where]
        return changed

    def put_back(self, sent: dict[Where, Sent]) -> None:
        """Let totals be reported again, with what was added since."""
        for where, total in sent.items():
            self._sent.setdefault(where, total)
        self._unreported.update(sent)

    def _of(self, site: str, via: Exit) -> Sent:
        where = _today(), site, via
        self._unreported.add(where)
        return self._sent[where]


def _today() -> date:
    return datetime.now(UTC).date()
