"""What the worker passes around: runs, sites, pages, items and the ways in which a site fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import JsonValue

Json: TypeAlias = JsonValue

Parameters: TypeAlias = Mapping[str, Any]


class SiteStatus(StrEnum):
    """Status of one site of a run (`search_run_sites.status`)."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Page:
    """One raw answer of a site, kept as it came.

    Attributes:
        number: 1 for the first page of a site.
        payload: The answer as JSON: no NaN, dates in ISO 8601.
        response_ms: Time that the site took to answer, in milliseconds.
        calls_used: Requests that the answer cost, where known.
        cursor: Where the next page begins, in the source's own words; None: the search cannot be gone on with here.
        is_last: Whether the site has no more.
    """

    number: int
    payload: Json
    response_ms: int
    calls_used: int = 1
    cursor: Json = None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the search of a site is.

    Attributes:
        step: What happens now, in one word: `searching`, `enriching` ...
        current: How much of it is done.
        total: Out of how much, where known.
        details: Whatever else a frontend may show; small.
    """

    step: str
    current: int | None = None
    total: int | None = None
    details: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLimits:
    """What a site allows, over all workers. None: any.

    Attributes:
        requests: Requests within any `period_seconds`.
        period_seconds: That time, in seconds.
        burst: How many of them may be sent at once.
        min_delay_seconds: Least time between two requests, in seconds.
        quota: Requests in each `quota_period`.
        quota_period: A calendar `day` or `month`.
        quota_timezone: The time zone (IANA) by whose midnight it begins.
        searches: Searches at a time.
        searches_per_account: Searches at a time through one account.
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

    @property
    def pause_seconds(self) -> float:
        """Time between two requests, in seconds, that keeps to the limits without a burst."""
        pace = 0.0 if self.requests is None else self.period_seconds / self.requests
        return max(pace, self.min_delay_seconds or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a site tells of its limits.

    Attributes:
        retry_after_seconds: How long it wants to be left alone.
        remaining: Requests that are left of the quota.
        quota: The quota.
        resets_in_seconds: Seconds until the quota begins anew.
    """

    retry_after_seconds: float | None = None
    remaining: int | None = None
    quota: int | None = None
    resets_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing found: a row of `items` before it has an id.

    A source fills in what the site told, in the site's own words; `worker.pipeline` brings them to one form and fills
    in what is not the site's, from `city` on.

    Attributes:
        external_id: The site's own id of it.
        posted_at: ISO 8601 date or timestamp.
        salary_interval: `yearly`, `monthly`, `weekly`, `daily` or `hourly`.
        currency: ISO 4217 code.
        description: HTML from a source, Markdown from the pipeline.
        job_types: Of `fulltime`, `parttime`, `contract`, `temporary`, `internship`, `perdiem`, `volunteer`, `other`.
        data: Everything else that the site told.
        city: Where the location names one.
        region: State or province, where the location names one.
        country: ISO 3166-1 alpha-2 code, where the location names one.
        work_mode: `remote`, `hybrid` or `onsite`.
        salary_yearly_min: `salary_min` in a year of full work.
        salary_yearly_max: `salary_max` in a year of full work.
        skills: Skills that the description names.
        experience_years: Least years of experience that the description asks for.
        apply_key: Canonical form of an `apply_url` that names one job.
        match_key: Normalised title, organization and location.
        organization_key: Normalised organization.
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


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why a record of a page, or all of it, is not among the items.

    Attributes:
        index: Place of the record on the page, from 0; None for the page as a whole.
        type: Name of the error's class.
        message: What is wrong.
        field: The field that is wrong, where one is.
        raw: The record as the site sent it.
    """

    index: int | None
    type: str
    message: str
    field: str | None = None
    raw: Json = None


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a page holds, by one version of its source.

    Attributes:
        version: The source's version.
        items: Its valid items, in the order of the page.
        errors: Why the others are not among them.
        completeness: Share of the items, from 0 to 1, that have each of the main fields; empty without items.
        transform_ms: Time that it took, in milliseconds.
    """

    version: int
    items: tuple[Item, ...]
    errors: tuple[ItemError, ...]
    completeness: dict[str, float]
    transform_ms: int


@dataclass(frozen=True, slots=True)
class RunSite:
    """One site of a claimed run that is still to be searched.

    Attributes:
        attempt: 1 for the first time that this run searches the site.
        account: The account to search it through, where the run's user has one.
        cursor: That of the last page that was saved; None: begin with the first page.
        next_page: Number of the page that comes next.
        is_fetched: Whether the last page of the site was saved already.
    """

    site: str
    attempt: int
    account: str | None = None
    cursor: Json = None
    next_page: int = 1
    is_fetched: bool = False


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page with what a source made of it.

    Attributes:
        attempt: The attempt of the run to search the site, from 1.
        account: The account that it was fetched through, if any.
        source: The source's name.
        progress: How far the search was with it.
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
        newer_than: Ask only for what is newer, where a site can; None: for everything.
        sites: The sites that are not finished yet, in the order in which to search them.
        attempt: 1 for the run's first attempt.
    """

    id: UUID
    lease: Lease
    kind: str
    parameters: Parameters
    newer_than: datetime | None
    sites: tuple[RunSite, ...]
    attempt: int
    max_attempts: int
