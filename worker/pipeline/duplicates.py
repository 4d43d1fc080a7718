"""Decides whether two sightings are the same item, by equal keys or by similar texts.

The database compares keys in this order: site and id; `apply`; `match`. For the remaining sightings it proposes pairs
of one `organization` with close embeddings, and `are_duplicates` decides. Companies often write jobs from one template,
so that similar texts are not enough: titles, places and requisition numbers must not contradict each other.

In doubt, two items stay separate: a duplicate is a nuisance, while merging two different jobs hides one of them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from worker.model import Item
from worker.pipeline.apply_keys import MAX_KEY_LENGTH, apply_key, are_different_postings

MIN_SIMILARITY = 80.0
"""Least `token_set_ratio` (0 to 100) of two descriptions of the same job.

Measured on 137 real listings (`scripts/bench/dedupe`): unrelated descriptions reach 69, rewordings of the same job 87
to 100. Different jobs from one template also reach 88 to 100; title and place tell these apart.
"""

_COMPARED_LENGTH = 4000
"""Characters of a description that are compared. What follows is mostly benefits and legal text."""

_LEGAL_FORMS = frozenset({
    "inc", "incorporated", "llc", "llp", "lp", "pllc", "pc", "pbc", "ltd", "limited", "corp", "corporation",
    "co", "company", "plc", "gmbh", "mbh", "ag", "se", "kg", "kgaa", "ohg", "ug", "ev", "eg", "sa", "sas",
    "sasu", "sarl", "eurl", "srl", "spa", "bv", "nv", "oy", "oyj", "ab", "as", "asa", "aps", "pty", "pvt", "sl",
    "slu", "sp", "zoo", "kft", "sro", "doo",
})  # fmt: skip
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
_APOSTROPHES = re.compile("['`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}]")
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}")
# South and South-East Asian vowels are marks, not letters. `++` and `#` are part of a word: C, C++ and C# differ.
_WORD = re.compile(r"(?:[^\W_]|[\u0900-\u109f\u1780-\u17ff])+(?:\+\+|#)?")

_REMOTE = frozenset({
    "remote", "remotely", "anywhere", "worldwide", "home", "office", "work", "from", "hybrid",
})  # fmt: skip
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
_PLACE_SPELLINGS = {"st": "saint", "ste": "sainte", "mt": "mount", "ft": "fort"}


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a sighting. Two sightings with an equal `apply` or `match` are the same item; None equals nothing.

    Attributes:
        apply: Canonical form of the application URL, if it identifies a single job (see `apply_key`).
        match: Normalized title, organization and place.
        organization: Normalized organization. Near-duplicates are searched only within one organization.
    """

    apply: str | None
    match: str | None
    organization: str | None


def keys(item: Item) -> Keys:
    """Return the keys of an item. A key has at most `MAX_KEY_LENGTH` characters, no NUL and no lone surrogates.

    Args:
        item: An item, preferably normalized. The place is compared by city and region if these are known, otherwise by
            the text of the location.
    """
    organization = _organization(item.organization)
    title = " ".join(_core(item))
    place = _place(item)
    match = f"{title} | {organization} | {place}" if title and organization and place else None
    return Keys(apply_key(item.apply_url), _bounded(match), _bounded(organization))


def are_duplicates(a: Item, b: Item) -> bool:
    """Return whether two items with close embeddings are the same item. Symmetric.

    Args:
        a: An item.
        b: An item of about the same date, whose embedding is close to that of `a`.

    Returns:
        True if the organizations are equal, if place, title, pay and posting do not contradict each other, and if the
        similarity of the descriptions is at least `MIN_SIMILARITY`.
    """
    organization = _organization(a.organization)
    return (
        organization is not None
        and organization == _organization(b.organization)
        and not are_different_postings(apply_key(a.apply_url), apply_key(b.apply_url))
        and _places_agree(a, b)
        and _titles_agree(a, b)
        and _pay_agrees(a, b)
        and _similarity(a.description, b.description) >= MIN_SIMILARITY
    )


def _bounded(key: str | None) -> str | None:
    return key if key and len(key) <= MAX_KEY_LENGTH else None


def _organization(name: str | None) -> str | None:
    words = _words(name)
    if words[:1] == ["the"]:
        words = words[1:]
    while len(words) > 1 and (words[-1] in _LEGAL_FORMS or words[-1] == "and"):
        words.pop()
    return " ".join(words) or None


def _title_words(title: str) -> list[str]:
    return [spelled for word in _words(_GENDERS.sub(" ", _folded(title))) for spelled in _SPELLINGS.get(word, (word,))]


def _core(item: Item) -> list[str]:
    """Return the words of a title that name the job, without its place and without filler words."""
    words = _title_words(item.title)
    city, region = _city(item), _words(item.region)
    for place in (city + region, city):
        words = _without(words, place)
    return [word for word in words if word not in _FILLERS] or _title_words(item.title)


def _without(words: list[str], phrase: list[str]) -> list[str]:
    for start in range(len(words) if phrase else 0):
        if words[start : start + len(phrase)] == phrase:
            return words[:start] + words[start + len(phrase) :]
    return words


def _city(item: Item) -> list[str]:
    return [_PLACE_SPELLINGS.get(word, word) for word in _words(item.city)]


def _place(item: Item) -> str | None:
    if city := _city(item):
        return ", ".join([" ".join(city), *_words(item.region or item.country)])
    if item.work_mode == "remote" or item.is_remote:
        return " ".join(["remote", *sorted(set(_words(item.country or item.location)) - _REMOTE)])
    if item.region or item.country:
        # Without a city, equal titles within one state are rarely the same job.
        return None
    return " ".join(_words(item.location)) or None


def _places_agree(a: Item, b: Item) -> bool:
    if {a.work_mode, b.work_mode} == {"remote", "onsite"}:
        return False
    cityless = [item for item in (a, b) if not _city(item)]
    if len(cityless) == 1 and cityless[0].location:
        # A location such as a state or a country does not match a city within it.
        return False
    known = [
        (_city(a), _city(b)),
        (_words(a.region), _words(b.region)),
        (_words(a.country), _words(b.country)),
    ]
    if any(of_a and of_b for of_a, of_b in known):
        return all(of_a == of_b for of_a, of_b in known if of_a and of_b)
    words_of_a, words_of_b = set(_words(a.location)), set(_words(b.location))
    return words_of_a <= words_of_b or words_of_b <= words_of_a


def _titles_agree(a: Item, b: Item) -> bool:
    """Return whether two titles differ only by words without meaning or words that the items have in other fields."""
    places = {word for item in (a, b) for text in _places(item) for word in _words(text)}
    of_a, of_b = (sorted(_singular(word) for word in _distinctive(item) if word not in places) for item in (a, b))
    if not (of_a and of_b):
        return _title_words(a.title) == _title_words(b.title)
    requisitions = {word for word in of_a + of_b if _REQUISITION.fullmatch(word)}
    for optional in (_WORKING_TIME, requisitions):
        # A board may omit the working time or the requisition number, but does not change it.
        if optional.isdisjoint(of_a) or optional.isdisjoint(of_b):
            of_a, of_b = ([word for word in words if word not in optional] for words in (of_a, of_b))
    return of_a == of_b


def _distinctive(item: Item) -> list[str]:
    """Return the words of a title without pay, stop words and the organization's name."""
    words = _title_words(_MONEY.sub(" ", item.title))
    return [
        word for word in _without(words, (_organization(item.organization) or "").split()) if word not in _STOP_WORDS
    ]


def _places(item: Item) -> tuple[str | None, ...]:
    return item.location, item.city, item.region, item.country


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word  # noqa: PLR2004


def _pay_agrees(a: Item, b: Item) -> bool:
    amounts_of_a, amounts_of_b = _amounts(a.title), _amounts(b.title)
    if amounts_of_a and amounts_of_b and amounts_of_a != amounts_of_b:
        return False
    pay_of_a, pay_of_b = _yearly_pay(a), _yearly_pay(b)
    if not pay_of_a or not pay_of_b or a.currency != b.currency:
        return True
    return pay_of_a[0] <= pay_of_b[1] and pay_of_b[0] <= pay_of_a[1]


def _amounts(title: str) -> set[str]:
    return {re.sub(r"[.,]00$", "", amount.lower()) for amount in _MONEY.findall(title)}


def _yearly_pay(item: Item) -> tuple[float, float] | None:
    known = [pay for pay in (item.salary_yearly_min, item.salary_yearly_max) if pay is not None]
    return (min(known), max(known)) if known else None


def _similarity(a: str | None, b: str | None) -> float:
    from rapidfuzz import fuzz  # noqa: PLC0415 (4 MB of memory, used only with embeddings)

    texts = [" ".join(_words((text or "")[:_COMPARED_LENGTH])) for text in (a, b)]
    return fuzz.token_set_ratio(*texts) if all(texts) else 0.0


def _words(text: str | None) -> list[str]:
    """Split text into words, ignoring case, accents, punctuation and the dots of initials."""
    spelled = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), _folded(text or ""))
    return _WORD.findall(_APOSTROPHES.sub("", spelled).replace("&", " and "))


def _folded(text: str) -> str:
    """Return text in lower case without accents. Other marks stay: they distinguish Japanese and Indic words."""
    bare = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", bare)
