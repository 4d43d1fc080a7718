"""The wire form of what the worker and the database exchange. The spool keeps pages on disk in the same form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from worker.database.answers import (
    AttemptResult,
    CheckedAlerts,
    ClaimedItem,
    ClaimedItems,
    ClaimedMessages,
    ClaimedNotices,
    ComparedItem,
    FinishedRun,
    FinishedSite,
    FiredSchedules,
    Granted,
    KeptPage,
    NearDuplicates,
    Notice,
    NoticeResult,
    QueueStatus,
    SavedAttempts,
    SavedNotices,
    SavedPage,
    StartedImport,
    WebhookMessage,
)
from worker.errors import ErrorCode, SiteError, SiteWaitingError
from worker.http.exits import DIRECT, Exit
from worker.model import (
    FoundPage,
    Item,
    Json,
    Lease,
    LimitsBySite,
    Organization,
    Page,
    Place,
    Progress,
    Run,
    RunSite,
    SiteLimits,
    SiteStatus,
    Transformed,
)
from worker.pipeline.embeddings import DECIMALS

_T = TypeVar("_T")

Row = Mapping[str, Any]

# Arguments -----------------------------------------------------------------------------------------------------------


def lease(lease: Lease) -> dict[str, str]:
    """Encode a lease."""
    return {"run_id": str(lease.run_id), "lease_token": str(lease.token)}


def leases(leases: Sequence[Lease]) -> list[dict[str, str]]:
    """Encode leases."""
    return [lease(each) for each in leases]


def limits(limits: Mapping[str, SiteLimits]) -> dict[str, dict[str, Json]]:
    """Encode the limits of a site by bucket, without those that there are not: each claim sends those of all sites."""
    return {
        bucket: {name: value for name, value in asdict(limit).items() if value is not None}
        for bucket, limit in limits.items()
    }


def limits_by_site(by_kind: LimitsBySite) -> dict[str, dict[str, dict[str, dict[str, Json]]]]:
    """Encode the limits of sites by kind, site and bucket."""
    return {kind: {site: limits(each) for site, each in by_site.items()} for kind, by_site in by_kind.items()}


def exit_name(via: Exit) -> str:
    """Encode the name of an exit: the database calls a worker's own address by the empty name."""
    return "" if via.name == DIRECT else via.name


def exits(offered: Sequence[Exit] | None) -> list[dict[str, Any]] | None:
    """Encode exits, without their addresses; None: the exits are not distinguished."""
    if offered is None:
        return None
    return [
        {"name": exit_name(each)}
        | ({} if each.weight == 1 else {"weight": each.weight})
        | ({"is_rotating": True, "requests_per_minute": each.requests_per_minute} if each.rotating else {})
        for each in offered
    ]


def progress(site: str, progress: Progress) -> dict[str, Json]:
    """Encode how far the search of a site is."""
    return {
        "step": progress.step,
        "site": site,
        "current": progress.current,
        "total": progress.total,
        "details": {**progress.details},
    }


def page(found: FoundPage) -> dict[str, Any]:
    """Encode a page with its items. `read_page` is the inverse."""
    page, transformed = found.page, found.transformed
    return {
        "site": found.site,
        "attempt": found.attempt,
        "page_number": page.number,
        "raw": {
            "source": found.source,
            "account": found.account,
            "payload": page.payload,
            "response_ms": page.response_ms,
            "calls_used": page.calls_used,
            "cursor": page.cursor,
            "is_last": page.is_last,
            **_transform(transformed),
        },
        "items": _items(transformed),
        "errors": _errors(transformed),
        "progress": progress(found.site, found.progress),
    }


def attempt_results(results: Iterable[AttemptResult]) -> list[dict[str, Json]]:
    """Encode the results of attempts to send messages."""
    return [asdict(result) | {"id": str(result.id)} for result in results]


def notice_results(results: Iterable[NoticeResult]) -> list[dict[str, Json]]:
    """Encode the results of attempts to send notices."""
    return [
        asdict(result) | {"incident_id": str(result.incident_id), "delivered_to": [*result.delivered_to]}
        for result in results
    ]


def transformed(transformed: Transformed) -> dict[str, Any]:
    """Encode what one version of a source made of a page."""
    return {**_transform(transformed), "items": _items(transformed), "errors": _errors(transformed)}


def site_error(error: SiteError | None) -> dict[str, Any]:
    """Encode why a site could not be searched to its end; None: it was."""
    return {
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "retryable": not error.is_final if error else None,
        "retry_after_seconds": error.retry_after_seconds if error else None,
    }


def embeddings(embeddings: Mapping[UUID, Sequence[float]]) -> list[dict[str, Any]]:
    """Encode the embeddings of items: as texts, which the database reads in a third of the time of arrays."""
    return [
        {"item_id": str(item), "embedding": json.dumps([round(number, DECIMALS) for number in embedding])}
        for item, embedding in embeddings.items()
    ]


def _transform(transformed: Transformed) -> dict[str, Json]:
    return {
        "version": transformed.version,
        "transform_ms": transformed.transform_ms,
        "completeness": {**transformed.completeness},
    }


def _items(transformed: Transformed) -> list[dict[str, Any]]:
    """Encode items with their positions, from 1."""
    return [
        {"position": position, **{name: _plain(getattr(item, name)) for name in _names(Item)}}
        for position, item in enumerate(transformed.items, start=1)
    ]


def _plain(value: Any) -> Any:
    """Encode a field of an item. `asdict` would copy what the site reported, value by value."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if isinstance(value, (Place, Organization)) else value


def _errors(transformed: Transformed) -> list[dict[str, Any]]:
    return [asdict(error) for error in transformed.errors]


# Answers -------------------------------------------------------------------------------------------------------------


def granted(answer: Row) -> Granted:
    """Decode when a search or a request begins, and through which exit.

    Raises:
        SiteWaitingError: It has to wait for longer.
        SiteError: It would have to wait for too long.
    """
    if answer["granted"]:
        return Granted(float(answer["wait_seconds"]), _exit_of(answer.get("exit")))
    if "error_code" in answer:
        raise SiteError(ErrorCode(answer["error_code"]), answer["message"], is_final=True)
    raise SiteWaitingError(answer["message"], float(answer["retry_in_seconds"]))


def run(row: Row) -> Run:
    """Decode a claimed run."""
    run_id = UUID(row["run_id"])
    return Run(
        id=run_id,
        lease=Lease(run_id, UUID(row["lease_token"])),
        kind=row["kind"],
        parameters=row["parameters"],
        newer_than=row["newer_than"] and datetime.fromisoformat(row["newer_than"]),
        sites=tuple(_run_site(site) for site in row["sites"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
    )


def lease_states(rows: Sequence[Row]) -> dict[Lease, str]:
    """Decode the state of each lease."""
    return {Lease(UUID(row["run_id"]), UUID(row["lease_token"])): row["state"] for row in rows}


def saved_page(answer: Row) -> SavedPage:
    """Decode what became of a page."""
    site, end = answer.get("pending_site"), answer.get("end", {})
    return _picked(
        SavedPage,
        answer,
        shown_in_seconds=answer.get("shown_in_seconds"),
        pending_site=None if site is None else _run_site(site),
        # What refuses an end answers the same when the site is ended alone.
        has_ended=end.get("state") == "done",
        run=finished_run(end) if "run" in end else None,
    )


def finished_run(answer: Row) -> FinishedRun:
    """Decode the answer to the end of a run: it has ended, has gone back to the queue, or needs its fallback sites."""
    row = answer["run"]
    retry_in_seconds = None
    if row["run_after"] is not None:
        # Both by the database's clock.
        wait = datetime.fromisoformat(row["run_after"]) - datetime.fromisoformat(row["updated_at"])
        retry_in_seconds = wait.total_seconds()
    waiting = row["progress"]["details"]["sites"] if row["progress"].get("step") == "waiting" else []
    waits_for = {site["site"]: site["message"] for site in waiting}
    return FinishedRun(
        id=UUID(row["id"]),
        status=row["status"],
        jobs_found=row["jobs_found"],
        sites=tuple(
            FinishedSite(
                site["site"],
                SiteStatus(site["status"]),
                site["jobs_found"],
                site["error_code"],
                site["error_message"],
                waits_for.get(site["site"]),
            )
            for site in row["sites"]
        ),
        retry_in_seconds=retry_in_seconds,
        fallbacks=tuple(_run_site(site) for site in row["fallbacks"]),
        has_claimed=answer.get("has_claimed", False),
    )


def is_busy(answer: Row) -> bool:
    """Return whether an element of a call has to be sent alone: another transaction has locked its run."""
    return bool(answer["state"] == "busy")


def started_import(row: Row) -> StartedImport:
    """Decode the run of an import."""
    run_id, token = UUID(row["run_id"]), row["lease_token"]
    return StartedImport(run_id, row["status"], None if token is None else Lease(run_id, UUID(token)))


def kept_page(row: Row) -> KeptPage:
    """Decode a page that the database has kept."""
    return KeptPage(
        id=row["page_id"],
        kind=row["kind"],
        source=row["source"],
        site=row["site"],
        page=Page(row["page_number"], row["payload"], row["response_ms"], row["calls_used"]),
    )


def claimed_items(answer: Row) -> ClaimedItems:
    """Decode items that are to be embedded."""
    return ClaimedItems(
        items=tuple(_picked(ClaimedItem, row, id=UUID(row["item_id"])) for row in answer["items"]),
        mark=answer["claimed_until"],
        due_in_seconds=answer["due_in_seconds"],
    )


def near_duplicates(answer: Row) -> NearDuplicates:
    """Decode items that are to be compared."""
    return NearDuplicates(
        items={item_id: _picked(ComparedItem, row) for item_id, row in answer["items"].items()},
        pairs=tuple((item_id, other_id) for item_id, other_id in answer["pairs"]),
        mark=answer["claimed_until"],
        due_in_seconds=answer["due_in_seconds"],
    )


def fired_schedules(answer: Row) -> FiredSchedules:
    """Decode what became of schedules that were due."""
    return _picked(FiredSchedules, answer)


def claimed_messages(answer: Row) -> ClaimedMessages:
    """Decode messages that are to be sent to webhook endpoints."""
    return ClaimedMessages(
        messages=tuple(_picked(WebhookMessage, row, id=UUID(row["id"])) for row in answer["messages"]),
        mark=answer["claimed_until"],
        due_in_seconds=answer["due_in_seconds"],
    )


def saved_attempts(answer: Row) -> SavedAttempts:
    """Decode what became of messages after an attempt."""
    return _picked(SavedAttempts, answer, disabled=tuple(answer["disabled"]))


def checked_alerts(answer: Row) -> CheckedAlerts:
    """Decode what a check of the alert rules found."""
    return _picked(CheckedAlerts, answer, opened=tuple(answer["opened"]), resolved=tuple(answer["resolved"]))


def claimed_notices(answer: Row) -> ClaimedNotices:
    """Decode notices that are to be sent."""
    return ClaimedNotices(
        notices=tuple(
            _picked(Notice, row, incident_id=UUID(row["incident_id"]), delivered_to=tuple(row["delivered_to"]))
            for row in answer["notices"]
        ),
        mark=answer["claimed_until"],
        due_in_seconds=answer["due_in_seconds"],
    )


def saved_notices(answer: Row) -> SavedNotices:
    """Decode what became of notices after an attempt."""
    return _picked(SavedNotices, answer)


def queue_status(row: Row) -> QueueStatus:
    """Decode the status of the queue."""
    return _picked(QueueStatus, row, now=datetime.fromisoformat(row["now"]))


def _run_site(row: Row) -> RunSite:
    return _picked(RunSite, row, exit=_exit_of(row["exit"]))


def _exit_of(name: str | None) -> str | None:
    """Return the name of an exit here; the inverse of `exit_name`."""
    return DIRECT if name == "" else name


def _picked(kind: type[_T], row: Row, **decoded: Any) -> _T:
    """Make a dataclass of a row, which may hold more: a database of the next version may answer more."""
    return kind(**{name: (decoded if name in decoded else row)[name] for name in _names(kind)})  # type: ignore[arg-type]


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


# Pages on disk -------------------------------------------------------------------------------------------------------


@cache
def _found_page_adapter() -> TypeAdapter[FoundPage]:
    # Not at import: it takes 30 ms, and few workers ever read a page from disk.
    return TypeAdapter(FoundPage)


def read_page(encoded: Any) -> FoundPage:
    """Decode a page from JSON.

    Args:
        encoded: What `page` returned, after it was written as JSON and read.

    Raises:
        ValueError: It is anything else.
    """
    try:
        found = _found_page_adapter().validate_python(_found_page(encoded))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"is not a page of this version: {type(error).__name__}: {error}") from None
    if page(found) != encoded:
        raise ValueError("is not a page of this version: it has other fields, or values of other types")
    return found


def _found_page(encoded: Any) -> dict[str, Any]:
    """Return the fields of a `FoundPage`."""
    raw = encoded["raw"]
    return {
        "site": encoded["site"],
        "attempt": encoded["attempt"],
        "account": raw["account"],
        "source": raw["source"],
        "page": {
            "number": encoded["page_number"],
            "payload": raw["payload"],
            "response_ms": raw["response_ms"],
            "calls_used": raw["calls_used"],
            "cursor": raw["cursor"],
            "is_last": raw["is_last"],
        },
        "transformed": {
            "version": raw["version"],
            "transform_ms": raw["transform_ms"],
            "completeness": raw["completeness"],
            "items": [{field.name: item[field.name] for field in fields(Item)} for item in encoded["items"]],
            "errors": encoded["errors"],
        },
        "progress": {field.name: encoded["progress"][field.name] for field in fields(Progress)},
    }
