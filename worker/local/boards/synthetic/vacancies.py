"""Generates companies and their vacancies, country by country."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta

from worker.local.boards.synthetic import vocabulary
from worker.local.boards.synthetic.chance import happens
from worker.local.boards.synthetic.descriptions import write_description
from worker.local.boards.synthetic.jobs import Company, JobType, Pay, PayInterval, Vacancy, Workplace
from worker.local.boards.synthetic.places import CITIES, COUNTRIES, WHOLE_COUNTRIES, Country, Place
from worker.local.boards.synthetic.vocabulary import FIELDS, Level

MAX_AGE = timedelta(days=30)
_FIRST_VACANCY_NUMBER = 10_000

_INTERVALS_PER_YEAR = {
    PayInterval.HOUR: 2080,
    PayInterval.DAY: 260,
    PayInterval.WEEK: 52,
    PayInterval.MONTH: 12,
    PayInterval.YEAR: 1,
}


def generate_vacancies(rng: random.Random) -> list[Vacancy]:
    """Generate the vacancies of every country. No two agree in title, company and place."""
    companies = _companies(rng)
    vacancies: list[Vacancy] = []
    taken: set[tuple[str, Company | None, Place | None]] = set()
    for country in COUNTRIES.values():
        previous: Vacancy | None = None
        wanted = len(vacancies) + country.vacancies
        while len(vacancies) < wanted:
            number = _FIRST_VACANCY_NUMBER + len(vacancies)
            if previous and previous.place and happens(rng, 0.08):
                # The same advertisement for another city: nearly a duplicate, but another job.
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
    french = country.code == "FR" and happens(rng, 0.75)
    workplace = rng.choices(tuple(Workplace), (55, 25, 20))[0]
    cities = [city for city in CITIES if city.country is country]
    place: Place | None = rng.choice(cities)
    if workplace is Workplace.REMOTE and happens(rng, 0.5):
        place = WHOLE_COUNTRIES[country.code]
    if happens(rng, 0.04):
        place = None
    company = None if happens(rng, 0.04) else employer
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
        pay=_pay(rng, trade, level, job_type, country) if happens(rng, 0.65) else None,
        description=None,
        skills=skills,
        age=rng.random() ** 1.5 * MAX_AGE,
        easy_apply=happens(rng, 0.35),
        openings=rng.choices((1, 2, 3, 5, 12), (60, 15, 10, 10, 5))[0],
    )
    if happens(rng, 0.03):
        return vacancy
    return replace(vacancy, description=write_description(rng, vacancy, role, french=french))


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
    return f"{title} (m/w/d)" if country.code == "DE" and happens(rng, 0.6) else title


def _pay(rng: random.Random, trade: vocabulary.Field, level: Level, job_type: JobType, country: Country) -> Pay | None:
    interval = _pay_interval(rng, trade, job_type, country)
    if interval is None:
        return None
    yearly = rng.uniform(*trade.annual_pay) * level.pay * country.pay_factor
    minimum = _rounded(yearly / _INTERVALS_PER_YEAR[interval])
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
    """Round to half of the second digit, as in real advertisements: 117,300 to 115,000 and 43.2 to 43.0."""
    step: float = 10.0 ** (math.floor(math.log10(amount)) - 1) / 2
    return round(round(amount / step) * step, 2)
