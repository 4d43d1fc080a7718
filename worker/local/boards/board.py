"""What a played board is: a few hosts and their answers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from worker.local.boards.listings import Listing
from worker.local.boards.messages import Request, Response
from worker.local.boards.search import Search


class Board(ABC):
    """One job board, as far as JobSpy's scraper for it goes.

    Args:
        listings: What the board lists.
        now: The time by which the age of a listing is told.

    Attributes:
        site: JobSpy's name of the board.
        hosts: The hosts that it answers for.
        renamed: Names in its answers and what they become when the schema drifts.
    """

    site: ClassVar[str]
    hosts: ClassVar[frozenset[str]]
    renamed: ClassVar[Mapping[str, str]]

    def __init__(self, listings: Sequence[Listing], now: datetime) -> None:
        self.now = now
        self._listings = listings
        self._by_id = {listing.id: listing for listing in listings}

    @abstractmethod
    def page(self, request: Request) -> int | None:
        """Return the number of the search page asked for, from 1; `None` if it is none."""

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Answer a request."""

    def captcha(self) -> Response:
        """Answer with what the board shows to those whom it takes for robots."""
        return Response.html(
            "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><main>"
            "<h1>Verify you are human</h1><p>Complete the check below to go on.</p>"
            '<form id="challenge-form" method="post"><input type="hidden" name="token" value="x"></form>'
            "</main></body></html>"
        )

    def drifted(self, response: Response) -> Response:
        """Return an answer as it would be after the board has renamed a part of it."""
        body = response.body.decode()
        for name, new_name in self.renamed.items():
            body = body.replace(name, new_name)
        return Response(response.status, response.content_type, body.encode(), response.headers)

    def _find(self, search: Search) -> list[Listing]:
        return search.run(self._listings, self.now)


def json_ld(value: Mapping[str, object]) -> str:
    """Return a script element with linked data, safe to stand in HTML."""
    text = json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/ld+json">{text}</script>'
