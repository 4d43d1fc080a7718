"""Glassdoor: a lookup of places, and GraphQL for the search and for descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval, Workplace
from worker.local.boards.synthetic.places import PLACES, Place, find_places

_PLACES_PATH = "/autocomplete/location"
_FIRST_PLACE_NUMBER = 1_130_000
_PLACE_NUMBERS = {place: number for number, place in enumerate(PLACES, start=_FIRST_PLACE_NUMBER)}
_DEFAULT_PAGE_SIZE = 100

_COUNTRIES_BY_HOST = {
    "www.glassdoor.com": "US",
    "www.glassdoor.co.uk": "GB",
    "www.glassdoor.ca": "CA",
    "www.glassdoor.de": "DE",
    "www.glassdoor.fr": "FR",
    "www.glassdoor.co.in": "IN",
    "www.glassdoor.com.au": "AU",
    "www.glassdoor.nl": "NL",
    "www.glassdoor.es": "ES",
    "www.glassdoor.ie": "IE",
    "www.glassdoor.sg": "SG",
    "www.glassdoor.at": "AT",
    "www.glassdoor.com.ar": "AR",
    "fr.glassdoor.be": "BE",
    "www.glassdoor.com.br": "BR",
    "www.glassdoor.com.hk": "HK",
    "www.glassdoor.it": "IT",
    "www.glassdoor.com.mx": "MX",
    "www.glassdoor.co.nz": "NZ",
    "de.glassdoor.ch": "CH",
}
_PAY_PERIODS = {
    PayInterval.HOUR: "HOURLY",
    PayInterval.MONTH: "MONTHLY",
    PayInterval.YEAR: "ANNUAL",
}


class Glassdoor(Board):
    """www.glassdoor.com, and its hosts for other countries."""

    site = "glassdoor"
    hosts = frozenset(_COUNTRIES_BY_HOST)
    renamed: ClassVar[Mapping[str, str]] = {'"jobTitleText":': '"normalizedJobTitle":'}

    def page(self, request: Request) -> int | None:
        """Return the page number in the variables of a search."""
        operation = _operation(request)
        if operation.get("operationName") != "JobSearchResultsQuery":
            return None
        return int(operation["variables"].get("pageNumber") or 1)

    def answer(self, request: Request) -> Response:
        """Answer a lookup of places, a search, or a query for descriptions."""
        if request.path == _PLACES_PATH:
            return Response.json([_place(place) for place in find_places(request.parameter("term"))])
        operation = _operation(request)
        match operation.get("operationName"):
            case "JobSearchResultsQuery":
                return Response.json([{"data": self._search(request, operation["variables"])}])
            case "JobDetails":
                return Response.json([{"data": self._descriptions(operation["query"])}])
            case _:
                return Response.not_found()

    def _search(self, request: Request, variables: dict[str, Any]) -> dict[str, Any]:
        filters = {item["filterKey"]: item["values"] for item in variables.get("filterParams") or ()}
        place_number = variables.get("locationId")
        found = self._find(
            Search(
                term=variables.get("keyword") or "",
                location=PLACES[place_number - _FIRST_PLACE_NUMBER].full_name if place_number else "",
                countries=None if place_number else frozenset({_COUNTRIES_BY_HOST[request.host]}),
                max_age=timedelta(days=int(filters["fromAge"])) if "fromAge" in filters else None,
                job_types=frozenset({JobType(filters["jobType"])}) if "jobType" in filters else None,
                workplaces=frozenset({Workplace.REMOTE}) if "remoteWorkType" in filters else None,
                easy_apply="applicationType" in filters,
            )
        )
        size = int(variables.get("numJobsToShow") or _DEFAULT_PAGE_SIZE)
        start = (int(variables.get("pageNumber") or 1) - 1) * size
        pages = range(1, -(-len(found) // size) + 1)
        return {
            "jobListings": {
                "jobListings": [self._listing(listing) for listing in found[start : start + size]],
                "paginationCursors": [{"cursor": f"AB4AAIEA{number:04x}", "pageNumber": number} for number in pages],
            }
        }

    def _descriptions(self, query: str) -> dict[str, Any]:
        return {
            f"j{number}": {"job": {"description": listing.description}}
            if (listing := self._by_id.get(number))
            else None
            for number in re.findall(r"\bj(\d+):\s*jobView\(", query)
        }

    def _listing(self, listing: Listing) -> dict[str, Any]:
        vacancy, place, company = listing.vacancy, listing.place, listing.vacancy.company
        pay = listing.pay if listing.pay and listing.pay.interval in _PAY_PERIODS else None
        return {
            "jobview": {
                "header": {
                    "adOrderSponsorshipLevel": "SPONSORED" if vacancy.number % 7 == 0 else "ORGANIC",
                    "ageInDays": (self.now - listing.posted).days,
                    "employer": {"id": company.number if company else None},
                    "employerNameFromSearch": listing.company,
                    "jobTypeKeys": [f"employmentType.{vacancy.job_type}"],
                    "locationName": _location_name(listing),
                    "locationType": _location_type(place) if place else None,
                    "payCurrency": pay.currency if pay else None,
                    "payPeriod": _PAY_PERIODS[pay.interval] if pay else None,
                    "payPeriodAdjustedPay": _amounts(pay) if pay else None,
                    "rating": company.rating if company else None,
                    "remoteWorkTypes": (["WORK_FROM_HOME"] if vacancy.workplace is Workplace.REMOTE else None),
                },
                "job": {"jobTitleText": listing.title, "listingId": int(listing.id)},
                "map": {"country": place.country.name if place else None},
                "overview": {
                    "headquarters": f"{company.headquarters.city}, {company.headquarters.country.name}",
                    "overview": {"description": company.about},
                    "primaryIndustry": {"industryName": company.field.industry},
                    "revenue": company.revenue,
                    "size": f"{company.employees[0]} to {company.employees[1]} Employees",
                    "squareLogoUrl": f"https://media.glassdoor.com/sqll/{company.number}/{company.slug}.png",
                    "website": f"www.{company.domain}",
                }
                if company
                else {"headquarters": None, "overview": None, "primaryIndustry": None, "website": ""},
            }
        }


def _operation(request: Request) -> dict[str, Any]:
    """Return the first operation of the batch in the body. Empty if there is none."""
    try:
        operation: dict[str, Any] = json.loads(request.body)[0]
    except (ValueError, LookupError, TypeError):
        return {}
    return operation


def _location_type(place: Place) -> str:
    return "C" if place.city else "S" if place.region else "N"


def _place(place: Place) -> dict[str, Any]:
    return {
        "locationId": _PLACE_NUMBERS[place],
        "locationType": _location_type(place),
        "label": place.full_name,
    }


def _location_name(listing: Listing) -> str | None:
    place = listing.place
    if place is None:
        return "Remote" if listing.vacancy.workplace is Workplace.REMOTE else None
    if listing.city is None:
        return place.country.name
    return f"{listing.city}, {place.region_code}" if place.country.code in ("US", "CA") else listing.city


def _amounts(pay: Pay) -> dict[str, float]:
    return {"p10": pay.minimum, "p90": pay.maximum if pay.maximum is not None else pay.minimum}
