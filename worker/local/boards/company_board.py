"""What the played applicant tracking systems share: a board of each company, with all of its jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from worker.local.boards.board import Board
from worker.local.boards.listings import Company, Listing
from worker.local.boards.messages import Request, Response
from worker.local.boards.search import Search


class CompanyBoard(Board):
    """A site with a board of each company. A company's board has its `slug` for a name.

    Attributes:
        path: The path of a board, with the group `board`.
    """

    path: ClassVar[re.Pattern[str]]

    def page(self, request: Request) -> int | None:
        """Return 1 for a board: it has one page."""
        return 1 if self.path.fullmatch(request.path) else None

    def answer(self, request: Request) -> Response:
        """Answer with a board. One that no company has is a 404."""
        asked = self.path.fullmatch(request.path)
        listed = [
            listing for listing in self._find(Search(newest_first=True)) if asked and _is_on(asked["board"], listing)
        ]
        company = listed[0].vacancy.company if listed else None
        # A site that lists nothing at all is one that was made to forget its jobs, not its companies.
        if asked is None or (self._listings and (company is None or not self.has(company, request))):
            return Response.json({"ok": False, "error": "not found"}, HTTPStatus.NOT_FOUND)
        return self.board(asked["board"], listed, request)

    def has(self, company: Company, request: Request) -> bool:  # noqa: ARG002
        """Tell whether the company's board is at the host that was asked."""
        return True

    def board(self, name: str, listed: Sequence[Listing], request: Request) -> Response:
        """Answer with what a company lists, newest first."""
        raise NotImplementedError


def _is_on(board: str, listing: Listing) -> bool:
    company = listing.vacancy.company
    return company is not None and company.slug == board


def location_of(listing: Listing) -> str:
    """Return where a job is, as employers write it: `Lyon, France`, `Remote - France`, `Remote`."""
    vacancy = listing.vacancy
    parts = (listing.city, vacancy.country.name) if vacancy.place else ()
    place = ", ".join(part for part in parts if part)
    if vacancy.workplace == "remote":
        return f"Remote - {place}" if place else "Remote"
    return place
