"""The summary in the log at the end of each run."""

from __future__ import annotations

import logging
from dataclasses import asdict

from worker.database.answers import FinishedRun, FinishedSite
from worker.model import SiteStatus
from worker.printable import printable

logger = logging.getLogger(__name__)

MARKS = {
    SiteStatus.COMPLETED: "✓",
    SiteStatus.PARTIAL: "~",
    SiteStatus.FAILED: "✗",
    SiteStatus.SKIPPED: "-",
    SiteStatus.PENDING: "·",
    # If the answer to the end of a run was lost, another worker may search it by the time of the next answer.
    SiteStatus.RUNNING: "·",
}


def log_summary(run: FinishedRun) -> None:
    """Log the result of a run, as text and as fields for JSON logs."""
    fields = {
        "run_id": str(run.id),
        "status": run.status,
        "jobs_found": run.jobs_found,
        "retry_in_seconds": run.retry_in_seconds,
        "sites": [asdict(site) for site in run.sites],
    }
    logger.info("%s", summary(run), extra=fields)


def summary(run: FinishedRun) -> str:
    """Return one line for each site with its status and its count or reason, then the totals."""
    width = max(len(printable(site.site)) for site in run.sites)
    completed = sum(site.status == SiteStatus.COMPLETED for site in run.sites)
    failed = sum(site.status == SiteStatus.FAILED for site in run.sites)
    again = "" if run.retry_in_seconds is None else f", retry in {max(0, run.retry_in_seconds):.0f} s"
    lines = [f"Run {run.id}: {run.status}{again}"]
    lines += [f"  {MARKS[site.status]} {printable(site.site):<{width}}  {_outcome(site)}" for site in run.sites]
    lines += [f"  Sites completed: {completed} of {len(run.sites)}, failed: {failed}. Total found: {run.jobs_found}"]
    return "\n".join(lines)


def _outcome(site: FinishedSite) -> str:
    if site.status == SiteStatus.COMPLETED:
        return f"completed  {site.jobs_found} found"
    if site.waits_for is not None:
        return f"waits      {printable(site.waits_for)}"
    if site.error_code is None:
        return site.status
    reason = printable(f"{site.error_code}: {site.error_message}")
    if site.status == SiteStatus.PARTIAL:
        return f"partial    {site.jobs_found} found, then {reason}"
    return f"{site.status:<10} {reason}"
