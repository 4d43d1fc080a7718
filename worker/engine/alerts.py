"""The chores that check the alert rules, and send notices of incidents to the addresses of the operator."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from worker.database.answers import Notice, NoticeResult
from worker.database.queue import Queue
from worker.engine.addresses import Address, NotSentError, Urgency
from worker.printable import one_line

logger = logging.getLogger(__name__)

BATCH = 3
"""Notices of one claim. An address gets them one after another, within the minute that a claim lasts."""
IDLE_SECONDS = 60
"""Pause while nothing is known to be due: other workers and pg_cron find incidents, too, and do not notify this one."""

URGENCIES: dict[str, Urgency] = {"opened": "failure", "reminder": "warning", "resolved": "success"}


class Checking:
    """Checks the alert rules.

    Args:
        queue: The queue.
        on_changed: Called when an incident has opened or ended.
    """

    def __init__(self, queue: Queue, on_changed: Callable[[], None]) -> None:
        self._queue = queue
        self._on_changed = on_changed

    async def __call__(self) -> float:
        """Check all rules, unless another caller just did; return the seconds until the next check."""
        checked = await self._queue.check_alerts()
        for title in checked.opened:
            logger.warning("Incident opened: %s", one_line(title))
        for title in checked.resolved:
            logger.info("Incident resolved: %s", one_line(title))
        if checked.opened or checked.resolved:
            self._on_changed()
        return checked.due_in_seconds


class Notifying:
    """Sends the notices that are due. An address that fails does not keep a notice from the others.

    Args:
        queue: The queue.
        addresses: The addresses, at least one.
    """

    def __init__(self, queue: Queue, addresses: Sequence[Address]) -> None:
        self._queue = queue
        self._addresses = addresses

    async def __call__(self) -> float:
        """Send a batch of notices; return the seconds until the next one is due."""
        claimed = await self._queue.claim_notices(BATCH)
        if not claimed.notices:
            return IDLE_SECONDS if claimed.due_in_seconds is None else min(claimed.due_in_seconds, IDLE_SECONDS)
        results = await self._send(claimed.notices)
        saved = await self._queue.save_notices(claimed.mark, results)
        for result in results:
            if result.error is not None:
                logger.warning("A notice could not be sent to all addresses: %s", result.error)
        if saved.dead:
            logger.error("%d notices are not sent again: all attempts have failed", saved.dead)
        return 0

    async def _send(self, notices: Sequence[Notice]) -> list[NoticeResult]:
        delivered_to: defaultdict[Notice, list[str]] = defaultdict(list)
        errors: defaultdict[Notice, list[str]] = defaultdict(list)

        async def send_to(address: Address) -> None:
            for notice in notices:
                if address.hash in notice.delivered_to:
                    continue
                try:
                    await address.send(title(notice), body(notice), URGENCIES[notice.notice])
                except NotSentError as error:
                    errors[notice].append(str(error))
                else:
                    delivered_to[notice].append(address.hash)

        await asyncio.gather(*map(send_to, self._addresses))
        return [
            NoticeResult(
                notice.incident_id, notice.notice_at, tuple(delivered_to[notice]), "; ".join(errors[notice]) or None
            )
            for notice in notices
        ]


def title(notice: Notice) -> str:
    """Return the first line of a message."""
    happened = {
        "opened": "Opened again" if notice.openings > 1 else "Opened",
        "reminder": "Still open",
        "resolved": "Resolved",
    }[notice.notice]
    return one_line(f"{happened}: {notice.rule} {notice.subject}".rstrip())


def body(notice: Notice) -> str:
    """Return the text of a message."""
    since = _in_words(notice.opened_at)
    time = (
        f"Open since {since}."
        if notice.resolved_at is None
        else f"Open from {since} to {_in_words(notice.resolved_at)}."
    )
    return f"{one_line(notice.detail)}\n{time}\nWhat it means and what to do: docs/alerts.md, {notice.rule}."


def _in_words(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
