"""The wire form of what the worker and the database exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.errors import ErrorCode, SiteError, SiteWaitingError
from worker.model import Item, Json, Lease, Progress, Run, RunSite, Transformed


def seconds_until_granted(answer: dict[str, Any]) -> float:
    """Return the seconds to wait before a search or request begins.

    Raises:
        SiteWaitingError: It has to wait for longer.
        SiteError: It would have to wait for too long.
    """
    if answer["granted"]:
        return float(answer["wait_seconds"])
    if "error_code" in answer:
        raise SiteError(ErrorCode(answer["error_code"]), answer["message"], is_final=True)
    raise SiteWaitingError(answer["message"], float(answer["retry_in_seconds"]))


def progress(site: RunSite, progress: Progress, details: Mapping[str, Json]) -> dict[str, Json]:
    """Return how far the search of a site is."""
    return {
        "step": progress.step,
        "site": site.site,
        "current": progress.current,
        "total": progress.total,
        "details": {**details},
    }


def transform_of(transformed: Transformed) -> dict[str, Json]:
    """Return how a page was read."""
    return {
        "version": transformed.version,
        "transform_ms": transformed.transform_ms,
        "completeness": {**transformed.completeness},
    }


def items(transformed: Transformed) -> list[dict[str, Any]]:
    """Return the items of a page with their positions, from 1."""
    return [{"position": position, **asdict(item)} for position, item in enumerate(transformed.items, start=1)]


def errors(transformed: Transformed) -> list[dict[str, Any]]:
    """Return what of a page could not be read."""
    return [asdict(error) for error in transformed.errors]


def leases(leases: Sequence[Lease]) -> list[dict[str, str]]:
    """Return leases."""
    return [{"run_id": str(lease.run_id), "lease_token": str(lease.token)} for lease in leases]


def item(row: dict[str, Any]) -> Item:
    """Return what a row of `items` was loaded from."""
    # The canonical key is the site and its own id.
    known = row | {
        "external_id": row["canonical_key"].partition(":")[2],
        "job_types": tuple(row["job_types"]),
        "skills": tuple(row["skills"]),
    }
    return Item(**{field.name: known[field.name] for field in fields(Item)})


def run(row: dict[str, Any]) -> Run:
    """Return a claimed run."""
    run_id = UUID(row["run_id"])
    return Run(
        id=run_id,
        lease=Lease(run_id, UUID(row["lease_token"])),
        kind=row["kind"],
        parameters=row["parameters"],
        newer_than=row["newer_than"] and datetime.fromisoformat(row["newer_than"]),
        sites=tuple(run_site(site) for site in row["sites"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
    )


def run_site(row: dict[str, Any]) -> RunSite:
    """Return a site of a claimed run."""
    return RunSite(
        site=row["site"],
        attempt=row["attempt"],
        account=row["account"],
        cursor=row["cursor"],
        next_page=row["next_page"],
        is_fetched=row["is_fetched"],
    )
