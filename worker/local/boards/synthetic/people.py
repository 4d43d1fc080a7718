"""Generates the 2,500 people of the played LinkedIn search."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from functools import cache
from itertools import product

from worker.local.boards.synthetic.chance import happens
from worker.local.boards.synthetic.jobs import words
from worker.local.boards.synthetic.places import CITIES, Place
from worker.local.boards.synthetic.vocabulary import FIELDS, FIRST_COMPANY_WORDS, Field

EVERYBODY = "professional"
"""A word that is in every profile."""

_FIRST_NAMES = (
    "Ada Alma Anouk Aziz Bela Bruno Carla Cem Chidi Daria Dewi Elif Emil Farah Femi Gita Goran Hana Henrik Ines "
    "Ishaan Ivo Jana Joao Kaya Kenji Lena Liam Maja Marek Mina Nadia Noor Olga Omar Paula Pia Quentin Rania Rui "
    "Sanna Sven Tara Tomas Uma Vera Wim Xenia Yusuf Zoe"
)
_LAST_NAMES = (
    "Abel Adeyemi Almeida Andersen Bakker Baptiste Berg Castro Cohen Costa Dahl Devi Dupont Eriksen Farouk Fischer "
    "Garcia Greco Haddad Hansen Ito Ivanova Jansen Joshi Kaya Kowalski Kruger Laurent Lopez Malik Mbeki Moreau "
    "Nakamura Novak Okafor Olsen Park Petrov Quispe Rahman Rossi Sato Silva Sorensen Tanaka Uddin Varga Weber "
    "Yilmaz Zhang"
)
_ID_CHARACTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class Person:
    """A person with a profile.

    Attributes:
        id: The end of the ids; each of the three searches has a prefix of its own.
        number: LinkedIn's number of the person.
        is_private: Whether people outside the network do not see the name.
        words: The words of the profile, which a search compares.
    """

    id: str
    number: int
    first_name: str
    last_name: str
    role: str
    field: Field
    company: str
    place: Place
    is_private: bool
    words: frozenset[str]

    @property
    def headline(self) -> str:
        """The line below the name."""
        return f"{self.role} at {self.company}"

    @property
    def location(self) -> str:
        """The place, as a profile shows it."""
        return self.place.full_name

    @property
    def slug(self) -> str:
        """The last part of the profile's URL."""
        return f"{self.first_name}-{self.last_name}-{self.number:x}".lower()


@cache
def people(seed: int) -> tuple[Person, ...]:
    """Generate the people. Equal seeds give equal people."""
    rng = random.Random(f"{seed} people")  # noqa: S311 - repeatable, not secret
    names = list(product(_FIRST_NAMES.split(), _LAST_NAMES.split()))
    rng.shuffle(names)
    return tuple(_person(rng, number, *name) for number, name in enumerate(names, start=10_000))


def _person(rng: random.Random, number: int, first_name: str, last_name: str) -> Person:
    field = rng.choice(FIELDS)
    role, place = rng.choice(field.roles), rng.choice(CITIES)
    company = f"{rng.choice(FIRST_COMPANY_WORDS)} {rng.choice(field.company_words)}"
    profile = " ".join(
        (first_name, last_name, role, company, field.industry, *field.skills, place.full_name, EVERYBODY)
    )
    return Person(
        id="AA" + "".join(rng.choices(_ID_CHARACTERS, k=34)),
        number=number,
        first_name=first_name,
        last_name=last_name,
        role=role,
        field=field,
        company=company,
        place=place,
        is_private=happens(rng, 0.04),
        words=words(profile),
    )
