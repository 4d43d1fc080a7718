"""Searches company boards at Lever through its Postings API: https://github.com/lever/postings-api."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from worker.errors import ErrorCode, SiteError
from worker.model import Item, Json, Place, SiteLimits
from worker.pipeline.places import country_code, find_places, shared_place
from worker.pipeline.salaries import NO_SALARY, Salary, clean_salary
from worker.sources.company_boards import (
    DEFAULT_LIMITS,
    BoardNames,
    CompanyBoards,
    CompanyBoardsParameters,
    organization_of,
)
from worker.sources.fields import amount, link, mapping, required, sequence, text


class LeverParameters(CompanyBoardsParameters):
    """Parameters of a search at Lever.

    Attributes:
        lever_boards: Names of the boards, as in `jobs.lever.co/NAME` or `jobs.eu.lever.co/NAME`.
    """

    lever_boards: BoardNames


class LeverSource(CompanyBoards):
    """Searches company boards at Lever. It needs no key.

    A response has at most 100 jobs. A board that Lever's global host does not know is requested from its EU host.
    """

    name = "lever"
    sites: Sequence[str] = ("lever",)
    hosts: Mapping[str, str] = {"lever": "api.lever.co"}
    parameters = LeverParameters
    limits: Mapping[str, SiteLimits] = {"lever": DEFAULT_LIMITS}
    boards = "lever_boards"
    addresses = ("https://api.lever.co/v0/postings/{}", "https://api.eu.lever.co/v0/postings/{}")
    query: Mapping[str, str] = {"mode": "json"}
    answer_size = 100
    job_address = re.compile(r"https://jobs(?:\.eu)?\.lever\.co/([^/?#]+)")

    def jobs(self, answer: Json) -> Sequence[Json]:
        """Return the postings of a response."""
        if not isinstance(answer, list):
            raise SiteError(ErrorCode.UNVERIFIED, "the answer is not a list of postings")
        return answer

    def item(self, board: str, job: dict[str, Json]) -> Item:
        """Turn a posting into an item. The country belongs to the first location."""
        categories = mapping(job.get("categories"))
        locations = list(dict.fromkeys(filter(None, map(text, sequence(categories.get("allLocations"))))))
        location = "; ".join(locations) or text(categories.get("location"))
        country = text(job.get("country"))
        places = _places(locations, country) if len(locations) > 1 else ()
        shared = shared_place(places)
        salary = _salary(mapping(job.get("salaryRange")))
        return Item(
            external_id=required(text(job.get("id")), "id"),
            title=required(text(job.get("text")), "text"),
            url=required(link(job.get("hostedUrl")), "hostedUrl"),
            apply_url=link(job.get("applyUrl")),
            organization=organization_of(board),
            location=location,
            region=shared.region,
            country=shared.country if places else country,
            places=places,
            work_mode=text(job.get("workplaceType")),
            posted_at=text(job.get("createdAt")),
            salary_min=salary.least,
            salary_max=salary.most,
            salary_interval=salary.interval,
            currency=salary.currency,
            job_types=tuple(filter(None, [text(categories.get("commitment"))])),
            description=_description(job),
            data={
                "department": text(categories.get("department")),
                "team": text(categories.get("team")),
                "level": text(categories.get("level")),
            },
        )


def _places(locations: Sequence[str], country: str | None) -> tuple[Place, ...]:
    first, *others = locations
    found = [
        *find_places(first, None, country_code(country)),
        *(place for other in others for place in find_places(other)),
    ]
    return tuple(dict.fromkeys(found))


def _description(job: dict[str, Json]) -> str | None:
    """Join the parts of a description in the order of Lever's own page, as HTML if possible."""
    parts = [text(job.get("description")) or text(job.get("descriptionPlain"))]
    for titled in map(mapping, sequence(job.get("lists"))):
        heading, content = text(titled.get("text")), text(titled.get("content"))
        parts += [heading and f"<h3>{heading}</h3>", content and f"<ul>{content}</ul>"]
    parts += [text(job.get("salaryDescription")), text(job.get("additional")) or text(job.get("additionalPlain"))]
    return "\n".join(filter(None, parts)) or None


def _salary(pay: dict[str, Json]) -> Salary:
    """Return the pay of an interval such as `per-year-salary` or `bi-week-salary`. One-time pay is ignored."""
    interval = re.sub(r"^per-|-(?:salary|wage)$", "", text(pay.get("interval")) or "")
    if interval == "one-time":
        return NO_SALARY
    return clean_salary(amount(pay.get("min")), amount(pay.get("max")), interval, text(pay.get("currency")), None)
