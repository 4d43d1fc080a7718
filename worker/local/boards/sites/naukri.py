"""Naukri's JSON search, with twenty jobs in India a page, and JSON for each job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta, timezone
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval, Workplace

_SEARCH_PATH = "/jobapi/v3/search"
_JOB_PATH = "/jobapi/v4/job/"
_DEFAULT_PAGE_SIZE = 20
_REMOTE = "2"
_INDIA_TIME = timezone(timedelta(hours=5, minutes=30))
_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: "Full Time, Permanent",
    JobType.PART_TIME: "Part Time, Permanent",
    JobType.CONTRACT: "Full Time, Temporary/Contractual",
    JobType.TEMPORARY: "Full Time, Temporary/Contractual",
}


class Naukri(Board):
    """www.naukri.com."""

    site = "naukri"
    hosts = frozenset({"www.naukri.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"title":': '"jobTitle":'}

    def page(self, request: Request) -> int | None:
        """Return the `pageNo` parameter of a search."""
        return request.number("pageNo", 1) if request.path == _SEARCH_PATH else None

    def answer(self, request: Request) -> Response:
        """Answer a search, or a request for a job. A page after the last one is a 400."""
        if request.path == _SEARCH_PATH:
            return self._search(request)
        listing = self._by_id.get(request.path.removeprefix(_JOB_PATH))
        if listing is None:
            return Response.json({"message": "job not found"}, HTTPStatus.NOT_FOUND)
        return Response.json({"jobDetails": _details(listing)})

    def captcha(self) -> Response:
        """Answer with the status that Naukri uses for captchas."""
        return Response.json({"message": "recaptcha required", "statusCode": 406}, HTTPStatus.NOT_ACCEPTABLE)

    def _search(self, request: Request) -> Response:
        days = request.number("jobAge", 0)
        internships = request.parameter("qinternshipFlag") == "true"
        found = self._find(
            Search(
                term=request.parameter("keyword"),
                location=request.parameter("location"),
                max_age=timedelta(days=days) if days else None,
                job_types=frozenset({JobType.INTERNSHIP}) if internships else None,
                workplaces=(frozenset({Workplace.REMOTE}) if request.parameter("wfhType") == _REMOTE else None),
                newest_first=request.parameter("sort") == "f",
            )
        )
        size = request.number("noOfResults", _DEFAULT_PAGE_SIZE)
        page = request.number("pageNo", 1)
        shown = found[(page - 1) * size : page * size]
        if page > 1 and not shown:
            return Response.json({"message": "page out of range"}, HTTPStatus.BAD_REQUEST)
        return Response.json({"noOfJobs": len(found), "jobDetails": [_job(listing) for listing in shown]})


def _shared(listing: Listing) -> dict[str, Any]:
    vacancy = listing.vacancy
    return {
        "jobType": "internship" if vacancy.job_type is JobType.INTERNSHIP else "fulltime",
        "employmentType": _EMPLOYMENT_TYPES.get(vacancy.job_type, ""),
        "vacancy": vacancy.openings,
        "applyRedirectUrl": vacancy.apply_url or "",
    }


def _job(listing: Listing) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    slug = quote("-".join(listing.title.lower().split()), safe="-")
    low, high = vacancy.level.years
    return _shared(listing) | {
        "jobId": listing.id,
        "createdDate": int(listing.posted.timestamp() * 1000),
        "companyApplyJob": not vacancy.easy_apply,
        "title": listing.title,
        "companyName": listing.company,
        "staticUrl": f"{company.slug}-jobs-careers-{company.number}" if company else None,
        "jdURL": f"/job-listings-{slug}-{listing.id}",
        "logoPathV3": f"https://img.naukimg.com/logo_images/{company.slug}.gif" if company else None,
        "placeholders": [
            {"type": "experience", "label": f"{low}-{high} Yrs"},
            {"type": "salary", "label": _salary_label(listing.pay)},
            {"type": "location", "label": _location_label(listing)},
        ],
        "salaryDetail": _salary(listing.pay),
        "tagsAndSkills": ",".join(vacancy.skills),
        "experienceText": f"{low}-{high} Yrs",
        "ambitionBoxData": {"AggregateRating": str(company.rating), "ReviewsCount": company.reviews}
        if company
        else None,
    }


def _salary(pay: Pay | None) -> dict[str, Any]:
    if pay is None or pay.interval is not PayInterval.YEAR:
        return {"hideSalary": True, "minimumSalary": 0, "maximumSalary": 0, "currency": "INR"}
    return {
        "hideSalary": False,
        "minimumSalary": round(pay.minimum),
        "maximumSalary": round(pay.maximum if pay.maximum is not None else pay.minimum),
        "currency": pay.currency,
    }


def _salary_label(pay: Pay | None) -> str:
    """Return a stipend as Naukri writes it. Yearly pay is in `salaryDetail`."""
    if pay and pay.interval is PayInterval.MONTH:
        return f"{pay.minimum:,.0f}/month"
    return "Not disclosed"


def _location_label(listing: Listing) -> str:
    city = listing.city or "India"
    match listing.vacancy.workplace:
        case Workplace.REMOTE:
            return "Remote"
        case Workplace.HYBRID:
            return f"Hybrid - {city}"
        case _:
            return city


def _details(listing: Listing) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    return _shared(listing) | {
        "createdDate": listing.posted.astimezone(_INDIA_TIME).strftime("%Y-%m-%d %H:%M:%S"),
        "description": listing.description,
        "industry": vacancy.field.industry,
        "functionalArea": vacancy.field.name,
        "companyDetail": {
            "details": f"<p>{company.about}</p>" if company else None,
            "address": f"{company.headquarters.city}, India" if company else None,
        },
    }
