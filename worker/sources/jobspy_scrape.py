"""JobSpy itself, in the child process. No other module imports `jobspy` or `pandas`.

JobSpy answers a call as a whole. A search of many rows is therefore asked in several calls where that costs no
request more, so that what has been read is kept whatever happens later.
"""

from __future__ import annotations

import logging
import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple, get_args, get_origin

import numpy as np
import pandas as pd
from jobspy import SCRAPER_MAPPING, scrape_jobs
from jobspy.model import JobPost, Site

from worker.model import Json
from worker.sources.jobspy import Answer

ROWS_PER_ANSWER = 100

HOPELESS = 3
"""Unreadable jobs for each row asked for, at which a call ends: JobSpy would read on to the last page."""


class Call(NamedTuple):
    """The size of one call of JobSpy.

    Attributes:
        page: Jobs on a page of the site (`jobspy.<site>.constant.jobs_per_page`).
        pages: Pages a call. One session serves a call, and with it the cookies of a site that watches them.
    """

    page: int
    pages: int

    @property
    def rows(self) -> int:
        """Rows to ask for in one call."""
        return self.page * self.pages


CALLS = {
    "linkedin": Call(page=10, pages=1),
    "zip_recruiter": Call(page=20, pages=5),
    "naukri": Call(page=20, pages=5),
    "hellowork": Call(page=30, pages=3),
}
"""The sites where JobSpy's `offset` goes straight to its page. Elsewhere it reads the pages before it again."""


def _columns_of(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for name, column in JobPost.model_fields.items()
        if any(kind in (option, get_origin(option)) for option in get_args(column.annotation))
    )


_LIST_COLUMNS = _columns_of(list)
_INTEGER_COLUMNS = _columns_of(int)


def scrape(site: str, arguments: Mapping[str, Any], page_delay_seconds: tuple[float, float] | None) -> Iterator[Answer]:
    """Search one site.

    Args:
        site: The site, in JobSpy's words.
        arguments: Arguments of `jobspy.scrape_jobs`.
        page_delay_seconds: Least and greatest pause between two pages; None: JobSpy's own for the site.

    Yields:
        One answer or more for each call of JobSpy, until it has no more or has failed.
    """
    scraper: Any = SCRAPER_MAPPING[Site(site)]
    if page_delay_seconds is not None:
        scraper.delay = page_delay_seconds
    log = _Log()
    wanted = arguments["results_wanted"]
    call = CALLS.get(site, Call(page=wanted, pages=1))
    seen: set[Json] = set()
    found = offset = 0
    read_again = False
    while True:
        asked = min(call.rows, wanted - found)
        log.expect(asked)
        started = time.monotonic()
        rows, error = _call(site, {**arguments, "results_wanted": asked, "offset": offset})
        response_ms = round((time.monotonic() - started) * 1000)
        new = [row for row in rows if row["id"] not in seen]
        yield from _answers(new, error, log, response_ms)
        seen.update(row["id"] for row in new)
        found += len(new)
        if error or len(rows) < asked or found >= wanted or not (new or read_again):
            return
        # A call that dropped jobs has read on beyond its own pages, and may not have used up the last one.
        read_again = log.pages > call.pages
        offset += max(call.rows, (log.pages - 1) * call.page)
        time.sleep(random.uniform(*scraper.delay))  # noqa: S311 (a pause, not a secret)


class _UnreadableError(Exception):
    """JobSpy goes on through a site whose jobs it cannot read."""


class _Log(logging.Handler):
    """Gathers what JobSpy tells in its log alone: pages asked for, jobs and job pages that it could not read."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        self.expect(0)
        jobspy = logging.getLogger("jobspy")
        jobspy.addHandler(self)
        jobspy.propagate = False

    def expect(self, rows: int) -> None:
        """Begin anew, for a call that asks for so many rows."""
        self._most_skipped = HOPELESS * rows
        self.pages = self.skipped = 0
        self.skip_reason: str | None = None
        self.unread_page: str | None = None
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("search page: "):
            self.pages += 1
        elif skipping := re.match(r"skipping job: (.*)", text, re.DOTALL):
            self.skipped += 1
            self.skip_reason = self.skip_reason or skipping[1]
            if self.skipped >= self._most_skipped:
                raise _UnreadableError
        elif unread := re.match(r"job \S+: (.*)", text, re.DOTALL):
            self.unread_page = self.unread_page or unread[1]
        elif record.levelno == logging.WARNING and text not in self._told:
            self._told.add(text)
            self.warnings.append(text)


def _call(site: str, arguments: dict[str, Any]) -> tuple[list[dict[str, Json]], str | None]:
    try:
        # 2: the log tells each page that JobSpy asks for.
        frame = scrape_jobs(site_name=site, verbose=2, **arguments)
    except _UnreadableError:
        return [], None
    except ValueError as error:
        if str(error).startswith("Invalid "):
            return [], str(error)
        raise
    return to_rows(frame), frame.attrs["errors"].get(site)


def _answers(rows: list[dict[str, Json]], error: str | None, log: _Log, response_ms: int) -> Iterator[Answer]:
    yield Answer(
        rows=rows[:ROWS_PER_ANSWER],
        error=error,
        warnings=log.warnings,
        skipped=log.skipped,
        skip_reason=log.skip_reason,
        unread_page=log.unread_page,
        response_ms=response_ms,
        requests=log.pages,
    )
    for start in range(ROWS_PER_ANSWER, len(rows), ROWS_PER_ANSWER):
        yield Answer(
            rows=rows[start : start + ROWS_PER_ANSWER],
            error=None,
            warnings=[],
            skipped=0,
            skip_reason=None,
            unread_page=None,
            response_ms=0,
            requests=0,
        )


def to_rows(frame: pd.DataFrame) -> list[dict[str, Json]]:
    """Turn JobSpy's table into JSON objects: lists as lists, whole numbers as integers, nothing that JSON lacks."""
    return [
        {str(name): _typed(str(name), to_json(value)) for name, value in record.items()}
        for record in frame.to_dict("records")
    ]


def _typed(column: str, value: Json) -> Json:
    if column in _LIST_COLUMNS and isinstance(value, str):
        return [*value.split(", ")]
    if column in _INTEGER_COLUMNS and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def to_json(value: object) -> Json:
    """Turn any value of a table into JSON that PostgreSQL can store: no NaN, no NUL, no half of a character."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    return to_json(value.isoformat() if isinstance(value, date) else str(value))
