from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from worker.cli.terminal import (
    BAR_WIDTH,
    in_local_time,
    items_table,
    live_view,
    local_time,
    pay,
    run_summary,
    runs_table,
    title_of,
)
from worker.database.user import FollowedRun

SITES = {
    "linkedin": {
        "site": "linkedin",
        "is_fallback": False,
        "status": "completed",
        "jobs_found": 20,
        "error_message": None,
        "progress": {},
    },
    "glassdoor": {
        "site": "glassdoor",
        "is_fallback": False,
        "status": "failed",
        "jobs_found": 0,
        "error_message": "refused [403] " * 20,
        "progress": {},
    },
}
RUN: dict[str, Any] = {
    "id": "6e3a0c1e-0000-0000-0000-000000000000",
    "kind": "jobs",
    "status": "partial",
    "run_after": None,
    "leader_run_id": None,
    "shared_run_id": None,
    "jobs_found": 20,
    "progress_current": 40,
    "progress_total": 40,
    "created_at": "2026-11-22T09:30:00+00:00",
    "parameters": {"search_term": "engineer", "location": "Berlin"},
    "progress": {"step": "finished"},
    "run_sites": list(SITES.values()),
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


def test_a_run_that_waits_for_its_next_attempt_shows_when() -> None:
    waiting = RUN | {"status": "pending", "run_after": "2026-11-22T10:15:03.678+00:00"}
    line = shown(live_view([("ada: engineer", FollowedRun(waiting, SITES))])).splitlines()[0]
    assert line.rstrip().endswith(f"pending  again at {local_time('2026-11-22T10:15:03.678+00:00')}")


def test_a_waiting_site_shows_for_what_and_until_when_in_local_time() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    message = f"Glassdoor is not answering at the moment; it will be tried again at {now:%H:%M} UTC."
    waits = {"step": "waiting", "details": {"until": now.isoformat(), "reason": "paused", "message": message}}
    site = SITES["glassdoor"] | {"status": "pending", "progress": waits}
    # Also while the run's other sites are searched.
    run = RUN | {"status": "running", "progress": {"step": "searching"}}
    line = shown(live_view([("ada: engineer", FollowedRun(run, SITES | {"glassdoor": site}))])).splitlines()[2]
    assert f"again at {now.astimezone():%H:%M:%S}: Glassdoor is" in line


def test_the_time_of_another_day_in_a_message_has_the_day() -> None:
    time = datetime(2020, 6, 15, 12, 30, tzinfo=UTC).astimezone()
    assert in_local_time("tried again at 2020-06-15 12:30 UTC.") == f"tried again at {time:%m-%d %H:%M}."


@pytest.mark.parametrize(
    "message", ["refused [403]", "2026-11-22 is no time", "", "at 99:99 UTC", "2026-13-01 12:00 UTC"]
)
def test_a_message_without_times_stays(message: str) -> None:
    assert in_local_time(message) == message


def test_the_time_of_another_day_has_the_day() -> None:
    assert local_time("2020-06-15T12:30:45+00:00").startswith("06-15 ")


def test_a_running_site_shows_its_step_and_progress() -> None:
    progress = {"step": "enriching", "current": 24, "total": 24, "details": {"looked_up": 3}}
    site = SITES["glassdoor"] | {"status": "running", "error_message": None, "progress": progress}
    run = RUN | {"status": "running", "progress_total": None, "progress": {"step": "enriching"}}
    line = shown(live_view([("ada: engineer", FollowedRun(run, {"glassdoor": site}))])).splitlines()[1]
    assert "━" * BAR_WIDTH in line
    assert "running  enriching 24 of 24" in line


@pytest.mark.parametrize(
    ("kind", "parameters", "title"),
    [
        ("jobs", {"search_term": "engineer"}, "engineer"),
        ("people", {"search_term": "engineer"}, "people: engineer"),
        ("flats", {"max_rent": 900}, "flats"),
    ],
)
def test_a_title_shows_the_kind_except_for_jobs(kind: str, parameters: dict[str, Any], title: str) -> None:
    assert title_of({"kind": kind, "parameters": parameters}) == title


@pytest.mark.parametrize(("by", "status"), [("leader_run_id", "pending"), ("shared_run_id", "success")])
def test_a_follower_is_marked(by: str, status: str) -> None:
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
    assert "Sites completed: 1 of 2, failed: 1. Total found: 20" in text


def test_the_table_of_runs_names_what_was_searched_and_each_site_and_the_whole_id() -> None:
    text = shown(runs_table([RUN]))
    assert RUN["id"] in text
    assert "engineer," in text
    assert "✓linkedin" in text
    assert "✗glassdoor" in text


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


ITEM: dict[str, Any] = NO_PAY | {
    "title": "[bold]Engineer[/bold]", "organization": None, "location": None, "is_remote": None,
    "posted_at": None, "data": {}, "sites": [{"site": "indeed"}, {"site": "indeed"}, {"site": "bayt"}],
}  # fmt: skip


def test_text_of_a_board_is_not_taken_for_markup() -> None:
    assert "[bold]Engineer[/bold]" in shown(items_table([ITEM]))


def test_things_found_have_the_columns_that_one_of_them_fills() -> None:
    header, job = shown(items_table([ITEM])).splitlines()
    assert header.split() == ["Title", "Sites"]
    assert job.rstrip().endswith("indeed +1")

    creator = ITEM | {"data": {"score": 94, "subscribers": 602010}}
    header, _, line = shown(items_table([ITEM, creator])).splitlines()
    assert header.split() == ["Title", "Score", "Subscribers", "Sites"]
    assert line.split()[-4:-2] == ["94", "602,010"]


def test_an_item_without_a_run_is_shown_by_its_url() -> None:
    tried = {name: value for name, value in ITEM.items() if name != "sites"} | {"url": "https://jobs.example/1"}
    assert "https://jobs.example/1" in shown(items_table([tried]))
