"""What the RPCs of the worker answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from worker.model import Item, Page, SiteStatus


@dataclass(frozen=True, slots=True)
class FinishedSite:
    """How a site ended, as the database derived it.

    Attributes:
        jobs_found: Results of this site.
        error_code: Why it did not complete, if so.
        error_message: The same in words.
        waits_for: What it has to wait for before it can be searched, in words; None: nothing.
    """

    site: str
    status: SiteStatus
    jobs_found: int
    error_code: str | None
    error_message: str | None
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run ended, as the database derived it.

    Attributes:
        status: `success`, `partial` or `failed`; `pending` if it goes on later, at sites that failed or have to wait.
        jobs_found: Results of all sites.
        sites: All sites of the run, in the order in which the user named them, whichever attempt finished them.
        retry_in_seconds: Seconds until it goes on; None if it has ended.
    """

    id: UUID
    status: str
    jobs_found: int
    sites: tuple[FinishedSite, ...]
    retry_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class SavedPage:
    """What became of a page.

    Attributes:
        status: `completed`, `partial` (some items were invalid) or `failed` (all were, or it could not be loaded).
        results: Things that the run had not found before.
        new: Things on it that no earlier run of the same search had.
    """

    status: str
    results: int
    new: int


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A page from the database, to be transformed anew."""

    id: int
    kind: str
    source: str
    site: str
    page: Page


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item that is to be embedded, with the fields of its text."""

    id: UUID
    title: str
    organization: str | None
    location: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class ClaimedItems:
    """Items that this worker alone embeds, for five minutes.

    Attributes:
        mark: Proves the claim.
        due_in_seconds: Seconds until there is something to claim again; None: nothing waits.
    """

    items: tuple[ClaimedItem, ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Items that may be the same things, for this worker alone to decide, for five minutes.

    Attributes:
        items: The items by id.
        pairs: Which of them to compare.
        mark: Proves the claim.
        due_in_seconds: Seconds until there is something to claim again; None: nothing waits.
    """

    items: dict[UUID, Item]
    pairs: tuple[tuple[UUID, UUID], ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How the queue is.

    Attributes:
        schema_version: Version of the database's RPCs, to be compared with `SCHEMA_VERSION`.
        now: The database's clock.
        ready: Runs that wait for a worker.
        delayed: Runs that wait for their time.
        running: Runs that a worker has leased.
        embedding_model: The model of the embeddings that are kept; None while there are none.
        embeddings_waiting: Items that are to be embedded.
        embeddings_failed: Items whose embedding was given up.
        oldest_snapshot_seconds: Age of the oldest transaction that keeps vacuum from removing rows; None without one.
        sees_all_snapshots: Whether transactions of other roles are among them.
    """

    schema_version: int
    now: datetime
    ready: int
    delayed: int
    running: int
    embedding_model: str | None
    embeddings_waiting: int
    embeddings_failed: int
    oldest_snapshot_seconds: float | None
    sees_all_snapshots: bool
