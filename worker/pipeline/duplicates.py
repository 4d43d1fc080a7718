"""Makes the keys by which the database finds sightings of the same item, and confirms near-duplicates.

The database compares keys in this order: site and id; `apply`; `match`. What items say may keep them apart all the same
(`supabase/schemas/pages/facts.sql`). For the remaining sightings it proposes pairs of one `organization` with close
embeddings. Companies often write jobs from one template, so that similar texts are not enough: titles, places and
requisition numbers must not contradict each other. `may_be_duplicates` compares these, and rejects nearly all pairs
that are two things. So only the texts of the others are read, for `have_one_text`.

In doubt, two items stay separate: a duplicate is a nuisance, while merging two different jobs hides one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from worker.model import Item, Place
from worker.pipeline.apply_keys import MAX_KEY_LENGTH, apply_key
from worker.pipeline.company_names import core_name
from worker.pipeline.folding import folded, folded_words
from worker.pipeline.place_keys import PlaceKey, place_key
from worker.pipeline.text_signature import COMPARED_LENGTH

MIN_SIMILARITY = 80.0
"""Least `token_set_ratio` (0 to 100) of two descriptions of the same job.

Measured on 137 real listings (`scripts/bench/dedupe`): unrelated descriptions reach 69, rewordings of the same job 87
to 100. Different jobs from one template also reach 88 to 100; title and place tell these apart.
"""

_SPELLINGS = {
    "sr": ("senior",), "snr": ("senior",), "jr": ("junior",), "jnr": ("junior",), "mgr": ("manager",),
    "asst": ("assistant",), "fulltime": ("full", "time"), "parttime": ("part", "time"),
    "i": ("1",), "ii": ("2",), "iii": ("3",), "iv": ("4",),
    "1st": ("first",), "2nd": ("second",), "3rd": ("third",),
}  # fmt: skip

_GENDERS = re.compile(
    r"[(\[]?(?<!\w)(?:all genders|gn\*?|[mwfdxhv](?:\s*[/|*,]\s*[mwfdxhv]){2,3}|[mh]\s*[/|]\s*[wf]|[wf]\s*[/|]\s*[mh])"
    r"(?!\w)[)\]]?|(?<=\w)[:*]in(?:nen)?(?!\w)"
)
_FILLERS = frozenset({
    "a", "an", "the", "and", "or", "of", "in", "at", "for", "with", "to", "now", "hiring", "urgently", "immediate",
    "immediately", "needed", "wanted", "opening", "openings", "opportunity",
})  # fmt: skip
_APPEALS = frozenset({
    "apply", "today", "asap", "start", "starting", "join", "us", "our", "as", "sign", "signing", "on", "bonus",
    "bonuses", "great", "good", "excellent", "competitive", "benefits", "pay", "salary", "paid", "weekly", "daily",
    "up", "per", "hr", "hour", "hourly", "year", "yr", "tips", "see", "read", "job", "description", "details",
})  # fmt: skip
_STOP_WORDS = _FILLERS | _APPEALS
_MONEY = re.compile(r"[$€£]\s*(\d+(?:[.,]\d+)*k?)", re.IGNORECASE)
_REQUISITION = re.compile(r"[a-z]{0,3}\d{5,}")
_WORKING_TIME = frozenset({"full", "part", "time"})


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a sighting. None equals nothing.

    Attributes:
        apply: Canonical form of the application URL, if it identifies a single job (see `apply_key`).
        match: Normalized title, first word of the organization, and cities. Only what has equal ones is compared.
        organization: Normalized organization, without its legal form.
        place: Normalized cities, region and country.
    """

    apply: str | None = None
    match: str | None = None
    organization: str | None = None
    place: str | None = None


def keys(item: Item) -> Keys:
    """Return the keys of an item. A key has at most `MAX_KEY_LENGTH` characters, no NUL and no lone surrogates.

    Args:
        item: An item, preferably normalized.
    """
    organization, place = core_name(item.organization), place_key(item)
    title = " ".join(_core(item, place))
    match = (
        f"{title} | {organization.partition(' ')[0]} | {'; '.join(place.cities)}"
        if title and organization and place
        else None
    )
    return Keys(
        apply=apply_key(item.apply_url),
        match=_bounded(match),
        organization=_bounded(organization),
        place=_bounded(str(place)) if place else None,
    )


class Comparable(Protocol):
    """An item with its keys."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def organization_key(self) -> str | None: ...  # noqa: D102
    @property
    def place_key(self) -> str | None: ...  # noqa: D102
    @property
    def work_mode(self) -> str | None: ...  # noqa: D102
    @property
    def location(self) -> str | None: ...  # noqa: D102
    @property
    def city(self) -> str | None: ...  # noqa: D102
    @property
    def region(self) -> str | None: ...  # noqa: D102
    @property
    def country(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Facts:
    """What of an item is compared with that of others, besides its text.

    Attributes:
        organization: As in its `Keys`.
        place: Where it is; None: unknown.
        work_mode: As of the item.
        has_location: Whether it names a location.
        region: As of the item.
        country: As of the item.
        place_words: The words of its location, city, region and country.
        title_words: The words of its title.
        names: The words of its title without pay, stop words and the organization's name.
        pay: The amounts of its title.
    """

    organization: str | None
    place: PlaceKey | None
    work_mode: str | None
    has_location: bool
    region: str | None
    country: str | None
    place_words: frozenset[str]
    title_words: list[str]
    names: list[str]
    pay: frozenset[str]


def facts_of(item: Comparable) -> Facts:
    """Return what is compared of an item. All its pairs have it, so that it is made once."""
    return Facts(
        organization=item.organization_key,
        place=PlaceKey.read(item.place_key) if item.place_key else None,
        work_mode=item.work_mode,
        has_location=bool(item.location),
        region=item.region,
        country=item.country,
        place_words=frozenset(
            word for text in (item.location, item.city, item.region, item.country) for word in folded_words(text)
        ),
        title_words=_title_words(item.title),
        names=_distinctive(item.title, item.organization_key),
        pay=frozenset(re.sub(r"[.,]00$", "", amount.lower()) for amount in _MONEY.findall(item.title)),
    )


def may_be_duplicates(a: Facts, b: Facts) -> bool:
    """Return whether two items with close embeddings are the same item, unless their texts differ. Symmetric.

    Args:
        a: An item.
        b: An item whose embedding is close to that of `a`.

    Returns:
        True if the organizations are equal, and if places and titles do not contradict each other. The database
        compares pay, dates and addresses to apply at.
    """
    return (
        a.organization is not None
        and a.organization == b.organization
        and _places_agree(a, b)
        and _titles_agree(a, b)
        and (not (a.pay and b.pay) or a.pay == b.pay)
    )


def have_one_text(a: str | None, b: str | None) -> bool:
    """Return whether the similarity of two descriptions is at least `MIN_SIMILARITY`. Symmetric.

    Args:
        a: A description, or at least its first `COMPARED_LENGTH` characters.
        b: Another one.
    """
    from rapidfuzz import fuzz  # noqa: PLC0415 (4 MB of memory, used only with embeddings)

    texts = [" ".join(folded_words((text or "")[:COMPARED_LENGTH])) for text in (a, b)]
    return all(texts) and fuzz.token_set_ratio(*texts, score_cutoff=MIN_SIMILARITY) >= MIN_SIMILARITY


def _bounded(key: str | None) -> str | None:
    return key if key and len(key) <= MAX_KEY_LENGTH else None


def _title_words(title: str) -> list[str]:
    return [
        spelled for word in folded_words(_GENDERS.sub(" ", folded(title))) for spelled in _SPELLINGS.get(word, (word,))
    ]


def _core(item: Item, place: PlaceKey | None) -> list[str]:
    """Return the words of a title that name the job, without its places and without filler words."""
    words = _title_words(item.title)
    for written in item.places or (Place(item.city, item.region),):
        city = folded_words(written.city)
        words = _without(_without(words, city + folded_words(written.region)), city)
    for name in place.cities if place else ():
        words = _without(words, name.split())
    return [word for word in words if word not in _FILLERS] or _title_words(item.title)


def _without(words: list[str], phrase: list[str]) -> list[str]:
    for start in range(len(words) if phrase else 0):
        if words[start : start + len(phrase)] == phrase:
            return words[:start] + words[start + len(phrase) :]
    return words


def _places_agree(a: Facts, b: Facts) -> bool:
    if {a.work_mode, b.work_mode} == {"remote", "onsite"}:
        return False
    if a.place and b.place:
        return a.place.agrees_with(b.place)
    if a.place or b.place:
        # A location such as a state or a country does not match a city within it.
        return not (b if a.place else a).has_location
    return all(of_a == of_b for of_a, of_b in ((a.region, b.region), (a.country, b.country)) if of_a and of_b)


def _titles_agree(a: Facts, b: Facts) -> bool:
    """Return whether two titles differ only by words without meaning or words that the items have in other fields."""
    of_a, of_b = (
        sorted(_singular(word) for word in facts.names if word not in a.place_words and word not in b.place_words)
        for facts in (a, b)
    )
    if not (of_a and of_b):
        return a.title_words == b.title_words
    if of_a == of_b:
        return True
    requisitions = {word for word in of_a + of_b if _REQUISITION.fullmatch(word)}
    for optional in (_WORKING_TIME, requisitions):
        # A board may omit the working time or the requisition number, but does not change it.
        if optional.isdisjoint(of_a) or optional.isdisjoint(of_b):
            of_a, of_b = ([word for word in words if word not in optional] for words in (of_a, of_b))
    return of_a == of_b


def _distinctive(title: str, organization: str | None) -> list[str]:
    """Return the words of a title without pay, stop words and the organization's name."""
    words = _without(_title_words(_MONEY.sub(" ", title)), (organization or "").split())
    return [word for word in words if word not in _STOP_WORDS]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word  # noqa: PLR2004
