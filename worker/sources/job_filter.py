"""Filters and ranks the jobs of boards that have no search of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from worker.model import Item
from worker.pipeline.dates import to_iso
from worker.pipeline.item_places import item_places
from worker.pipeline.job_types import job_types_of
from worker.pipeline.text import clean_line
from worker.pipeline.urls import clean_url
from worker.pipeline.work_mode import work_mode
from worker.sources.parameters import JobParameters
from worker.sources.search_query import JobTexts, SearchQuery, folded
from worker.sources.wanted_places import WantedPlaces


class Match(NamedTuple):
    """The rank of a matching job. The smaller match is the better one.

    Attributes:
        missing_in_title: Terms of the search that the title does not have.
        unknown: Conditions that the job does not give enough information for.
        negated_time: Negated time of publication, in seconds since 1970; 0: unknown.
    """

    missing_in_title: int
    unknown: int
    negated_time: float


def published_since(parameters: JobParameters, newer_than: datetime | None, now: datetime) -> datetime | None:
    """Return the earliest time of publication that a search allows, by `hours_old` and `newer_than`; None: any."""
    bounds = [newer_than] if newer_than else []
    if parameters.hours_old is not None:
        bounds.append(now - timedelta(hours=parameters.hours_old))
    return max(bounds, default=None)


class JobFilter:
    """Matches jobs against the parameters of a search.

    Words: the title, the organization, the skills, the description or a text of `data` must contain each word of
    `search_term` as a whole word. Case, accents, plural forms, and open, hyphenated or closed spelling are ignored.
    `"two words"` is a phrase, `-word` excludes a word, and `this OR that` needs one of both, as on Indeed and LinkedIn.

    Places: one of the job's places must be in the city, region, country or area that the search names, or within
    `distance_miles` of the city. A job in an area such as Europe matches all its countries, and the search for an area
    all jobs in its countries. Names in different languages match (`worker.sources.wanted_places`). With
    `distance_miles`, a job in a city that the gazetteer does not know matches if it may be in the same country.

    Remote: a hybrid or on-site job, or a job in a city without any mention of remote work, does not match.

    Type and age: a job of a different type, or an older one, does not match. The type is read from the job's own words,
    then from its texts. Words that are not known are a different type.

    A job with missing information matches, but ranks below jobs that have it.

    Args:
        parameters: The parameters of the search.
        oldest: Earliest time of publication; None: any. See `published_since`.
    """

    def __init__(self, parameters: JobParameters, oldest: datetime | None = None) -> None:
        self._query = SearchQuery(parameters.search_term)
        self._places = WantedPlaces(parameters.location, parameters.country, parameters.distance_miles)
        self._place_words = frozenset(folded(parameters.location or "").split())
        self._is_remote = parameters.wants_remote
        self._job_type = parameters.job_type
        self._oldest = oldest

    def match(self, item: Item) -> Match | None:
        """Return the rank of a job, or None if it does not match.

        Args:
            item: The job as `Source.parse` returns it.
        """
        posted = _time(item.posted_at)
        if self._is_too_old(posted):
            return None
        item = replace(item, title=clean_line(item.title) or "", location=clean_line(item.location))
        job = JobTexts(item)
        unknown = 0
        for condition in (self._is_in_place, self._has_words, self._has_type, self._is_remote_job):
            is_met = condition(item, job)
            if is_met is False:
                return None
            unknown += is_met is None
        return Match(self._query.missing(job.title), unknown, _negated_time(posted))

    # Conditions, cheapest first. Each returns True, False, or None if the job has no information about it.

    def _is_too_old(self, posted: date | None) -> bool:
        if self._oldest is None or posted is None:
            return False
        if isinstance(posted, datetime):
            return posted < self._oldest
        return posted < self._oldest.astimezone(UTC).date()

    def _has_type(self, item: Item, job: JobTexts) -> bool | None:
        if self._job_type is None:
            return True
        types = job_types_of(item.job_types, item.title, job.description)
        return self._job_type in types if types else None

    def _is_in_place(self, item: Item, _: JobTexts) -> bool | None:
        if not self._places:
            has_words = self._place_words <= frozenset(folded(item.location or "").split())
            return True if has_words or self._is_remote else None
        return self._places.include(item)

    def _has_words(self, _: Item, job: JobTexts) -> bool:
        return self._query.matches(job)

    def _is_remote_job(self, item: Item, job: JobTexts) -> bool | None:
        if not self._is_remote:
            return True
        mode = work_mode(item.work_mode, item.is_remote, item.title, item.location, job.description)
        if mode is not None:
            return mode == "remote"
        return False if any(place.city for place in item_places(item, clean_url(item.url) or "")[1]) else None


def _time(posted_at: str | None) -> date | None:
    iso = to_iso(posted_at)
    if iso is None:
        return None
    return datetime.fromisoformat(iso) if "T" in iso else date.fromisoformat(iso)


def _negated_time(posted: date | None) -> float:
    if posted is None:
        return 0
    moment = posted if isinstance(posted, datetime) else datetime(posted.year, posted.month, posted.day, tzinfo=UTC)
    return -moment.timestamp()
