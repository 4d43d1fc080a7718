from uuid import UUID

from worker.model import SiteStatus
from worker.queue import FinishedRun, FinishedSite
from worker.summary import summary

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
    )
    assert summary(run).splitlines() == [
        f"Run {RUN_ID}: partial",
        "  ✓ linkedin   completed  25 found",
        "  ~ indeed     partial    10 found, then rate_limited: response status code 429",
        "  ✗ glassdoor  failed     blocked: response status code 403",
        "  Boards completed: 1 of 3, failed: 1. Total found: 35",
    ]
