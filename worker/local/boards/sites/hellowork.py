"""HelloWork: search pages with thirty cards in French, and one page for each job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import escape
from typing import ClassVar
from zoneinfo import ZoneInfo

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board, json_ld
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval, Workplace

_SEARCH_PATH = "/fr-fr/emploi/recherche.html"
_JOB_PATH = "/fr-fr/emplois/"
_PAGE_SIZE = 30
_PARIS = ZoneInfo("Europe/Paris")
_MAX_AGES = {
    "h": timedelta(days=1),
    "d": timedelta(days=3),
    "w": timedelta(days=7),
    "m": timedelta(days=30),
}
_CONTRACTS = {
    JobType.FULL_TIME: "CDI",
    JobType.PART_TIME: "CDI",
    JobType.CONTRACT: "Freelance",
    JobType.TEMPORARY: "CDD",
    JobType.INTERNSHIP: "Stage",
    JobType.PER_DIEM: "Intérim",
    JobType.VOLUNTEER: "CDD",
}
_CONTRACT_PARAMETERS = {"Travail_temp": "Intérim", "Independant": "Indépendant"}
_PAY_UNITS = {
    PayInterval.HOUR: "heure",
    PayInterval.DAY: "jour",
    PayInterval.MONTH: "mois",
    PayInterval.YEAR: "an",
}
_ONE_HOUR, _ONE_DAY = timedelta(hours=1), timedelta(days=1)


class HelloWork(Board):
    """www.hellowork.com."""

    site = "hellowork"
    hosts = frozenset({"www.hellowork.com"})
    renamed: ClassVar[Mapping[str, str]] = {"offerTitle": "offerHeadline"}

    def page(self, request: Request) -> int | None:
        """Return the `p` parameter of a search."""
        return request.number("p", 1) if request.path == _SEARCH_PATH else None

    def captcha(self) -> Response:
        """Answer with DataDome's page."""
        return Response.html(
            '<html lang="en"><head><title>hellowork.com</title></head><body>'
            "<p id=\"cmsg\">Please enable JS and disable any ad blocker</p><script>var dd={'rt':'c','t':'fe'}</script>"
            '<script data-cfasync="false" src="https://ct.captcha-delivery.com/c.js"></script></body></html>'
        )

    def answer(self, request: Request) -> Response:
        """Answer with a search page or a job's page."""
        if request.path == _SEARCH_PATH:
            return self._search(request)
        listing = self._by_id.get(request.path.removeprefix(_JOB_PATH).removesuffix(".html"))
        return Response.html(_job_page(listing)) if listing else Response.not_found()

    def _search(self, request: Request) -> Response:
        found = self._find(
            Search(
                term=request.parameter("k"),
                location=request.parameter("l"),
                max_age=_MAX_AGES.get(request.parameter("d")),
                job_types=_job_types(request),
                workplaces=(frozenset({Workplace.REMOTE}) if request.parameter("t") == "Complet" else None),
            )
        )
        page = request.number("p", 1)
        cards = "".join(_card(listing, self.now) for listing in found[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE])
        last = math.ceil(len(found) / _PAGE_SIZE)
        pager = f'<input type="number" name="p" min="1" max="{last}" value="{page}">' if last > 1 else ""
        return Response.html(
            f'<!DOCTYPE html><html lang="fr"><head><title>Offres</title></head><body><main>'
            f"<ul>{cards}</ul>{pager}</main></body></html>"
        )


def _job_types(request: Request) -> frozenset[JobType] | None:
    if hours := request.parameter("ctt"):
        return frozenset({JobType.PART_TIME if hours == "pt" else JobType.FULL_TIME})
    contracts = [_CONTRACT_PARAMETERS.get(name, name) for name in request.query.get("c", [])]
    if not contracts:
        return None
    return frozenset(job_type for job_type, name in _CONTRACTS.items() if name in contracts)


def _card(listing: Listing, now: datetime) -> str:
    vacancy, company, place = listing.vacancy, listing.vacancy.company, listing.place
    hours = "temps partiel" if vacancy.job_type is JobType.PART_TIME else "temps plein"
    remote = ", Télétravail complet" if vacancy.workplace is Workplace.REMOTE else ""
    contract = _CONTRACTS[vacancy.job_type]
    label = escape(f"Voir l'offre {listing.title}, {contract}, {hours}{remote}")
    where = f"{listing.city} - {place.region_code}" if place and listing.city else "France" if place else ""
    logo = f'<img src="https://f.hellowork.com/img/entreprises/{company.number}.png" alt="">' if company else ""
    salary = _salary(listing.pay)
    return f"""
<li data-id-storage-target="item" data-id-storage-item-id="{listing.id}">
  <div data-cy="serpCard" data-analytics-values-param='{{"list":"LO-Moteur"}}'>
    {logo}
    <a data-cy="offerTitle" href="{_JOB_PATH}{listing.id}.html" aria-label="{label}">
      <h3><p>{escape(listing.title)}</p><p>{escape(listing.company or "")}</p></h3>
    </a>
    <section>
      <div data-cy="localisationCard">{escape(where)}</div>
      <div data-cy="contractCard">{contract}</div>
      {f"<div>{salary}</div>" if salary else ""}
    </section>
    <div>{_age(now - listing.posted)}</div>
  </div>
</li>"""


def _age(age: timedelta) -> str:
    """Return the age, such as `il y a 3 heures`."""
    if age < _ONE_HOUR:
        return "moins d'une heure"
    count, unit = (age // _ONE_HOUR, "heure") if age < _ONE_DAY else (age // _ONE_DAY, "jour")
    return f"il y a {count} {unit}{'s' if count > 1 else ''}"


def _salary(pay: Pay | None) -> str:
    """Return `45 000 - 60 000 € / an`. HelloWork does not state weekly pay."""
    if pay is None or pay.interval not in _PAY_UNITS:
        return ""
    low, high = _amount(pay.minimum), _amount(pay.maximum if pay.maximum is not None else pay.minimum)
    return f"{low if low == high else f'{low} - {high}'} € / {_PAY_UNITS[pay.interval]}"


def _amount(amount: float) -> str:
    """Write an amount in French: with a no-break space between thousands and a decimal comma."""
    text = f"{amount:,.2f}".removesuffix(".00")
    return text.replace(",", "\u202f").replace(".", ",")


def _job_page(listing: Listing) -> str:
    vacancy, company = listing.vacancy, listing.vacancy.company
    posting = {
        "@context": "https://schema.org",
        "@type": "JobPosting",
        "title": listing.title,
        "description": listing.description,
        # Paris time, marked as UTC: so does the board.
        "datePosted": listing.posted.astimezone(_PARIS).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "hiringOrganization": {
            "name": listing.company,
            "sameAs": f"https://www.hellowork.com/fr-fr/entreprises/{company.slug}.html" if company else None,
        },
        "industry": vacancy.field.industry,
        "occupationalCategory": vacancy.field.name,
        "skills": list(vacancy.skills),
    }
    low, high = vacancy.level.years
    return (
        f'<!DOCTYPE html><html lang="fr"><head><title>{escape(listing.title)}</title>{json_ld(posting)}</head>'
        f"<body><ul><li>Exp. {low} à {high} ans</li></ul></body></html>"
    )
