"""ZipRecruiter: pages that stream their data to JavaScript, with twenty jobs a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, Workplace

_SEARCH_PATH = "/jobs-search"
_PAGE_SIZE = 20

_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: "full_time",
    JobType.PART_TIME: "part_time",
    JobType.CONTRACT: "contractor",
    JobType.TEMPORARY: "temporary",
    JobType.INTERNSHIP: "internship",
    JobType.PER_DIEM: "per_diem",
    JobType.VOLUNTEER: "other",
}
_REFINEMENTS = {
    "full_time": JobType.FULL_TIME,
    "part_time": JobType.PART_TIME,
    "contract": JobType.CONTRACT,
    "temporary": JobType.TEMPORARY,
    "as_needed": JobType.PER_DIEM,
    "other": JobType.VOLUNTEER,
}
_LOCATION_TYPES = {
    Workplace.ON_SITE: "IN_PERSON",
    Workplace.HYBRID: "HYBRID",
    Workplace.REMOTE: "REMOTE",
}


class ZipRecruiter(Board):
    """www.ziprecruiter.com."""

    site = "zip_recruiter"
    hosts = frozenset({"www.ziprecruiter.com"})
    renamed: ClassVar[Mapping[str, str]] = {r"\"title\":": r"\"jobTitle\":"}

    def page(self, request: Request) -> int | None:
        """Return the number at the end of the search's path."""
        path, _, number = request.path.partition(f"{_SEARCH_PATH}/")
        if path == _SEARCH_PATH:
            return 1
        return int(number) if not path and number.isdecimal() else None

    def answer(self, request: Request) -> Response:
        """Answer with a search page or a job's page."""
        page = self.page(request)
        if page is not None:
            return self._search(request, page)
        listing = self._by_id.get(request.parameter("jid"))
        return Response.html(_page(*_job_rows(listing))) if listing else Response.not_found()

    def _search(self, request: Request, page: int) -> Response:
        days = request.number("days", 0)
        refinement = request.parameter("refine_by_employment").removeprefix("employment_type:")
        job_type = _REFINEMENTS.get(refinement)
        only_remote = request.parameter("refine_by_location_type") == "only_remote"
        found = self._find(
            Search(
                term=request.parameter("search"),
                location=request.parameter("location"),
                max_age=timedelta(days=days) if days else None,
                job_types=frozenset({job_type}) if job_type else None,
                workplaces=frozenset({Workplace.REMOTE}) if only_remote else None,
                easy_apply=request.parameter("refine_by_apply_type") == "has_zipapply",
            )
        )
        start = (page - 1) * _PAGE_SIZE
        jobs = {listing.id: _job(listing) for listing in found[start : start + _PAGE_SIZE]}
        return Response.html(_page(_row(1, {"jobKeysMap": jobs, "jobCount": len(found)})))


def _page(*rows: str) -> str:
    """Return a page that pushes `rows` to its JavaScript, in two chunks that split at any character."""
    data = "".join(rows)
    middle = len(data) // 2
    chunks = (json.dumps(data[:middle]), json.dumps(data[middle:]))
    scripts = "".join(
        f"<script>self.__next_f.push([1,{chunk.replace('<', chr(92) + 'u003c')}])</script>" for chunk in chunks
    )
    return f"<!DOCTYPE html><html><head><title>Jobs</title></head><body>{scripts}</body></html>"


def _row(number: int, value: Any) -> str:
    return f"{number:x}:{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n"


def _text_row(number: int, text: str) -> str:
    return f"{number:x}:T{len(text.encode()):x},{text}"


def _job(listing: Listing) -> dict[str, Any]:
    vacancy, place, company = listing.vacancy, listing.place, listing.vacancy.company
    location = {
        "city": listing.city,
        "stateCode": place.region_code if place and listing.city else None,
        "countryCode": vacancy.country.code,
    }
    slug = quote("-".join(listing.title.split()), safe="")
    return {
        "listingKey": listing.id,
        "title": _escaped(listing.title),
        "status": {"postedAtUtc": {"seconds": str(int(listing.posted.timestamp()))}},
        "employmentTypes": [{"name": f"EMPLOYMENT_TYPE_NAME_{_EMPLOYMENT_TYPES[vacancy.job_type].upper()}"}],
        "location": location,
        "applyButtonConfig": {"externalApplyUrl": _redirect(vacancy.apply_url)},
        "company": {"name": listing.company},
        "companyUrl": f"/co/{company.slug}/Jobs" if company else None,
        "companyLogo": {"logoUrl": f"https://www.ziprecruiter.com/svc/logo/{company.slug}.png"} if company else {},
        "rawCanonicalZipJobPageUrl": f"/c/{company.slug if company else '-'}/Job/{slug}?jid={listing.id}",
        "locationTypes": [{"name": f"LOCATION_TYPE_NAME_{_LOCATION_TYPES[vacancy.workplace]}"}],
        "pay": _pay(listing.pay),
    }


def _escaped(text: str) -> str:
    """Double a leading dollar sign, because a single one is a reference to a text row."""
    return f"${text}" if text.startswith("$") else text


def _pay(pay: Pay | None) -> dict[str, Any]:
    if pay is None:
        return {"metadata": {"visible": False}}
    return {
        "metadata": {"visible": True},
        "interval": f"PAY_INTERVAL_{pay.interval.upper()}",
        "min": pay.minimum,
        "max": pay.maximum,
        "currency": f"PAY_CURRENCY_{pay.currency}",
    }


def _redirect(url: str | None) -> str | None:
    """Return a link whose token contains the employer's link as a length-prefixed protobuf string."""
    if url is None:
        return None
    data = f"{url}?utm_source=ziprecruiter".encode()
    low, high = len(data) & 0x7F, len(data) >> 7
    length = bytes((low | 0x80, high)) if high else bytes((low,))
    token = base64.urlsafe_b64encode(b"\x08\x01\x12" + length + data + b"\x18\x02").decode().rstrip("=")
    return f"https://www.ziprecruiter.com/job-redirect?match_token={token}"


def _job_rows(listing: Listing) -> tuple[str, ...]:
    company = listing.vacancy.company
    details = {
        "htmlFullDescription": "$2a" if listing.description else None,
        "companyWidget": {
            "about": company.about,
            "canonicalIndustries": [company.field.industry],
            "canonicalWebsite": f"www.{company.domain}",
            "companySizeDisplay": f"{company.employees[0]} - {company.employees[1]} Employees",
            "hqLocation": f"{company.headquarters.city}, {company.headquarters.country.code}",
        }
        if company
        else {},
        "breakroomCompany": {"rating": company.rating * 2} if company else {},
    }
    rows = (_row(1, {"jobDetails": details}),)
    return (_text_row(0x2A, listing.description), *rows) if listing.description else rows
