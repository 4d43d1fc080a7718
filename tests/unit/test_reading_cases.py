"""Reading real inputs: each case of `data/reading-cases.jsonl` has one right answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from worker.engine.read import transform
from worker.model import Item, Page
from worker.pipeline.location_reading import named_region
from worker.pipeline.normalize import JOBS, normalize
from worker.sources.job_filter import JobFilter
from worker.sources.jobspy import JobSpySource
from worker.sources.parameters import JobParameters


@dataclass(frozen=True)
class Case:
    kind: str
    input: dict[str, Any]
    expected: Any
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {json.dumps(self.input, ensure_ascii=False)}"


CASES = [
    Case(**json.loads(line))
    for line in (Path(__file__).parent / "data" / "reading-cases.jsonl").read_text("utf-8").splitlines()
]


def item_of(given: dict[str, Any]) -> Item:
    """Return the normalized item of a row of JobSpy if the case names a site or a URL, else of a job's fields."""
    if "site" in given or "job_url" in given:
        row = {"id": "1", "title": "Engineer", "job_url": "https://www.example.com/1", **given}
        (item,) = transform(JobSpySource(), given.get("site", "indeed"), Page(1, {"rows": [row]}, 1)).items
        return item
    near = given.get("near")
    raw = Item(
        external_id="1",
        title=given.get("title", "Engineer"),
        url=f"https://{near.lower()}.indeed.com/viewjob?jk=1" if near else "https://www.example.com/1",
        location=given.get("location"),
        country=given.get("country"),
        description=given.get("description"),
        job_types=(given["commitment"],) if "commitment" in given else (),
    )
    return normalize(raw, JOBS)


def pay(given: dict[str, Any]) -> dict[str, Any]:
    item = item_of(given)
    return {
        "min": item.salary_min,
        "max": item.salary_max,
        "interval": item.salary_interval,
        "currency": item.currency,
        "yearly_min": item.salary_yearly_min,
    }


def place(given: dict[str, Any]) -> dict[str, Any]:
    item = item_of(given)
    return {"city": item.city, "region": item.region, "country": item.country}


def places(given: dict[str, Any]) -> list[list[str | None]]:
    """Return the places. Where a region may stay unknown, it is left out if it is one of the record's country."""
    found = [[place.city, place.region, place.country] for place in item_of(given).places]
    if "a region may stay unknown" in given.get("note", ""):
        return [
            [city, None if named_region(region, given["country"]) else region, code] for city, region, code in found
        ]
    return found


def found(given: dict[str, Any]) -> bool:
    item = Item(external_id="1", title=given["title"], url="https://www.example.com/1")
    return JobFilter(JobParameters.read({"search_term": given["search_term"]})).match(item) is not None


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "experience": lambda given: item_of(given).experience_years,
    "job_types": lambda given: sorted(item_of(given).job_types),
    "markdown": lambda given: item_of(given).description,
    "pay": pay,
    "pay_given": pay,
    "place": place,
    "places": places,
    "skills_without": lambda given: item_of(given).skills,
    "words": found,
    "work_mode": lambda given: item_of(given).work_mode,
}
"""How to read each kind of case. The database decides about duplicates: `integration/test_reading_duplicates.py`."""


@pytest.mark.parametrize("case", [case for case in CASES if case.kind != "duplicates"], ids=str)
def test_reading(case: Case) -> None:
    answer = READERS[case.kind](case.input)
    if "a region may stay unknown" in case.input.get("note", ""):
        case = replace(case, expected=[[city, None, country] for city, _, country in case.expected])
    if case.kind == "skills_without":
        assert case.expected not in answer
    elif isinstance(case.expected, dict):
        assert {name: answer[name] for name in case.expected} == case.expected, case.note
    else:
        assert answer == case.expected, case.note
