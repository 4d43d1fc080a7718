"""Whether a worker is ready: whether the database has answered it lately."""

from __future__ import annotations

import time
from collections.abc import Callable

from worker.engine.observer import Observer

CALLS = frozenset({"worker_claim_runs", "worker_heartbeat"})
"""The calls of a worker that has nothing else to do, and of one that has no free place."""
FAILING_SECONDS = 10
"""A call that fails is retried, and most failures are transient."""
LATE_SECONDS = 30
"""How much later than expected a call may succeed: a request may take 15 s."""


class Health(Observer):
    """Knows whether the last claim, or the last heartbeat, has succeeded recently.

    Args:
        pause_seconds: Longest pause between two claims, or between two heartbeats.
        clock: The time in seconds.
    """

    def __init__(self, pause_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_age_seconds = pause_seconds + LATE_SECONDS
        self._clock = clock
        self._succeeded_at: float | None = None
        self._failing_since: float | None = None
        self._is_stopping = False

    def stop(self) -> None:
        """Be ready no more: the worker claims no runs."""
        self._is_stopping = True

    def call_ended(self, function: str, seconds: float, failure: str | None) -> None:  # noqa: ARG002 (of the base)
        """Note whether a call has succeeded."""
        if function not in CALLS:
            return
        if failure is None:
            self._succeeded_at, self._failing_since = self._clock(), None
        elif failure != "cancelled" and self._failing_since is None:
            self._failing_since = self._clock()

    def problem(self) -> str | None:
        """Return why the worker is not ready, as a sentence without secrets; None if it is ready."""
        now = self._clock()
        if self._is_stopping:
            return "the worker is stopping"
        if self._succeeded_at is None:
            return "no claim has succeeded yet"
        if self._failing_since is not None and now - self._failing_since >= FAILING_SECONDS:
            return f"Supabase has not answered, or has refused calls, for {now - self._failing_since:.0f} s"
        if now - self._succeeded_at > self._max_age_seconds:
            return f"no claim and no heartbeat has succeeded for {now - self._succeeded_at:.0f} s"
        return None
