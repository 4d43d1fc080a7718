"""Generates the listings of the played boards: each vacancy is on one board or on several.

Equal seeds and equal times give equal listings, so tests can rely on them.
"""

from __future__ import annotations

import html
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from worker.local.boards.synthetic.chance import happens
from worker.local.boards.synthetic.jobs import Company, Listing, Vacancy, Workplace, strip_tags, words
from worker.local.boards.synthetic.places import Country
from worker.local.boards.synthetic.vacancies import generate_vacancies

_GENERATED_AT = datetime(2000, 1, 1, tzinfo=UTC)


def generate_listings(seed: int, now: datetime) -> tuple[Listing, ...]:
    """Generate the listings of every board.

    Args:
        seed: Equal seeds give equal listings.
        now: Time with a zone. Listings are at most 30 days older.
    """
    passed = now - _GENERATED_AT
    return tuple(replace(listing, posted=listing.posted + passed) for listing in _listings(seed))


# Takes half a second: cached, because many tests need the same listings.
@lru_cache(maxsize=1)
def _listings(seed: int) -> tuple[Listing, ...]:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    vacancies = [(vacancy, _words_of(vacancy)) for vacancy in generate_vacancies(rng)]
    scraped = [listing for vacancy, shared in vacancies for listing in _listings_of(rng, vacancy, shared)]
    return (*scraped, *(listing for site in _API_SHARES for listing in _listings_at(site, seed, vacancies)))


_GLASSDOOR_COUNTRIES = frozenset({"US", "GB", "CA", "DE", "FR", "IN", "AU", "NL", "ES", "IE", "SG"})
_BAYT_COUNTRIES = frozenset({"AE", "SA", "EG"})


def _shares(country: Country) -> dict[str, float]:
    """Return the share of a country's jobs that each board lists."""
    code = country.code
    return {
        "linkedin": 0.55,
        "indeed": 0.0 if code == "BD" else 0.62,
        "glassdoor": 0.58 if code in _GLASSDOOR_COUNTRIES else 0.0,
        "zip_recruiter": 0.55 if code in ("US", "CA") else 0.0,
        "bayt": 0.9 if code in _BAYT_COUNTRIES else 0.05,
        "naukri": 0.85 if code == "IN" else 0.0,
        "bdjobs": 0.97 if code == "BD" else 0.0,
        "hellowork": 0.9 if code == "FR" else 0.0,
    }


_ARBEITNOW_COUNTRIES = {"DE": 0.95, "FR": 0.2, "NL": 0.4, "ES": 0.4, "IE": 0.4, "GB": 0.2}

_TRACKING_SYSTEMS = ("greenhouse", "ashby", "lever", None)


def _share_at(site: str) -> Callable[[Vacancy], float]:
    """Return the share of an applicant tracking system. A company has one or none, and lists all of its jobs there."""

    def share(vacancy: Vacancy) -> float:
        company = vacancy.company
        return 1.0 if company and _TRACKING_SYSTEMS[company.number % len(_TRACKING_SYSTEMS)] == site else 0.0

    return share


# The probability that a board with an API lists a vacancy.
_API_SHARES: Mapping[str, Callable[[Vacancy], float]] = {
    "jsearch": lambda _: 0.6,
    "arbeitnow": lambda vacancy: _ARBEITNOW_COUNTRIES.get(vacancy.country.code, 0.0),
    "remotive": lambda vacancy: 0.7 if vacancy.workplace is Workplace.REMOTE else 0.0,
    **{site: _share_at(site) for site in _TRACKING_SYSTEMS if site},
}


def _words_of(vacancy: Vacancy) -> frozenset[str]:
    text = html.unescape(strip_tags(vacancy.description or ""))
    return words(" ".join((vacancy.job_type, vacancy.workplace, *vacancy.skills, text)))


def _listings_of(rng: random.Random, vacancy: Vacancy, shared: frozenset[str]) -> list[Listing]:
    sites = [site for site, share in _shares(vacancy.country).items() if happens(rng, share)]
    return [_listing(rng, site, vacancy, shared) for site in sites or ["linkedin"]]


def _listings_at(site: str, seed: int, vacancies: Sequence[tuple[Vacancy, frozenset[str]]]) -> list[Listing]:
    """Generate the listings of one board, with random numbers of its own: a new board does not change the others."""
    rng = random.Random(f"{seed} {site}")  # noqa: S311 - repeatable, not secret
    share = _API_SHARES[site]
    return [_listing(rng, site, vacancy, shared) for vacancy, shared in vacancies if happens(rng, share(vacancy))]


def _listing(rng: random.Random, site: str, vacancy: Vacancy, shared_words: frozenset[str]) -> Listing:
    title = _respelled_title(rng, vacancy)
    company = _respelled_company(rng, vacancy.company) if vacancy.company else None
    place = vacancy.place
    city = place.city if place else None
    if place and place.spellings and happens(rng, 0.35):
        city = rng.choice(place.spellings)
    description = vacancy.description
    if description and happens(rng, 0.25):
        description += f"<p>Job ID {vacancy.number}-{rng.randint(10, 99)}</p>"
    title_words = words(title)
    return Listing(
        site=site,
        id=_ID_FORMS[site](rng),
        vacancy=vacancy,
        title=title,
        company=company,
        city=city,
        pay=vacancy.pay if happens(rng, 0.8) else None,
        description=description,
        posted=_GENERATED_AT - max(vacancy.age - timedelta(hours=rng.choice((0, 0, 2, 9, 26))), timedelta()),
        title_words=title_words,
        words=shared_words | title_words | words(company or ""),
    )


def _respelled_title(rng: random.Random, vacancy: Vacancy) -> str:
    title = vacancy.title
    city = vacancy.place.city if vacancy.place else None
    match rng.choices(range(5), (62, 14, 8, 8, 8))[0]:
        case 1:
            return title.replace("Senior", "Sr.").replace("Junior", "Jr.")
        case 2 if vacancy.workplace is not Workplace.ON_SITE:
            return f"{title} ({vacancy.workplace.title()})"
        case 3 if city:
            return f"{title} - {city}"
        case 4:
            return title.upper()
        case _:
            return title


def _respelled_company(rng: random.Random, company: Company) -> str:
    full = f"{company.name}{company.legal_form}"
    return rng.choices((company.name, full, full.replace(",", "").rstrip("."), full.upper()), (45, 35, 12, 8))[0]


def _digits(rng: random.Random, prefix: str, count: int) -> str:
    return prefix + "".join(rng.choices(string.digits, k=count))


_ID_FORMS = {
    "linkedin": lambda rng: _digits(rng, "4", 9),
    "indeed": lambda rng: "".join(rng.choices("0123456789abcdef", k=16)),
    "glassdoor": lambda rng: _digits(rng, "1009", 9),
    "zip_recruiter": lambda rng: "".join(rng.choices(string.ascii_letters + string.digits + "-_", k=22)),
    "bayt": lambda rng: _digits(rng, "5", 6),
    "naukri": lambda rng: _digits(rng, "2", 11),
    "bdjobs": lambda rng: _digits(rng, "1", 6),
    "hellowork": lambda rng: _digits(rng, "6", 7),
    "jsearch": lambda rng: "".join(rng.choices(string.ascii_letters + string.digits + "-_", k=16)) + "AAAAAA==",
    "arbeitnow": lambda rng: _digits(rng, "4", 5),
    "remotive": lambda rng: _digits(rng, "2", 6),
    "greenhouse": lambda rng: _digits(rng, "4", 9),
    "ashby": lambda rng: str(UUID(int=rng.getrandbits(128), version=4)),
    "lever": lambda rng: str(UUID(int=rng.getrandbits(128), version=4)),
}
