"""Searches company boards at Greenhouse through its Job Board API: https://developers.greenhouse.io/job-board.html."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence

from worker.model import Item, Json, Place, SiteLimits
from worker.pipeline.pay_intervals import interval_in_words
from worker.pipeline.places import find_area, find_place, find_places, shared_place
from worker.pipeline.salaries import Salary, clean_salary
from worker.pipeline.work_mode import work_mode
from worker.sources.company_boards import (
    DEFAULT_LIMITS,
    BoardNames,
    CompanyBoards,
    CompanyBoardsParameters,
    listed_jobs,
    organization_of,
    widest,
)
from worker.sources.fields import amount, link, mapping, required, sequence, text

# Companies choose the names of their custom fields.
_TYPE_FIELD = re.compile(r"(?i)\b(?:employment|job|contract|worker|time) type\b|\bcommitment\b")
_WORKPLACE_FIELD = re.compile(r"(?i)\b(?:workplace|work(?:ing)? (?:model|mode)|location type|remote)\b")
_PAY_FIELD = re.compile(r"(?i)\b(?:pay|salary|compensation|wages?|hiring range)\b")
_PERIOD_FIELD = re.compile(r"(?i)\b(?:pay|salary) (?:frequency|period|type)\b")


class GreenhouseParameters(CompanyBoardsParameters):
    """Parameters of a search at Greenhouse.

    Attributes:
        greenhouse_boards: Names of the boards, as in `job-boards.greenhouse.io/NAME`.
    """

    greenhouse_boards: BoardNames


class GreenhouseSource(CompanyBoards):
    """Searches company boards at Greenhouse. It needs no key.

    One response has a whole board, with descriptions. The API has the boards of the EU site as well.
    """

    name = "greenhouse"
    sites: Sequence[str] = ("greenhouse",)
    hosts: Mapping[str, str] = {"greenhouse": "boards-api.greenhouse.io"}
    parameters = GreenhouseParameters
    limits: Mapping[str, SiteLimits] = {"greenhouse": DEFAULT_LIMITS}
    boards = "greenhouse_boards"
    addresses = ("https://boards-api.greenhouse.io/v1/boards/{}/jobs",)
    query: Mapping[str, str] = {"content": "true", "pay_transparency": "true"}
    job_address = re.compile(r"https://(?:job-)?boards(?:\.eu)?\.greenhouse\.io/(?!embed/)([^/?#]+)")

    def jobs(self, answer: Json) -> Sequence[Json]:
        """Return the jobs of a board."""
        return listed_jobs(answer)

    def item(self, board: str, job: dict[str, Json]) -> Item:
        """Turn a job into an item.

        If the location names no country, the common country of the offices is used. If it names no place at all, such
        as `Hybrid`, the offices are the job's places; a remote job is in none of their cities.
        """
        url = required(link(job.get("absolute_url")), "absolute_url")
        location = text(mapping(job.get("location")).get("name"))
        offices = _offices(job)
        places = () if find_places(location) or find_area(location) else offices
        is_at_office = work_mode(None, None, "", location, "") != "remote"
        office = shared_place(places) if is_at_office else Place()
        custom = dict(_custom_fields(job))
        workplace = _field(custom, _WORKPLACE_FIELD)
        salary = _salary(job, custom)
        return Item(
            external_id=required(text(job.get("id")), "id"),
            title=required(text(job.get("title")), "title"),
            url=url,
            apply_url=url,
            organization=text(job.get("company_name")) or organization_of(board),
            location=location,
            city=office.city,
            region=office.region,
            country=None if find_place(location).country else shared_place(offices).country,
            places=places,
            work_mode=workplace,
            is_remote=True if workplace and re.match(r"(?i)yes\b|remote\b", workplace) else None,
            posted_at=text(job.get("first_published")) or text(job.get("updated_at")),
            salary_min=salary.least,
            salary_max=salary.most,
            salary_interval=salary.interval,
            currency=salary.currency,
            job_types=tuple(value for value in (_field(custom, _TYPE_FIELD),) if value),
            description=html.unescape(text(job.get("content")) or "") or None,
            data={
                "departments": _names(job.get("departments")),
                "offices": _names(job.get("offices")),
                "requisition_id": text(job.get("requisition_id")),
                "updated_at": text(job.get("updated_at")),
                "language": text(job.get("language")),
                "fields": {**custom},
            },
        )


def _custom_fields(job: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the company's custom fields. Several choices are joined."""
    for field in map(mapping, sequence(job.get("metadata"))):
        name, value = text(field.get("name")), field.get("value")
        if isinstance(value, bool):
            value = "yes" if value else "no"
        joined = ", ".join(filter(None, map(text, value if isinstance(value, list) else [value])))
        if name and joined:
            yield name, joined


def _field(custom: Mapping[str, str], name: re.Pattern[str]) -> str | None:
    return next((value for field, value in custom.items() if name.search(field)), None)


def _names(value: Json) -> list[Json]:
    return [name for element in sequence(value) if (name := text(mapping(element).get("name")))]


def _offices(job: dict[str, Json]) -> tuple[Place, ...]:
    """Return the places of the offices. An office such as `France` that groups others is left out."""
    locations = (text(mapping(office).get("location")) for office in sequence(job.get("offices")))
    places = dict.fromkeys(place for location in locations for place in find_places(location))
    grouped = {place.country for place in places if place.city}
    return tuple(place for place in places if place.city or place.country not in grouped)


def _salary(job: dict[str, Json], custom: Mapping[str, str]) -> Salary:
    """Return the pay of the job's pay ranges (in cents), else of the custom fields (in units of the currency)."""
    period = _field(custom, _PERIOD_FIELD)
    ranges = [
        _pay(
            _units(pay.get("min_cents")),
            _units(pay.get("max_cents")),
            text(pay.get("currency_type")),
            (text(pay.get("title")), period, text(pay.get("blurb"))),
        )
        for pay in map(mapping, sequence(job.get("pay_input_ranges")))
    ]
    fields = [
        _pay(
            amount(value.get("min_value", value.get("amount"))),
            amount(value.get("max_value")),
            text(value.get("unit")),
            (name, period),
        )
        for field in map(mapping, sequence(job.get("metadata")))
        if (value := mapping(field.get("value"))) and (name := text(field.get("name"))) and _PAY_FIELD.search(name)
    ]
    return widest([*ranges, *([] if ranges else fields)])


def _units(cents: Json) -> float | None:
    found = amount(cents)
    return None if found is None else found / 100


def _pay(least: float | None, most: float | None, currency: str | None, texts: Sequence[str | None]) -> Salary:
    """Return a pay range. The API has no interval: it is read from the first text with one, else from the amounts."""
    intervals = (interval_in_words(text.lower()) for text in texts if text)
    return clean_salary(least, most, next(filter(None, intervals), None), currency, None)
