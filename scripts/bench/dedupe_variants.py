"""Makes labelled sightings from real listings: the same job as other boards show it, and other jobs of its template."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import TypeAlias

from scripts.bench import dedupe_wording as wording
from scripts.bench.dedupe_listings import Listing, words_of
from worker.model import Item

ORIGINAL = "as listed"
_Identity: TypeAlias = tuple[str, frozenset[str], tuple[str, str]]

_SAME_KINDS = (
    "other tracking", "other formatting", "truncated", "reworded", "city alone", "retitled", "retitled, reworded",
)  # fmt: skip
_OTHER_KINDS = ("another city", "another level", "another shift", "another title", "another number", "another company")
# A board shows a job once, except if it is published again.
_BOARDS = ("linkedin", "zip_recruiter", "glassdoor", "bayt", "hellowork", "jsearch", "arbeitnow")
# With the title, company and place of a listing. Each listing has one of the sets: if only texts tell two jobs apart,
# none of the sightings is without a text.
_HARD_KINDS = (
    ("published again", "rounded pay", "another text", "one template", "years before, without a text"),
    ("without a text", "longer company name", "another pay", "years before, without a text"),
)
_HARD_SAME_KINDS = ("published again", "rounded pay", "without a text", "longer company name")
_MORE_NAMES = ("Group", "International", "North America", "Services", "Holdings")
_HALF_A_TEXT = 2000
_PAY_UNITS = {"hourly": 1, "monthly": 100, "yearly": 1000}
_SHARE_OF_FRONT_PAGES = 0.3
_DAYS_OFF = 3


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing as one site shows it.

    Attributes:
        item: The item, as `parse` of a source returns it.
        thing: The label. Two sightings are duplicates if their labels are equal.
        listing: Id of the real listing from which it was made.
        kind: How the listing was changed.
    """

    site: str
    item: Item
    thing: str
    listing: str
    kind: str


def sightings(listings: Sequence[Listing], seed: int) -> list[Sighting]:
    """Make the corpus. The same seed gives the same corpus.

    Args:
        listings: The real listings. Each of them is also included unchanged.
        seed: Random seed.
    """
    # No two things may have the same title, company and place.
    taken = {_identity(listing): listing.id for listing in listings}
    made: list[Sighting] = []
    for listing in listings:
        made += _same(listing, seed, taken)
    for listing in listings:
        made += _others(listing, listings, seed, taken)
    for listing in listings:
        made += _hard(listing, listings, seed)
    return made


def _identity(listing: Listing) -> _Identity:
    return (listing.company or "").casefold(), words_of(listing.title), listing.place


def _same(listing: Listing, seed: int, taken: Mapping[_Identity, str]) -> Iterator[Sighting]:
    """Yield a listing, and how other boards show the same job."""
    yield Sighting(listing.site, _item(listing, _place(listing)), listing.id, listing.id, ORIGINAL)
    boards = Random(f"{seed} {listing.id} boards").sample(_BOARDS, len(_SAME_KINDS))  # noqa: S311 (as below)
    for kind, board in zip(_SAME_KINDS, boards, strict=True):
        random = Random(f"{seed} {listing.id} {kind}")  # noqa: S311 (repeatable, not secret)
        title = (
            wording.retitled(random, listing) if "retitled" in kind else wording.title_spelled(random, listing.title)
        )
        if taken.get(_identity(replace(listing, title=title)), listing.id) != listing.id:
            continue
        place = wording.place_spelled(random, listing.place)
        if kind == "city alone":
            place = listing.place[0] or place
        elsewhere = _front_page(listing) if random.random() < _SHARE_OF_FRONT_PAGES else None
        shown = replace(
            listing,
            id=f"{listing.id}-{kind}",
            title=title,
            company=wording.company_spelled(random, listing.company) if listing.company else None,
            description=_shown_description(random, listing.description, kind),
            apply_url=_tracked(random, listing.apply_url) if kind == "other tracking" else elsewhere,
            posted=listing.posted + timedelta(days=random.randint(-_DAYS_OFF, _DAYS_OFF)),
            pay=listing.pay if "another pay" in _hard_kinds(listing) else random.choice((listing.pay, None)),
        )
        yield Sighting(board, _item(shown, place), listing.id, listing.id, kind)


def _hard_kinds(listing: Listing) -> tuple[str, ...]:
    return _HARD_KINDS[zlib.crc32(listing.id.encode()) % len(_HARD_KINDS)] if listing.company else ()


def _hard(listing: Listing, listings: Sequence[Listing], seed: int) -> Iterator[Sighting]:
    """Yield sightings with the title, company and place of a listing, of its job or another one."""
    for kind in _hard_kinds(listing):
        random = Random(f"{seed} {listing.id} {kind}")  # noqa: S311 (repeatable, not secret)
        if kind in ("rounded pay", "another pay"):
            changed = _paid(listing, kind)
        elif kind in ("another text", "one template"):
            changed = _with_text_of_another(random, listing, listings, kind)
        else:
            changed = _published_otherwise(random, listing, kind)
        if changed is None:
            continue
        is_on_its_site = kind in ("published again", "another text", "one template")
        shown = replace(changed, id=f"{listing.id}-{kind}", apply_url=None)
        yield Sighting(
            listing.site if is_on_its_site else random.choice(_BOARDS),
            _item(shown, _place(shown)),
            listing.id if kind in _HARD_SAME_KINDS else f"{listing.id} {kind}",
            listing.id,
            kind,
        )


def _paid(listing: Listing, kind: str) -> Listing | None:
    if listing.pay is None or listing.interval not in _PAY_UNITS:
        return None
    unit, (low, high) = _PAY_UNITS[listing.interval], listing.pay
    if kind == "rounded pay":
        return replace(listing, pay=(low // unit * unit, high // unit * unit))
    return replace(listing, pay=(high * 1.1 + unit, high * 1.2 + 2 * unit))


def _with_text_of_another(random: Random, listing: Listing, listings: Sequence[Listing], kind: str) -> Listing:
    strangers = [
        other
        for other in listings
        if other.company != listing.company and words_of(other.title).isdisjoint(words_of(listing.title))
    ]
    text = _rewritten(random.choice(strangers), listing)
    if kind == "one template":
        half = min(len(listing.description) // 2, _HALF_A_TEXT)
        text = f"{listing.description[:half]}\n\n{text[:half]}"
    return replace(listing, description=text)


def _published_otherwise(random: Random, listing: Listing, kind: str) -> Listing:
    if kind == "published again":
        text = wording.formatted(random, listing.description)
        return replace(listing, description=text, posted=listing.posted + timedelta(days=random.randint(40, 700)))
    if kind == "years before, without a text":
        return replace(listing, description="", posted=listing.posted - timedelta(days=random.randint(300, 1000)))
    if kind == "without a text":
        return replace(listing, description="")
    return replace(listing, company=f"{listing.company} {random.choice(_MORE_NAMES)}")


def _shown_description(random: Random, description: str, kind: str) -> str:
    if kind == "truncated":
        return wording.truncated(random, description)
    return wording.formatted(random, wording.reworded(random, description) if "reworded" in kind else description)


def _others(
    listing: Listing, listings: Sequence[Listing], seed: int, taken: MutableMapping[_Identity, str]
) -> Iterator[Sighting]:
    """Yield other jobs whose listings are written from the same template."""
    for number, kind in enumerate(_OTHER_KINDS, start=1):
        random = Random(f"{seed} {listing.id} {kind}")  # noqa: S311 (repeatable, not secret)
        other = _other_job(random, listing, listings, kind)
        if not other.company or _identity(other) in taken:
            continue
        taken[_identity(other)] = thing = f"{listing.id} {kind}"
        shown = replace(
            other,
            id=f"{listing.id}-{kind}",
            description=_rewritten(listing, other),
            apply_url=random.choice((_other_posting(listing.apply_url, number), None, _front_page(other))),
            posted=listing.posted + timedelta(days=random.randint(-_DAYS_OFF, _DAYS_OFF)),
        )
        yield Sighting(random.choice((listing.site, *_BOARDS)), _item(shown, _place(shown)), thing, listing.id, kind)


def _other_job(random: Random, listing: Listing, listings: Sequence[Listing], kind: str) -> Listing:
    stranger = random.choice(listings)
    if kind == "another city":
        return replace(listing, place=stranger.place if stranger.place[0] else listing.place)
    if kind == "another company":
        return replace(listing, company=stranger.company)
    if kind == "another title":
        return replace(listing, title=stranger.title)
    titles = {
        "another level": wording.another_level,
        "another shift": wording.another_shift,
        "another number": wording.another_number,
    }
    return replace(listing, title=titles[kind](random, listing.title))


def _item(listing: Listing, place: str) -> Item:
    low, high = listing.pay or (None, None)
    return Item(
        external_id=listing.id,
        title=listing.title,
        url=listing.url,
        organization=listing.company,
        location=place,
        is_remote=None,
        posted_at=listing.posted.isoformat(),
        salary_min=low,
        salary_max=high,
        salary_interval=listing.interval if listing.pay else None,
        currency=listing.currency if listing.pay else None,
        apply_url=listing.apply_url,
        description=listing.description,
        job_types=listing.job_types,
    )


def _place(listing: Listing) -> str:
    return ", ".join(filter(None, (*listing.place, "US")))


def _rewritten(listing: Listing, other: Listing) -> str:
    """Return the description with the title, the city and the company of the other job."""
    text = listing.description
    for old, new in (
        (listing.title, other.title),
        (listing.place[0], other.place[0]),
        (listing.company, other.company),
    ):
        if old and new:
            text = re.sub(re.escape(old), new.replace("\\", r"\\"), text, flags=re.IGNORECASE)
    return text


def _tracked(random: Random, url: str | None) -> str | None:
    """Return a URL as another board links it."""
    if url is None or "indeed.com/" in url.lower().partition("?")[0]:
        return url
    board = random.choice(("linkedin", "glassdoor", "ziprecruiter", "google_jobs_apply"))
    bare, _, query = url.partition("#")[0].partition("?")
    kept = [part for part in query.split("&") if part and not re.search(r"(?i)utm_|indeed|=IN(DE)?$|^s=in$|^~$", part)]
    kept += random.sample(
        (f"utm_source={board}", "utm_campaign=jobs-2024", f"source={board}", "gclid=Cj0KCQ", f"ref={board}"), k=2
    )
    bare = random.choice((bare, bare.rstrip("/") + "/" if "." not in bare.rsplit("/", 1)[-1] else bare))
    return f"{bare}?{'&'.join(kept)}"


def _other_posting(url: str | None, number: int) -> str | None:
    """Return the URL of another job on the same site, with other digits in its path and query.

    Args:
        url: The URL of a job.
        number: A number from 1 to 9. Each stands for another job.
    """
    if url is None or "%" in url or not re.search(r"\d{3}", url):
        return None
    digits = "0123456789"
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}/{path.translate(str.maketrans(digits, digits[number:] + digits[:number]))}"


def _front_page(listing: Listing) -> str | None:
    """Return the URL of the page with all jobs of a company, to which some boards link."""
    name = re.sub(r"\W", "", listing.company or "").lower()
    return f"https://www.{name}.com/careers?utm_source=board" if name else None
