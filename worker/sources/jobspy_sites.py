"""How JobSpy searches each site, and what that asks of the site.

JobSpy's own constants stand here as a table, because importing JobSpy costs 93 MB; a test holds them equal to JobSpy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.model import SiteLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpySite:
    """How JobSpy searches a site.

    Attributes:
        page_jobs: Jobs on a search page (`jobspy.<site>.constant.jobs_per_page`).
        slice_pages: Search pages of a slice; None: the search cannot be sliced, for JobSpy's `offset` does not go
            straight to its page there, but reads those before it again. One session serves a slice, and with it the
            cookies of a site that watches them.
        delay_seconds: Least and greatest pause between two search pages (`delay` of the scraper); None: there is none.
        described_jobs: Jobs that one more request describes; None: the search itself describes them.
    """

    page_jobs: int
    slice_pages: int | None = None
    delay_seconds: tuple[float, float] | None = None
    described_jobs: int | None = 1


SITES: Mapping[str, JobSpySite] = {
    "linkedin": JobSpySite(page_jobs=10, slice_pages=1, delay_seconds=(3, 7)),
    "indeed": JobSpySite(page_jobs=100, described_jobs=None),
    "zip_recruiter": JobSpySite(page_jobs=20, slice_pages=5, delay_seconds=(3, 7)),
    "glassdoor": JobSpySite(page_jobs=100, described_jobs=25),
    "bayt": JobSpySite(page_jobs=30, delay_seconds=(2, 5)),
    "naukri": JobSpySite(page_jobs=20, slice_pages=5, delay_seconds=(3, 7)),
    "bdjobs": JobSpySite(page_jobs=50, delay_seconds=(2, 5)),
    "hellowork": JobSpySite(page_jobs=30, slice_pages=3, delay_seconds=(2, 5)),
}
"""The sites that JobSpy searches; it knows `google`, too, which is unavailable."""


def job_pages(site: str) -> str:
    """Return the bucket of the requests for descriptions."""
    return f"{site}:job_pages"


def shared_limits(page_delay_seconds: tuple[float, float] | None) -> dict[str, SiteLimits]:
    """Return what all searches of all workers keep to, by bucket.

    No site tells its limits, and what is known of them is little: LinkedIn answers 429 after about ten pages from one
    address, with whatever pause (https://github.com/speedyapply/JobSpy/pull/120). So the least of JobSpy's own pauses
    counts for all searches together, and a 429 is left to the breaker. What is above the least pause is each search's
    own, at random.

    LinkedIn is searched by as many as like: each of its pages has its own permit, so that the searches take turns and a
    short one need not wait for the last of a hundred pages. Where JobSpy reads several pages in one call, it keeps the
    pause within that call alone: there one search at a time is what keeps it. A site without a pause, and the jobs'
    own pages, for which JobSpy pauses nowhere, have no limit but those that the operator sets in
    `worker.bucket_limits`: with proxies, too, only the operator knows how many addresses they are.

    Args:
        page_delay_seconds: Least and greatest pause between two pages; None: JobSpy's own for each site.
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
