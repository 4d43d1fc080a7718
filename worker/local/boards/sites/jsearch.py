"""JSearch, in both versions and at both hosts: ten jobs a page, and a monthly quota.

The first job of a page repeats the last job of the page before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, ClassVar

from worker.local.boards.failures import Failure
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.cursor import decode_cursor, encode_cursor
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Workplace

_RAPIDAPI, _OPENWEB_NINJA = "jsearch.p.rapidapi.com", "api.openwebninja.com"
_PATHS = {
    _RAPIDAPI: {"/search": "v1", "/search-v2": "v2"},
    _OPENWEB_NINJA: {"/jsearch/search": "v1", "/jsearch/search-v2": "v2"},
}
_API_KEY = "played-jsearch-key"
_PLAN = 10_000
_PAGE_SIZE = 10
_STEP = _PAGE_SIZE - 1
_MAX_AGES = {
    "today": timedelta(days=1),
    "3days": timedelta(days=3),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: ("FULLTIME", "Full-time"),
    JobType.PART_TIME: ("PARTTIME", "Part-time"),
    JobType.CONTRACT: ("CONTRACTOR", "Contractor"),
    JobType.TEMPORARY: ("CONTRACTOR", "Temp work"),
    JobType.INTERNSHIP: ("INTERN", "Internship"),
    JobType.PER_DIEM: ("PARTTIME", "Per diem"),
    JobType.VOLUNTEER: ("FULLTIME", "Volunteer"),
}


class JSearch(Board):
    """jsearch.p.rapidapi.com and api.openwebninja.com."""

    site = "jsearch"
    hosts = frozenset(_PATHS)
    renamed: ClassVar[Mapping[str, str]] = {'"job_title":': '"title":'}
    credentials: ClassVar[Mapping[str, str]] = {"JSEARCH_API_KEY": _API_KEY}

    _requests = 0

    def page(self, request: Request) -> int | None:
        """Return the page that the page number (v1) or the cursor (v2) asks for."""
        version = _PATHS[request.host].get(request.path)
        if version is None:
            return None
        return request.number("page", 1) if version == "v1" else _start(request) // _STEP + 1

    def answer(self, request: Request) -> Response:
        """Answer a search, if the request has a key for the host."""
        if refusal := _refusal(request):
            return refusal
        version = _PATHS[request.host].get(request.path)
        if version is None:
            return Response.json({"message": f"Endpoint '{request.path}' does not exist"}, HTTPStatus.NOT_FOUND)
        if not request.parameter("query"):
            error = {"message": "Missing query parameter in request", "code": HTTPStatus.BAD_REQUEST}
            return Response.json({"status": "ERROR", "error": error}, HTTPStatus.BAD_REQUEST)
        found = self._find(_search(request))
        start = (request.number("page", 1) - 1) * _STEP if version == "v1" else _start(request)
        jobs = [self._job(listing) for listing in found[start : start + _PAGE_SIZE]]
        cursor = encode_cursor(start + _STEP) if start + _PAGE_SIZE < len(found) else None
        self._requests += 1
        return Response.json(
            {
                "status": "OK",
                "request_id": f"played-{self._requests}",
                "parameters": {name: values[0] for name, values in request.query.items()},
                "data": jobs if version == "v1" else {"jobs": jobs, "cursor": cursor},
            },
            headers=self._plan(_PLAN - self._requests),
        )

    def failed(self, failure: Failure) -> Response:
        """Refuse as RapidAPI does."""
        match failure:
            case Failure.RATE_LIMITED:
                said = "You have exceeded the rate limit per second for your plan, BASIC, by the API provider"
                headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}
                return Response.json({"message": said}, HTTPStatus.TOO_MANY_REQUESTS, headers)
            case Failure.QUOTA_EXCEEDED:
                said = "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC."
                return Response.json({"message": said}, HTTPStatus.TOO_MANY_REQUESTS, self._plan(0))
            case Failure.BLOCKED:
                return Response.json({"message": "You are not subscribed to this API."}, HTTPStatus.FORBIDDEN)
            case _:
                return super().failed(failure)

    def _plan(self, remaining: int) -> dict[str, str]:
        """Return the headers of the quota, which resets at the start of the next month."""
        next_month = (self.now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)
        return {
            "x-ratelimit-requests-limit": str(_PLAN),
            "x-ratelimit-requests-remaining": str(remaining),
            "x-ratelimit-requests-reset": str(int((next_month - self.now).total_seconds())),
        }

    def _job(self, listing: Listing) -> dict[str, Any]:
        vacancy, place, pay = listing.vacancy, listing.place, listing.pay
        google = f"https://www.google.com/search?q=jobs&udm=8#vhid=vt%3D20/docid%3D{listing.id}"
        board = f"https://jobs.example/{listing.id}?utm_campaign=google_jobs_apply&utm_source=google_jobs_apply"
        employment_type, label = _EMPLOYMENT_TYPES[vacancy.job_type]
        posted = self._shown_time(listing.posted)
        around = (listing.city, place.region if place and listing.city else None, vacancy.country.name)
        return {
            "job_id": listing.id,
            "job_title": listing.title,
            "employer_name": listing.company,
            "employer_logo": None,
            "employer_website": f"https://www.{vacancy.company.domain}" if vacancy.company else None,
            "job_publisher": "Jobs Example",
            "job_employment_type": label,
            "job_employment_types": [employment_type],
            "job_apply_link": board,
            "job_apply_is_direct": False,
            "apply_options": [
                {"publisher": publisher, "apply_link": address, "is_direct": is_direct}
                for publisher, address, is_direct in (
                    ("Jobs Example", board, False),
                    ("Careers", vacancy.apply_url, True),
                )
                if address
            ],
            "job_description": listing.description,
            "job_is_remote": True if vacancy.workplace is Workplace.REMOTE else None,
            "job_posted_at": None,
            "job_posted_at_timestamp": int(posted.timestamp()),
            "job_posted_at_datetime_utc": posted.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "job_location": ", ".join(part for part in around if part) if place else None,
            "job_city": listing.city,
            "job_state": place.region if place and listing.city else None,
            "job_country": place.country.code if place else None,
            "job_google_link": google,
            "job_min_salary": pay.minimum if pay else None,
            "job_max_salary": pay.maximum if pay else None,
            "job_salary_currency": pay.currency if pay else None,
            "job_salary_period": pay.interval.upper() if pay else None,
            "job_highlights": {},
        }

    def _shown_time(self, posted: datetime) -> datetime:
        """Round a time as Google does: to the hour for today's jobs ("5 hours ago"), to the day for older ones."""
        if self.now - posted < timedelta(days=1):
            return posted.replace(minute=0, second=0, microsecond=0)
        return posted.replace(hour=0, minute=0, second=0, microsecond=0)


def _refusal(request: Request) -> Response | None:
    if request.host == _OPENWEB_NINJA:
        if request.headers.get("x-api-key") == _API_KEY:
            return None
        error = {"message": "Invalid API key", "code": HTTPStatus.UNAUTHORIZED}
        return Response.json({"status": "ERROR", "error": error}, HTTPStatus.UNAUTHORIZED)
    if "x-rapidapi-key" not in request.headers or request.headers.get("x-rapidapi-host") != _RAPIDAPI:
        said = "Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info."
        return Response.json({"message": said}, HTTPStatus.UNAUTHORIZED)
    if request.headers["x-rapidapi-key"] != _API_KEY:
        return Response.json({"message": "You are not subscribed to this API."}, HTTPStatus.FORBIDDEN)
    return None


def _start(request: Request) -> int:
    return decode_cursor(request.parameter("cursor"))


def _search(request: Request) -> Search:
    term, _, location = request.parameter("query").rpartition(" in ")
    asked = set(filter(None, request.parameter("employment_types").split(",")))
    types = frozenset(job_type for job_type, (name, _) in _EMPLOYMENT_TYPES.items() if name in asked)
    is_remote = request.parameter("work_from_home") == "true"
    return Search(
        term=term or location,
        location=location if term else "",
        countries=frozenset({request.parameter("country", "us").upper()}),
        max_age=_MAX_AGES.get(request.parameter("date_posted")),
        job_types=types or None,
        workplaces=frozenset({Workplace.REMOTE}) if is_remote else None,
    )
