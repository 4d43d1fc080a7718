"""Converts rows of JobSpy's table to items."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypeAlias

from worker.model import Item, Json, Organization
from worker.sources.fields import amount, flag, link, number, required, text, texts

Row: TypeAlias = dict[str, Json]

_ITEM_COLUMNS = frozenset({
    "id", "site", "title", "job_url", "company", "location", "is_remote", "date_posted", "min_amount",
    "max_amount", "interval", "currency", "job_url_direct", "description", "job_type", "company_url_direct",
    "company_url", "company_logo", "company_addresses", "company_industry", "company_num_employees", "company_revenue",
    "company_description", "company_rating", "company_reviews_count",
})  # fmt: skip

LIST_COLUMNS = frozenset({"job_type", "emails", "skills"})
NUMBER_COLUMNS = frozenset({"min_amount", "max_amount", "company_rating", "company_reviews_count", "vacancy_count"})
"""The columns of JobSpy's table (`jobspy.model.JobPost`) that hold lists and numbers."""

_INTERVALS = {"naukri": "yearly"}
"""What a site's pay is for where a row does not say: files of older versions of JobSpy leave it out for these sites."""

_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_MISSING = frozenset({"", "nan", "none", "null", "nat", "<na>"})
"""How pandas and Python write a missing value, in lower case."""

_MS_PER_DAY = 86_400_000

_SITES_WITHOUT_MARK = frozenset({"google", "linkedin"})
_REMOTE_WORDS = re.compile("(?i)remote|work from home|wfh")
"""What JobSpy looks for."""


def typed(row: Row) -> Row:
    """Return a row of a file that was written with JobSpy, with the types that the rows of a page have.

    A CSV file has only texts. In the JSON of pandas, lists are texts and dates are milliseconds since 1970. The columns
    without a name, in which pandas writes the numbers of the rows, are left out. Idempotent.
    """
    return {
        name: _typed(name, None if isinstance(value, str) and value.strip().lower() in _MISSING else value)
        for name, value in row.items()
        if name and not name.startswith("Unnamed: ")
    }


def _typed(name: str, value: Json) -> Json:
    if name in LIST_COLUMNS and isinstance(value, str):
        return [part for part in re.split(r",\s*", value.strip().strip("[]")) if part]
    if name in NUMBER_COLUMNS and isinstance(value, str):
        written = amount(value)
        return int(written) if written is not None and written.is_integer() else written
    if name == "is_remote" and not isinstance(value, bool):
        return _FLAGS.get((text(value) or "").lower())
    if name == "date_posted" and (milliseconds := number(value)) is not None and milliseconds % _MS_PER_DAY == 0:
        return _date(milliseconds)
    return value


def _date(milliseconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def to_item(site: str, row: Row) -> Item:
    """Turn a row into an item.

    Raises:
        InvalidItemError: The row has no id, no title or no URL.
    """
    return Item(
        external_id=required(id_of(row), "id"),
        title=required(text(row.get("title")), "title"),
        url=required(link(row.get("job_url")), "job_url"),
        organization=text(row.get("company")),
        location=text(row.get("location")),
        is_remote=_is_remote(site, row),
        posted_at=text(row.get("date_posted")),
        salary_min=amount(row.get("min_amount")),
        salary_max=amount(row.get("max_amount")),
        salary_interval=text(row.get("interval")) or _INTERVALS.get(site),
        currency=text(row.get("currency")),
        apply_url=link(row.get("job_url_direct")),
        description=text(row.get("description")),
        job_types=texts(row.get("job_type")),
        employer=Organization(
            url=link(row.get("company_url_direct")),
            profile_url=link(row.get("company_url")),
            logo_url=link(row.get("company_logo")),
            address=text(row.get("company_addresses")),
            industry=text(row.get("company_industry")),
            employees=text(row.get("company_num_employees")),
            revenue=text(row.get("company_revenue")),
            description=text(row.get("company_description")),
            rating=amount(row.get("company_rating")),
            review_count=number(row.get("company_reviews_count")),
        ),
        work_mode=text(row.get("work_from_home_type")),
        data={name: value for name, value in row.items() if name not in _ITEM_COLUMNS and value is not None},
    )


def is_job(row: Row) -> bool:
    """Return whether a row has an id, a title and a URL, so that `to_item` accepts it."""
    return None not in (id_of(row), text(row.get("title")), link(row.get("job_url")))


def id_of(row: Row) -> str | None:
    """Return the site's id of a row's job; None if it has none."""
    return text(row.get("id"))


def _is_remote(site: str, row: Row) -> bool | None:
    """Return whether a site marks a job as remote; None if JobSpy only found a word about remote work in its texts.

    LinkedIn and Google have no such mark: JobSpy looks for words. Indeed has one, but some versions of JobSpy look for
    words there, too. The other sites have one.
    """
    value = flag(row.get("is_remote"))
    if site in _SITES_WITHOUT_MARK:
        return None
    if site == "indeed" and value:
        texts = (text(row.get(name)) or "" for name in ("title", "location", "description"))
        return None if any(map(_REMOTE_WORDS.search, texts)) else True
    return value
