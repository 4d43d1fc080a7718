"""What a synthetic job is: a vacancy at a company, and the listings of it on the boards."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from worker.local.boards.synthetic.places import Country, Place
from worker.local.boards.synthetic.vocabulary import Field, Level


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
    """The time that an amount of pay is for."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Pay:
    """Pay, as a vacancy states it.

    Attributes:
        maximum: `None` if only a minimum is stated. Equal to `minimum` if one amount is stated.
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
        employees: Number of employees, from and to.
        revenue: Revenue range, as boards write it.
        rating: Out of five.
    """

    number: int
    name: str
    legal_form: str
    field: Field
    headquarters: Place
    employees: tuple[int, int]
    revenue: str
    rating: float
    reviews: int

    @property
    def slug(self) -> str:
        """Name for URLs, in ASCII."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return plain.lower().replace(" ", "-")

    @property
    def domain(self) -> str:
        """Domain under `.example`, the top-level domain that RFC 2606 reserves."""
        return f"{self.slug}.example"

    @property
    def about(self) -> str:
        """One sentence about the company."""
        return f"{self.name} works in {self.field.industry} from {self.headquarters.city}."


@dataclass(frozen=True, slots=True)
class Vacancy:
    """One open job, independent of the boards that list it.

    Attributes:
        company: `None` if the employer is not named.
        place: `None` if no place is stated.
        description: HTML, or `None`.
        posted: When the employer published it.
        easy_apply: Whether applications are possible on the board itself.
    """

    number: int
    title: str
    field: Field
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
        """The job's page on the employer's site. `None` if there is none."""
        if self.company is None or self.easy_apply:
            return None
        return f"https://careers.{self.company.domain}/jobs/{self.number}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A vacancy as one board lists it. Boards may spell the title, the company and the city differently.

    Attributes:
        id: The board's id, in the format of the board.
        city: `None` if only a country is stated, or no place.
        words: The words that a search compares; see `words`.
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
        """The place of the vacancy."""
        return self.vacancy.place

    @property
    def slug(self) -> str:
        """Name for URLs: the words of the title, and the id."""
        return "-".join([*sorted(words(self.title)), self.id])


def strip_tags(html: str) -> str:
    """Replace the tags of HTML with spaces. Entities stay."""
    return re.sub("<[^>]+>", " ", html)


def words(text: str) -> frozenset[str]:
    """Split a text into the words that a search compares: without case, accents and plural s."""
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return frozenset(re.findall(r"[\w+#]+", re.sub(r"(?<=\w{3})s\b", "", plain)))
