"""The base of the played applicant tracking systems: one board for each company, with all of its jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import Company, Listing


class CompanyBoard(Board):
    """A site with one board for each company. The name of a board is the `slug` of its company.

    Attributes:
        path: Pattern of a board's path. Its group `board` is the name.
    """

    path: ClassVar[re.Pattern[str]]

    def page(self, request: Request) -> int | None:
        """Return 1 for a board: it has one page."""
        return 1 if self.path.fullmatch(request.path) else None

    def answer(self, request: Request) -> Response:
        """Answer with a board, or with 404 if no company has it."""
        asked = self.path.fullmatch(request.path)
        listed = [
            listing for listing in self._find(Search(newest_first=True)) if asked and _is_on(asked["board"], listing)
        ]
        company = listed[0].vacancy.company if listed else None
        # `Board.empty` makes a site without any listings: its companies exist, but have no jobs.
        if asked is None or (self._listings and (company is None or not self.has(company, request))):
            return Response.json({"ok": False, "error": "not found"}, HTTPStatus.NOT_FOUND)
        return self.board(asked["board"], listed, request)

    def has(self, company: Company, request: Request) -> bool:  # noqa: ARG002
        """Return whether the board of a company is at the requested host."""
        return True

    def board(self, name: str, listed: Sequence[Listing], request: Request) -> Response:
        """Answer with the listings of a company, newest first."""
        raise NotImplementedError


def _is_on(board: str, listing: Listing) -> bool:
    company = listing.vacancy.company
    return company is not None and company.slug == board


def location_of(listing: Listing) -> str:
    """Return the place of a job, as employers write it: `Lyon, France`, `Remote - France`, `Remote`."""
    vacancy = listing.vacancy
    parts = (listing.city, vacancy.country.name) if vacancy.place else ()
    place = ", ".join(part for part in parts if part)
    if vacancy.workplace == "remote":
        return f"Remote - {place}" if place else "Remote"
    return place
