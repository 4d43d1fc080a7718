"""Indeed's GraphQL search for its mobile app: a hundred jobs a page, with descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.cursor import decode_cursor, encode_cursor
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import Company, JobType, Listing, Pay, Workplace

_ATTRIBUTES = {
    JobType.FULL_TIME: "CF3CP",
    JobType.PART_TIME: "75GKK",
    JobType.CONTRACT: "NJXCK",
    JobType.TEMPORARY: "4HKF7",
    JobType.INTERNSHIP: "VDTG7",
    JobType.PER_DIEM: "TQKYQ",
    JobType.VOLUNTEER: "UXQZ8",
}
_REMOTE, _HYBRID = "DSQF7", "PAXZC"
_DEFAULT_PAGE_SIZE = 100


class Indeed(Board):
    """apis.indeed.com."""

    site = "indeed"
    hosts = frozenset({"apis.indeed.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"title":': '"displayTitle":'}

    def page(self, request: Request) -> int | None:
        """Return the page of the cursor in the query."""
        arguments = _arguments(request)
        if arguments is None:
            return None
        return decode_cursor(arguments.get("cursor")) // _limit(arguments) + 1

    def answer(self, request: Request) -> Response:
        """Answer a `jobSearch` query."""
        arguments = _arguments(request)
        if arguments is None:
            return Response.json({"errors": [{"message": "no jobSearch in the query"}]}, 400)
        found = self._find(_search(arguments, country=request.headers.get("indeed-co", "US")))
        start, limit = decode_cursor(arguments.get("cursor")), _limit(arguments)
        more = start + limit < len(found)
        return Response.json(
            {
                "data": {
                    "jobSearch": {
                        "pageInfo": {"nextCursor": encode_cursor(start + limit) if more else None},
                        "results": [{"job": _job(listing)} for listing in found[start : start + limit]],
                    }
                }
            }
        )


def _limit(arguments: dict[str, Any]) -> int:
    return int(arguments.get("limit", _DEFAULT_PAGE_SIZE))


def _search(arguments: dict[str, Any], country: str) -> Search:
    hours: str | None = None
    wanted: set[str] = set()
    unwanted: set[str] = set()
    easy_apply = False
    for condition in arguments.get("filters", []):
        for part in condition.get("composite", {}).get("filters", [condition]):
            if date := part.get("date"):
                hours = date["start"].removesuffix("h")
            keyword = part.get("keyword", {})
            if keyword.get("field") == "indeedApplyScope":
                easy_apply = True
            elif keyword.get("field") == "attributes":
                (unwanted if keyword.get("match") == "MUST_NOT" else wanted).update(keyword["keys"])
    job_types = frozenset(job_type for job_type, key in _ATTRIBUTES.items() if key in wanted)
    workplaces = {Workplace.REMOTE, Workplace.HYBRID} if _REMOTE in wanted else set(Workplace)
    if _HYBRID in unwanted:
        workplaces.discard(Workplace.HYBRID)
    return Search(
        term=arguments.get("what", ""),
        location=arguments.get("location", {}).get("where", ""),
        countries=frozenset({country}),
        max_age=timedelta(hours=int(hours)) if hours else None,
        job_types=job_types or None,
        workplaces=frozenset(workplaces),
        easy_apply=easy_apply,
    )


def _job(listing: Listing) -> dict[str, Any]:
    vacancy, place = listing.vacancy, listing.place
    keys = [_ATTRIBUTES[vacancy.job_type]]
    if vacancy.workplace is not Workplace.ON_SITE:
        keys.append(_REMOTE)
    if vacancy.workplace is Workplace.HYBRID:
        keys.append(_HYBRID)
    apply_url = vacancy.apply_url
    return {
        "key": listing.id,
        "title": listing.title,
        "sourceEmployerName": listing.company,
        "dateOnIndeed": int(listing.posted.timestamp() * 1000),
        "description": {"html": listing.description},
        "location": {
            "countryCode": place.country.code if place else None,
            "admin1Code": place.region_code if place and listing.city else None,
            "city": listing.city,
        },
        "compensation": _compensation(listing.pay, is_estimate=vacancy.number % 5 == 0),
        "attributes": [{"key": key} for key in keys],
        "employer": _employer(vacancy.company, listing.company) if vacancy.company else None,
        "recruit": {
            "viewJobUrl": f"{apply_url}?utm_source=indeed"
            if apply_url
            else f"https://www.indeed.com/viewjob?jk={listing.id}"
        },
    }


def _compensation(pay: Pay | None, *, is_estimate: bool) -> dict[str, Any]:
    stated = _salary(pay) if pay else None
    if pay and is_estimate:
        estimate = {"currencyCode": pay.currency, "baseSalary": stated}
        return {"estimated": estimate, "baseSalary": None, "currencyCode": None}
    return {"estimated": None, "baseSalary": stated, "currencyCode": pay.currency if pay else None}


def _salary(pay: Pay) -> dict[str, Any]:
    if pay.maximum is None:
        amounts = {"min": pay.minimum}
    elif pay.maximum == pay.minimum:
        amounts = {"value": pay.minimum}
    else:
        amounts = {"min": pay.minimum, "max": pay.maximum}
    return {"unitOfWork": pay.interval.upper(), "range": amounts}


def _employer(company: Company, name: str | None) -> dict[str, Any]:
    low, high = company.employees
    return {
        "relativeCompanyPageUrl": f"/cmp/{company.slug}",
        "name": name,
        "ugcStats": {"ratings": {"overallRating": {"value": company.rating, "count": company.reviews}}},
        "dossier": {
            "employerDetails": {
                "addresses": [f"{company.headquarters.city}, {company.headquarters.country.name}"],
                "industry": company.field.industry,
                "employeesLocalizedLabel": f"{low:,} to {high:,}",
                "revenueLocalizedLabel": company.revenue,
                "briefDescription": company.about,
            },
            "images": {"squareLogoUrl": f"https://d2q79iu7y748jz.cloudfront.net/{company.slug}.png"},
            "links": {"corporateWebsite": f"https://www.{company.domain}"},
        },
    }


# The arguments of jobSearch(...) -------------------------------------------------------------------------

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|\d+|[{}\[\]():]')


def _arguments(request: Request) -> dict[str, Any] | None:
    """Return the arguments of the query's `jobSearch` field, or `None` if it has none."""
    try:
        query = str(json.loads(request.body)["query"])
    except (ValueError, TypeError, KeyError):
        return None
    tokens = iter(_TOKEN.findall(query))
    # The search for the field consumes the tokens before it.
    if "jobSearch" not in tokens or next(tokens, "") != "(":
        return None
    return _fields(tokens, end=")")


def _fields(tokens: Iterator[str], end: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in tokens:
        if name == end:
            break
        next(tokens)  # the colon
        fields[name] = _value(tokens, next(tokens))
    return fields


def _value(tokens: Iterator[str], first: str) -> Any:
    if first == "{":
        return _fields(tokens, end="}")
    if first == "[":
        return [_value(tokens, item) for item in iter(lambda: next(tokens), "]")]
    return json.loads(first) if first[0] == '"' or first.isdecimal() else first
