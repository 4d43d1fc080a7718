"""The data of the worker: runs, sites, pages, items and errors of items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import JsonValue

WEBHOOK_EVENTS = (
    "run.finished", "run.failed", "search.new_items", "schedule.paused", "schedule.inactive_soon", "incident.opened",
    "incident.resolved",
)  # fmt: skip
"""The events that an endpoint may get; the same as in `worker.webhook_endpoints`."""

Json: TypeAlias = JsonValue

Parameters: TypeAlias = Mapping[str, Any]


Ends: TypeAlias = Literal["site", "run"]
"""What ends with a page: its site, or its site and the run."""


class SiteStatus(StrEnum):
    """Status of a site of a run (`search_run_sites.status`)."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Page:
    """One raw answer of a site, stored unchanged.

    Attributes:
        number: 1 for the first page of a site.
        payload: The answer as JSON: no NaN, dates in ISO 8601.
        response_ms: Response time of the site in milliseconds.
        calls_used: Number of requests to the site.
        cursor: Where the next page starts, in a form that the source chooses; None: the search cannot resume here.
        is_last: Whether there are no more pages.
    """

    number: int
    payload: Json
    response_ms: int
    calls_used: int = 1
    cursor: Json = None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the search of a site.

    Attributes:
        step: The current step, in one word: `searching`, `enriching` ...
        current: How much of the step is done.
        total: How much there is to do, if known.
        details: More for a frontend to show. Keep it small.
    """

    step: str
    current: int | None = None
    total: int | None = None
    details: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLimits:
    """The limits of a site, which all workers share. None: no limit.

    Attributes:
        requests: Requests within any `period_seconds`.
        period_seconds: Length of this period in seconds.
        burst: How many of these requests may be sent at once.
        min_delay_seconds: Minimum time between two requests in seconds.
        quota: Requests in each `quota_period`.
        quota_period: A calendar `day` or `month`.
        quota_timezone: The IANA time zone in which this period starts at midnight.
        searches: Concurrent searches.
        searches_per_account: Concurrent searches through one account.
        per_exit: Whether each exit of a worker has these limits for itself, because the site counts by address. False
            for what it allows in all. Without effect where the source has a key or an account: the site counts by that.
    """

    requests: int | None = None
    period_seconds: float = 60
    burst: int = 1
    min_delay_seconds: float | None = None
    quota: int | None = None
    quota_period: Literal["day", "month"] = "day"
    quota_timezone: str = "UTC"
    searches: int | None = None
    searches_per_account: int | None = None
    per_exit: bool = True

    @property
    def pause_seconds(self) -> float:
        """Time between two requests, in seconds, that respects the limits without a burst."""
        pace = 0.0 if self.requests is None else self.period_seconds / self.requests
        return max(pace, self.min_delay_seconds or 0.0)


LimitsBySite: TypeAlias = Mapping[str, Mapping[str, Mapping[str, SiteLimits]]]
"""The limits of sites, by kind, site and bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a site reports of its limits.

    Attributes:
        retry_after_seconds: Seconds until the site accepts the next request.
        remaining: Requests that are left of the quota.
        quota: The quota.
        resets_in_seconds: Seconds until the quota resets.
    """

    retry_after_seconds: float | None = None
    remaining: int | None = None
    quota: int | None = None
    resets_in_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """What a site says about an employer, besides its name.

    Attributes:
        url: Its own website.
        profile_url: The site's page about it.
        logo_url: Its logo.
        address: Its main address.
        industry: Its industry, in the words of the site.
        employees: Number of employees, in the words of the site from a source; `51-200`, `10001+` or `120` from the
            pipeline.
        revenue: Its revenue, in the words of the site.
        description: HTML from a source, Markdown from the pipeline.
        rating: The average rating of its reviews on the site, up to 5.
        review_count: Number of these reviews.
    """

    url: str | None = None
    profile_url: str | None = None
    logo_url: str | None = None
    address: str | None = None
    industry: str | None = None
    employees: str | None = None
    revenue: str | None = None
    description: str | None = None
    rating: float | None = None
    review_count: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place. Unknown parts are None.

    Attributes:
        city: Name of the city, as the site writes it.
        region: Short code in the US, Canada and Australia (`WI`, `ON`, `NSW`), English name elsewhere.
        country: ISO 3166-1 alpha-2 code.
        latitude: Of the city, in degrees.
        longitude: Of the city, in degrees.
    """

    city: str | None = None
    region: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing found: a row of `items` without its id.

    A source sets the fields before `city`, as the site has them. `worker.pipeline` normalizes these and sets the rest.

    Attributes:
        external_id: The id of the item on the site.
        posted_at: ISO 8601 date or timestamp.
        salary_interval: `yearly`, `monthly`, `weekly`, `daily` or `hourly`.
        currency: ISO 4217 code.
        description: HTML from a source, Markdown from the pipeline.
        job_types: Of `fulltime`, `parttime`, `contract`, `temporary`, `internship`, `perdiem`, `volunteer`, `other`.
        employer: What the site says about the organization.
        data: Other data of the site.
        city: City, if the location names one.
        region: State or province, if the location names one.
        country: ISO 3166-1 alpha-2 code, if the location names a country.
        work_mode: `remote`, `hybrid` or `onsite`.
        salary_yearly_min: `salary_min` as a full-time yearly salary.
        salary_yearly_max: `salary_max` as a full-time yearly salary.
        skills: Skills that the description names.
        experience_years: Minimum years of experience that the description requires.
        apply_key: Canonical form of `apply_url`, if it identifies one job.
        match_key: Normalized title, first word of the organization, and cities.
        organization_key: Normalized organization, without its legal form.
        places: All places of the location. If a source sets them, nothing more is read from the location.
        place_key: Normalized cities, region and country.
        text_signature: See `worker.pipeline.text_signature`.
    """

    external_id: str
    title: str
    url: str
    organization: str | None = None
    location: str | None = None
    is_remote: bool | None = None
    posted_at: str | None = None
    salary_min: float | None = None
    salary_max: float | None = None
    salary_interval: str | None = None
    currency: str | None = None
    apply_url: str | None = None
    description: str | None = None
    job_types: tuple[str, ...] = ()
    employer: Organization | None = None
    data: dict[str, Json] = field(default_factory=dict)
    city: str | None = None
    region: str | None = None
    country: str | None = None
    work_mode: str | None = None
    salary_yearly_min: float | None = None
    salary_yearly_max: float | None = None
    skills: tuple[str, ...] = ()
    experience_years: int | None = None
    apply_key: str | None = None
    match_key: str | None = None
    organization_key: str | None = None
    places: tuple[Place, ...] = ()
    place_key: str | None = None
    text_signature: str | None = None


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why a record of a page, or the whole page, gave no item.

    Attributes:
        index: Index of the record on the page, from 0; None for the whole page.
        type: Name of the error class.
        message: What is wrong.
        field: The invalid field, if it is one field.
        raw: The record as the site sent it.
    """

    index: int | None
    type: str
    message: str
    field: str | None = None
    raw: Json = None


@dataclass(frozen=True, slots=True)
class Transformed:
    """The items of a page, by one version of its source.

    Attributes:
        version: Version of the source.
        items: The valid items, in the order of the page.
        errors: The invalid records.
        completeness: For each main field, the share of items that have it, from 0 to 1; empty without items.
        transform_ms: Duration of the transformation in milliseconds.
    """

    version: int
    items: tuple[Item, ...]
    errors: tuple[ItemError, ...]
    completeness: dict[str, float]
    transform_ms: int


@dataclass(frozen=True, slots=True)
class RunSite:
    """An unfinished site of a claimed run.

    Attributes:
        attempt: Attempt of the run to search the site, from 1.
        is_started: Whether the claim of the run has started its search.
        exit: The name of the exit that the claim has chosen for it.
        account: The account to search through, if the user has one.
        cursor: The cursor of the last saved page; None: start with the first page.
        next_page: Number of the next page.
        is_fetched: Whether the last page of the site is saved.
    """

    site: str
    attempt: int
    is_started: bool = False
    exit: str | None = None
    account: str | None = None
    cursor: Json = None
    next_page: int = 1
    is_fetched: bool = False


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A fetched page with its items.

    Attributes:
        attempt: Attempt of the run to search the site, from 1.
        account: The account through which the page was fetched, if any.
        source: Name of the source.
        progress: Progress of the search with this page.
    """

    site: str
    attempt: int
    account: str | None
    source: str
    page: Page
    transformed: Transformed
    progress: Progress = Progress("searching")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a run. The token changes at every claim."""

    run_id: UUID
    token: UUID


@dataclass(frozen=True, slots=True)
class Run:
    """A claimed run.

    Attributes:
        newer_than: Search only for items newer than this, if the site supports it; None: for all.
        sites: The unfinished sites, in the order in which to search them.
        attempt: Attempt of the run, from 1.
    """

    id: UUID
    lease: Lease
    kind: str
    parameters: Parameters
    newer_than: datetime | None
    sites: tuple[RunSite, ...]
    attempt: int
    max_attempts: int
