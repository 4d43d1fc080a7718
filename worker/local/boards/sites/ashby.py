"""Ashby's job posting API: the jobs of a company in one answer, with those that its board does not show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.company_board import CompanyBoard, location_of
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, Workplace, strip_tags

_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: "FullTime",
    JobType.PART_TIME: "PartTime",
    JobType.CONTRACT: "Contract",
    JobType.TEMPORARY: "Temporary",
    JobType.INTERNSHIP: "Intern",
}
_WORKPLACES = {Workplace.ON_SITE: "OnSite", Workplace.HYBRID: "Hybrid", Workplace.REMOTE: "Remote"}
_UNLISTED = 12


class Ashby(CompanyBoard):
    """api.ashbyhq.com."""

    site = "ashby"
    hosts = frozenset({"api.ashbyhq.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"jobUrl":': '"url":'}
    path: ClassVar[re.Pattern[str]] = re.compile(r"/posting-api/job-board/(?P<board>[^/]+)")

    def board(self, name: str, listed: Sequence[Listing], request: Request) -> Response:
        """Answer with a board, with pay if requested."""
        jobs = [_job(listing, name) for listing in listed]
        if request.parameter("includeCompensation") == "true":
            jobs = [job | {"compensation": _pay(listing.pay)} for job, listing in zip(jobs, listed, strict=True)]
        return Response.json({"apiVersion": "1", "jobs": jobs})


def _job(listing: Listing, board: str) -> dict[str, Any]:
    vacancy, place = listing.vacancy, listing.place
    address = {
        "addressLocality": listing.city,
        "addressRegion": place.region if place else None,
        "addressCountry": place.country.name if place else None,
    }
    url = f"https://jobs.ashbyhq.com/{board}/{listing.id}"
    return {
        "id": listing.id,
        "title": listing.title,
        "department": vacancy.field.name,
        "team": vacancy.field.industry,
        "employmentType": _EMPLOYMENT_TYPES.get(vacancy.job_type),
        "location": location_of(listing),
        "secondaryLocations": [],
        "publishedAt": listing.posted.isoformat(timespec="milliseconds"),
        "isListed": vacancy.number % _UNLISTED != 0,
        "isRemote": vacancy.workplace is not Workplace.ON_SITE,
        "workplaceType": _WORKPLACES[vacancy.workplace],
        "address": {"postalAddress": address} if place else None,
        "jobUrl": url,
        "applyUrl": f"{url}/application",
        "descriptionHtml": listing.description or "",
        "descriptionPlain": strip_tags(listing.description or ""),
    }


def _pay(pay: Pay | None) -> dict[str, Any]:
    if pay is None:
        return {"compensationTierSummary": None, "compensationTiers": [], "summaryComponents": []}
    maximum = pay.maximum or pay.minimum
    summary = f"{pay.currency} {pay.minimum:,.0f} to {maximum:,.0f}"
    component = {
        "id": str(uuid5(NAMESPACE_URL, summary)),
        "summary": summary,
        "compensationType": "Salary",
        "interval": f"1 {pay.interval.upper()}",
        "currencyCode": pay.currency,
        "minValue": pay.minimum,
        "maxValue": maximum,
    }
    return {
        "compensationTierSummary": summary,
        "compensationTiers": [{"title": "All", "tierSummary": summary, "components": [component]}],
        "summaryComponents": [component],
    }
