"""Lever's Postings API: the postings of a company, page by page, at one host for the EU and one for all others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.company_board import CompanyBoard, location_of
from worker.local.boards.synthetic.jobs import Company, JobType, Listing, Pay, PayInterval, Workplace, strip_tags

_HOST, _EU_HOST = "api.lever.co", "api.eu.lever.co"
_EU_COUNTRIES = frozenset({"DE", "FR", "NL", "ES", "IE"})
_DEFAULT_LIMIT = 100
_COMMITMENTS = {
    JobType.FULL_TIME: "Full-time",
    JobType.PART_TIME: "Part-time",
    JobType.CONTRACT: "Contractor",
    JobType.TEMPORARY: "Temporary",
    JobType.INTERNSHIP: "Intern",
    JobType.PER_DIEM: "Per diem",
    JobType.VOLUNTEER: "Volunteer",
}
_WORKPLACES = {Workplace.ON_SITE: "on-site", Workplace.HYBRID: "hybrid", Workplace.REMOTE: "remote"}
_INTERVALS = {
    PayInterval.HOUR: "per-hour-wage",
    PayInterval.DAY: "per-day-wage",
    PayInterval.WEEK: "per-week-salary",
    PayInterval.MONTH: "per-month-salary",
    PayInterval.YEAR: "per-year-salary",
}


class Lever(CompanyBoard):
    """api.lever.co and api.eu.lever.co."""

    site = "lever"
    hosts = frozenset({_HOST, _EU_HOST})
    renamed: ClassVar[Mapping[str, str]] = {'"hostedUrl":': '"url":'}
    path: ClassVar[re.Pattern[str]] = re.compile(r"/v0/postings/(?P<board>[^/]+)")

    def page(self, request: Request) -> int | None:
        """Return the page of `skip` and `limit`."""
        skip, limit = request.number("skip", 0), request.number("limit", _DEFAULT_LIMIT)
        return skip // max(limit, 1) + 1 if super().page(request) else None

    def has(self, company: Company, request: Request) -> bool:
        """Return whether the company has its board at the host: those from the EU have theirs at the EU host."""
        return (request.host == _EU_HOST) == (company.headquarters.country.code in _EU_COUNTRIES)

    def board(self, name: str, listed: Sequence[Listing], request: Request) -> Response:
        """Answer with `limit` postings after the first `skip`."""
        skip, limit = request.number("skip", 0), request.number("limit", _DEFAULT_LIMIT)
        return Response.json([_posting(listing, name, request.host) for listing in listed[skip : skip + limit]])


def _posting(listing: Listing, board: str, host: str) -> dict[str, Any]:
    vacancy, place = listing.vacancy, listing.place
    url = f"https://{host.replace('api', 'jobs', 1)}/{board}/{listing.id}"
    head, _, rest = (listing.description or "").partition("<ul>")
    content, _, tail = rest.partition("</ul>")
    location = location_of(listing)
    pay = {"salaryRange": _pay(listing.pay)} if listing.pay else {}
    return {
        "id": listing.id,
        "text": listing.title,
        "categories": {
            "commitment": _COMMITMENTS[vacancy.job_type],
            "department": vacancy.field.name,
            "location": location,
            "team": vacancy.field.industry,
            "allLocations": [location] if location else [],
        },
        "country": place.country.code if place else None,
        "workplaceType": _WORKPLACES[vacancy.workplace],
        "createdAt": int(listing.posted.timestamp() * 1000),
        "hostedUrl": url,
        "applyUrl": f"{url}/apply",
        "description": head,
        "descriptionPlain": strip_tags(head),
        "lists": [{"text": "", "content": content}] if content else [],
        "additional": tail,
        "additionalPlain": strip_tags(tail),
    } | pay


def _pay(pay: Pay) -> dict[str, Any]:
    return {
        "min": pay.minimum,
        "max": pay.maximum or pay.minimum,
        "currency": pay.currency,
        "interval": _INTERVALS[pay.interval],
    }
