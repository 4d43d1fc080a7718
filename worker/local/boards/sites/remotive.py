"""Remotive's API: all of its remote jobs in one answer, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval

_PATH = "/api/remote-jobs"
_JOB_TYPES = {
    JobType.FULL_TIME: "full_time",
    JobType.PART_TIME: "part_time",
    JobType.CONTRACT: "contract",
    JobType.INTERNSHIP: "internship",
}


class Remotive(Board):
    """remotive.com."""

    site = "remotive"
    hosts = frozenset({"remotive.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"title":': '"name":'}

    def page(self, request: Request) -> int | None:
        """Return 1 for the board, which has one page."""
        return 1 if request.path == _PATH else None

    def answer(self, request: Request) -> Response:
        """Answer with all jobs."""
        if request.path != _PATH:
            return Response.json({"error": "not found"}, HTTPStatus.NOT_FOUND)
        jobs = [_job(listing) for listing in self._find(Search(newest_first=True))]
        return Response.json(
            {
                "0-legal-notice": "Link back to the job at Remotive, and name Remotive as the source.",
                "job-count": len(jobs),
                "total-job-count": len(jobs),
                "jobs": jobs,
            }
        )


def _job(listing: Listing) -> dict[str, Any]:
    vacancy = listing.vacancy
    category = vacancy.field.name.lower().replace(" ", "-")
    return {
        "id": int(listing.id),
        "url": f"https://remotive.com/remote-jobs/{category}/{listing.slug}",
        "title": listing.title,
        "company_name": listing.company or "",
        "company_logo": f"https://remotive.com/job/{listing.id}/logo",
        "category": vacancy.field.name,
        "tags": list(vacancy.skills),
        "job_type": _JOB_TYPES.get(vacancy.job_type, "other"),
        "publication_date": listing.posted.strftime("%Y-%m-%dT%H:%M:%S"),
        "candidate_required_location": vacancy.country.name if listing.place else "Worldwide",
        "salary": _salary(listing.pay),
        "description": listing.description or "",
    }


def _salary(pay: Pay | None) -> str:
    """Return yearly pay in dollars, as most of the board's texts do. Other pay is left out."""
    if pay is None or pay.currency != "USD" or pay.interval is not PayInterval.YEAR:
        return ""
    return f"${pay.minimum:,.0f}" + (f" - ${pay.maximum:,.0f}" if pay.maximum and pay.maximum > pay.minimum else "")
