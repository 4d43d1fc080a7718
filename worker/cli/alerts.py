"""The commands `alerts`: list the rules and the open incidents, change a rule, and send a test message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rich.table import Table

from worker.cli.terminal import cell, local_time, open_console
from worker.cli.usage import refusal_in_words
from worker.database.queue import Queue, open_queue
from worker.engine.addresses import Address, NotSentError, addresses
from worker.errors import CallRefusedError, QueueError
from worker.printable import complain, printable_json, say
from worker.settings import Settings

EXIT_FAILURE = 1
EXIT_USAGE = 2
WRONG_ARGUMENT = "22023"

TEST_TITLE = "Test of alerts"
TEST_BODY = "This is a test. Notices of incidents will arrive here."


async def list_alerts(settings: Settings, *, as_json: bool) -> int:
    """Print the open incidents and the rules; return the exit code."""

    async def command(queue: Queue) -> int:
        known = await queue.alerts()
        if as_json:
            say(printable_json(known))
            return 0
        console = open_console()
        if known["incidents"]:
            units = {str(rule["rule"]): str(rule["unit"]) for rule in known["rules"]}
            console.print(_incidents_table(known["incidents"], units))
        else:
            say("No incident is open.")
        say("")
        console.print(_rules_table(known["rules"]))
        return 0

    return await _with_queue(settings, command)


async def set_alert(
    settings: Settings,
    rule: str,
    *,
    threshold: float | None,
    period_seconds: float | None,
    least_count: int | None,
    is_enabled: bool | None,
) -> int:
    """Change a rule and print it; return the exit code."""

    async def command(queue: Queue) -> int:
        changed = await queue.set_alert(
            rule, threshold=threshold, period_seconds=period_seconds, least_count=least_count, is_enabled=is_enabled
        )
        open_console().print(_rules_table([changed]))
        return 0

    return await _with_queue(settings, command)


async def test(settings: Settings) -> int:
    """Send a message to each address from here; return the exit code."""
    to = addresses(settings)
    if not to:
        complain(f"{Settings.environment_name('alert_urls')}: is required. It has the addresses to send to.")
        return EXIT_USAGE
    arrived = await asyncio.gather(*map(_send_test, to))
    return 0 if all(arrived) else EXIT_FAILURE


async def _send_test(address: Address) -> bool:
    try:
        await address.send(TEST_TITLE, TEST_BODY, "info")
    except NotSentError as error:
        complain(str(error))
        return False
    say(f"{address.name}: accepted")
    return True


def _incidents_table(incidents: Sequence[dict[str, Any]], units: dict[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("Incident", "Subject", "Value", "Open since", "Notice", "Detail"):
        table.add_column(heading)
    for incident in incidents:
        table.add_row(
            cell(incident["rule"], "red"),
            cell(incident["subject"]),
            cell(_in_unit(incident["value"], units[incident["rule"]])),
            cell(local_time(incident["opened_at"])),
            cell(_notice_state(incident)),
            cell(incident["detail"]),
        )
    return table


def _rules_table(rules: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("Rule", "Threshold", "Period", "Least count", "State"):
        table.add_column(heading, justify="right" if heading in ("Threshold", "Least count") else "left")
    for rule in rules:
        table.add_row(
            cell(rule["rule"]),
            cell(_in_unit(rule["threshold"], rule["unit"])),
            cell(rule["period"]),
            cell(rule["least_count"]),
            cell("enabled" if rule["is_enabled"] else "disabled"),
        )
    return table


def _notice_state(incident: dict[str, Any]) -> str:
    if incident["due_at"] is not None:
        return f"waits: {incident['error']}" if incident["error"] else "waits"
    return f"failed: {incident['error']}" if incident["error"] else "sent"


def _in_unit(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{value:.0f} s" if unit == "seconds" else f"{value:.0f}"


async def _with_queue(settings: Settings, command: Callable[[Queue], Awaitable[int]]) -> int:
    try:
        async with open_queue(settings) as queue:
            return await command(queue)
    except QueueError as error:
        if isinstance(error, CallRefusedError) and error.code == WRONG_ARGUMENT:
            complain(f"Refused: {refusal_in_words(error)}")
            return EXIT_USAGE
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
