"""Greenhouse: the request, and the items of its jobs."""

from __future__ import annotations

from typing import Any

import pytest
import respx

from tests.support.sources import search_source
from worker.errors import InvalidItemError
from worker.model import Item, Organization
from worker.pipeline.normalize import JOBS, normalize
from worker.sources.greenhouse import GreenhouseSource

JOB: dict[str, Any] = {
    "id": 4012345,
    "internal_job_id": 2012345,
    "title": "Field Engineer",
    "updated_at": "2026-11-10T10:55:28-05:00",
    "first_published": "2026-11-02T09:00:00-05:00",
    "requisition_id": "R-50",
    "location": {"name": "Lyon"},
    "absolute_url": "https://job-boards.greenhouse.io/acme/jobs/4012345",
    "company_name": "ACME Robotics",
    "language": "en",
    "content": "&lt;p&gt;Repair robots &amp;amp; cranes.&lt;/p&gt;&lt;ul&gt;&lt;li&gt;On call&lt;/li&gt;&lt;/ul&gt;",
    "departments": [{"id": 1, "name": "Field Service", "parent_id": None, "child_ids": []}],
    "offices": [
        {"id": 2, "name": "Lyon", "location": "Lyon, France", "parent_id": 3, "child_ids": []},
        {"id": 3, "name": "South", "location": "France", "parent_id": None, "child_ids": [2]},
    ],
    "metadata": [
        {"id": 4, "name": "Employment Type", "value": "Full-time", "value_type": "single_select"},
        {"id": 5, "name": "Workplace Type", "value": "Hybrid", "value_type": "single_select"},
        {"id": 6, "name": "Shifts", "value": ["Day", "Night"], "value_type": "multi_select"},
        {"id": 7, "name": "Relocation", "value": True, "value_type": "yes_no"},
        {"id": 8, "name": "Level", "value": None, "value_type": "short_text"},
    ],
}


def item(**changes: Any) -> Item:
    return GreenhouseSource().parse("greenhouse", {"board": "acme", "job": {**JOB, **changes}})


async def test_the_request(router: respx.MockRouter) -> None:
    route = router.get("https://boards-api.greenhouse.io/v1/boards/acme/jobs").respond(json={"jobs": [JOB]})
    told = await search_source(GreenhouseSource(), {"greenhouse_boards": ["acme"]})
    assert dict(route.calls[0].request.url.params) == {"content": "true", "pay_transparency": "true"}
    assert told.pages[0].payload == {"board": "acme", "jobs": [JOB]}
    [found] = told.items
    assert found.description == "Repair robots & cranes.\n\n- On call"
    assert (found.city, found.country, found.work_mode, found.job_types) == ("Lyon", "FR", "hybrid", ("fulltime",))
    assert found.posted_at == "2026-11-02T14:00:00+00:00"


def test_a_job() -> None:
    assert item() == Item(
        external_id="acme/4012345",
        title="Field Engineer",
        url="https://job-boards.greenhouse.io/acme/jobs/4012345",
        apply_url="https://job-boards.greenhouse.io/acme/jobs/4012345",
        organization="ACME Robotics",
        location="Lyon",
        country="FR",
        work_mode="Hybrid",
        posted_at="2026-11-02T09:00:00-05:00",
        job_types=("Full-time",),
        employer=Organization(profile_url="https://job-boards.greenhouse.io/acme"),
        description="<p>Repair robots &amp; cranes.</p><ul><li>On call</li></ul>",
        data={
            "board": "acme",
            "departments": ["Field Service"],
            "offices": ["Lyon", "South"],
            "requisition_id": "R-50",
            "updated_at": "2026-11-10T10:55:28-05:00",
            "language": "en",
            "fields": {
                "Employment Type": "Full-time",
                "Workplace Type": "Hybrid",
                "Shifts": "Day, Night",
                "Relocation": "yes",
            },
        },
    )


def test_a_job_with_few_fields() -> None:
    job = {name: JOB[name] for name in ("id", "title", "absolute_url", "updated_at")}
    found = GreenhouseSource().parse("greenhouse", {"board": "acme-robotics", "job": {**job, "metadata": None}})
    assert (found.organization, found.location, found.description) == ("Acme Robotics", None, None)
    assert (found.posted_at, found.data) == (
        JOB["updated_at"],
        {"board": "acme-robotics", "updated_at": JOB["updated_at"]},
    )


@pytest.mark.parametrize("field", ["id", "title", "absolute_url"])
@pytest.mark.parametrize("value", [None, "", [], "\n"])
def test_no_job(field: str, value: Any) -> None:
    with pytest.raises(InvalidItemError) as raised:
        item(**{field: value})
    assert raised.value.field == field


def test_an_address_that_is_none_of_the_web() -> None:
    with pytest.raises(InvalidItemError):
        item(absolute_url="javascript:alert(1)")


@pytest.mark.parametrize(
    ("location", "offices", "country"),
    [
        ("Lyon", ["Lyon, France"], "FR"),
        ("Lyon", ["Lyon, France", "Madrid, Spain"], None),
        ("Lyon", [None], None),
        ("Remote - Spain", ["Lyon, France"], None),  # the place tells itself
    ],
)
def test_the_country_of_the_offices(location: str, offices: list[str | None], country: str | None) -> None:
    assert item(location={"name": location}, offices=[{"location": office} for office in offices]).country == country


@pytest.mark.parametrize(
    ("location", "offices", "city", "places"),
    [
        ("Hybrid", ["Lyon, France", "France"], "Lyon", ["Lyon"]),
        ("In-Office", ["Lyon, France", "Madrid, Spain"], None, ["Lyon", "Madrid"]),
        ("Remote", ["Lyon, France"], None, ["Lyon"]),
        ("Remote", [None], None, []),
        ("Remote - Spain", ["Lyon, France"], None, [None]),
        ("EMEA", ["Lyon, France"], None, [None]),
        ("Paris", ["Lyon, France"], "Paris", ["Paris"]),
    ],
)
def test_offices_are_the_places_of_a_job_without_any(
    location: str, offices: list[str | None], city: str | None, places: list[str | None]
) -> None:
    found = normalize(item(location={"name": location}, offices=[{"location": office} for office in offices]), JOBS)
    assert found.city == city
    assert [place.city for place in found.places] == places


def pay(title: str = "", least: Any = 9_000_000, most: Any = 12_050_000, currency: str = "USD") -> dict[str, Any]:
    return {"min_cents": least, "max_cents": most, "currency_type": currency, "title": title, "blurb": "<p>Fair.</p>"}


@pytest.mark.parametrize(
    ("ranges", "salary"),
    [
        ([pay("Annual pay")], (90_000, 120_500, "yearly", "USD")),
        ([pay("US base salary range")], (90_000, 120_500, "yearly", "USD")),
        ([pay()], (90_000, 120_500, "yearly", "USD")),
        ([pay("Zone 1 Pay Range")], (90_000, 120_500, "yearly", "USD")),
        ([pay("Zone 1"), pay("Zone 2", least=8_000_000)], (80_000, 120_500, "yearly", "USD")),
        ([pay("Pay range", 2_000, 2_600)], (20, 26, "hourly", "USD")),
        ([pay("Pay range", 200_000, 260_000)], (2_000, 2_600, None, "USD")),
        ([pay("Hourly rate", 2_550, 3_000)], (25.5, 30, "hourly", "USD")),
        ([pay("Pay per month", 300_000, None, "EUR")], (3_000, None, "monthly", "EUR")),
        ([pay("Salary", 30_000_000, 40_000_000, "JPY")], (300_000, 400_000, None, "JPY")),
        ([pay("Annual"), pay("Annual, New York", most=15_000_000)], (90_000, 150_000, "yearly", "USD")),
        ([pay("Annual"), pay("Annual", most=15_000_000, currency="CAD")], (90_000, 120_500, "yearly", "USD")),
        ([pay("Annual", "much", None)], (None, None, None, None)),
        ([], (None, None, None, None)),
    ],
)
def test_pay_ranges(ranges: list[dict[str, Any]], salary: tuple[Any, ...]) -> None:
    found = item(pay_input_ranges=ranges)
    assert (found.salary_min, found.salary_max, found.salary_interval, found.currency) == salary


def test_pay_in_a_field_of_the_company() -> None:
    value = {"unit": "EUR", "min_value": "60000.0", "max_value": "80000.0"}
    fields = [
        {"name": "Salary Range", "value_type": "currency_range", "value": value},
        {"name": "Pay Frequency", "value_type": "single_select", "value": "Annual"},
        {"name": "Budget", "value_type": "currency", "value": {"unit": "EUR", "amount": "5.0"}},
    ]
    found = item(metadata=fields)
    assert (found.salary_min, found.salary_max, found.salary_interval, found.currency) == (
        60_000,
        80_000,
        "yearly",
        "EUR",
    )
    ranges = item(metadata=fields, pay_input_ranges=[pay("Annual")])
    assert (ranges.salary_min, ranges.currency) == (90_000, "USD")


@pytest.mark.parametrize(
    ("name", "value", "is_remote"),
    [
        ("Remote?", True, True),
        ("Remote", "Yes - EU", True),
        ("Location Type", "Remote", True),
        ("Remote?", False, None),
    ],
)
def test_remote_in_a_field_of_the_company(name: str, value: Any, is_remote: bool | None) -> None:
    assert item(metadata=[{"name": name, "value": value}]).is_remote is is_remote
