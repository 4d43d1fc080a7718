"""What a job board that cannot search leaves to us: which of its jobs a search asks for, and which come first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from html import unescape
from typing import NamedTuple

from worker.model import Item, Json
from worker.pipeline.dates import to_iso
from worker.pipeline.places import Place, country_code, find_place, find_places, region_label
from worker.pipeline.text import TAG
from worker.pipeline.vocabulary import job_types, work_mode
from worker.sources.parameters import JobParameters

_MARKS = re.compile("[\u0300-\u036f]+")
_BETWEEN_WORDS = re.compile("[\\s_/\u2010-\u2015-]+")
_TOKEN = re.compile(r'(?P<minus>-(?=["\w])|\bNOT\s+)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"()|,;]+))|(?P<bar>\|)')
_SHORTEST_PLURAL = 4
_MOST_LEVELS = 20
_NOWHERE = Place()


class Match(NamedTuple):
    """How well a job answers a search: of two, the smaller one is the better.

    Attributes:
        beside_title: Words of the search that its title does not have.
        unknown: Conditions of the search of which the job does not tell whether it meets them.
        negated_time: When it was published, in seconds since 1970, negated; 0 where it is not known.
    """

    beside_title: int
    unknown: int
    negated_time: float


def since(parameters: JobParameters, newer_than: datetime | None, now: datetime) -> datetime | None:
    """Return the time before which nothing may have been published: by `hours_old` or by `newer_than`; None: any."""
    bounds = [newer_than] if newer_than else []
    if parameters.hours_old is not None:
        bounds.append(now - timedelta(hours=parameters.hours_old))
    return max(bounds, default=None)


class JobFilter:
    """Tells which jobs a search asks for, where the board itself cannot.

    Words: each one of `search_term` must stand in the title, the organization, the skills, the description or a text of
    `data` (departments, tags ...), as a whole word, in any case, with or without accents and a plural s. `"two words"`
    must stand side by side, `-word` nowhere, and `this OR that` asks for one of them, as on Indeed and LinkedIn.

    Places are compared as far as both sides name city, region and country (`worker.pipeline.places`): a job in another
    one is out. What the job does not tell does not exclude it, but jobs that tell come first.

    Remote: a job that is called hybrid or on site, and one that names a city and nowhere says `remote`, is out.

    Type: a job that is told to be of another type is out. Age: so is one that is told to be older.

    Args:
        parameters: What is searched for.
        published_since: Nothing older is wanted; None: any age. See `since`.
    """

    def __init__(self, parameters: JobParameters, published_since: datetime | None = None) -> None:
        self._query = _Query(parameters.search_term)
        self._place = _wanted_place(parameters)
        self._place_words = frozenset(_folded(parameters.location or "").split())
        self._is_remote = parameters.is_remote or _says_remote(parameters.location)
        self._job_type = parameters.job_type
        self._since = published_since

    def match(self, item: Item) -> Match | None:
        """Tell how well a job answers the search; None if it does not.

        Args:
            item: The job in the site's own words, as `Source.parse` returns it.
        """
        posted = _time(item.posted_at)
        if self._is_too_old(posted):
            return None
        job = _Texts(item)
        unknown = 0
        for condition in (self._has_type, self._is_there, self._has_words, self._is_remote_enough):
            is_met = condition(item, job)
            if is_met is False:
                return None
            unknown += is_met is None
        return Match(self._query.missing(job.title), unknown, _negated_time(posted))

    # Conditions, the cheapest first: True, False, or None where the job does not tell -----------------------

    def _is_too_old(self, posted: date | None) -> bool:
        if self._since is None or posted is None:
            return False
        if isinstance(posted, datetime):
            return posted < self._since
        return posted < self._since.astimezone(UTC).date()

    def _has_type(self, item: Item, _: _Texts) -> bool | None:
        types = job_types(item.job_types)
        if self._job_type is None or self._job_type in types:
            return True
        return None if types in ((), ("other",)) else False

    def _is_there(self, item: Item, _: _Texts) -> bool | None:
        if self._place == _NOWHERE:
            has_words = self._place_words <= frozenset(_folded(item.location or "").split())
            return True if has_words or self._is_remote else None
        answers = {_is_in(place, self._place) for place in _places(item)} or {None}
        return True if True in answers else None if None in answers else False

    def _has_words(self, _: Item, job: _Texts) -> bool:
        return self._query.matches(job)

    def _is_remote_enough(self, item: Item, job: _Texts) -> bool | None:
        if not self._is_remote:
            return True
        mode = work_mode(item.work_mode, item.is_remote, item.title, item.location, job.description)
        if mode is not None:
            return mode == "remote"
        return False if any(place.city for place in _places(item)) else None


# Words ---------------------------------------------------------------------------------------------------


class _Texts:
    """A job's texts, in the form in which words are looked up, each made when it is needed."""

    def __init__(self, item: Item) -> None:
        self._item = item

    @cached_property
    def title(self) -> str:
        return _folded(self._item.title)

    @cached_property
    def description(self) -> str:
        return TAG.sub("\n", unescape(self._item.description or ""))

    @cached_property
    def everything(self) -> str:
        item = self._item
        texts = (item.title, item.organization or "", *item.skills, *_texts(item.data), self.description)
        return _folded("\n".join(texts))


class _Term:
    """A word or a phrase of a search."""

    def __init__(self, text: str) -> None:
        words = _folded(text).split()
        self._needles = [_singular(word) for word in words]
        pattern = " ".join(re.escape(needle) + ("s?" if needle.isalpha() else "") for needle in self._needles)
        starts_within = r"(?<!\w)" if pattern[:1].isalnum() else ""
        self._pattern = re.compile(rf"{starts_within}{pattern}(?![\w+#])")

    def __bool__(self) -> bool:
        return bool(self._needles)

    def stands_in(self, text: str) -> bool:
        # Most texts lack the word: looking for it alone is many times as fast as the pattern.
        return all(needle in text for needle in self._needles) and self._pattern.search(text) is not None


class _Query:
    """A search term: groups of which one term each must be there, and terms that must not."""

    def __init__(self, text: str) -> None:
        self._groups: list[list[_Term]] = []
        self._excluded: list[_Term] = []
        joins = False
        for token in _TOKEN.finditer(text):
            if token["bar"] or token["word"] == "OR":
                joins = True
                continue
            term = _Term(token["phrase"] or token["word"] or "")
            if not term or token["word"] == "AND":
                continue
            if token["minus"]:
                self._excluded.append(term)
            elif joins and self._groups:
                self._groups[-1].append(term)
            else:
                self._groups.append([term])
            joins = False

    def matches(self, job: _Texts) -> bool:
        if self.missing(job.title) and self.missing(job.everything):
            return False
        return not any(term.stands_in(job.everything) for term in self._excluded)

    def missing(self, text: str) -> int:
        """Count the groups of which no term stands in a text."""
        return sum(not any(term.stands_in(text) for term in group) for group in self._groups)


def _folded(text: str) -> str:
    """Return text in lower case, without accents, its words one space apart: also those that a hyphen joins."""
    text = text.casefold()
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _BETWEEN_WORDS.sub(" ", text)


def _singular(word: str) -> str:
    is_plural = word.isalpha() and len(word) >= _SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if is_plural else word


def _texts(value: Json, levels: int = _MOST_LEVELS) -> Iterator[str]:
    """Yield the texts within `data` that are no web addresses, down to so many levels."""
    match value:
        case str() if "://" not in value:
            yield value
        case list() | dict() if levels > 0:
            for element in value if isinstance(value, list) else value.values():
                yield from _texts(element, levels - 1)


# Places and times ----------------------------------------------------------------------------------------


def _wanted_place(parameters: JobParameters) -> Place:
    country = country_code(parameters.country)
    place = find_place(parameters.location, country)
    return place if place.country else place._replace(country=country)


def _says_remote(location: str | None) -> bool:
    return work_mode(None, None, "", location, "") == "remote"


def _places(item: Item) -> Iterable[Place]:
    """Return every place that a job names.

    Its fields of their own say what its location leaves open; of several locations they mean one.
    """
    country = country_code(item.country)
    own = Place(item.city, region_label(item.region, country), country)
    found = find_places(item.location, country)
    if len(found) <= 1:
        found = frozenset(Place(*(told or read for told, read in zip(own, place, strict=True))) for place in found)
    return {place for place in (own, *found) if place != _NOWHERE}


def _is_in(place: Place, wanted: Place) -> bool | None:
    """Tell whether a place is the wanted one or lies within it; None where it does not tell enough."""
    same = [_same(of_place, of_wanted) for of_place, of_wanted in zip(place, wanted, strict=True) if of_wanted]
    if False in same:
        return False
    return same[0]  # the narrowest that is wanted


def _same(name: str | None, wanted: str) -> bool | None:
    if name is None:
        return None
    name, wanted = _folded(name), _folded(wanted)
    return name == wanted or name.startswith(f"{wanted} ") or wanted.startswith(f"{name} ")


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
