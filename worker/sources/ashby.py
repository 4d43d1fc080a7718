"""Searches company boards at Ashby: https://developers.ashbyhq.com/docs/public-job-posting-api."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from worker.model import Item, Json, Place, SiteLimits
from worker.pipeline.places import complete, country_code, find_places, region_name, shared_place
from worker.pipeline.salaries import Salary, clean_salary
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


class AshbyParameters(CompanyBoardsParameters):
    """Parameters of a search at Ashby.

    Attributes:
        ashby_boards: Names of the boards, as in `jobs.ashbyhq.com/NAME`.
    """

    ashby_boards: BoardNames


class AshbySource(CompanyBoards):
    """Searches company boards at Ashby. It needs no key. One response has a whole board, with descriptions and pay."""

    name = "ashby"
    sites: Sequence[str] = ("ashby",)
    hosts: Mapping[str, str] = {"ashby": "api.ashbyhq.com"}
    parameters = AshbyParameters
    limits: Mapping[str, SiteLimits] = {"ashby": DEFAULT_LIMITS}
    boards = "ashby_boards"
    addresses = ("https://api.ashbyhq.com/posting-api/job-board/{}",)
    query: Mapping[str, str] = {"includeCompensation": "true"}
    job_address = re.compile(r"https://jobs\.ashbyhq\.com/([^/?#]+)")

    def jobs(self, answer: Json) -> Sequence[Json]:
        """Return the listed jobs. Unlisted jobs, which are shared only by link, are left out."""
        return [job for job in listed_jobs(answer) if mapping(job).get("isListed") is not False]

    def item(self, board: str, job: dict[str, Json]) -> Item:
        """Turn a job into an item. Each location has a postal address of its own."""
        sites = [job, *map(mapping, sequence(job.get("secondaryLocations")))]
        locations = list(filter(None, (text(site.get("location")) for site in sites)))
        address = _address(job) if len(locations) <= 1 else {}
        places = tuple(dict.fromkeys(place for site in sites for place in _places(site))) if len(locations) > 1 else ()
        shared = shared_place(places)
        is_remote = job.get("isRemote")
        salary = widest(_salaries(mapping(job.get("compensation"))))
        return Item(
            external_id=required(text(job.get("id")), "id"),
            title=required(text(job.get("title")), "title"),
            url=required(link(job.get("jobUrl")), "jobUrl"),
            apply_url=link(job.get("applyUrl")),
            organization=organization_of(board),
            location="; ".join(locations) or None,
            city=text(address.get("addressLocality")),
            region=text(address.get("addressRegion")) or shared.region,
            country=text(address.get("addressCountry")) or shared.country,
            places=places,
            work_mode=text(job.get("workplaceType")),
            is_remote=is_remote if isinstance(is_remote, bool) else None,
            posted_at=text(job.get("publishedAt")),
            salary_min=salary.least,
            salary_max=salary.most,
            salary_interval=salary.interval,
            currency=salary.currency,
            job_types=tuple(filter(None, [text(job.get("employmentType"))])),
            description=text(job.get("descriptionHtml")) or text(job.get("descriptionPlain")),
            data={
                "department": text(job.get("department")),
                "team": text(job.get("team")),
                "compensation": text(mapping(job.get("compensation")).get("compensationTierSummary")),
            },
        )


def _address(site: dict[str, Json]) -> dict[str, Json]:
    """Return the postal address of a location; that of a secondary location is not nested."""
    address = mapping(site.get("address"))
    return mapping(address.get("postalAddress")) or address


def _places(site: dict[str, Json]) -> tuple[Place, ...]:
    """Return the place of the postal address, or else those that the location names."""
    address = _address(site)
    country = country_code(text(address.get("addressCountry")))
    city, region = text(address.get("addressLocality")), text(address.get("addressRegion"))
    if city or region:
        return (complete(Place(city, region_name(region, country), country)),)
    return find_places(text(site.get("location")), None, country)


def _salaries(compensation: dict[str, Json]) -> Iterator[Salary]:
    """Yield the salaries of the summary, else of each tier. Equity, bonus and commission are left out."""
    tiers = map(mapping, sequence(compensation.get("compensationTiers")))
    components = sequence(compensation.get("summaryComponents")) or [
        component for tier in tiers for component in sequence(tier.get("components"))
    ]
    for component in map(mapping, components):
        if component.get("compensationType") == "Salary":
            least, most = amount(component.get("minValue")), amount(component.get("maxValue"))
            interval, currency = text(component.get("interval")), text(component.get("currencyCode"))
            yield clean_salary(least, most, interval, currency, None)
