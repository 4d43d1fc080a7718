"""Reads real listings from a CSV with JobSpy's columns, and finds those that may be one job."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from pathlib import Path

_COLUMNS = ("id", "site", "job_url", "job_url_direct", "title", "company", "location", "date_posted", "description")
_SHINGLE_WORDS = 5
_ONE_TEMPLATE = 0.5


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the file.

    Attributes:
        id: The site's id.
        place: City and state as the file has them, such as `("Chicago", "IL")`. The city is empty if only the
            state is given.
        description: In Markdown.
        pay: Minimum and maximum.
    """

    id: str
    site: str
    url: str
    apply_url: str | None
    title: str
    company: str | None
    place: tuple[str, str]
    posted: date
    job_types: tuple[str, ...]
    pay: tuple[float, float] | None
    interval: str | None
    currency: str | None
    description: str


def read_listings(path: Path) -> list[Listing]:
    """Read a CSV.

    Raises:
        SystemExit: It does not have the columns of JobSpy.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := set(_COLUMNS).difference(rows.fieldnames or ()):
            raise SystemExit(f"{path}: no column {', '.join(sorted(missing))}; the columns of JobSpy are needed")
        return [_listing(row) for row in rows]


def _listing(row: dict[str, str]) -> Listing:
    *city, state, _country = ["", "", *row["location"].split(", ")][-3:]
    low, high = row.get("min_amount"), row.get("max_amount")
    return Listing(
        id=row["id"],
        site=row["site"],
        url=row["job_url"],
        apply_url=row["job_url_direct"] or None,
        title=row["title"],
        company=row["company"] or None,
        place=(" ".join(city), state),
        posted=_date(row["date_posted"]),
        job_types=tuple(filter(None, (row.get("job_type") or "").split(", "))),
        pay=(float(low), float(high)) if low and high else None,
        interval=row.get("interval") or None,
        currency=row.get("currency") or None,
        description=row["description"],
    )


def _date(text: str) -> date:
    return date.fromisoformat(text) if "-" in text else datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007


def undecidable_pairs(listings: Sequence[Listing]) -> set[frozenset[str]]:
    """Find pairs of listings of the same title and place that may be one job. The file does not say whether they are.

    The company is ignored, because an employer may use several names. The measure is not the one under test: at least
    half of all sequences of five words are the same.
    """
    shingles = {listing.id: _shingles(listing.description) for listing in listings}
    return {
        frozenset((a.id, b.id))
        for a, b in combinations(listings, 2)
        if words_of(a.title) == words_of(b.title)
        and a.place == b.place
        and _jaccard(shingles[a.id], shingles[b.id]) >= _ONE_TEMPLATE
    }


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text, without order and case."""
    return frozenset(re.findall(r"\w+", text.casefold()))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[start : start + _SHINGLE_WORDS]) for start in range(len(words))}


def _jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0
