"""How well a creator fits what was asked for: filters, and a score from 0 to 100.

All of it is pure: what is known of a creator, what was asked for and when the creator was looked at decide.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

WEIGHTS = {"topic": 45, "keywords": 25, "size": 15, "activity": 15}
"""What each part counts. One that is not known (no keywords, a hidden number of subscribers, uploads that were not
looked up) counts nothing, and the others so much the more."""

IN_TITLE, IN_DESCRIPTION, IN_UPLOADS = 1.0, 0.6, 0.4
"""What a term counts that is in a creator's name, in the description or the creator's own keywords, or in titles of
recent uploads: there the share of the titles that have it is added, up to 1."""

SMALLEST, LARGEST = 100, 10_000_000
"""Subscribers for which the size is 0, and 1. In between it grows with their logarithm."""

ACTIVITY_HALF_LIFE = timedelta(days=30)
"""The activity is 1 just after an upload, and halves in this time."""

_TEXT_LENGTH = 20_000
_PUNCTUATION = ".:!?'-"
# Thai, Chinese, Japanese and others put no spaces between words: U+0E00 and above.
_FIRST_WITHOUT_SPACES = "\u0e00"

_NO_LANGUAGE = frozenset({"zxx", "und", "mul", "mis"})
_OTHER_CODES = {"iw": "he", "in": "id", "ji": "yi", "nb": "no", "nn": "no", "fil": "tl"}
# Countries where one language is that of nearly all media.
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
    """What is known of a creator.

    Attributes:
        keywords: The creator's own.
        country: ISO 3166-1 alpha-2 code.
        language: That of the channel or of its newest upload, as a BCP 47 tag.
        subscribers: None: hidden, or not told.
        newest_upload: None: there is none, or it was not looked up.
        upload_titles: Of the newest uploads; None: not looked up.
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
class Wish:
    """What was asked for. None: any.

    Attributes:
        topic: The words that were searched for. A minus sign before one of them asks for creators without it.
        keywords: Words and phrases that raise the score.
        language: BCP 47 tag; what follows the first hyphen does not matter.
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
    """How well a creator fits.

    Attributes:
        total: From 0 to 100.
        parts: Those of `WEIGHTS` that are known, each from 0 to 1.
    """

    total: int
    parts: dict[str, float]


def fits_size(creator: Creator, wish: Wish) -> bool:
    """Tell whether a creator has as many subscribers as asked for. A hidden number is none that fits a bound."""
    if wish.min_subscribers is None and wish.max_subscribers is None:
        return True
    if creator.subscribers is None:
        return False
    return (
        (wish.min_subscribers or 0)
        <= creator.subscribers
        <= (math.inf if wish.max_subscribers is None else wish.max_subscribers)
    )


def fits_language(creator: Creator, wish: Wish) -> bool:
    """Tell whether a creator speaks the language asked for. An unknown one does not fit.

    Where neither the channel nor its newest upload tells the language, the country does, if nearly all media there are
    in one.
    """
    if wish.language is None:
        return True
    return language_of(creator) == primary_language(wish.language)


def fits_activity(creator: Creator, wish: Wish, now: datetime) -> bool:
    """Tell whether a creator's newest upload is recent enough. One without uploads does not fit."""
    if wish.active_within_days is None:
        return True
    if creator.newest_upload is None:
        return False
    return (now - creator.newest_upload) / timedelta(days=1) <= wish.active_within_days


def language_of(creator: Creator) -> str | None:
    """Return the first part of a creator's language tag, such as `pt`; None if nothing tells it."""
    return primary_language(creator.language) or _LANGUAGES.get((creator.country or "").upper())


def primary_language(tag: str | None) -> str | None:
    """Return the first part of a BCP 47 tag, in the code that stands for it today; None where it names no language."""
    code = (tag or "").replace("_", "-").partition("-")[0].strip().lower()
    return None if not code or code in _NO_LANGUAGE else _OTHER_CODES.get(code, code)


def score(creator: Creator, wish: Wish, now: datetime) -> Score:
    """Score a creator.

    Each part is from 0 to 1: topic and keywords are the mean of what their terms count (`IN_TITLE`, `IN_DESCRIPTION`,
    `IN_UPLOADS`), the size is that of the subscribers (`SMALLEST`, `LARGEST`), the activity that of the newest upload
    (`ACTIVITY_HALF_LIFE`). The score is their mean by `WEIGHTS`.

    Args:
        creator: The creator.
        wish: What was asked for.
        now: When the creator was looked at.
    """
    found = {
        "topic": _mean_of_terms(_topic_words(wish.topic), creator),
        "keywords": _mean_of_terms(wish.keywords, creator),
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
    return sum(_worth(term, title, described, uploads) for term in folded) / len(folded)


def _worth(term: str, title: str, described: str, uploads: list[str]) -> float:
    if _has(title, term):
        return IN_TITLE
    worth = IN_DESCRIPTION if _has(described, term) else 0.0
    named = sum(_has(upload, term) for upload in uploads)
    return max(worth, min(1.0, IN_UPLOADS + named / len(uploads))) if named else worth


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text[:_TEXT_LENGTH]).casefold().split())


def _has(text: str, term: str) -> bool:
    if max(term) >= _FIRST_WITHOUT_SPACES:
        return term in text
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text) is not None


def _size(subscribers: int | None) -> float | None:
    if subscribers is None:
        return None
    reached = math.log10(max(subscribers, 1) / SMALLEST) / math.log10(LARGEST / SMALLEST)
    return min(max(reached, 0.0), 1.0)


def _activity(creator: Creator, now: datetime) -> float | None:
    if creator.upload_titles is None:
        return None
    if creator.newest_upload is None:
        return 0.0
    age = max(now - creator.newest_upload, timedelta())
    return float(0.5 ** (age / ACTIVITY_HALF_LIFE))
