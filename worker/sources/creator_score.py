"""Filters creators and scores them from 0 to 100 against search criteria.

All functions are pure: the result depends only on the creator, the criteria and the time of the lookup.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

WEIGHTS = {"topic": 45, "keywords": 25, "size": 15, "activity": 15}
"""Weight of each part of the score. Unknown parts (no keywords, a hidden number of subscribers, uploads that were not
looked up) are left out of the weighted mean."""

IN_TITLE, IN_DESCRIPTION, IN_UPLOADS = 1.0, 0.6, 0.4
"""Value of a term by where it is found: the creator's name; the description or the creator's keywords; the titles of
recent uploads. For uploads, the share of the titles with the term is added, up to 1."""

MIN_SIZE, MAX_SIZE = 100, 10_000_000
"""Numbers of subscribers with the size 0 and 1. In between, the size grows with the logarithm."""

ACTIVITY_HALF_LIFE = timedelta(days=30)
"""The activity is 1 at the time of an upload and halves after this time."""

_TEXT_LENGTH = 20_000
_PUNCTUATION = ".:!?'-"
# Thai, Chinese, Japanese and other scripts without spaces between words begin at U+0E00.
_FIRST_WITHOUT_SPACES = "\u0e00"

_NO_LANGUAGE = frozenset({"zxx", "und", "mul", "mis"})
_OTHER_CODES = {"iw": "he", "in": "id", "ji": "yi", "nb": "no", "nn": "no", "fil": "tl"}
# Countries where nearly all media use one language.
_LANGUAGES = {
    country: language
    for language, countries in {
        "ar": "AE BH DZ EG IQ JO KW LB LY MA OM QA SA SD SY TN YE",
        "cs": "CZ",
        "da": "DK",
        "de": "AT DE",
        "el": "GR",
        "en": "AU GB IE JM NZ US",
        "es": "AR BO CL CO CR CU DO EC ES GT HN MX NI PA PE PY SV UY VE",
        "fa": "IR",
        "fi": "FI",
        "fr": "FR",
        "he": "IL",
        "hu": "HU",
        "id": "ID",
        "it": "IT",
        "ja": "JP",
        "ko": "KR",
        "nl": "NL",
        "no": "NO",
        "pl": "PL",
        "pt": "BR PT",
        "ro": "RO",
        "ru": "RU",
        "sv": "SE",
        "th": "TH",
        "tr": "TR",
        "vi": "VN",
        "zh": "CN HK TW",
    }.items()
    for country in countries.split()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """A creator.

    Attributes:
        title: The creator's name.
        description: Description of the channel.
        keywords: Keywords that the creator chose.
        country: ISO 3166-1 alpha-2 code.
        language: Language of the channel or of its newest upload, as a BCP 47 tag.
        subscribers: Number of subscribers; None: hidden or unknown.
        newest_upload: Time of the newest upload; None: there is none, or it was not looked up.
        upload_titles: Titles of the newest uploads; None: not looked up.
    """

    title: str
    description: str = ""
    keywords: str = ""
    country: str | None = None
    language: str | None = None
    subscribers: int | None = None
    newest_upload: datetime | None = None
    upload_titles: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """Search criteria. None: any.

    Attributes:
        topic: The search term. A minus sign before a word excludes creators with it.
        keywords: Words and phrases that raise the score.
        min_subscribers: Least number of subscribers.
        max_subscribers: Greatest number of subscribers.
        language: BCP 47 tag, of which only the part before the first hyphen counts.
        active_within_days: Greatest age of the newest upload, in days.
    """

    topic: str
    keywords: tuple[str, ...] = ()
    min_subscribers: int | None = None
    max_subscribers: int | None = None
    language: str | None = None
    active_within_days: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a creator.

    Attributes:
        total: From 0 to 100.
        parts: The known parts of `WEIGHTS`, each from 0 to 1.
    """

    total: int
    parts: dict[str, float]


def fits_size(creator: Creator, criteria: Criteria) -> bool:
    """Return whether the number of subscribers is within the bounds. A hidden number is not, if there are bounds."""
    if criteria.min_subscribers is None and criteria.max_subscribers is None:
        return True
    if creator.subscribers is None:
        return False
    return (
        (criteria.min_subscribers or 0)
        <= creator.subscribers
        <= (math.inf if criteria.max_subscribers is None else criteria.max_subscribers)
    )


def fits_language(creator: Creator, criteria: Criteria) -> bool:
    """Return whether a creator uses the requested language (see `language_of`). An unknown language does not match."""
    if criteria.language is None:
        return True
    return language_of(creator) == primary_language(criteria.language)


def fits_activity(creator: Creator, criteria: Criteria, now: datetime) -> bool:
    """Return whether a creator's newest upload is recent enough. A creator without uploads does not match."""
    if criteria.active_within_days is None:
        return True
    if creator.newest_upload is None:
        return False
    return (now - creator.newest_upload) / timedelta(days=1) <= criteria.active_within_days


def matches_criteria(creator: Creator, criteria: Criteria, now: datetime) -> bool:
    """Return whether a creator has the requested size, language and activity."""
    return fits_size(creator, criteria) and fits_language(creator, criteria) and fits_activity(creator, criteria, now)


def language_of(creator: Creator) -> str | None:
    """Return the primary subtag of a creator's language, such as `pt`; None if it is unknown.

    If neither the channel nor its newest upload has a language, it follows from the country, where nearly all media use
    one language.
    """
    return primary_language(creator.language) or _LANGUAGES.get((creator.country or "").upper())


def primary_language(tag: str | None) -> str | None:
    """Return the primary subtag of a BCP 47 tag, with deprecated codes replaced; None if it names no language."""
    code = (tag or "").replace("_", "-").partition("-")[0].strip().lower()
    return None if not code or code in _NO_LANGUAGE else _OTHER_CODES.get(code, code)


def score(creator: Creator, criteria: Criteria, now: datetime) -> Score:
    """Score a creator.

    Each part is from 0 to 1. Topic and keywords are the mean value of their terms (`IN_TITLE`, `IN_DESCRIPTION`,
    `IN_UPLOADS`). The size depends on the subscribers (`MIN_SIZE`, `MAX_SIZE`), the activity on the newest upload
    (`ACTIVITY_HALF_LIFE`). The score is the mean of the parts, weighted by `WEIGHTS`.

    Args:
        creator: The creator.
        criteria: The search criteria.
        now: Time of the lookup.
    """
    found = {
        "topic": _mean_of_terms(_topic_words(criteria.topic), creator),
        "keywords": _mean_of_terms(criteria.keywords, creator),
        "size": _size(creator.subscribers),
        "activity": _activity(creator, now),
    }
    parts = {name: value for name, value in found.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in parts)
    total = sum(WEIGHTS[name] * value for name, value in parts.items()) / weight if weight else 0.0
    return Score(round(100 * total), {name: round(value, 3) for name, value in parts.items()})


def _topic_words(topic: str) -> tuple[str, ...]:
    words = (word.strip(_PUNCTUATION) for word in re.split(r"[\s|,;()\"]+", topic) if not word.startswith("-"))
    return tuple(dict.fromkeys(word for word in words if word))


def _mean_of_terms(terms: Iterable[str], creator: Creator) -> float | None:
    folded = [term for term in map(_folded, terms) if term]
    if not folded:
        return None
    title, described = _folded(creator.title), _folded(f"{creator.description}\n{creator.keywords}")
    uploads = [_folded(upload) for upload in creator.upload_titles or ()]
    return sum(_term_value(term, title, described, uploads) for term in folded) / len(folded)


def _term_value(term: str, title: str, described: str, uploads: list[str]) -> float:
    if _has(title, term):
        return IN_TITLE
    value = IN_DESCRIPTION if _has(described, term) else 0.0
    mentions = sum(_has(upload, term) for upload in uploads)
    return max(value, min(1.0, IN_UPLOADS + mentions / len(uploads))) if mentions else value


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text[:_TEXT_LENGTH]).casefold().split())


def _has(text: str, term: str) -> bool:
    if max(term) >= _FIRST_WITHOUT_SPACES:
        return term in text
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text) is not None


def _size(subscribers: int | None) -> float | None:
    if subscribers is None:
        return None
    reached = math.log10(max(subscribers, 1) / MIN_SIZE) / math.log10(MAX_SIZE / MIN_SIZE)
    return min(max(reached, 0.0), 1.0)


def _activity(creator: Creator, now: datetime) -> float | None:
    if creator.upload_titles is None:
        return None
    if creator.newest_upload is None:
        return 0.0
    age = max(now - creator.newest_upload, timedelta())
    return float(0.5 ** (age / ACTIVITY_HALF_LIFE))
