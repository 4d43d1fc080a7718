"""The command `top`: what the workers do at this moment, live on a terminal, once as plain text in a pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.cli.sources import health_in_words, site_limits_in_words
from worker.cli.terminal import cell, local_time, open_console, title_of
from worker.database.answers import QueueStatus
from worker.database.queue import Queue, open_queue
from worker.errors import DatabaseUnreachableError, QueueError
from worker.printable import complain, one_line
from worker.settings import Settings
from worker.sources.registry import load_sources

EXIT_FAILURE = 1
PATIENCE_SECONDS = 5
MINUTE = 60
PRECISE_SECONDS = 10
"""Below, tenths of a second are shown."""
PIPE_WIDTH = 160
STATE_STYLES = {"open": "red", "half_open": "yellow", "closed": ""}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Activity:
    """What is shown.

    Attributes:
        status: The state of the queue.
        now: The answer of `worker_activity`.
        sites: The answer of `worker_site_health`.
        incidents: The open incidents.
        limits: The limits of each site, in words.
    """

    status: QueueStatus
    now: Row
    sites: Sequence[Row]
    incidents: Sequence[Row]
    limits: Mapping[str, str]


async def top(settings: Settings, *, interval_seconds: float) -> int:
    """Show the activity: on a terminal until it is interrupted, elsewhere once. Return the exit code."""
    console = open_console()
    limits = {site: site_limits_in_words(source, site) for source in load_sources() for site in source.sites}
    try:
        async with open_queue(settings) as queue:
            activity = await _read(queue, limits)
            if not console.is_terminal:
                console.width = PIPE_WIDTH
                console.print(activity_view(activity))
                return 0
            with Live(activity_view(activity), console=console, screen=True, auto_refresh=False) as live:
                while True:
                    await asyncio.sleep(interval_seconds)
                    live.update(await _next_view(queue, activity), refresh=True)
    except QueueError as error:
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE


async def _next_view(queue: Queue, former: Activity) -> RenderableType:
    try:
        return activity_view(await _read(queue, former.limits))
    except DatabaseUnreachableError as error:
        return Group(cell(f"The database does not answer: {one_line(str(error))}", "red"), activity_view(former))


async def _read(queue: Queue, limits: Mapping[str, str]) -> Activity:
    status, now, sites, alerts = await asyncio.gather(
        queue.status(patience_seconds=PATIENCE_SECONDS),
        queue.activity(patience_seconds=PATIENCE_SECONDS),
        queue.site_health(patience_seconds=PATIENCE_SECONDS),
        queue.alerts(),
    )
    return Activity(status, now, sites, alerts["incidents"], limits)


def activity_view(activity: Activity) -> RenderableType:
    """Return the view: queue, throughput, incidents, workers, running runs and sites."""
    now = datetime.fromisoformat(activity.now["now"])
    return Group(
        queue_in_words(activity.status, now),
        *(throughput_in_words(ended) for ended in activity.now["ended"]),
        *(incident_in_words(incident) for incident in activity.incidents),
        Text(),
        workers_table(activity.now["workers"], now),
        Text(),
        running_table(activity.now["running"], now),
        Text(),
        sites_table(activity.sites, activity.limits),
    )


def queue_in_words(status: QueueStatus, now: datetime) -> Text:
    """Return the state of the queue in one line."""
    late = status.oldest_due_slot_seconds
    slots = "" if late is None else f" (the oldest slot is due for {duration(late)})"
    return cell(
        f"{now.astimezone():%H:%M:%S}  Runs: {status.ready:,} ready, {status.delayed:,} delayed, "
        f"{status.running:,} running. Schedules: {status.schedules:,}{slots}"
    )


def throughput_in_words(ended: Row) -> Text:
    """Return what ended within a period in one line."""
    period = "Last minute" if ended["seconds"] == MINUTE else "Last hour"
    wait = "" if ended["wait_seconds"] is None else f", median wait {duration(ended['wait_seconds'])}"
    return cell(
        f"{period + ':':12} {ended['runs']:,} runs ended, {ended['searched']:,} searched, {ended['failed']:,} failed; "
        f"{ended['items']:,} items{wait}"
    )


def incident_in_words(incident: Row) -> Text:
    """Return an open incident in one line."""
    subject = f" {incident['subject']}" if incident["subject"] else ""
    return cell(
        f"Incident since {local_time(incident['opened_at'])}: {incident['rule']}{subject}: {incident['detail']}", "red"
    )


def workers_table(workers: Sequence[Row], now: datetime) -> Table:
    """Return a table of the living workers."""
    table = _table("Worker", "Version", "Running", "Since", "Seen", numbers={"Running"})
    for worker in workers:
        table.add_row(
            cell(worker["worker_id"]),
            cell(worker["version"]),
            cell(f"{worker['running']} of {worker['concurrency']}"),
            cell(local_time(worker["started_at"])),
            cell(f"{ago(worker['seen_at'], now)} ago"),
        )
    if not workers:
        table.add_row(cell("no worker lives", "red"))
    return table


def running_table(runs: Sequence[Row], now: datetime) -> Table:
    """Return a table of the running runs."""
    table = _table("Run", "Search", "Worker", "Sites", "Progress", "Found", "For", numbers={"Progress", "Found", "For"})
    for run in runs:
        search = title_of({"kind": run["kind"], "parameters": run})
        table.add_row(
            cell(run["run_id"]),
            cell(search),
            cell(run["worker_id"], "red" if run["is_expired"] else ""),
            cell(", ".join(run["sites"])),
            cell(f"{run['progress_current']} of {run['progress_total'] or '?'}"),
            cell(run["items_found"]),
            cell(ago(run["started_at"], now)),
        )
    if not runs:
        table.add_row(cell("nothing runs", "dim"))
    return table


def sites_table(sites: Sequence[Row], limits: Mapping[str, str]) -> Table:
    """Return a table of the sites that were searched.

    Args:
        sites: The answer of `worker_site_health`.
        limits: The limits of each site, in words.
    """
    table = _table("Site", "Health", "Limits", numbers=set())
    for site in sites:
        health = cell(health_in_words(site), STATE_STYLES.get(site["state"], ""))
        table.add_row(cell(site["site"]), health, cell(limits.get(site["site"], "")))
    if not sites:
        table.add_row(cell("no site was searched", "dim"))
    return table


def _table(*names: str, numbers: set[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name == "Run", overflow="fold")
    return table


def ago(time: str, now: datetime) -> str:
    """Return how long ago a time was."""
    return duration((now - datetime.fromisoformat(time)).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as `3 min 20 s`."""
    if seconds < PRECISE_SECONDS:
        return f"{max(0, seconds):.1f} s"
    whole = int(seconds)
    for name, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {smaller}"
    return f"{whole} s"
