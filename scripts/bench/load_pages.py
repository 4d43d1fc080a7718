"""Makes pages for the load benchmark: items as the worker sends them, and their rows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from worker.pipeline.text_signature import text_signature

ITEMS = 100
"""Items on a page."""

DUPLICATE_EACH = 10
"""One item in this many is a duplicate of another item of its page, by its match_key and its text."""

_WORDS = [
    "".join(random.Random(number).choices("aaabcdeeefghiiiklmnnooprrsstttuvwy", k=2 + number % 9))  # noqa: S311
    for number in range(4000)
]
_SKILLS = ("python", "sql", "rust", "kubernetes", "react", "excel", "nursing", "welding", "aws", "spark")

ITEM_COLUMNS = (
    "id", "kind", "title", "organization", "location", "is_remote", "posted_at", "salary_min", "salary_max",
    "salary_interval", "currency", "url", "apply_url", "description", "city", "region", "country", "work_mode",
    "job_types", "salary_yearly_min", "salary_yearly_max", "skills", "experience_years", "data", "canonical_key",
    "apply_key", "match_key", "organization_key", "place_key", "text_signature", "duplicate_of", "first_seen_at",
    "last_seen_at",
)  # fmt: skip
SOURCE_COLUMNS = ("site", "external_id", "item_id", "url", "first_seen_at", "last_seen_at")
RESULT_COLUMNS = ("run_id", "item_id", "site", "page_number", "position", "created_at")
PAGE_COLUMNS = (
    "run_id", "source", "site", "attempt", "page_number", "query", "query_hash", "payload", "response_ms", "calls_used",
    "fetched_at", "strategy", "status", "version", "item_count", "invalid_count", "result_count", "new_count",
    "completeness", "transform_ms", "transformed_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BenchPage:
    """A page of a site.

    Attributes:
        number: From 1.
        raw: The argument `raw` of a page of `worker_save_pages`.
        items: The argument `items`.
    """

    number: int
    raw: dict[str, Any]
    items: list[dict[str, Any]]


def make_page(number: int, seed: int, count: int = ITEMS) -> BenchPage:
    """Return a page whose items are on no other page.

    Descriptions have about 3 kB, and compress as prose does; the raw payload has about as much for each item.

    Args:
        number: The page's number, from 1.
        seed: Random seed, which must differ for each page.
        count: Number of items.
    """
    chosen = random.Random(seed)  # noqa: S311
    items = [_item(chosen, seed * ITEMS + position, position) for position in range(1, count + 1)]
    for position in range(DUPLICATE_EACH - 1, count, DUPLICATE_EACH):
        own = {name: items[position][name] for name in ("external_id", "position", "url")}
        items[position] = items[position - 1] | own | {"apply_url": None, "apply_key": None}
    raw = {
        "source": "bench",
        "version": 1,
        "payload": {"jobs": [_record(item) for item in items]},
        "response_ms": 800,
        "calls_used": 1,
        "transform_ms": 40,
        "completeness": {"title": 1, "organization": 1, "location": 1, "description": 1, "posted_at": 1, "salary": 1},
    }
    return BenchPage(number, raw, items)


def page_to_save(run_id: object, lease_token: object, site: str, page: BenchPage, **others: object) -> dict[str, Any]:
    """Return a page of the first attempt at a site, as `worker_save_pages` takes it."""
    lease = {"run_id": str(run_id), "lease_token": str(lease_token), "site": site, "attempt": 1}
    found = {"page_number": page.number, "raw": page.raw, "items": page.items, "errors": []}
    return lease | found | {"progress": {"step": "searching", "site": site}} | others


def _item(chosen: random.Random, number: int, position: int) -> dict[str, Any]:
    title, organization, description = _text(chosen, 4), _text(chosen, 2), _text(chosen, 450)
    salary = chosen.randrange(20, 90)
    return {
        "external_id": f"{number:x}",
        "position": position,
        "title": title,
        "organization": organization,
        "location": "Austin, TX, US",
        "is_remote": False,
        "posted_at": "2026-11-01T00:00:00+00:00",
        "salary_min": salary,
        "salary_max": salary + 10,
        "salary_interval": "hourly",
        "currency": "USD",
        "url": f"https://www.indeed.com/viewjob?jk={number:x}",
        "apply_url": f"https://careers.example.com/{organization.replace(' ', '-')}/jobs/{number}",
        "description": description,
        "city": "Austin",
        "region": "TX",
        "country": "US",
        "work_mode": "onsite",
        "job_types": ["fulltime"],
        "salary_yearly_min": salary * 2080,
        "salary_yearly_max": (salary + 10) * 2080,
        "skills": sorted(chosen.sample(_SKILLS, 4)),
        "experience_years": chosen.randrange(10),
        "employer": {"profile_url": "https://example.com/" + organization, "rating": 3.9},
        "data": {"emails": []},
        "apply_key": f"careers.example.com/{organization.replace(' ', '-')}/jobs/{number}",
        "match_key": f"{title} | {organization.partition(' ')[0]} | austin",
        "organization_key": organization,
        "place_key": "austin|US-TX|US",
        "text_signature": text_signature(description),
    }


def _record(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": item["external_id"],
        "title": item["title"],
        "sourceEmployerName": item["organization"],
        "dateOnIndeed": 1793000000000,
        "description": {"html": f"<p>{item['description']}</p>"},
        "location": {
            "countryCode": "US",
            "admin1Code": "TX",
            "city": "Austin",
            "formatted": {"long": "Austin, TX, US"},
        },
        "compensation": {
            "baseSalary": {"unitOfWork": "HOUR", "range": {"min": item["salary_min"], "max": item["salary_max"]}}
        },
        "recruit": {"viewJobUrl": item["apply_url"]},
        "employer": {"name": item["organization"], "dossier": None},
    }


def _text(chosen: random.Random, words: int) -> str:
    return " ".join(chosen.choices(_WORDS, k=words))


def copied_rows(page: BenchPage, run_id: UUID, kind: str) -> dict[str, bytes]:
    """Return the rows of a page in the text format of COPY, by table and columns.

    Args:
        page: A page of the site `indeed`.
        run_id: The run that found it.
        kind: Kind of the items.
    """
    now = datetime.now(UTC)
    ids = [uuid4() for _ in page.items]
    items, sources, results = [], [], []
    for place, (item_id, item) in enumerate(zip(ids, page.items, strict=True)):
        is_duplicate = place > 0 and item["match_key"] == page.items[place - 1]["match_key"]
        values = item | {
            "id": item_id,
            "kind": kind,
            "canonical_key": f"indeed:{item['external_id']}",
            "duplicate_of": ids[place - 1] if is_duplicate else None,
            "first_seen_at": now,
            "last_seen_at": now,
        }
        items.append([values[column] for column in ITEM_COLUMNS])
        sources.append(["indeed", item["external_id"], item_id, item["url"], now, now])
        results.append([run_id, item_id, "indeed", page.number, item["position"], now])
    raw = page.raw | {
        "run_id": run_id, "site": "indeed", "attempt": 1, "page_number": page.number, "query": {"search_term": "x"},
        "query_hash": "0" * 64, "fetched_at": now, "strategy": "manual", "status": "completed", "item_count": ITEMS,
        "invalid_count": 0, "result_count": ITEMS, "new_count": ITEMS, "transformed_at": now,
    }  # fmt: skip
    return {
        _target("worker.raw_collections", PAGE_COLUMNS): _encoded([[raw[column] for column in PAGE_COLUMNS]]),
        _target("public.items", ITEM_COLUMNS): _encoded(items),
        _target("public.item_sources", SOURCE_COLUMNS): _encoded(sources),
        _target("public.search_results", RESULT_COLUMNS): _encoded(results),
    }


def _target(table: str, columns: Sequence[str]) -> str:
    return f"{table} ({', '.join(columns)})"


def _encoded(rows: Iterable[Iterable[Any]]) -> bytes:
    return "".join("\t".join(map(_field, row)) + "\n" for row in rows).encode()


def _field(value: Any) -> str:
    match value:
        case None:
            return r"\N"
        case dict():
            text = json.dumps(value)
        case list():
            text = f"{{{','.join(value)}}}"
        case _:
            text = str(value)
    return text.replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n")
