from uuid import UUID

from worker.database.answers import FinishedRun, FinishedSite
from worker.engine.summary import summary
from worker.model import SiteStatus

RUN_ID = UUID(int=1)


def test_each_site_has_its_mark_and_its_count_or_reason() -> None:
    run = FinishedRun(
        RUN_ID,
        "partial",
        35,
        (
            FinishedSite("linkedin", SiteStatus.COMPLETED, 25, None, None),
            FinishedSite("indeed", SiteStatus.PARTIAL, 10, "rate_limited", "response status code 429"),
            FinishedSite("glassdoor", SiteStatus.FAILED, 0, "blocked", "response status code 403"),
        ),
        None,
    )
    assert summary(run).splitlines() == [
        f"Run {RUN_ID}: partial",
        "  ✓ linkedin   completed  25 found",
        "  ~ indeed     partial    10 found, then rate_limited: response status code 429",
        "  ✗ glassdoor  failed     blocked: response status code 403",
        "  Sites completed: 1 of 3, failed: 1. Total found: 35",
    ]


def test_a_run_that_is_searched_again_says_when() -> None:
    blocked = FinishedSite("indeed", SiteStatus.PENDING, 0, "blocked", "response status code 403")
    assert summary(FinishedRun(RUN_ID, "pending", 0, (blocked,), 31.4)).splitlines() == [
        f"Run {RUN_ID}: pending, retry in 31 s",
        "  · indeed  pending    blocked: response status code 403",
        "  Sites completed: 0 of 1, failed: 0. Total found: 0",
    ]


def test_a_site_that_has_to_wait_says_for_what() -> None:
    message = "site paused until 2026-11-22 10:15 UTC (blocked)"
    waiting = FinishedSite("indeed", SiteStatus.PENDING, 3, None, None, message)
    assert summary(FinishedRun(RUN_ID, "pending", 3, (waiting,), -0.2)).splitlines() == [
        f"Run {RUN_ID}: pending, retry in 0 s",
        f"  · indeed  waits      {message}",
        "  Sites completed: 0 of 1, failed: 0. Total found: 3",
    ]


def test_a_run_that_another_worker_has_claimed_since_says_how_its_sites_are() -> None:
    """The answer to the end of the run was lost, and the next one tells of the next attempt."""
    sites = (
        FinishedSite("indeed", SiteStatus.RUNNING, 3, None, None),
        FinishedSite("bayt", SiteStatus.PENDING, 0, None, None),
    )
    assert summary(FinishedRun(RUN_ID, "running", 3, sites, None)).splitlines() == [
        f"Run {RUN_ID}: running",
        "  · indeed  running",
        "  · bayt    pending",
        "  Sites completed: 0 of 2, failed: 0. Total found: 3",
    ]


def test_every_status_of_a_site_has_a_line() -> None:
    for status in SiteStatus:
        assert f" bayt  {status}" in summary(
            FinishedRun(RUN_ID, "running", 0, (FinishedSite("bayt", status, 0, None, None),), None)
        )
