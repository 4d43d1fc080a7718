"""The command `stats`: how the runs of all users ended, and how each site went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.cli.terminal import STATUS_STYLES, cell, local_time, open_console
from worker.cli.usage import refusal_in_words
from worker.database.queue import open_queue
from worker.errors import CallRefusedError, QueueError
from worker.model import Json
from worker.printable import complain, printable_json, say
from worker.settings import Settings

EXIT_FAILURE = 1
EXIT_USAGE = 2
WRONG_ARGUMENT = "22023"

PIPED_WIDTH = 200
"""Columns where there is no terminal, so that no line is broken."""
SECONDS_A_MINUTE = 60
SECONDS_AN_HOUR = 3600


async def stats(settings: Settings, begin: datetime, *, as_json: bool) -> int:
    """Print the counts of runs and sites since a time; return the exit code."""
    try:
        async with open_queue(settings) as queue:
            overview = await queue.overview(begin)
            sites = await queue.site_stats(begin)
    except QueueError as error:
        if isinstance(error, CallRefusedError) and error.code == WRONG_ARGUMENT:
            complain(f"--since: {refusal_in_words(error)}")
            return EXIT_USAGE
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
    if as_json:
        answer: dict[str, Json] = {"overview": overview, "sites": list(sites)}
        say(printable_json(answer))
        return 0
    console = open_console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(overview_text(overview))
    if sites:
        console.print()
        console.print(sites_table(sites))
    return 0


def overview_text(overview: Mapping[str, Any]) -> RenderableType:
    """Return how runs ended, in a few lines.

    Args:
        overview: What `admin_overview` returns.
    """
    lines = [
        Text(
            f"Runs since {local_time(overview['since'])}: {overview['runs']:,}. Items: {overview['items']:,}, "
            f"new: {overview['new_items']:,}. Pages: {overview['pages']:,}, requests: {overview['requests']:,}"
        )
    ]
    if overview["runs"]:
        outcomes = Text("  ").join(
            Text.assemble(
                (status, STATUS_STYLES[status]),
                f" {overview['outcomes'][status]['runs']:,} ({percent(overview['outcomes'][status]['rate'])})",
            )
            for status in ("success", "partial", "failed", "cancelled")
        )
        lines += [
            outcomes,
            Text(f"Duration: {_quantiles(overview['duration'])}. Wait: {_quantiles(overview['wait'])}"),
        ]
    if overview["errors"]:
        lines.append(
            Text.assemble(
                "Errors: ", cell(", ".join(f"{error['error_code']} {error['runs']:,}" for error in overview["errors"]))
            )
        )
    if overview["queue"]:
        last = overview["queue"][-1]
        lines.append(
            Text(
                f"Queue, the most since {local_time(last['hour'])}: {last['ready']:,} ready, "
                f"{last['delayed']:,} delayed, {last['running']:,} running"
            )
        )
    return Group(*lines)


def sites_table(sites: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of sites, a line each.

    Args:
        sites: Rows of `admin_sites`.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    numbers = ("Searches", "Completed", "p50", "p95", "Requests", "Found", "New", "Invalid")
    for name in ("Site", *numbers, "State", "Errors"):
        table.add_column(name, no_wrap=name != "Errors", justify="right" if name in numbers else "left")
    for site in sites:
        paused = f" until {local_time(site['paused_until'])}" if site["state"] == "open" else ""
        errors = sorted(site["errors"].items(), key=lambda error: (-error[1], error[0]))
        table.add_row(
            cell(site["site"]),
            cell(f"{site['searches']:,}"),
            cell(percent(site["success_rate"])),
            cell(duration(site["duration_p50"])),
            cell(duration(site["duration_p95"])),
            cell(f"{site['requests']:,}"),
            cell(f"{site['items']:,}"),
            cell(f"{site['new_items']:,}"),
            cell(percent(site["invalid_share"])),
            cell(site["state"] + paused, "" if site["state"] == "closed" else "yellow"),
            cell(", ".join(f"{code} {searches:,}" for code, searches in errors)),
        )
    return table


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in percent, such as `12.5 %`; a dash if it is unknown."""
    return "-" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """Return a time in the largest unit that fits, such as `1.5 min`; a dash if it is unknown."""
    if seconds is None:
        return "-"
    if seconds < SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    if seconds < SECONDS_AN_HOUR:
        return f"{seconds / SECONDS_A_MINUTE:.1f} min"
    return f"{seconds / SECONDS_AN_HOUR:.1f} h"


def _quantiles(times: Mapping[str, float | None]) -> str:
    return f"p50 {duration(times['p50'])}, p95 {duration(times['p95'])}"
