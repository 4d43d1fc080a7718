"""BDJobs' JSON search, with fifty jobs in Bangladesh a page, and JSON for each job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, Workplace

_SEARCH_PATH = "/Jobs/api/JobSearch/GetJobSearch"
_JOB_PATH = "/jobapply/api/JobSubsystem/Job-Details"
_DEFAULT_PAGE_SIZE = 50
_PREMIUM_COUNT = 2
_FROM_HOME = "1"
_LOCATIONS = {
    "14": "Dhaka",
    "19": "Gazipur",
    "10": "Chattogram",
    "62": "Sylhet",
    "1002": "Chattogram Division",
    "1003": "Dhaka Division",
    "1008": "Sylhet Division",
}
_NOWHERE = "nowhere"
_JOB_NATURES = {
    JobType.FULL_TIME: "FullTime",
    JobType.PART_TIME: "PartTime",
    JobType.CONTRACT: "Contract",
    JobType.INTERNSHIP: "Intern",
    JobType.TEMPORARY: "Contract",
    JobType.PER_DIEM: "PartTime",
    JobType.VOLUNTEER: "PartTime",
}


class BDJobs(Board):
    """bdjobs.com's two APIs."""

    site = "bdjobs"
    hosts = frozenset({"api.bdjobs.com", "gateway.bdjobs.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"jobTitle":': '"JobTitleEn":'}

    def page(self, request: Request) -> int | None:
        """Return the `pg` parameter of a search."""
        return request.number("pg", 1) if request.path == _SEARCH_PATH else None

    def answer(self, request: Request) -> Response:
        """Answer a search, or a request for a job."""
        if request.path == _SEARCH_PATH:
            return self._search(request)
        if request.path == _JOB_PATH:
            listing = self._by_id.get(request.parameter("jobId"))
            return Response.json(
                {"data": [_details(listing)], "message": None}
                if listing
                else {"data": None, "message": "Job not found"}
            )
        return Response.not_found()

    def _search(self, request: Request) -> Response:
        days = request.number("postedWithin", 0)
        place = request.parameter("location")
        nature = request.parameter("jobNature")
        found = self._find(
            Search(
                term=request.parameter("keyword"),
                location=_LOCATIONS.get(place, _NOWHERE) if place else "",
                max_age=timedelta(days=days) if days else None,
                job_types=(
                    frozenset(job_type for job_type, name in _JOB_NATURES.items() if name == nature) if nature else None
                ),
                workplaces=(frozenset({Workplace.REMOTE}) if request.parameter("workplace") == _FROM_HOME else None),
            )
        )
        premium, regular = found[:_PREMIUM_COUNT], found[_PREMIUM_COUNT:]
        size, page = request.number("rpp", _DEFAULT_PAGE_SIZE), request.number("pg", 1)
        return Response.json(
            {
                "data": [_job(listing) for listing in regular[(page - 1) * size : page * size]],
                "premiumData": [_job(listing) for listing in premium] if page == 1 else None,
                "common": {"totalpages": math.ceil(len(regular) / size), "total": len(found)},
            }
        )


def _job(listing: Listing) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    low, high = vacancy.level.years
    return {
        "Jobid": listing.id,
        "publishDate": listing.posted.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "WorkPlace": "Home" if vacancy.workplace is Workplace.REMOTE else "Office",
        "location": listing.city or "Anywhere in Bangladesh",
        "jobTitle": listing.title,
        "companyName": listing.company,
        "JobType": _JOB_NATURES[vacancy.job_type],
        "Salary": _salary(listing.pay),
        "logoUrl": f"https://corporate.bdjobs.com/logos/{company.slug}.jpg" if company else None,
        "Vacancies": vacancy.openings,
        "experience": f"{low} to {high} years" if low else "NA",
    }


def _salary(pay: Pay | None) -> str:
    if pay is None:
        return "Negotiable"
    if pay.maximum is None or pay.maximum == pay.minimum:
        return f"Tk. {pay.minimum:.0f} (Monthly)"
    return f"Tk. {pay.minimum:.0f} - {pay.maximum:.0f} (Monthly)"


def _details(listing: Listing) -> dict[str, Any]:
    vacancy, company = listing.vacancy, listing.vacancy.company
    low, high = vacancy.level.years
    return {
        "JobKeyPoints": "",
        "JobDescription": listing.description or "",
        "EducationRequirements": "<ul><li>Bachelor degree in any discipline</li></ul>",
        "experience": f"<ul><li>{low} to {high} years</li></ul>",
        "AdditionJobRequirements": "",
        "JobOtherBenifits": "<ul><li>Festival bonus: 2 (yearly)</li></ul>",
        "ApplyInstruction": "",
        "ApplyEmail": f"career@{company.domain}" if company else "",
        "HardCopy": "",
        "WalkInInterview": "",
        "SkillsRequired": ", ".join(vacancy.skills),
        "CompanyID": str(company.number) if company else "0",
        "HaveAliasName": company is None,
        "CompanyWeb": f"www.{company.domain}" if company else "",
        "ApplyURL": f"<a href='{vacancy.apply_url}'>Apply</a>" if vacancy.apply_url else "",
        "CompanyAddress": f"{company.headquarters.city}, Bangladesh" if company else "",
        "CompanyBusiness": company.about if company else "",
    }
