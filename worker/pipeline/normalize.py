"""Normalizes an item: one vocabulary and one format for the items of all sites."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from worker.model import Item
from worker.pipeline.dates import to_iso
from worker.pipeline.experience import MAX_YEARS, experience_years
from worker.pipeline.item_places import item_places
from worker.pipeline.job_types import job_types_of
from worker.pipeline.markdown import to_markdown, to_plain
from worker.pipeline.organizations import clean_organization
from worker.pipeline.salaries import NO_SALARY, Salary, clean_salary
from worker.pipeline.skills import find_skills
from worker.pipeline.stated_pay import find_salary
from worker.pipeline.text import clean_line
from worker.pipeline.urls import clean_url
from worker.pipeline.work_mode import work_mode

JOBS = "jobs"
"""The kind whose texts are searched for pay, place, skills, experience and work mode."""


def normalize(item: Item, kind: str) -> Item:
    """Return an item with clean texts and URLs. For a job, also fill missing fields from its texts.

    Pure and idempotent. Values that the source gave are normalized and kept; texts only fill missing ones. `title` is
    empty if it has no readable text, `url` if it is not a web address. `data`, `external_id` and the keys for
    deduplication do not change.

    Args:
        item: The item as the source parsed it.
        kind: Its kind, as in `search_runs.kind`.
    """
    url = clean_url(item.url) or ""
    title, location = clean_line(item.title) or "", clean_line(item.location)
    description = to_markdown(item.description)
    texts = _Texts(title, location, to_plain(description or "")) if kind == JOBS else _Texts("", None, "")
    located = item if item.location == texts.location else replace(item, location=texts.location)
    place, places = item_places(located, url)
    salary = _salary(item, texts.description, place.country)
    mode = work_mode(item.work_mode, item.is_remote, texts.title, texts.location, texts.description)
    yearly_min, yearly_max = salary.yearly
    return replace(
        item,
        title=title,
        url=url,
        organization=clean_line(item.organization),
        employer=clean_organization(item.employer),
        location=location,
        city=place.city,
        region=place.region,
        country=place.country,
        places=places,
        is_remote=item.is_remote if mode is None else mode == "remote",
        work_mode=mode,
        posted_at=to_iso(item.posted_at),
        job_types=job_types_of(item.job_types, texts.title, texts.description),
        salary_min=salary.least,
        salary_max=salary.most,
        salary_interval=salary.interval,
        currency=salary.currency,
        salary_yearly_min=yearly_min,
        salary_yearly_max=yearly_max,
        apply_url=clean_url(item.apply_url),
        description=description,
        skills=find_skills(texts.description, item.skills),
        experience_years=_experience_years(item, texts.description),
    )


class _Texts(NamedTuple):
    """The texts from which missing fields are filled; empty for other kinds than jobs."""

    title: str
    location: str | None
    description: str


def _salary(item: Item, description: str, country: str | None) -> Salary:
    """Return the pay that the source gave, else the pay that the description states.

    A given amount without an interval gets the one that the description states for the same amount.
    """
    given = clean_salary(item.salary_min, item.salary_max, item.salary_interval, item.currency, country)
    if given.interval is not None:
        return given
    stated = find_salary(description, country)
    if given == NO_SALARY:
        return stated
    if given.currency not in (None, stated.currency) or set(given.amounts).isdisjoint(stated.amounts):
        return given
    return clean_salary(given.least, given.most, stated.interval, stated.currency, country)


def _experience_years(item: Item, description: str) -> int | None:
    years = item.experience_years
    return years if years is not None and 0 <= years <= MAX_YEARS else experience_years(description)
