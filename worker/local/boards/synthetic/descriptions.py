"""Writes the descriptions of vacancies, in HTML: English, or French for some of the jobs in France."""

from __future__ import annotations

import html
import random
from collections.abc import Sequence

from worker.local.boards.synthetic import vocabulary
from worker.local.boards.synthetic.chance import happens
from worker.local.boards.synthetic.jobs import Vacancy


def write_description(rng: random.Random, vacancy: Vacancy, role: str, *, french: bool) -> str:
    """Write the description of a vacancy.

    Args:
        rng: Source of every choice.
        vacancy: Without its description.
        role: Its title without a level.
        french: Whether to write French.
    """
    writer = _Writer(rng, vacancy, role, unnamed_company="Notre client" if french else "Our client")
    company = vacancy.company
    mail = f"jobs@{company.domain}" if company and happens(rng, 0.3) else None
    parts = _french(rng, writer) if french else _english(rng, writer, vacancy)
    if mail:
        contact = "Envoyez votre CV à" if french else "Questions? Write to"
        parts.append(f'<p>{contact} <a href="mailto:{mail}">{mail}</a>.</p>')
    return "".join(parts)


class _Writer:
    """Fills templates of `vocabulary` for one vacancy."""

    def __init__(self, rng: random.Random, vacancy: Vacancy, role: str, *, unnamed_company: str) -> None:
        company, place = vacancy.company, vacancy.place
        self._rng = rng
        self._skills = vacancy.skills
        self._slots = {
            "company": company.name if company else unnamed_company,
            "size": str(company.employees[1] if company else rng.randint(20, 900)),
            "industry": vacancy.field.industry.lower(),
            "role": role,
            "country": vacancy.country.name,
            "place": (place.city if place else None) or vacancy.country.name,
            "years": str(max(1, vacancy.level.years[0])),
        }

    @property
    def skills(self) -> str:
        return html.escape(", ".join(self._skills), quote=False)

    def paragraphs(self, templates: Sequence[str], count: int) -> str:
        return "".join(f"<p>{self._sentence(template)}</p>" for template in self._rng.sample(templates, count))

    def bullets(self, templates: Sequence[str], count: int) -> str:
        chosen = self._rng.sample(templates, min(count, len(templates)))
        return "<ul>" + "".join(f"<li>{self._sentence(template)}</li>" for template in chosen) + "</ul>"

    def _sentence(self, template: str) -> str:
        filled = template.format(
            **self._slots,
            number=self._rng.randint(4, 60),
            team=self._rng.choice(vocabulary.TEAMS),
            skill=self._rng.choice(self._skills),
        )
        return html.escape(filled, quote=False)


def _french(rng: random.Random, writer: _Writer) -> list[str]:
    return [
        writer.paragraphs(vocabulary.FRENCH_OPENINGS, rng.randint(1, 2)),
        "<h3>Vos missions</h3>",
        writer.bullets(vocabulary.FRENCH_DUTIES, rng.randint(4, 6)),
        "<h3>Votre profil</h3>",
        writer.bullets(vocabulary.FRENCH_REQUIREMENTS, rng.randint(3, 5)),
        f"<p>Compétences : {writer.skills}</p><h3>Nos avantages</h3>",
        writer.bullets(vocabulary.FRENCH_PERKS, rng.randint(2, 4)),
        writer.paragraphs(vocabulary.FRENCH_CLOSINGS, 1),
    ]


def _english(rng: random.Random, writer: _Writer, vacancy: Vacancy) -> list[str]:
    parts = [
        writer.paragraphs(vocabulary.OPENINGS, rng.randint(1, 3)),
        "<p><strong>What you will do</strong></p>",
        writer.bullets((*vacancy.field.duties, *vocabulary.DUTIES), rng.randint(6, 10)),
        "<p><strong>How we work</strong></p>",
        writer.paragraphs(vocabulary.WAYS, rng.randint(2, 5)),
        "<p><strong>What you bring</strong></p>",
        writer.bullets(vocabulary.REQUIREMENTS, rng.randint(4, 8)),
        f"<p>Skills: {writer.skills}</p><p><strong>What we offer</strong></p>",
        writer.bullets(vocabulary.PERKS, rng.randint(4, 9)),
        writer.paragraphs(vocabulary.CLOSINGS, rng.randint(1, 3)),
    ]
    pay = vacancy.pay
    if pay and pay.maximum and pay.currency == "USD":
        parts.append(f"<p>Pay: ${pay.minimum:,.2f} - ${pay.maximum:,.2f} per {pay.interval}.</p>")
    return parts
