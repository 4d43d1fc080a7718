"""Greenhouse's Job Board API: the jobs of a company in one answer, with escaped descriptions."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.company_board import CompanyBoard, location_of
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval, Workplace

_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: "Full-time",
    JobType.PART_TIME: "Part-time",
    JobType.CONTRACT: "Contract",
    JobType.TEMPORARY: "Temporary",
    JobType.INTERNSHIP: "Internship",
    JobType.PER_DIEM: "Per diem",
    JobType.VOLUNTEER: "Volunteer",
}
_WORKPLACES = {Workplace.ON_SITE: "On-site", Workplace.HYBRID: "Hybrid", Workplace.REMOTE: "Remote"}
_PAY_TITLES = {
    PayInterval.HOUR: "Hourly rate",
    PayInterval.DAY: "Daily rate",
    PayInterval.WEEK: "Weekly pay",
    PayInterval.MONTH: "Monthly salary",
    PayInterval.YEAR: "Annual base salary",
}


class Greenhouse(CompanyBoard):
    """boards-api.greenhouse.io."""

    site = "greenhouse"
    hosts = frozenset({"boards-api.greenhouse.io"})
    renamed: ClassVar[Mapping[str, str]] = {'"absolute_url":': '"url":'}
    path: ClassVar[re.Pattern[str]] = re.compile(r"/v1/boards/(?P<board>[^/]+)/jobs")

    def board(self, name: str, listed: Sequence[Listing], request: Request) -> Response:
        """Answer with a board, with descriptions and pay if requested."""
        jobs = [_job(listing, name) for listing in listed]
        if request.parameter("content") == "true":
            jobs = [job | _content(listing) for job, listing in zip(jobs, listed, strict=True)]
        if request.parameter("pay_transparency") == "true":
            jobs = [job | {"pay_input_ranges": _pay(listing.pay)} for job, listing in zip(jobs, listed, strict=True)]
        return Response.json({"jobs": jobs, "meta": {"total": len(jobs)}})


def _job(listing: Listing, board: str) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    metadata = {
        "Employment Type": _EMPLOYMENT_TYPES[vacancy.job_type],
        "Workplace Type": _WORKPLACES[vacancy.workplace],
    }
    return {
        "id": int(listing.id),
        "internal_job_id": vacancy.number,
        "title": listing.title,
        "updated_at": listing.posted.isoformat(timespec="seconds"),
        "first_published": listing.posted.isoformat(timespec="seconds"),
        "requisition_id": f"R-{vacancy.number}",
        "location": {"name": location_of(listing)},
        "absolute_url": f"https://job-boards.greenhouse.io/{board}/jobs/{listing.id}",
        "company_name": company.name if company else "",
        "language": "en",
        "metadata": [
            {"id": number, "name": name, "value": value, "value_type": "single_select"}
            for number, (name, value) in enumerate(metadata.items(), start=1)
        ],
    }


def _content(listing: Listing) -> dict[str, Any]:
    place = listing.place
    office = {"id": 1, "name": listing.city or "Remote", "location": place.full_name if place else None}
    return {
        "content": html.escape(listing.description or ""),
        "departments": [{"id": 1, "name": listing.vacancy.field.name, "parent_id": None, "child_ids": []}],
        "offices": [office | {"parent_id": None, "child_ids": []}],
    }


def _pay(pay: Pay | None) -> list[dict[str, Any]]:
    if pay is None:
        return []
    return [
        {
            "min_cents": round(pay.minimum * 100),
            "max_cents": round((pay.maximum or pay.minimum) * 100),
            "currency_type": pay.currency,
            "title": _PAY_TITLES[pay.interval],
            "blurb": "",
        }
    ]
