"""Turns a raw page into items and errors."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from worker.errors import InvalidItemError
from worker.model import Item, ItemError, Json, Page, Transformed
from worker.pipeline.duplicates import Keys, keys
from worker.pipeline.normalize import JOBS, normalize
from worker.pipeline.text_signature import text_signature
from worker.printable import one_line
from worker.sources import Source

MAIN_FIELDS = ("organization", "location", "posted_at", "description")
"""The fields by which the completeness of items is measured. All items have a title and a URL."""

MAX_ID_LENGTH = 500
"""Maximum length of the id of an item. An index entry of PostgreSQL holds at most 2,704 bytes."""

MAX_LEVELS = 100
"""Maximum nesting of JSON that is stored. Python's own JSON fails at some hundred levels."""

RAW_LENGTH = 20_000
"""Characters of an invalid record that are stored with its error. The page has all of it."""


def imported_page(number: int, records: Sequence[Json], *, is_last: bool = False) -> Page:
    """Return a page with records that no search has fetched. `transform` reads them without `Source.records`."""
    return Page(
        number, {"imported_records": [storable(record) for record in records]}, 0, calls_used=0, is_last=is_last
    )


def transform(source: Source, site: str, page: Page) -> Transformed:
    """Turn a page into items.

    Deterministic: the same page and version of the source give the same result. An exception in the code of the source
    becomes an error of the record or of the page.

    Args:
        source: The source that fetched the page, in this version or an earlier one.
        site: The site that sent the page.
        page: The page.
    """
    started = time.monotonic()
    items: list[Item] = []
    errors: list[ItemError] = []
    for index, record in enumerate(_records(source, site, page, errors)):
        try:
            items.append(_item(source, site, record))
        except Exception as error:  # noqa: BLE001 (logged with the page)
            errors.append(_error(error, index, record))
    return Transformed(
        version=source.version,
        items=tuple(items),
        errors=tuple(errors),
        completeness=_completeness(items),
        transform_ms=round((time.monotonic() - started) * 1000),
    )


def storable(value: Json, levels: int = MAX_LEVELS) -> Json:
    """Return JSON that PostgreSQL can store: without NUL, lone surrogates, NaN, infinities and too deep nesting.

    Raises:
        TypeError: The value is not JSON.
    """
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()
        case float() if not math.isfinite(value):
            return None
        case list() | dict() if levels == 0:
            return None
        case list():
            return [storable(element, levels - 1) for element in value]
        case dict():
            return {str(storable(name)): storable(element, levels - 1) for name, element in value.items()}
        case None | bool() | int() | float():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")


def _records(source: Source, site: str, page: Page, errors: list[ItemError]) -> Sequence[Json]:
    try:
        match page.payload:
            case {"imported_records": list(records), **others} if not others:
                return records
        return list(source.records(site, page))
    except Exception as error:  # noqa: BLE001 (as above)
        errors.append(_error(error, None, None))
        return []


def _item(source: Source, site: str, record: Json) -> Item:
    item = normalize(source.parse(site, record), source.kind)
    for field in ("external_id", "title", "url"):
        if not getattr(item, field):
            raise InvalidItemError("is missing", field)
    external_id, data = storable(item.external_id), storable(item.data)
    if not isinstance(external_id, str) or not 1 <= len(external_id) <= MAX_ID_LENGTH:
        raise InvalidItemError(f"must be a text of 1 to {MAX_ID_LENGTH} characters", "external_id")
    if not isinstance(data, dict):
        raise InvalidItemError("must be an object", "data")
    if not isinstance(item.is_remote, bool | None):
        raise InvalidItemError("must be true, false or null", "is_remote")
    # Jobs with the same title and place are one job. People with the same name and place are not one person.
    found = keys(item) if source.kind == JOBS else Keys()
    return replace(
        item,
        external_id=external_id,
        data=data,
        apply_key=found.apply,
        match_key=found.match,
        organization_key=found.organization,
        place_key=found.place,
        text_signature=text_signature(item.description) if source.kind == JOBS else None,
    )


def _error(error: Exception, index: int | None, record: Json) -> ItemError:
    field = error.field if isinstance(error, InvalidItemError) else None
    return ItemError(index, type(error).__name__, one_line(str(error)), field, _kept(record))


def _kept(record: Json) -> Json:
    try:
        raw = storable(record)
    except TypeError:
        return None
    text = json.dumps(raw)
    return raw if len(text) <= RAW_LENGTH else text[:RAW_LENGTH]


def _completeness(items: Sequence[Item]) -> dict[str, float]:
    if not items:
        return {}
    return {
        field: round(sum(getattr(item, field) is not None for item in items) / len(items), 3) for field in MAIN_FIELDS
    }
