"""What the played boards list: vacancies made up from a seed, each listed on one board or on several.

The same seed and the same time give the same listings, so a test can count on them.
"""

from __future__ import annotations

import html
import math
import random
import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from worker.local.boards import vocabulary
from worker.local.boards.vocabulary import CITIES, COUNTRIES, FIELDS, WHOLE_COUNTRIES, Country, Level, Place

MAX_AGE = timedelta(days=30)
_MADE_UP_AT = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_VACANCY_NUMBER = 10_000


class JobType(StrEnum):
    """Kind of employment, in JobSpy's words."""

    FULL_TIME = "fulltime"
    PART_TIME = "parttime"
    CONTRACT = "contract"
    TEMPORARY = "temporary"
    INTERNSHIP = "internship"
    PER_DIEM = "perdiem"
    VOLUNTEER = "volunteer"


class Workplace(StrEnum):
    """Where the work is done."""

    ON_SITE = "on site"
    HYBRID = "hybrid"
    REMOTE = "remote"


class PayInterval(StrEnum):
    """What an amount of pay is for."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_INTERVALS_A_YEAR = {
    PayInterval.HOUR: 2080,
    PayInterval.DAY: 260,
    PayInterval.WEEK: 52,
    PayInterval.MONTH: 12,
    PayInterval.YEAR: 1,
}


@dataclass(frozen=True, slots=True)
class Pay:
    """Stated pay.

    Attributes:
        maximum: `None` where only the least is stated; equal to `minimum` where one amount is.
        currency: ISO 4217 code.
    """

    minimum: float
    maximum: float | None
    interval: PayInterval
    currency: str


@dataclass(frozen=True, slots=True)
class Company:
    """An employer.

    Attributes:
        name: Without the legal form.
        employees: Size class, from and to.
        revenue: Revenue class, as boards word it.
        rating: Out of five.
    """

    number: int
    name: str
    legal_form: str
    field: vocabulary.Field
    headquarters: Place
    employees: tuple[int, int]
    revenue: str
    rating: float
    reviews: int

    @property
    def slug(self) -> str:
        """Name for addresses, in ASCII."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return plain.lower().replace(" ", "-")

    @property
    def domain(self) -> str:
        """Domain under the top-level name that RFC 2606 reserves for examples."""
        return f"{self.slug}.example"

    @property
    def about(self) -> str:
        """One sentence about the company."""
        return f"{self.name} works in {self.field.industry} from {self.headquarters.city}."


@dataclass(frozen=True, slots=True)
class Vacancy:
    """One open job, however many boards list it.

    Attributes:
        company: `None` where the employer stays unnamed.
        place: `None` where no place is stated.
        description: HTML, or `None`.
        posted: When the employer published it.
        easy_apply: Whether one can apply on the board itself.
    """

    number: int
    title: str
    field: vocabulary.Field
    level: Level
    company: Company | None
    country: Country
    place: Place | None
    workplace: Workplace
    job_type: JobType
    pay: Pay | None
    description: str | None
    skills: tuple[str, ...]
    age: timedelta
    easy_apply: bool
    openings: int

    @property
    def apply_url(self) -> str | None:
        """The employer's own page of the job."""
        if self.company is None or self.easy_apply:
            return None
        return f"https://careers.{self.company.domain}/jobs/{self.number}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A vacancy as one board lists it: title, company and city may be spelled in another way than elsewhere.

    Attributes:
        id: The board's own id, in the board's own form.
        city: `None` where only a country is named, or nothing.
        words: What a search term is compared with; see `words`.
    """

    site: str
    id: str
    vacancy: Vacancy
    title: str
    company: str | None
    city: str | None
    pay: Pay | None
    description: str | None
    posted: datetime
    title_words: frozenset[str] = field(repr=False)
    words: frozenset[str] = field(repr=False)

    @property
    def place(self) -> Place | None:
        """Where the job is, as the vacancy has it."""
        return self.vacancy.place


def words(text: str) -> frozenset[str]:
    """Split a text into the words that a search compares: no case, no accents, no plural s."""
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return frozenset(re.findall(r"[\w+#]+", re.sub(r"(?<=\w{3})s\b", "", plain)))


def generate(seed: int, now: datetime) -> tuple[Listing, ...]:
    """Make up what every board lists.

    Args:
        seed: Equal seeds give equal listings.
        now: Time with a zone; no listing is younger, and none older than 30 days.
    """
    passed = now - _MADE_UP_AT
    return tuple(replace(listing, posted=listing.posted + passed) for listing in _listings(seed))


# Half a second, and a test for each failure of each board would spend it anew.
@lru_cache(maxsize=1)
def _listings(seed: int) -> tuple[Listing, ...]:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    vacancies = [(vacancy, _words_of(vacancy)) for vacancy in _vacancies(rng)]
    scraped = [listing for vacancy, shared in vacancies for listing in _listings_of(rng, vacancy, shared)]
    return (*scraped, *(listing for site in _API_SHARES for listing in _listings_at(site, seed, vacancies)))


def _happens(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability


# Vacancies -----------------------------------------------------------------------------------------------


def _vacancies(rng: random.Random) -> list[Vacancy]:
    companies = _companies(rng)
    vacancies: list[Vacancy] = []
    taken: set[tuple[str, Company | None, Place | None]] = set()
    for country in COUNTRIES.values():
        previous: Vacancy | None = None
        wanted = len(vacancies) + country.vacancies
        while len(vacancies) < wanted:
            number = _FIRST_VACANCY_NUMBER + len(vacancies)
            if previous and previous.place and _happens(rng, 0.08):
                # The same advertisement for another city: a near-duplicate that is another job.
                elsewhere = rng.choice([city for city in CITIES if city.country is country])
                vacancy = replace(previous, number=number, place=elsewhere)
            else:
                vacancy = _vacancy(rng, number, country, rng.choice(companies[country.code]))
            key = (vacancy.title, vacancy.company, vacancy.place)
            if key not in taken:
                taken.add(key)
                vacancies.append(vacancy)
                previous = vacancy
    return vacancies


def _companies(rng: random.Random) -> dict[str, list[Company]]:
    names = [(first, trade) for first in vocabulary.FIRST_COMPANY_WORDS for trade in FIELDS]
    rng.shuffle(names)
    companies: dict[str, list[Company]] = {code: [] for code in COUNTRIES}
    for country in COUNTRIES.values():
        cities = [city for city in CITIES if city.country is country]
        for _ in range(max(3, country.vacancies // 5)):
            first, trade = names.pop()
            companies[country.code].append(
                Company(
                    number=rng.randint(10_000, 9_999_999),
                    name=f"{first} {rng.choice(trade.company_words)}",
                    legal_form=rng.choice(country.legal_forms),
                    field=trade,
                    headquarters=rng.choice(cities),
                    employees=rng.choice(((1, 50), (51, 200), (201, 500), (501, 1000), (1001, 5000))),
                    revenue=rng.choice(
                        ("less than $1M (USD)", "$5M to $25M (USD)", "$25M to $100M (USD)", "$1B to $5B (USD)")
                    ),
                    rating=round(rng.uniform(2.4, 4.9), 1),
                    reviews=rng.randint(3, 4000),
                )
            )
    return companies


def _vacancy(rng: random.Random, number: int, country: Country, employer: Company) -> Vacancy:
    trade = employer.field
    job_type = _job_type(rng, trade)
    level = (
        vocabulary.INTERN
        if job_type is JobType.INTERNSHIP
        else rng.choices(
            (vocabulary.JUNIOR, vocabulary.MIDDLE, vocabulary.SENIOR, vocabulary.LEAD, vocabulary.PRINCIPAL),
            (20, 40, 25, 10, 5),
        )[0]
    )
    french = country.code == "FR" and _happens(rng, 0.75)
    workplace = rng.choices(tuple(Workplace), (55, 25, 20))[0]
    cities = [city for city in CITIES if city.country is country]
    place: Place | None = rng.choice(cities)
    if workplace is Workplace.REMOTE and _happens(rng, 0.5):
        place = WHOLE_COUNTRIES[country.code]
    if _happens(rng, 0.04):
        place = None
    company = None if _happens(rng, 0.04) else employer
    role = rng.choice(trade.french_roles if french else trade.roles)
    skills = tuple(rng.sample(trade.skills, rng.randint(3, 5)))
    vacancy = Vacancy(
        number=number,
        title=_title(rng, role, level, country, french=french),
        field=trade,
        level=level,
        company=company,
        country=country,
        place=place,
        workplace=workplace,
        job_type=job_type,
        pay=_pay(rng, trade, level, job_type, country) if _happens(rng, 0.65) else None,
        description=None,
        skills=skills,
        age=rng.random() ** 1.5 * MAX_AGE,
        easy_apply=_happens(rng, 0.35),
        openings=rng.choices((1, 2, 3, 5, 12), (60, 15, 10, 10, 5))[0],
    )
    if _happens(rng, 0.03):
        return vacancy
    return replace(vacancy, description=_description(rng, vacancy, role, french=french))


def _job_type(rng: random.Random, trade: vocabulary.Field) -> JobType:
    per_diem = 12 if trade.name == "Healthcare" else 0
    return rng.choices(tuple(JobType), (62, 10, 11, 6, 8, per_diem, 1))[0]


def _title(rng: random.Random, role: str, level: Level, country: Country, *, french: bool) -> str:
    if french:
        suffix = rng.choice((" H/F", " (H/F)", " F/H", ""))
        if level is vocabulary.INTERN:
            return f"Stage - {role}{suffix}"
        return " ".join(part for part in (role, level.prefix.lower()) if part) + suffix
    if level is vocabulary.INTERN:
        return f"{role} {rng.choice(('Intern', 'Internship'))}"
    title = f"{level.prefix} {role}".strip()
    return f"{title} (m/w/d)" if country.code == "DE" and _happens(rng, 0.6) else title


def _pay(rng: random.Random, trade: vocabulary.Field, level: Level, job_type: JobType, country: Country) -> Pay | None:
    interval = _pay_interval(rng, trade, job_type, country)
    if interval is None:
        return None
    yearly = rng.uniform(*trade.annual_pay) * level.pay * country.pay_factor
    minimum = _rounded(yearly / _INTERVALS_A_YEAR[interval])
    top = max(_rounded(minimum * rng.uniform(1.12, 1.45)), minimum)
    maximum = rng.choices((top, minimum, None), (85, 8, 7))[0]
    return Pay(minimum, maximum, interval, country.currency)


def _pay_interval(
    rng: random.Random, trade: vocabulary.Field, job_type: JobType, country: Country
) -> PayInterval | None:
    weights = {
        JobType.FULL_TIME: (60, 0, 15, 0, 25) if trade.by_the_hour else (0, 0, 0, 12, 88),
        JobType.PART_TIME: (65, 20, 15, 0, 0),
        JobType.CONTRACT: (45, 25, 20, 0, 10),
        JobType.TEMPORARY: (50, 20, 30, 0, 0),
        JobType.INTERNSHIP: (40, 0, 0, 60, 0),
        JobType.PER_DIEM: (50, 50, 0, 0, 0),
    }
    if job_type is JobType.VOLUNTEER:
        return None
    if country.pays_monthly:
        return PayInterval.MONTH
    if country.code == "IN":
        return PayInterval.MONTH if job_type is JobType.INTERNSHIP else PayInterval.YEAR
    return rng.choices(tuple(PayInterval), weights[job_type])[0]


def _rounded(amount: float) -> float:
    """Round to the half of the second digit, as people state pay: 117,300 to 115,000 and 43.2 to 43.0."""
    step: float = 10.0 ** (math.floor(math.log10(amount)) - 1) / 2
    return round(round(amount / step) * step, 2)


def _description(rng: random.Random, vacancy: Vacancy, role: str, *, french: bool) -> str:
    company = vacancy.company
    city = vacancy.place.city if vacancy.place else None
    slots = {
        "company": company.name if company else ("Notre client" if french else "Our client"),
        "size": str(company.employees[1] if company else rng.randint(20, 900)),
        "industry": vacancy.field.industry.lower(),
        "role": role,
        "country": vacancy.country.name,
        "place": city or vacancy.country.name,
        "years": str(max(1, vacancy.level.years[0])),
    }

    def sentence(template: str) -> str:
        filled = template.format(
            **slots,
            number=rng.randint(4, 60),
            team=rng.choice(vocabulary.TEAMS),
            skill=rng.choice(vacancy.skills),
        )
        return html.escape(filled, quote=False)

    def bullets(templates: Sequence[str], count: int) -> str:
        chosen = rng.sample(templates, min(count, len(templates)))
        return "<ul>" + "".join(f"<li>{sentence(template)}</li>" for template in chosen) + "</ul>"

    def paragraphs(templates: Sequence[str], count: int) -> str:
        return "".join(f"<p>{sentence(template)}</p>" for template in rng.sample(templates, count))

    skills = html.escape(", ".join(vacancy.skills), quote=False)
    mail = f"jobs@{company.domain}" if company and _happens(rng, 0.3) else None
    if french:
        parts = [
            paragraphs(vocabulary.FRENCH_OPENINGS, rng.randint(1, 2)),
            "<h3>Vos missions</h3>",
            bullets(vocabulary.FRENCH_DUTIES, rng.randint(4, 6)),
            "<h3>Votre profil</h3>",
            bullets(vocabulary.FRENCH_REQUIREMENTS, rng.randint(3, 5)),
            f"<p>Compétences : {skills}</p><h3>Nos avantages</h3>",
            bullets(vocabulary.FRENCH_PERKS, rng.randint(2, 4)),
            paragraphs(vocabulary.FRENCH_CLOSINGS, 1),
        ]
        contact = "Envoyez votre CV à"
    else:
        parts = [
            paragraphs(vocabulary.OPENINGS, rng.randint(1, 3)),
            "<p><strong>What you will do</strong></p>",
            bullets((*vacancy.field.duties, *vocabulary.DUTIES), rng.randint(6, 10)),
            "<p><strong>How we work</strong></p>",
            paragraphs(vocabulary.WAYS, rng.randint(2, 5)),
            "<p><strong>What you bring</strong></p>",
            bullets(vocabulary.REQUIREMENTS, rng.randint(4, 8)),
            f"<p>Skills: {skills}</p><p><strong>What we offer</strong></p>",
            bullets(vocabulary.PERKS, rng.randint(4, 9)),
            paragraphs(vocabulary.CLOSINGS, rng.randint(1, 3)),
        ]
        contact = "Questions? Write to"
        if vacancy.pay and vacancy.pay.maximum and vacancy.pay.currency == "USD":
            pay = vacancy.pay
            parts.append(f"<p>Pay: ${pay.minimum:,.2f} - ${pay.maximum:,.2f} per {pay.interval}.</p>")
    if mail:
        parts.append(f'<p>{contact} <a href="mailto:{mail}">{mail}</a>.</p>')
    return "".join(parts)


# Listings ------------------------------------------------------------------------------------------------

_GLASSDOOR_COUNTRIES = frozenset({"US", "GB", "CA", "DE", "FR", "IN", "AU", "NL", "ES", "IE", "SG"})
_BAYT_COUNTRIES = frozenset({"AE", "SA", "EG"})


def _shares(country: Country) -> dict[str, float]:
    """How many of a country's jobs each board lists."""
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
    """A company has one system to keep track of its applicants, or none, and all of its jobs stand there."""

    def share(vacancy: Vacancy) -> float:
        company = vacancy.company
        return 1.0 if company and _TRACKING_SYSTEMS[company.number % len(_TRACKING_SYSTEMS)] == site else 0.0

    return share


# The boards with an API, and how likely each of them lists a vacancy.
_API_SHARES: Mapping[str, Callable[[Vacancy], float]] = {
    "jsearch": lambda _: 0.6,
    "arbeitnow": lambda vacancy: _ARBEITNOW_COUNTRIES.get(vacancy.country.code, 0.0),
    "remotive": lambda vacancy: 0.7 if vacancy.workplace is Workplace.REMOTE else 0.0,
    **{site: _share_at(site) for site in _TRACKING_SYSTEMS if site},
}


def _words_of(vacancy: Vacancy) -> frozenset[str]:
    text = html.unescape(re.sub("<[^>]+>", " ", vacancy.description or ""))
    return words(" ".join((vacancy.job_type, vacancy.workplace, *vacancy.skills, text)))


def _listings_of(rng: random.Random, vacancy: Vacancy, shared: frozenset[str]) -> list[Listing]:
    sites = [site for site, share in _shares(vacancy.country).items() if _happens(rng, share)]
    return [_listing(rng, site, vacancy, shared) for site in sites or ["linkedin"]]


def _listings_at(site: str, seed: int, vacancies: Sequence[tuple[Vacancy, frozenset[str]]]) -> list[Listing]:
    """Make up what one board lists, by chances of its own: a board more changes nothing on the others."""
    rng = random.Random(f"{seed} {site}")  # noqa: S311 - repeatable, not secret
    share = _API_SHARES[site]
    return [_listing(rng, site, vacancy, shared) for vacancy, shared in vacancies if _happens(rng, share(vacancy))]


def _listing(rng: random.Random, site: str, vacancy: Vacancy, shared_words: frozenset[str]) -> Listing:
    title = _respelled_title(rng, vacancy)
    company = _respelled_company(rng, vacancy.company) if vacancy.company else None
    place = vacancy.place
    city = place.city if place else None
    if place and place.spellings and _happens(rng, 0.35):
        city = rng.choice(place.spellings)
    description = vacancy.description
    if description and _happens(rng, 0.25):
        description += f"<p>Job ID {vacancy.number}-{rng.randint(10, 99)}</p>"
    title_words = words(title)
    return Listing(
        site=site,
        id=_ID_FORMS[site](rng),
        vacancy=vacancy,
        title=title,
        company=company,
        city=city,
        pay=vacancy.pay if _happens(rng, 0.8) else None,
        description=description,
        posted=_MADE_UP_AT - max(vacancy.age - timedelta(hours=rng.choice((0, 0, 2, 9, 26))), timedelta()),
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
