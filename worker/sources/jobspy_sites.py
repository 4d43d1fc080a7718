"""How JobSpy searches each site, and the rate limits that follow from it.

The table copies JobSpy's constants, because importing JobSpy takes 93 MB of memory. A test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.model import SiteLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpySite:
    """How JobSpy searches a site.

    Attributes:
        host: The host of its search.
        page_jobs: Jobs on a search page (`jobspy.<site>.constant.jobs_per_page`).
        slice_pages: Search pages per slice; None: no slices, because JobSpy's `offset` reads the pages before it again.
            A slice uses one session, for sites that check cookies.
        delay_seconds: Least and greatest pause between two search pages (`delay` of the scraper); None: no pause.
        described_jobs: Jobs that one additional request describes; None: search pages have descriptions.
    """

    host: str
    page_jobs: int
    slice_pages: int | None = None
    delay_seconds: tuple[float, float] | None = None
    described_jobs: int | None = 1


SITES: Mapping[str, JobSpySite] = {
    "linkedin": JobSpySite(host="www.linkedin.com", page_jobs=10, slice_pages=1, delay_seconds=(3, 7)),
    "indeed": JobSpySite(host="apis.indeed.com", page_jobs=100, described_jobs=None),
    "zip_recruiter": JobSpySite(host="www.ziprecruiter.com", page_jobs=20, slice_pages=5, delay_seconds=(3, 7)),
    "glassdoor": JobSpySite(host="www.glassdoor.com", page_jobs=100, described_jobs=25),
    "bayt": JobSpySite(host="www.bayt.com", page_jobs=30, delay_seconds=(2, 5)),
    "naukri": JobSpySite(host="www.naukri.com", page_jobs=20, slice_pages=5, delay_seconds=(3, 7)),
    "bdjobs": JobSpySite(host="api.bdjobs.com", page_jobs=50, delay_seconds=(2, 5)),
    "hellowork": JobSpySite(host="www.hellowork.com", page_jobs=30, slice_pages=3, delay_seconds=(2, 5)),
}
"""The sites that JobSpy searches, without `google`, which is unavailable."""


def job_pages(site: str) -> str:
    """Return the bucket of requests for descriptions."""
    return f"{site}:job_pages"


def shared_limits(page_delay_seconds: tuple[float, float] | None) -> dict[str, SiteLimits]:
    """Return the rate limits of all sites, by bucket.

    No site documents its limits. LinkedIn is known to answer 429 after about ten pages from one address, whatever the
    pause (https://github.com/speedyapply/JobSpy/pull/120). Therefore JobSpy's least pause is the minimum delay over all
    searches, the random part above it is up to each search, and a 429 opens the circuit breaker.

    LinkedIn has no limit of concurrent searches: each page takes its own permit, so that searches alternate. On other
    sites JobSpy reads several pages per call and pauses only within the call, so that one search at a time is allowed.
    Sites without a pause, and pages of single jobs, have no limit unless the operator sets one in
    `worker.bucket_limits`: only the operator knows how many addresses the proxies have.

    Args:
        page_delay_seconds: Least and greatest pause between two pages; None: JobSpy's default for each site.
    """
    limits: dict[str, SiteLimits] = {}
    for name, site in SITES.items():
        delay_seconds = site.delay_seconds and (page_delay_seconds or site.delay_seconds)
        if delay_seconds is None or delay_seconds[0] == 0:
            limits[name] = SiteLimits()
        else:
            searches = None if site.slice_pages == 1 else 1
            limits[name] = SiteLimits(min_delay_seconds=delay_seconds[0], searches=searches)
        if site.described_jobs is not None:
            limits[job_pages(name)] = SiteLimits()
    return limits
