"""The answers of the RPCs of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from worker.model import Json, Lease, Page, RunSite, SiteStatus


@dataclass(frozen=True, slots=True)
class Granted:
    """The right to search a site, or to send requests to it.

    Attributes:
        wait_seconds: Seconds to wait before that.
        exit: The name of the exit to use; None: the database does not distinguish the exits.
    """

    wait_seconds: float
    exit: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedSite:
    """The result of a site, as the database derived it.

    Attributes:
        jobs_found: Number of results.
        error_code: Why it did not complete; None if it did.
        error_message: The same as a sentence.
        waits_for: Why the site has to wait before it can be searched, as a sentence; None if it does not.
    """

    site: str
    status: SiteStatus
    jobs_found: int
    error_code: str | None
    error_message: str | None
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The result of a run, as the database derived it.

    Attributes:
        status: `success`, `partial` or `failed`; `pending` if it was returned to the queue.
        jobs_found: Number of results of all sites.
        sites: All sites of the run, in the order in which the user named them.
        retry_in_seconds: Seconds until it is ready again; None if it has ended.
        fallbacks: Fallback sites to search before the run can end; its status is `running` then.
        has_claimed: Whether the call that ended it has also claimed runs, for the place that it left.
    """

    id: UUID
    status: str
    jobs_found: int
    sites: tuple[FinishedSite, ...]
    retry_in_seconds: float | None
    fallbacks: tuple[RunSite, ...] = ()
    has_claimed: bool = False


@dataclass(frozen=True, slots=True)
class StartedImport:
    """The run of an import.

    Attributes:
        status: Its status.
        lease: The right to write to it; None if it has succeeded before, or another process has the lease.
    """

    run_id: UUID
    status: str
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class SavedPage:
    """The result of saving a page.

    Attributes:
        status: `completed`, `partial` (some items were invalid) or `failed` (all items were, or loading failed).
        results: Items that this run had not found before.
        new: Items that no earlier run of the same search had found.
        shown_in_seconds: Seconds until the progress can be written; None if it was written with the page.
        pending_site: While the site is pending: the site with the position at which its search starts.
        has_ended: Whether the site was ended with the page.
        run: The run, if it was ended with the page.
    """

    status: str
    results: int
    new: int
    shown_in_seconds: float | None = None
    pending_site: RunSite | None = None
    has_ended: bool = False
    run: FinishedRun | None = None


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A stored page that is to be transformed again."""

    id: int
    kind: str
    source: str
    site: str
    page: Page


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item that is to be embedded, with the fields that make its text."""

    id: UUID
    title: str
    organization: str | None
    location: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class ClaimedItems:
    """Items that are claimed to be embedded. The claim lasts five minutes.

    Attributes:
        mark: Identifies the claim.
        due_in_seconds: Seconds until more can be claimed; None if nothing waits.
    """

    items: tuple[ClaimedItem, ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class ComparedItem:
    """An item that is to be compared with others, without its text."""

    title: str
    organization_key: str | None
    place_key: str | None
    work_mode: str | None
    location: str | None
    city: str | None
    region: str | None
    country: str | None


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Possible duplicates that are claimed to be compared. The claim lasts five minutes.

    Attributes:
        items: The items by id, which is never decoded: there are thousands.
        pairs: The pairs to compare.
        mark: Identifies the claim.
        due_in_seconds: Seconds until more can be claimed; None if nothing waits.
    """

    items: dict[str, ComparedItem]
    pairs: tuple[tuple[str, str], ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message that is to be sent to a webhook endpoint.

    Attributes:
        endpoint: Name of the endpoint.
        url: Where it is sent.
        payload: What is sent.
    """

    id: UUID
    endpoint: str
    url: str
    payload: Json


@dataclass(frozen=True, slots=True)
class ClaimedMessages:
    """Messages that are claimed to be sent. The claim lasts a minute.

    Attributes:
        mark: Identifies the claim.
        due_in_seconds: Seconds until more can be claimed; None if nothing waits.
    """

    messages: tuple[WebhookMessage, ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt to send a message.

    Attributes:
        id: The message.
        error: Why it failed, as a sentence; None if the receiver accepted the message.
        is_gone: Whether the receiver wants no more messages.
        retry_after_seconds: Seconds until the receiver accepts the next request, if it says so.
    """

    id: UUID
    error: str | None = None
    is_gone: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SavedAttempts:
    """What became of messages after an attempt.

    Attributes:
        delivered: Number of messages that were delivered.
        dead: Number of messages that are not sent again.
        disabled: Names of the endpoints that were disabled.
    """

    delivered: int
    dead: int
    disabled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedAlerts:
    """What a check of the alert rules found.

    Attributes:
        opened: A line for each incident that has opened.
        resolved: A line for each incident that has ended.
        due_in_seconds: Seconds until the next check.
    """

    opened: tuple[str, ...]
    resolved: tuple[str, ...]
    due_in_seconds: float


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice of an incident that is to be sent.

    Attributes:
        notice: `opened`, `reminder` or `resolved`.
        notice_at: Identifies the notice of the incident, as the database wrote it.
        rule: The broken alert rule.
        subject: What it found, such as a site; empty if it is about the whole.
        detail: The same as a sentence.
        opened_at: When the incident opened, as the database wrote it.
        openings: How often it opened.
        resolved_at: When it ended; None while it is open.
        delivered_to: The hashes of the addresses that have the notice.
    """

    incident_id: UUID
    notice: str
    notice_at: str
    rule: str
    subject: str
    detail: str
    opened_at: str
    openings: int
    resolved_at: str | None
    delivered_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimedNotices:
    """Notices that are claimed to be sent. The claim lasts a minute.

    Attributes:
        mark: Identifies the claim.
        due_in_seconds: Seconds until more can be claimed; None if nothing waits.
    """

    notices: tuple[Notice, ...]
    mark: str
    due_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """The result of an attempt to send a notice.

    Attributes:
        incident_id: The incident.
        notice_at: Identifies the notice.
        delivered_to: The hashes of the addresses that accepted it now.
        error: Why others did not, as a sentence; None if all addresses have it.
    """

    incident_id: UUID
    notice_at: str
    delivered_to: tuple[str, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class SavedNotices:
    """What became of notices after an attempt.

    Attributes:
        sent: Number of notices that all addresses have.
        dead: Number of notices that are not sent again.
    """

    sent: int
    dead: int


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The state of the queue.

    Attributes:
        schema_version: Version of the RPCs of the database; compare with `SCHEMA_VERSION`.
        now: Time on the clock of the database.
        ready: Runs that wait for a worker.
        delayed: Runs that are due later.
        running: Runs that a worker has leased.
        embedding_model: The model of the stored embeddings; None without embeddings.
        embeddings_waiting: Items that are to be embedded.
        embeddings_failed: Items that are no longer retried.
        oldest_snapshot_seconds: Age of the oldest transaction that keeps vacuum from removing rows; None without one.
        sees_all_snapshots: Whether transactions of other roles are included.
    """

    schema_version: int
    now: datetime
    ready: int
    delayed: int
    running: int
    schedules: int
    oldest_due_slot_seconds: float | None
    embedding_model: str | None
    embeddings_waiting: int
    embeddings_failed: int
    oldest_snapshot_seconds: float | None
    sees_all_snapshots: bool


@dataclass(frozen=True, slots=True)
class FiredSchedules:
    """What became of a batch of schedules that were due.

    Attributes:
        started: Number of runs that were started.
        skipped: Number of slots that were skipped.
        paused: Number of schedules that were paused.
        next_in_seconds: Seconds until the next slot; 0 if more schedules are due; None without schedules.
    """

    started: int
    skipped: int
    paused: int
    next_in_seconds: float | None
