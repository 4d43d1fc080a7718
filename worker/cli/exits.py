"""The commands `exits`: how the exits of all workers do at each site, and a test of the exits of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from worker.cli.terminal import cell, local_time, open_console
from worker.database.queue import open_queue
from worker.errors import ExitError, QueueError, SettingsError, SiteError
from worker.http import Exit, HttpSettings, open_http
from worker.http.client import HttpClient
from worker.http.probe import Probe, probe
from worker.printable import complain, one_line, printable_json, say
from worker.settings import Settings
from worker.sources import Source, usable_exits

EXIT_FAILURE = 1
EXIT_USAGE = 2
ANSWER_SECONDS = 10
MEGABYTE = 10**6
DEAD = "exit_failed"


# What the database knows ---------------------------------------------------------------------------------------------


async def list_exits(settings: Settings, *, as_json: bool) -> int:
    """Print each exit at each site; return the exit code."""
    try:
        async with open_queue(settings, timeout_seconds=ANSWER_SECONDS) as queue:
            rows = await queue.exits(patience_seconds=ANSWER_SECONDS)
    except QueueError as error:
        complain(one_line(str(error)))
        return EXIT_FAILURE
    if as_json:
        say(printable_json(rows))
        return 0
    if not rows:
        say("No site was asked yet.")
        return 0
    console = open_console()
    console.print(exits_table(rows))
    for name in dead_exits(rows):
        say(f"{name} does not work: it fails at all sites that it is used for. See `exits test`.")
    return 0


def exits_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the rows of `worker_exits`."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("Exit", "Site", "State", "Success", "Response", "Requests today", "Refused", "MB"):
        is_number = name not in ("Exit", "Site", "State")
        table.add_column(name, overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        table.add_row(
            cell(row["exit"]),
            cell(row["site"]),
            cell(state_in_words(row)),
            "" if row["success_rate"] is None else f"{row['success_rate']:.0%}",
            "" if row["response_ms"] is None else f"{row['response_ms']:,.0f} ms",
            f"{row['requests']:,}",
            f"{row['refused']:,}",
            f"{row['bytes'] / MEGABYTE:,.1f}",
        )
    return table


def state_in_words(row: Mapping[str, Any]) -> str:
    """Return how an exit does at a site, in words."""
    if row["state"] == "closed":
        return "ok"
    reason = "does not work" if row["paused_by"] == DEAD else str(row["paused_by"])
    if row["state"] == "half_open":
        return f"{reason}; will be tried"
    return f"{reason}; paused until {local_time(row['paused_until'])}"


def dead_exits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the exits that fail by themselves at all sites that they are used for."""
    reasons: dict[str, set[object]] = {}
    for row in rows:
        reasons.setdefault(row["exit"], set()).add(row["paused_by"] if row["state"] != "closed" else None)
    return [name for name, known in reasons.items() if known == {DEAD}]


# A test from here ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of a test of an exit.

    Attributes:
        outcome: `ok`, `exit_failed`, or the code with which the site failed.
        message: Why it failed.
        answer: The answer of the site, if there was one.
    """

    exit: str
    site: str
    outcome: str
    message: str | None = None
    answer: Probe | None = None


async def test_exits(http: HttpSettings, sources: Sequence[Source], site: str | None, *, as_json: bool) -> int:
    """Ask a site once through each exit of this machine, and print the answers; return the exit code.

    Args:
        http: The settings with the exits.
        sources: All sources.
        site: The site; None: for each exit the first site that it may be used for.
        as_json: Whether to print JSON.
    """
    hosts = {name: (source, host) for source in sources for name, host in source.hosts.items()}
    if site is not None and site not in hosts:
        complain(f"--site: {site!r} is not one of {', '.join(sorted(hosts))}")
        return EXIT_USAGE
    try:
        asked = [
            (via, name, hosts[name][1])
            for via in http.all_exits()
            if (name := _site_of(via, hosts, site)) and via in usable_exits([via], hosts[name][0], name)
        ]
    except SettingsError as error:
        complain(str(error))
        return EXIT_USAGE
    async with open_http(http) as client:
        tested = await asyncio.gather(*(_test(client, via, name, host) for via, name, host in asked))
    if as_json:
        say(printable_json([asdict(each) for each in tested]))
    else:
        open_console().print(_tested_table(tested))
    return EXIT_FAILURE if any(each.outcome == DEAD for each in tested) else 0


def _site_of(via: Exit, hosts: Mapping[str, object], site: str | None) -> str | None:
    names = hosts if site is None else [site]
    return next((name for name in names if via.may_reach(name)), None)


async def _test(client: HttpClient, via: Exit, site: str, host: str) -> Tested:
    try:
        return Tested(via.name, site, "ok", answer=await probe(client, host, via))
    except SiteError as error:
        return Tested(via.name, site, DEAD if isinstance(error, ExitError) else str(error.code), error.message)


def _tested_table(tested: Sequence[Tested]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("Exit", "Site", "Answer"):
        table.add_column(name, overflow="fold")
    for each in tested:
        if each.answer is not None:
            answer = f"status {each.answer.status} in {each.answer.latency_ms} ms over {each.answer.family}"
        else:
            what = "the exit does not work" if each.outcome == DEAD else each.outcome
            answer = f"{what}: {each.message}"
        table.add_row(cell(each.exit), cell(each.site), cell(answer))
    return table
