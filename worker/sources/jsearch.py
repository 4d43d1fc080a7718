"""Searches jobs of many boards through JSearch, which reads Google for Jobs.

Parameters, shapes and paging are described at https://www.openwebninja.com/api/jsearch/docs. The search has two
versions: the first has numbered pages and returns a list of jobs; the second returns an object with the jobs and the
cursor of the next page.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal, TypeAlias

from pydantic import Field

from worker.errors import InvalidItemError
from worker.model import Item, Json, Organization, Page, Parameters, Progress, SiteLimits
from worker.pipeline.dates import to_iso
from worker.pipeline.gazetteer import country_name
from worker.pipeline.job_types import job_types_of
from worker.settings import ApiKey, EnvironmentSettings, plain
from worker.sources import Search, Source
from worker.sources.fields import amount, flag, link, mapping, number, required, sequence, text, texts
from worker.sources.harvest import Harvest
from worker.sources.job_filter import published_since
from worker.sources.jsearch_api import Endpoint, Host, JSearchApi
from worker.sources.parameters import JobParameters
from worker.sources.search_location import check_covered
from worker.sources.wanted_places import WantedPlaces

Query: TypeAlias = dict[str, str | int]
Position: TypeAlias = Query
"""The query parameter that selects a page: `page` in the first version; `cursor`, or none for the first page, in the
second."""

FREE_REQUESTS = 200
"""Requests per month of the free plan. Response headers report the quota of other plans (`Observed`)."""

PAGE_SIZE = 10
"""Most jobs on a page. Each page costs a request of the quota, even if one response has several pages."""

LAST_PAGE = 100
"""The last page of the first version."""

PAGES_PER_NEEDED = 2
"""Most pages per page that a search would need if no job were a repetition or too old."""

EMPLOYMENT_TYPES = {"fulltime": "FULLTIME", "parttime": "PARTTIME", "contract": "CONTRACTOR", "internship": "INTERN"}
"""The types that JSearch can filter. For other types, the source leaves out jobs of a different type."""

DATES_POSTED = {
    timedelta(days=1): "today",
    timedelta(days=3): "3days",
    timedelta(days=7): "week",
    timedelta(days=30): "month",
}

_ITEM_FIELDS = frozenset({
    "job_id", "job_title", "employer_name", "job_location", "job_city", "job_state", "job_country", "job_is_remote",
    "job_posted_at_timestamp", "job_posted_at_datetime_utc", "job_min_salary", "job_max_salary", "job_salary_period",
    "job_salary_currency", "job_apply_link", "job_description", "job_employment_type", "job_employment_types",
    "employer_website", "employer_linkedin", "employer_logo", "employer_company_type",
})  # fmt: skip


class JSearchSettings(EnvironmentSettings):
    """The operator's account at JSearch.

    Attributes:
        api_key: The key; None: it is not set.
        host: Who issued the key.
        version: Version of the search: `v1` for accounts at RapidAPI that have no other.
    """

    api_key: ApiKey | None = Field(
        default=None, validation_alias="JSEARCH_API_KEY", description="Key of JSearch, for the site jsearch."
    )
    host: Host = Field(
        default="jsearch.p.rapidapi.com",
        validation_alias="JSEARCH_HOST",
        description="Who issued the key: RapidAPI (jsearch.p.rapidapi.com) or OpenWeb Ninja (api.openwebninja.com).",
    )
    version: Literal["v1", "v2"] = Field(
        default="v2",
        validation_alias="JSEARCH_VERSION",
        description="v2, or v1 for older accounts at RapidAPI, which have numbered pages instead of cursors.",
    )


class JSearchSource(Source):
    """Searches JSearch.

    Args:
        settings: The operator's account; by default from the environment.
    """

    name = "jsearch"
    kind = "jobs"
    sites: Sequence[str] = ("jsearch",)
    parameters = JobParameters
    settings = JSearchSettings
    # Plans also have a rate limit per second, which is not documented.
    limits: Mapping[str, SiteLimits] = {
        "jsearch": SiteLimits(min_delay_seconds=1, searches=4, quota=FREE_REQUESTS, quota_period="month")
    }

    def __init__(self, settings: JSearchSettings | None = None) -> None:
        account = settings or JSearchSettings()
        self._api = JSearchApi(plain(account.api_key), account.host)
        self._begins_at: Position = {"page": 1} if account.version == "v1" else {}
        self.credentials = {"JSEARCH_API_KEY": account.api_key is not None}

    def validate(self, site: str, parameters: Parameters) -> None:
        """Check a run's parameters before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`: a parameter is invalid, or the location is in several countries.
        """
        check_covered(site, self.parameters.read(parameters).place, None)

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search page by page, until enough jobs are found, a page has no new jobs, or JSearch has no more.

        A page's payload is the response, reduced to the matching jobs that no earlier page had. Because every page
        counts against the quota, a search reads at most `PAGES_PER_NEEDED` times as many pages as it needs.

        Raises:
            SiteError: JSearch refused the request or failed. Pages yielded before remain valid.
        """
        parameters = self.parameters.read(search.parameters)
        now = datetime.now(UTC)
        oldest = published_since(parameters, search.newer_than, now)
        query = _query(parameters, oldest, now)
        # JSearch looks around the location by itself: its jobs are compared only if a distance is given.
        places = None
        if parameters.distance_miles is not None:
            places = WantedPlaces(parameters.location, parameters.country, parameters.distance_miles)
        most_pages = PAGES_PER_NEEDED * -(-parameters.results_wanted // PAGE_SIZE)
        position, found_ids = self._begin(search.cursor)
        # JSearch's cursor is valid only for the same query, while the age of `newer_than` grows with time.
        query["date_posted"] = text(mapping(search.cursor).get("date_posted")) or query["date_posted"]
        harvest = Harvest(
            lambda record: self.parse(search.site, record),
            lambda item: (
                _is_of_type(item, parameters.job_type)
                and not _is_older(item, oldest)
                and (places is None or places.include(item) is not False)
            ),
            parameters.results_wanted,
            found_ids,
        )
        await search.report(Progress("searching", harvest.found, parameters.results_wanted))
        for page_number in count(search.next_page):
            endpoint: Endpoint = "search" if "page" in position else "search-v2"
            response = await self._api.request(search.http, endpoint, query | position)
            answer = response.json()
            jobs = harvest.select(_jobs(answer))
            after = None if harvest.drift else _after(answer, position)
            is_enough = not harvest.has_news or harvest.is_complete or page_number >= most_pages
            is_last = harvest.drift is None and (after is None or is_enough)
            await search.report(Progress("searching", harvest.found, parameters.results_wanted))
            yield Page(
                page_number,
                _with_jobs(answer, jobs),
                response.elapsed_ms,
                response.requests,
                cursor=None
                if is_last or after is None
                else {**after, "found_ids": [*harvest.found_ids], "date_posted": query["date_posted"]},
                is_last=is_last,
            )
            if harvest.drift:
                raise harvest.drift
            if after is None or is_last:
                return
            position = after

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the jobs of a page of either version.

        Raises:
            InvalidItemError: The response has no list of jobs.
        """
        jobs = _jobs(page.payload)
        if jobs is None:
            raise InvalidItemError("must be a list of jobs, or an object with one", "data")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item.

        Raises:
            InvalidItemError: The record has no id, no title or no URL.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("a job must be an object")
        page = link(record.get("job_apply_link"))
        places = (text(record.get(f"job_{part}")) for part in ("city", "state", "country"))
        return Item(
            external_id=required(text(record.get("job_id")), "job_id"),
            title=required(text(record.get("job_title")), "job_title"),
            url=required(page or link(record.get("job_google_link")), "job_apply_link"),
            organization=text(record.get("employer_name")),
            location=text(record.get("job_location")) or ", ".join(filter(None, places)) or None,
            city=text(record.get("job_city")),
            region=text(record.get("job_state")),
            country=text(record.get("job_country")),
            is_remote=flag(record.get("job_is_remote")),
            posted_at=_posted_at(record),
            salary_min=amount(record.get("job_min_salary")),
            salary_max=amount(record.get("job_max_salary")),
            salary_interval=text(record.get("job_salary_period")),
            currency=text(record.get("job_salary_currency")),
            apply_url=_direct_link(record) or page,
            description=text(record.get("job_description")),
            job_types=texts(record.get("job_employment_types")) or texts([record.get("job_employment_type")]),
            employer=Organization(
                url=link(record.get("employer_website")),
                profile_url=link(record.get("employer_linkedin")),
                logo_url=link(record.get("employer_logo")),
                industry=text(record.get("employer_company_type")),
            ),
            data={name: value for name, value in record.items() if name not in _ITEM_FIELDS and value is not None},
        )

    def _begin(self, cursor: Json) -> tuple[Position, Sequence[str]]:
        """Return the position to start or resume at, and the ids found so far. A cursor keeps its version."""
        kept = mapping(cursor)
        for name, value in (("page", number(kept.get("page"))), ("cursor", text(kept.get("cursor")))):
            if value is not None:
                return {name: value}, texts(kept.get("found_ids"))
        return self._begins_at, ()


# Requests -------------------------------------------------------------------------------------------------------------


def _query(parameters: JobParameters, oldest: datetime | None, now: datetime) -> Query:
    where = parameters.place
    place = where.text or (country_name(where.country) if where.country else None)
    query: Query = {
        "query": f"{parameters.search_term} in {place}" if place else parameters.search_term,
        "num_pages": 1,
        "date_posted": "all" if oldest is None else _date_posted(now - oldest),
    }
    # Without a country, JSearch searches the US.
    if where.country:
        query["country"] = where.country.lower()
    if parameters.wants_remote:
        query["work_from_home"] = "true"
    if parameters.job_type in EMPLOYMENT_TYPES:
        query["employment_types"] = EMPLOYMENT_TYPES[parameters.job_type]
    return query


def _date_posted(age: timedelta) -> str:
    return next((name for longest, name in DATES_POSTED.items() if age <= longest), "all")


# Responses ------------------------------------------------------------------------------------------------------------


def _jobs(answer: Json) -> list[Json] | None:
    """Return the jobs of a response of either version; None if it has no list of jobs."""
    data = mapping(answer).get("data")
    jobs = data.get("jobs") if isinstance(data, dict) else data
    return jobs if isinstance(jobs, list) else None


def _with_jobs(answer: Json, jobs: list[Json]) -> Json:
    if _jobs(answer) is None:
        return answer
    data = mapping(answer).get("data")
    return {**mapping(answer), "data": {**data, "jobs": jobs} if isinstance(data, dict) else jobs}


def _after(answer: Json, position: Position) -> Position | None:
    """Return the position of the next page; None if there is none."""
    page = position.get("page")
    if isinstance(page, int):
        return {"page": page + 1} if page < LAST_PAGE else None
    cursor = text(mapping(mapping(answer).get("data")).get("cursor"))
    return {"cursor": cursor} if cursor and cursor != position.get("cursor") else None


def _posted_at(record: Mapping[str, Json]) -> str | None:
    """Return the time of publication. For older jobs Google has only the day, given as midnight: it becomes a date."""
    timestamp = number(record.get("job_posted_at_timestamp"))
    posted_at = to_iso(text(record.get("job_posted_at_datetime_utc")) if timestamp is None else str(timestamp))
    return posted_at.removesuffix("T00:00:00+00:00") if posted_at else None


def _direct_link(record: Mapping[str, Json]) -> str | None:
    """Return the URL to apply directly at the employer; None if there is none."""
    options = [mapping(option) for option in sequence(record.get("apply_options"))]
    return next(
        (url for option in options if option.get("is_direct") is True and (url := link(option.get("apply_link")))), None
    )


def _is_of_type(item: Item, job_type: str | None) -> bool:
    types = job_types_of(item.job_types, item.title, item.description or "")
    return job_type is None or job_type in types or not types


def _is_older(item: Item, oldest: datetime | None) -> bool:
    if oldest is None or item.posted_at is None:
        return False
    if "T" in item.posted_at:
        return datetime.fromisoformat(item.posted_at) < oldest
    return item.posted_at < oldest.astimezone(UTC).date().isoformat()
