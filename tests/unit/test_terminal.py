import re
from typing import Any

import pytest
from rich.console import Console, RenderableType

from worker.client import FollowedRun
from worker.terminal import items_table, live_view, pay, run_summary, runs_table

SITES = {
    "linkedin": {"site": "linkedin", "status": "completed", "jobs_found": 20, "error_message": None},
    "glassdoor": {"site": "glassdoor", "status": "failed", "jobs_found": 0, "error_message": "refused [403] " * 20},
}
RUN: dict[str, Any] = {
    "id": "6e3a0c1e-0000-0000-0000-000000000000",
    "status": "partial",
    "run_after": None,
    "leader_run_id": None,
    "shared_run_id": None,
    "jobs_found": 20,
    "progress_current": 40,
    "progress_total": 40,
    "created_at": "2026-11-22T09:30:00+00:00",
    "parameters": {"search_term": "engineer", "location": "Berlin"},
    "search_run_sites": list(SITES.values()),
}
NO_PAY = {"salary_min": None, "salary_max": None, "currency": None, "salary_interval": None}


def shown(renderable: RenderableType) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_live_view_has_a_line_for_each_run_and_site_however_long_a_reason_is() -> None:
    lines = shown(live_view([("ada: engineer", FollowedRun(RUN, SITES))])).splitlines()
    assert [line.split()[:2] for line in lines] == [["ada:", "engineer"], ["✓", "linkedin"], ["✗", "glassdoor"]]
    assert "partial" in lines[0]
    assert "failed  refused [403]" in lines[2]


def test_a_run_that_waits_for_its_next_attempt_tells_when() -> None:
    waiting = RUN | {"status": "pending", "run_after": "2026-11-22T10:15:03.678+00:00"}
    line = shown(live_view([("ada: engineer", FollowedRun(waiting, SITES))])).splitlines()[0]
    assert re.search(r"pending  again at \d\d:15:03$", line.rstrip())


@pytest.mark.parametrize(("by", "status"), [("leader_run_id", "pending"), ("shared_run_id", "success")])
def test_a_run_that_shares_a_search_tells_so(by: str, status: str) -> None:
    sharing = FollowedRun(RUN | {"status": status, by: "6e3a0c1e-0000-0000-0000-000000000001"}, {})
    assert f"{status}  shared search" in shown(live_view([("grace: engineer", sharing)]))
    text = shown(run_summary(sharing))
    assert f"Run {RUN['id']}: {status}" in text
    assert "Total found: 20" in text
    assert "Boards" not in text


def test_the_summary_has_each_site_and_the_totals() -> None:
    text = shown(run_summary(FollowedRun(RUN, SITES)))
    assert f"Run {RUN['id']}: partial" in text
    assert "✓ linkedin" in text
    assert "Boards completed: 1 of 2, failed: 1. Total found: 20" in text


def test_the_table_of_runs_names_what_was_searched_and_the_whole_id() -> None:
    text = shown(runs_table([RUN]))
    assert RUN["id"] in text
    assert "engineer" in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        ({"salary_min": 90000, "salary_max": 120000, "currency": "USD", "salary_interval": "yearly"},
         "90,000-120,000 USD/year"),
        ({"salary_min": 25, "salary_max": 25, "currency": "GBP", "salary_interval": "hourly"}, "25 GBP/hour"),
        ({"salary_max": 4000, "currency": "EUR", "salary_interval": "monthly"}, "4,000 EUR/month"),
    ],
)  # fmt: skip
def test_pay(given: dict[str, Any], expected: str) -> None:
    assert pay(NO_PAY | given) == expected


def test_text_of_a_board_is_not_taken_for_markup() -> None:
    item = NO_PAY | {
        "title": "[bold]Engineer[/bold]", "organization": None, "location": None, "is_remote": None,
        "posted_at": None, "sites": [{"site": "indeed"}],
    }  # fmt: skip
    assert "[bold]Eng" in shown(items_table([item]))
