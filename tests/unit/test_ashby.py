"""Ashby: the request, and the items of its jobs."""

from __future__ import annotations

from typing import Any

import pytest
import respx

from tests.support.sources import search_source
from worker.errors import InvalidItemError
from worker.model import Item, Organization
from worker.sources.ashby import AshbySource


def a_component(interval: Any, kind: str = "Salary", least: float = 40, most: float = 50.5) -> dict[str, Any]:
    return {
        "compensationType": kind,
        "interval": interval,
        "currencyCode": "USD",
        "minValue": least,
        "maxValue": most,
    }


JOB: dict[str, Any] = {
    "id": "0f1e2d3c-0000-4000-8000-000000000001",
    "title": "Product Engineer",
    "department": "Product",
    "team": "Growth",
    "employmentType": "FullTime",
    "location": "Houston",
    "secondaryLocations": [],
    "publishedAt": "2026-11-03T16:21:55.393+00:00",
    "isListed": True,
    "isRemote": False,
    "workplaceType": "OnSite",
    "address": {
        "postalAddress": {"addressLocality": "Houston", "addressRegion": "Texas", "addressCountry": "United States"}
    },
    "jobUrl": "https://jobs.ashbyhq.com/acme/0f1e2d3c-0000-4000-8000-000000000001",
    "applyUrl": "https://jobs.ashbyhq.com/acme/0f1e2d3c-0000-4000-8000-000000000001/application",
    "descriptionHtml": "<p>Join us</p>",
    "descriptionPlain": "Join us",
    "compensation": {
        "compensationTierSummary": "$81K to $87K • Offers Bonus",
        "summaryComponents": [
            a_component("NONE", "EquityPercentage", 0.5, 1),
            a_component("1 YEAR", "Salary", 81_000, 87_000),
            a_component("1 YEAR", "Bonus", 1_000, 2_000),
        ],
    },
}


def item(**changes: Any) -> Item:
    return AshbySource().parse("ashby", {"board": "acme", "job": {**JOB, **changes}})


async def test_the_request(router: respx.MockRouter) -> None:
    unlisted = {**JOB, "id": "2", "title": "Secret Engineer", "isListed": False}
    route = router.get("https://api.ashbyhq.com/posting-api/job-board/The%20Company")
    route.respond(json={"apiVersion": "1", "jobs": [unlisted, JOB]})
    told = await search_source(AshbySource(), {"ashby_boards": ["The Company"]})
    assert dict(route.calls[0].request.url.params) == {"includeCompensation": "true"}
    assert told.pages[0].payload == {"board": "The Company", "jobs": [JOB]}
    [found] = told.items
    assert (found.organization, found.city, found.region, found.country) == ("The Company", "Houston", "TX", "US")
    assert (found.work_mode, found.is_remote, found.job_types) == ("onsite", False, ("fulltime",))
    assert (found.salary_yearly_min, found.salary_yearly_max) == (81_000, 87_000)


def test_a_job() -> None:
    assert item() == Item(
        external_id=f"acme/{JOB['id']}",
        title="Product Engineer",
        url=JOB["jobUrl"],
        apply_url=JOB["applyUrl"],
        organization="Acme",
        location="Houston",
        city="Houston",
        region="Texas",
        country="United States",
        work_mode="OnSite",
        is_remote=False,
        posted_at="2026-11-03T16:21:55.393+00:00",
        salary_min=81_000,
        salary_max=87_000,
        salary_interval="yearly",
        currency="USD",
        job_types=("FullTime",),
        description="<p>Join us</p>",
        employer=Organization(profile_url="https://jobs.ashbyhq.com/acme"),
        data={
            "board": "acme",
            "department": "Product",
            "team": "Growth",
            "compensation": "$81K to $87K • Offers Bonus",
        },
    )


def test_a_job_with_few_fields() -> None:
    job = {name: JOB[name] for name in ("id", "title", "jobUrl", "descriptionPlain")}
    found = AshbySource().parse("ashby", {"board": "acme", "job": job})
    assert (found.description, found.is_remote, found.salary_min, found.data) == (
        "Join us",
        None,
        None,
        {"board": "acme"},
    )


@pytest.mark.parametrize("field", ["id", "title", "jobUrl"])
@pytest.mark.parametrize("value", [None, "", {}, "\n"])
def test_no_job(field: str, value: Any) -> None:
    with pytest.raises(InvalidItemError) as raised:
        item(**{field: value})
    assert raised.value.field == field


def test_several_locations() -> None:
    found = item(secondaryLocations=[{"location": "Austin", "address": {}}, {"location": None}, "Dallas"])
    assert (found.location, found.city, found.country) == ("Houston; Austin", None, "US")
    assert [(place.city, place.region, place.country) for place in found.places] == [
        ("Houston", "TX", "US"), ("Austin", "TX", "US"),
    ]  # fmt: skip


def test_each_location_has_its_own_address() -> None:
    address = {"addressLocality": "Munich", "addressRegion": "Bayern", "addressCountry": "Germany"}
    found = item(secondaryLocations=[{"location": "HQ2", "address": address}])
    assert [(place.city, place.region, place.country) for place in found.places] == [
        ("Houston", "TX", "US"), ("Munich", "Bavaria", "DE"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "interval"),
    [("1 YEAR", "yearly"), ("1 MONTH", "monthly"), ("1 WEEK", "weekly"), ("1 DAY", "daily"), ("1 HOUR", "hourly")],
)
def test_intervals(told: str, interval: str) -> None:
    pay = {"yearly": 81_000, "monthly": 6_000, "weekly": 1_500, "daily": 400, "hourly": 40}[interval]
    found = item(compensation={"summaryComponents": [a_component(told, least=pay, most=pay + 0.5)]})
    assert (found.salary_min, found.salary_max, found.salary_interval, found.currency) == (
        pay,
        pay + 0.5,
        interval,
        "USD",
    )


def test_pay_for_two_weeks_is_halved() -> None:
    found = item(compensation={"summaryComponents": [a_component("2 WEEK", least=3_000, most=4_001)]})
    assert (found.salary_min, found.salary_max, found.salary_interval) == (1_500, 2_000.5, "weekly")


@pytest.mark.parametrize("told", ["NONE", None, 1])
@pytest.mark.parametrize(
    ("least", "most", "interval"), [(81_000, 87_000, "yearly"), (40, 50, "hourly"), (4_000, 5_000, None)]
)
def test_pay_without_an_interval(told: Any, least: float, most: float, interval: str | None) -> None:
    found = item(compensation={"summaryComponents": [a_component(told, least=least, most=most)]})
    assert (found.salary_min, found.salary_max, found.salary_interval) == (least, most, interval)


def test_pay_in_tiers() -> None:
    def tier(least: float, most: float) -> dict[str, Any]:
        return {"title": "Zone", "components": [a_component("1 YEAR", "Salary", least, most)]}

    found = item(compensation={"compensationTiers": [tier(80, 90), tier(70, 85)], "summaryComponents": []})
    assert (found.salary_min, found.salary_max) == (70, 90)
