"""LinkedIn's search without login: HTML fragments with ten cards, and one page for each job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import ClassVar

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import JobType, Listing, Pay, PayInterval

_SEARCH_PATH = "/jobs-guest/jobs/api/seeMoreJobPostings/search"
_JOB_PATH = "/jobs/view/"
_PAGE_SIZE = 10
_EMPTY_PAGE = "<!DOCTYPE html>\n\n<!---->"

_CURRENCY_SIGNS = {"USD": "$", "CAD": "CA$", "AUD": "A$", "GBP": "£", "EUR": "€", "INR": "₹"}
_PAY_UNITS = {PayInterval.HOUR: "hr", PayInterval.MONTH: "mo", PayInterval.YEAR: "yr"}
_EMPLOYMENT_TYPES = {
    JobType.FULL_TIME: "Full-time",
    JobType.PART_TIME: "Part-time",
    JobType.CONTRACT: "Contract",
    JobType.TEMPORARY: "Temporary",
    JobType.INTERNSHIP: "Internship",
    JobType.PER_DIEM: "Other",
    JobType.VOLUNTEER: "Volunteer",
}


class LinkedIn(Board):
    """www.linkedin.com."""

    site = "linkedin"
    hosts = frozenset({"www.linkedin.com"})
    renamed: ClassVar[Mapping[str, str]] = {"base-search-card__title": "job-card__headline"}

    def page(self, request: Request) -> int | None:
        """Return the page of the parameter `start`."""
        return request.number("start", 0) // _PAGE_SIZE + 1 if request.path == _SEARCH_PATH else None

    def answer(self, request: Request) -> Response:
        """Answer a search with cards, or a job's URL with its page."""
        if request.path == _SEARCH_PATH:
            return self._search(request)
        listing = self._by_id.get(request.path.removeprefix(_JOB_PATH).rpartition("-")[2])
        return Response.html(_job_page(listing)) if listing else Response.not_found()

    def _search(self, request: Request) -> Response:
        seconds = request.parameter("f_TPR").removeprefix("r")
        companies = request.parameter("f_C")
        found = self._find(
            Search(
                term=request.parameter("keywords"),
                location=request.parameter("location"),
                max_age=timedelta(seconds=int(seconds)) if seconds.isdecimal() else None,
                easy_apply=request.parameter("f_AL") == "true",
                company_numbers=(
                    frozenset(int(number) for number in companies.split(",") if number.isdecimal())
                    if companies
                    else None
                ),
            )
        )
        start = request.number("start", 0)
        cards = [_card(listing) for listing in found[start : start + _PAGE_SIZE]]
        return Response.html("<!DOCTYPE html>\n\n" + "\n".join(cards) if cards else _EMPTY_PAGE)


def _card(listing: Listing) -> str:
    company = listing.vacancy.company
    name = escape(listing.company or "")
    link = (
        f'<a class="hidden-nested-link" '
        f'href="https://www.linkedin.com/company/{company.slug}?trk=public_jobs_jserp-result">{name}</a>'
        if company
        else name
    )
    posted = listing.posted.date().isoformat()
    return f"""
<li>
  <div class="base-card relative base-search-card base-search-card--link job-search-card"
       data-entity-urn="urn:li:jobPosting:{listing.id}">
    <a class="base-card__full-link" href="https://www.linkedin.com{_JOB_PATH}{listing.id}?position=1">
      <span class="sr-only">{escape(listing.title)}</span>
    </a>
    <div class="base-search-card__info">
      <h3 class="base-search-card__title">{escape(listing.title)}</h3>
      <h4 class="base-search-card__subtitle">{link}</h4>
      <div class="base-search-card__metadata">
        <span class="job-search-card__location">{escape(_location(listing))}</span>
        <time class="job-search-card__listdate" datetime="{posted}">{posted}</time>
      </div>
    </div>
  </div>
</li>"""


def _location(listing: Listing) -> str:
    """Return `Austin, TX`, `Munich, Bavaria, Germany`, `Germany`, or nothing."""
    place = listing.place
    if place is None:
        return ""
    if listing.city and place.country.code == "US":
        return f"{listing.city}, {place.region_code}"
    parts = (listing.city, place.region if listing.city else None, place.country.name)
    return ", ".join(part for part in parts if part)


def _job_page(listing: Listing) -> str:
    vacancy = listing.vacancy
    criteria = {
        "Seniority level": vacancy.level.seniority,
        "Employment type": _EMPLOYMENT_TYPES[vacancy.job_type],
        "Job function": vacancy.field.name,
        "Industries": vacancy.field.industry,
    }
    items = "".join(
        f'<li class="description__job-criteria-item">'
        f'<h3 class="description__job-criteria-subheader">{heading}</h3>'
        f'<span class="description__job-criteria-text description__job-criteria-text--criteria">'
        f"{escape(value)}</span></li>"
        for heading, value in criteria.items()
    )
    logo = (
        f'<img class="artdeco-entity-image" alt="" '
        f'data-delayed-url="https://media.licdn.com/dms/image/{vacancy.company.slug}.png">'
        if vacancy.company
        else ""
    )
    salary = _salary(listing.pay)
    description = (
        f'<div class="show-more-less-html__markup relative overflow-hidden">{listing.description}</div>'
        if listing.description
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><title>{escape(listing.title)}</title></head><body>
<section class="top-card-layout">{logo}<h1 class="top-card-layout__title">{escape(listing.title)}</h1></section>
{f'<div class="salary compensation__salary">{salary}</div>' if salary else ""}
<section class="show-more-less-html">{description}</section>
<ul class="description__job-criteria-list">{items}</ul>
</body></html>"""


def _salary(pay: Pay | None) -> str:
    """Return `$117,000.00/yr - $234,000.00/yr`. LinkedIn states no pay by day or week, and no open ranges."""
    if pay is None or pay.maximum is None or pay.interval not in _PAY_UNITS:
        return ""
    sign = _CURRENCY_SIGNS.get(pay.currency, f"{pay.currency} ")
    unit = _PAY_UNITS[pay.interval]
    return f"{sign}{pay.minimum:,.2f}/{unit} - {sign}{pay.maximum:,.2f}/{unit}"
