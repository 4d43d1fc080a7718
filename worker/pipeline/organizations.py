"""Normalizes what sites say about employers."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from worker.model import Organization
from worker.pipeline.markdown import to_markdown
from worker.pipeline.text import LINE_LENGTH, clean_line, words
from worker.pipeline.urls import clean_url

MAX_RATING = 5
MAX_EMPLOYEES = 100_000_000
MAX_REVIEWS = 1_000_000_000

_NO_ANSWERS = words(
    "declinetostate na nan none null notapplicable notavailable notdisclosed notspecified other undisclosed unknown "
    "unknownnonapplicable"
)

# Groups of three digits, in India also of two (1,00,000).
_COUNT = r"\d{1,3}(?:[.,'\u2019 ]\d{2,3}){0,2}[.,'\u2019 ]\d{3}(?!\d)|\d{1,9}(?:[.,]\d)?(?=\s?[kK]\b)|\d{1,9}(?!\d)"
_COUNTS = re.compile(rf"({_COUNT})(\s?[kK]\b)?")
_AND_MORE = re.compile(
    r"(?i)\d\s?[kK]?\s?\+|\bor more\b|\band (?:more|above|over)\b|\b(?:more than|over|above|at least)\b|>"
    r"|\b(?:mehr als|über|ab)\b|\bplus d[e']|\bet plus\b|\bmás de\b|\bmeer dan\b|\boltre\b|\bmais de\b"
)
_AND_LESS = re.compile(
    r"(?i)\b(?:less|fewer) than\b|\bup to\b|\bunder\b|<|\b(?:bis zu|weniger als|unter)\b|\bmoins d[e']|\bmenos de\b"
    r"|\bminder dan\b|\bmeno di\b"
)


def clean_organization(organization: Organization | None) -> Organization | None:
    """Return what a site says about an employer with clean texts and URLs, or None if it says nothing.

    Pure and idempotent. URLs that are not web addresses, numbers out of range and answers such as `Decline to state`
    are removed.
    """
    if organization is None:
        return None
    cleaned = replace(
        organization,
        url=clean_url(organization.url),
        profile_url=clean_url(organization.profile_url),
        logo_url=clean_url(organization.logo_url),
        address=_address(organization.address),
        industry=_fact(organization.industry),
        employees=employees(organization.employees),
        revenue=_fact(organization.revenue),
        description=to_markdown(organization.description),
        rating=_rating(organization.rating),
        review_count=_review_count(organization.review_count),
    )
    return None if cleaned == Organization() else cleaned


def employees(text: str | None) -> str | None:
    """Return a number of employees as `51-200`, `10001+` or `120`, or None if the text names no number or several.

    Args:
        text: Words of a site, such as `51 to 200`, `10,001+` or `1.001 bis 5.000 Mitarbeiter`.
    """
    line = clean_line(text) or ""
    if re.search(r"\d", _COUNTS.sub("", line)):
        return None
    counts = [_count(found[1], is_thousands=bool(found[2])) for found in _COUNTS.finditer(line)]
    if len(counts) == 2 and counts[0] < counts[1] / 1000 and re.search(r"(?i)\dk\b", line):  # noqa: PLR2004
        counts[0] *= 1000  # `5-10K`
    if not counts or max(counts) > MAX_EMPLOYEES or max(counts) == 0:
        return None
    match sorted(counts):
        case [least, most] if least != most:
            return f"{least}-{most}"
        case [count, *_] if len(counts) <= 2:  # noqa: PLR2004
            if _AND_MORE.search(line):
                return f"{count}+"
            return f"1-{count}" if _AND_LESS.search(line) and count > 1 else str(count)
    return None


def _count(digits: str, *, is_thousands: bool) -> int:
    if is_thousands and re.fullmatch(r"\d+[.,]\d", digits):
        return round(float(digits.replace(",", ".")) * 1000)
    number = int(re.sub(r"\D", "", digits))
    return number * 1000 if is_thousands else number


def _address(text: str | None) -> str | None:
    """Return an address on one line."""
    lines = (clean_line(line) or "" for line in (text or "")[: 4 * LINE_LENGTH].splitlines())
    joined = _fact(", ".join(part for line in lines if (part := line.strip(" ,"))))
    return joined.strip(" ,") if joined else None


def _fact(text: str | None) -> str | None:
    line = clean_line(text)
    return None if line is None or _letters(line) in _NO_ANSWERS else line


def _letters(line: str) -> str:
    return re.sub(r"[\W_]+", "", line.casefold()) or "none"


def _rating(rating: float | None) -> float | None:
    if rating is None or not math.isfinite(rating):
        return None
    rounded = round(rating, 2)
    return rounded if 0 < rounded <= MAX_RATING else None


def _review_count(count: int | None) -> int | None:
    return count if count is not None and 0 < count <= MAX_REVIEWS else None
