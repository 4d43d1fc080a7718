"""Arbeitnow's API: the whole board page by page, newest first. Pages have 50 jobs; the real ones have more."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Workplace

_ADDRESS = "https://www.arbeitnow.com/api/job-board-api"
_PATH = "/api/job-board-api"
_PAGE_SIZE = 50
_JOB_TYPES = {
    JobType.FULL_TIME: ["Full-time permanent"],
    JobType.PART_TIME: ["part time"],
    JobType.CONTRACT: ["Freelance"],
    JobType.TEMPORARY: ["temporary"],
    JobType.INTERNSHIP: ["Internship", "entry-level"],
}


class Arbeitnow(Board):
    """www.arbeitnow.com."""

    site = "arbeitnow"
    hosts = frozenset({"www.arbeitnow.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"slug":': '"id":'}

    def page(self, request: Request) -> int | None:
        """Return the `page` parameter."""
        return request.number("page", 1) if request.path == _PATH else None

    def answer(self, request: Request) -> Response:
        """Answer with a page of the board. A page after the last one is empty."""
        if request.path != _PATH:
            return Response.json({"message": "Not Found"}, HTTPStatus.NOT_FOUND)
        page = request.number("page", 1)
        listings = self._find(Search(newest_first=True))
        shown = listings[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]
        more = page * _PAGE_SIZE < len(listings)
        return Response.json(
            {
                "data": [_job(listing) for listing in shown],
                "links": {
                    "first": f"{_ADDRESS}?page=1",
                    "last": None,
                    "prev": f"{_ADDRESS}?page={page - 1}" if page > 1 else None,
                    "next": f"{_ADDRESS}?page={page + 1}" if more else None,
                },
                "meta": {
                    "current_page": page,
                    "path": _ADDRESS,
                    "per_page": _PAGE_SIZE,
                    "terms": "Free to use; a link back to the site is asked for.",
                    "info": "Ordered by created_at.",
                },
            }
        )


def _job(listing: Listing) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    return {
        "slug": listing.slug,
        "company_name": listing.company or "",
        "title": listing.title,
        "description": listing.description or "",
        "remote": vacancy.workplace is Workplace.REMOTE,
        "url": f"https://www.arbeitnow.com/jobs/companies/{company.slug if company else 'unnamed'}/{listing.slug}",
        "tags": [vacancy.field.name],
        "job_types": _JOB_TYPES.get(vacancy.job_type, []),
        "location": listing.city or (vacancy.country.name if listing.place else ""),
        "created_at": int(listing.posted.timestamp()),
    }
