"""Bayt: search pages with country, words and city in the path and thirty cards a page, and one page for each job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import ClassVar
from urllib.parse import unquote

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board, json_ld
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval, Workplace
from worker.local.boards.synthetic.places import CITIES, COUNTRIES

_SEARCH_PATH = re.compile(r"/en/(?P<country>[^/]+)/jobs/(?:(?:(?P<term>[^/]+)-)?jobs(?:-in-(?P<city>[^/]+))?/)?")
_JOB_PATH = "/en/job/"
_PAGE_SIZE = 30

_ALL_COUNTRIES = "international"
_SHORT_SLUGS = {"AE": "uae", "US": "usa", "GB": "uk"}
_COUNTRY_SLUGS = {
    _SHORT_SLUGS.get(code, country.name.lower().replace(" ", "-")): code for code, country in COUNTRIES.items()
}
_REDIRECTED_SLUGS = {"united-arab-emirates": "uae", "united-states": "usa", "united-kingdom": "uk"}

_MAX_AGES = {"3": timedelta(days=1), "2": timedelta(days=7), "1": timedelta(days=30)}
_JOB_TYPES = {
    "1": JobType.FULL_TIME,
    "2": JobType.INTERNSHIP,
    "3": JobType.CONTRACT,
    "4": JobType.TEMPORARY,
    "5": JobType.PART_TIME,
}
# The filter for remote work finds hybrid work too.
_WORKPLACES = {
    "1": frozenset({Workplace.REMOTE, Workplace.HYBRID}),
    "2": frozenset({Workplace.HYBRID}),
}
_JOB_TYPE_LABELS = {
    JobType.FULL_TIME: "Full time",
    JobType.PART_TIME: "Part time",
    JobType.CONTRACT: "Contractor",
    JobType.TEMPORARY: "Temporary",
    JobType.INTERNSHIP: "Internship",
}


class Bayt(Board):
    """www.bayt.com."""

    site = "bayt"
    hosts = frozenset({"www.bayt.com"})
    renamed: ClassVar[Mapping[str, str]] = {"<h2": "<h3", "</h2>": "</h3>"}

    def page(self, request: Request) -> int | None:
        """Return the `page` parameter of a search."""
        return request.number("page", 1) if _SEARCH_PATH.fullmatch(request.path) else None

    def captcha(self) -> Response:
        """Answer with a page that has a reCAPTCHA."""
        return Response.html(
            "<!DOCTYPE html><html><head><title>Security check</title>"
            '<script src="https://www.google.com/recaptcha/api.js" async defer></script></head><body>'
            '<form method="post"><div class="g-recaptcha" data-sitekey="6Lx"></div></form></body></html>'
        )

    def answer(self, request: Request) -> Response:
        """Answer with a search page or a job's page.

        An unknown country or city is a 404. A page after the last one redirects to the first.
        """
        if asked := _SEARCH_PATH.fullmatch(request.path):
            return self._search(request, asked["country"], asked["term"] or "", asked["city"])
        listing = self._by_id.get(request.path.strip("/").rpartition("-")[2])
        is_job = request.path.startswith(_JOB_PATH)
        return Response.html(_job_page(listing)) if is_job and listing else Response.not_found()

    def _search(self, request: Request, country: str, term: str, city: str | None) -> Response:
        if country in _REDIRECTED_SLUGS:
            return Response.redirect(request.target.replace(country, _REDIRECTED_SLUGS[country], 1))
        code = _COUNTRY_SLUGS.get(country)
        location = _city_named(unquote(city), code) if city else ""
        if (code is None and country != _ALL_COUNTRIES) or location is None:
            return Response.not_found()
        job_type = _JOB_TYPES.get(request.parameter("filters[jb_employment_type][]"))
        found = self._find(
            Search(
                term=unquote(term).replace("-", " "),
                location=location,
                countries=frozenset({code}) if code else None,
                max_age=_MAX_AGES.get(request.parameter("filters[jb_last_modification_date_interval][]")),
                job_types=frozenset({job_type}) if job_type else None,
                workplaces=_WORKPLACES.get(request.parameter("filters[remote_working_type][]")),
                easy_apply=request.parameter("options[jb_is_external_job][]") == "1",
                newest_first=request.parameter("options[sort][]") == "d",
            )
        )
        page = request.number("page", 1)
        shown = found[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]
        if page > 1 and not shown:
            return Response.redirect(request.path)
        cards = "".join(_card(listing) for listing in shown)
        return Response.html(
            f"<!DOCTYPE html><html><head><title>Jobs</title></head><body><ul>{cards}</ul></body></html>"
        )


def _city_named(slug: str, country_code: str | None) -> str | None:
    """Return the name of a known city, or `None`."""
    for place in CITIES:
        names = (place.city or "", *place.spellings)
        if country_code in (None, place.country.code) and slug in [_slug(name) for name in names]:
            return place.city
    return None


def _slug(text: str) -> str:
    return "-".join(text.lower().split())


def _card(listing: Listing) -> str:
    vacancy, company, place = listing.vacancy, listing.vacancy.company, listing.place
    slug = re.sub(r"[^a-z0-9]+", "-", listing.title.lower()).strip("-")
    name = escape(listing.company or "")
    employer = f'<a href="/en/company/{company.slug}-{company.number}/">{name}</a>' if company else name
    logo = f'<img class="jb-logo" src="/logos/{company.number}.png" alt="">' if company else ""
    region = place.region_code if place and place.country.code == "US" else None
    country = "USA" if place and place.country.code == "US" else place.country.name if place else None
    spans = "".join(f"<span>{escape(part)}</span>" for part in (listing.city, region, country) if part)
    low, high = vacancy.level.years
    salary = _salary(listing.pay)
    # Not every card that could have the label has it.
    labelled = vacancy.workplace is not Workplace.ON_SITE and vacancy.number % 3
    details = "".join(
        (
            f'<dt class="jb-label-location">{spans}</dt>' if spans else "",
            f'<dt class="jb-label-careerlevel">{vacancy.level.seniority} · {low}-{high} Years of Experience</dt>',
            f'<dt class="jb-label-salary">{salary}</dt>' if salary else "",
            f'<dt class="jb-label-remote">{vacancy.workplace.title()}</dt>' if labelled else "",
        )
    )
    easy_apply = '<div class="jb-easy-apply"><a href="#">Easy Apply</a></div>' if vacancy.easy_apply else ""
    return f"""
<li data-js-job data-job-id="{listing.id}">
  {logo}
  <h2><a href="{_JOB_PATH}{slug}-{listing.id}/">{escape(listing.title)}</a></h2>
  <div class="job-company-location-wrapper">{employer}</div>
  <dl>{details}</dl>
  {easy_apply}
  <span data-automation-jobactivedate="{int(listing.posted.timestamp())}"></span>
</li>"""


def _salary(pay: Pay | None) -> str:
    """Return `AED 29,380 - AED 33,053`, or in dollars `$3,000 - $4,000`. Bayt states monthly ranges only."""
    if pay is None or pay.maximum is None or pay.interval is not PayInterval.MONTH:
        return ""
    sign = "$" if pay.currency == "USD" else f"{pay.currency} "
    return f"{sign}{pay.minimum:,.0f} - {sign}{pay.maximum:,.0f}"


def _job_page(listing: Listing) -> str:
    vacancy, company = listing.vacancy, listing.vacancy.company
    posting = {
        "@context": "https://schema.org",
        "@type": "JobPosting",
        "title": listing.title,
        "description": listing.description,
    }
    low, high = vacancy.level.years
    job_type = _JOB_TYPE_LABELS.get(vacancy.job_type)
    rows = {
        "type_level_experience": " · ".join(
            part for part in (job_type, vacancy.level.seniority, f"{low}-{high} Years") if part
        ),
        "remote_working": vacancy.workplace.title() if vacancy.workplace is not Workplace.ON_SITE else "",
        "number_of_vacancies": f"{vacancy.openings} open positions" if vacancy.openings > 1 else "",
        "company_employees_industry": (
            f"{company.employees[0]}-{company.employees[1]} Employees · {company.field.industry}" if company else ""
        ),
    }
    top = "".join(f'<span data-automation-id="id_{name}">{escape(text)}</span>' for name, text in rows.items() if text)
    return (
        f"<!DOCTYPE html><html><head><title>{escape(listing.title)}</title>{json_ld(posting)}</head>"
        f"<body>{top}</body></html>"
    )
