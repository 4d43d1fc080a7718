"""What happens in a worker, for those who watch it: its health, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from worker.database.answers import AttemptResult, SavedAttempts, SavedPage
from worker.model import FoundPage, Run

WAITING = "waiting"
"""Status of a site whose search has ended because it has to wait: the run comes back for it."""


class RunOutcome(StrEnum):
    """How the search of a run ended in this worker."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    RETURNED = "returned"
    """It returned to the queue: for a retry, or because a site has to wait."""
    DROPPED = "dropped"
    """It was cancelled, its lease was lost, or the worker released it."""
    GIVEN_UP = "given_up"
    """The database refused it or could not be reached, or the search failed unexpectedly."""


class Observer:
    """Each method is called after what it names. They do nothing here: a subclass overrides those of its interest.

    They are called in the event loop, between the steps of searches, so they must be quick and must not raise.
    """

    def call_ended(self, function: str, seconds: float, failure: str | None) -> None:
        """An attempt to call a function of the database has ended.

        Args:
            function: Its name.
            seconds: Duration.
            failure: One of `worker.database.client.FAILURES`; None if it succeeded.
        """

    def runs_claimed(self, runs: Sequence[Run]) -> None:
        """Runs have been claimed; there may be none."""

    def run_ended(self, run: Run, outcome: RunOutcome, seconds: float) -> None:
        """The search of a run has ended, after `seconds`."""

    def site_ended(self, site: str, status: str, error_code: str | None) -> None:
        """The search of a site has ended.

        Args:
            site: The site.
            status: Its status, or `WAITING`. If the run is retried, the site has failed.
            error_code: Why it did not complete.
        """

    def page_saved(self, found: FoundPage, saved: SavedPage) -> None:
        """A page has been saved."""

    def permit_granted(self, site: str, seconds: float) -> None:
        """A permit has been granted, which is valid after a wait of `seconds`."""

    def sent(self, site: str, exit_name: str, requests: int, size: int) -> None:
        """Requests were sent through an exit, and their answers had so many bytes."""

    def exit_left(self, site: str, exit_name: str, code: str) -> None:
        """A site has refused an exit (`blocked`, `rate_limited`), or the exit has failed (`exit_failed`)."""

    def request_ended(self, site: str, status: int | None) -> None:
        """A request to a site has ended, with a status; None without an answer."""

    def chore_ended(self, chore: str, *, has_failed: bool) -> None:
        """A batch of a chore has ended."""

    def webhooks_sent(self, results: Sequence[AttemptResult], saved: SavedAttempts) -> None:
        """Webhook messages have been sent, and the results saved."""

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was late by `seconds`."""
