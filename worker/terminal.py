"""What the commands show on a terminal: live progress, a run's end, tables of runs and of things found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.client import FollowedRun, Row

STATUS_STYLES = {
    "pending": "dim",
    "running": "cyan",
    "success": "green",
    "completed": "green",
    "partial": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "skipped": "dim",
}
MARKS = {"pending": "·", "running": "…", "completed": "✓", "partial": "~", "failed": "✗", "skipped": "-"}
PER = {"yearly": "/year", "monthly": "/month", "weekly": "/week", "daily": "/day", "hourly": "/hour"}
TITLE_WIDTH = 18
BAR_WIDTH = 24
COUNT_WIDTH = 5
UUID_WIDTH = 36


def live_view(runs: Iterable[tuple[str, FollowedRun]]) -> RenderableType:
    """Return bars for each run and its sites.

    Args:
        runs: Pairs of a title and a run.
    """
    return Group(*(_run_view(title, followed) for title, followed in runs))


def _run_view(title: str, followed: FollowedRun) -> RenderableType:
    run = followed.run
    wanted = run["progress_total"] // max(1, len(followed.sites))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=TITLE_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR_WIDTH)
    table.add_column(width=COUNT_WIDTH, justify="right")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_row(
        Text(title, style="bold"),
        ProgressBar(total=run["progress_total"], completed=run["progress_current"], width=BAR_WIDTH),
        str(run["jobs_found"]),
        status_text(run["status"], _next_attempt(run) or _sharing(run)),
    )
    for site in followed.sites.values():
        is_done = site["status"] == "completed"
        table.add_row(
            f"  {MARKS[site['status']]} {site['site']}",
            ProgressBar(total=wanted, completed=wanted if is_done else site["jobs_found"], width=BAR_WIDTH),
            str(site["jobs_found"]),
            status_text(site["status"], site["error_message"]),
        )
    return table


def _next_attempt(run: Row) -> str | None:
    if run["run_after"] is None:
        return None
    return f"again at {datetime.fromisoformat(run['run_after']).astimezone():%H:%M:%S}"


def _sharing(run: Row) -> str | None:
    return "shared search" if run["leader_run_id"] or run["shared_run_id"] else None


def status_text(status: str, reason: str | None = None) -> Text:
    """Return a status in its colour, with the reason if there is one."""
    text = Text(status, style=STATUS_STYLES[status])
    return text.append(f"  {reason}", style="dim") if reason else text


def run_summary(followed: FollowedRun) -> RenderableType:
    """Return how a run ended: each site with its mark, status and count or reason, and the totals."""
    sites = followed.sites.values()
    table = Table.grid(padding=(0, 2))
    for site in sites:
        table.add_row(
            f"  {MARKS[site['status']]} {site['site']}",
            status_text(site["status"]),
            f"{site['jobs_found']} found",
            Text(site["error_message"] or "", style="dim"),
        )
    completed = sum(site["status"] == "completed" for site in sites)
    failed = sum(site["status"] == "failed" for site in sites)
    totals = (
        f"  Boards completed: {completed} of {len(sites)}, failed: {failed}. Total found: {followed.run['jobs_found']}"
    )
    status = status_text(followed.run["status"], _sharing(followed.run))
    title = Text.assemble("Run ", followed.run["id"], ": ", status)
    return Group(title, table, totals) if sites else Group(title, f"  Total found: {followed.run['jobs_found']}")


def runs_table(runs: Sequence[Row]) -> Table:
    """Return a table of runs, a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("Run", no_wrap=True, min_width=UUID_WIDTH)
    for name in ("Created", "Search", "Status", "Found", "Sites"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for run in runs:
        parameters = run["parameters"]
        search = ", ".join(str(parameters[name]) for name in ("search_term", "location") if parameters.get(name))
        sites = " ".join(f"{MARKS[site['status']]}{site['site']}" for site in run["search_run_sites"])
        created = run["created_at"][5:16].replace("T", " ")
        table.add_row(run["id"], created, Text(search), status_text(run["status"]), str(run["jobs_found"]), sites)
    return table


def items_table(items: Sequence[Row]) -> Table:
    """Return a table of jobs found, a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for name, ratio in (("Title", 7), ("Company", 5), ("Location", 5), ("Pay", 7), ("Posted", None), ("Sites", None)):
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    for item in items:
        table.add_row(
            # What a board says is text: markup in it stays as it is.
            Text(item["title"]),
            Text(item["organization"] or ""),
            Text("remote" if item["is_remote"] else item["location"] or ""),
            pay(item),
            (item["posted_at"] or "")[5:10],
            _sites(item),
        )
    return table


def _sites(item: Row) -> str:
    first, *others = dict.fromkeys(seen["site"] for seen in item["sites"])
    return f"{first} +{len(others)}" if others else first


def pay(item: Mapping[str, Any]) -> str:
    """Return an item's pay in words, such as `90,000-120,000 USD/year`; empty if it has none."""
    amounts = [f"{amount:,.0f}" for amount in (item["salary_min"], item["salary_max"]) if amount is not None]
    if not amounts:
        return ""
    return f"{'-'.join(dict.fromkeys(amounts))} {item['currency'] or ''}{PER.get(item['salary_interval'], '')}"
