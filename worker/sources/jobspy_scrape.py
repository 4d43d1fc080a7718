"""Calls JobSpy in the child process. No other module imports `jobspy` or `pandas`.

A child makes one call of JobSpy. It reports each search page when JobSpy requests it, and sends the rows at the end.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http import HTTPStatus
from queue import SimpleQueue
from typing import Any, get_args, get_origin

import numpy as np
import pandas as pd
from jobspy import SCRAPER_MAPPING, scrape_jobs
from jobspy.model import JobPost, Site
from jobspy.util import RotatingProxySession

from worker.http.challenges import bot_check, captcha, html_instead_of_json, is_html
from worker.model import Json
from worker.sources.jobspy_tally import Answer

ROWS_PER_ANSWER = 100

UNREADABLE_PER_ROW = 3
"""Unreadable jobs per requested row at which a call without a page limit ends. JobSpy does not count them as rows, and
would read all pages of the site."""

CAPTCHA_PAGE_BYTES = 2**15
"""Longest page that is nothing but a captcha. Ordinary pages, which are longer, may have one in a form."""


def _columns_of(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for name, column in JobPost.model_fields.items()
        if any(kind in (option, get_origin(option)) for option in get_args(column.annotation))
    )


_LIST_COLUMNS = _columns_of(list)
_INTEGER_COLUMNS = _columns_of(int)


def scrape(
    site: str, arguments: Mapping[str, Any], pages: int | None, page_delay_seconds: tuple[float, float] | None
) -> Iterator[int | Answer]:
    """Search one site with one call of JobSpy.

    Args:
        site: JobSpy's name of the site.
        arguments: Arguments of `jobspy.scrape_jobs`.
        pages: Most search pages to request; None: no limit.
        page_delay_seconds: Least and greatest pause between two pages; None: JobSpy's default for the site.

    Yields:
        The number of each search page, from 1, when it is requested; then the answers of the call.
    """
    if page_delay_seconds is not None:
        scraper: Any = SCRAPER_MAPPING[Site(site)]
        scraper.delay = page_delay_seconds
    rows_wanted = arguments["results_wanted"]
    events: SimpleQueue[int | None] = SimpleQueue()
    monitor = _CallMonitor(pages, UNREADABLE_PER_ROW * rows_wanted if pages is None else None, events.put)
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as thread:
        call = thread.submit(_call, site, arguments)
        call.add_done_callback(lambda _: events.put(None))
        yield from iter(events.get, None)
    rows, error = call.result()
    response_ms = round((time.monotonic() - started) * 1000)
    if monitor.is_stopped:
        error = None
    elif error is not None or len(rows) < rows_wanted:
        error = _explained(error, monitor.last_body)
    yield from _answers(rows, error, rows_wanted, monitor, response_ms)


class _UnreadableError(Exception):
    """Too many jobs are unreadable. Raised into JobSpy to end the call."""


class _BotCheckError(Exception):
    """A site answers with a bot check. Raised into JobSpy, which takes the message for its error."""


class _PageLimitError(Exception):
    """JobSpy requests a page beyond the limit. Raised into JobSpy, which ends the call and keeps its rows."""


class _CallMonitor(logging.Handler):
    """Reads JobSpy's log, counts its requests, and stops it at the page limit and at a bot check.

    It patches JobSpy for the whole process, which makes only one call.

    Args:
        most_pages: Most search pages; None: no limit.
        most_skipped: Most unreadable jobs; None: no limit.
        on_page: Called with the number of each search page before it is requested.

    Attributes:
        is_stopped: Whether the page limit was reached.
        last_body: Body of the last answer with status 200; empty without one.
        pages: Search pages requested.
        requests: Requests sent.
        size: Bytes of the bodies of the answers.
        skipped: Jobs that JobSpy could not read.
        skip_reason: Why JobSpy could not read the first of them.
        unread_page: Why JobSpy could not read a job's own page.
        warnings: JobSpy's distinct warnings.
    """

    def __init__(self, most_pages: int | None, most_skipped: int | None, on_page: Callable[[int], None]) -> None:
        super().__init__()
        self._most_pages = most_pages
        self._most_skipped = most_skipped
        self._on_page = on_page
        self.is_stopped = False
        self.last_body = b""
        self.pages = self.requests = self.size = self.skipped = 0
        self.skip_reason: str | None = None
        self.unread_page: str | None = None
        self.warnings: list[str] = []
        jobspy = logging.getLogger("jobspy")
        jobspy.addHandler(self)
        jobspy.propagate = False
        self._watch_requests()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("search page: "):
            if self.pages == self._most_pages:
                self.is_stopped = True
            else:
                self.pages += 1
                self._on_page(self.pages)
        elif skipping := re.match(r"skipping job: (.*)", text, re.DOTALL):
            self.skipped += 1
            self.skip_reason = self.skip_reason or skipping[1]
            if self.skipped == self._most_skipped:
                raise _UnreadableError
        elif unread := re.match(r"job \S+: (.*)", text, re.DOTALL):
            self.unread_page = self.unread_page or unread[1]
        elif record.levelno == logging.WARNING and text not in self.warnings:
            self.warnings.append(text)

    def _watch_requests(self) -> None:
        session: Any = RotatingProxySession  # base class of all scrapers' sessions
        send = session.request

        def request(*args: Any, **kwargs: Any) -> Any:
            if self.is_stopped:
                raise _PageLimitError
            self.requests += 1
            self.last_body = b""
            response = send(*args, **kwargs)
            self.size += len(response.content)
            if check := bot_check(response.headers, response.content):
                raise _BotCheckError(check)
            if response.status_code == HTTPStatus.OK:
                self.last_body = response.content
            return response

        session.request = request


def _call(site: str, arguments: Mapping[str, Any]) -> tuple[list[dict[str, Json]], str | None]:
    try:
        # At verbosity 2, JobSpy logs each page that it requests.
        frame = scrape_jobs(site_name=site, verbose=2, **arguments)
    except _UnreadableError:
        return [], None
    except ValueError as error:
        if str(error).startswith("Invalid "):
            return [], str(error)
        raise
    return to_rows(frame), frame.attrs["errors"].get(site)


def _explained(error: str | None, last_body: bytes) -> str | None:
    """Return JobSpy's error. If the last page is not what JobSpy expects, return what it is."""
    if not is_html(last_body):
        return error
    if len(last_body) <= CAPTCHA_PAGE_BYTES and (check := captcha(last_body)):
        return check
    return html_instead_of_json(last_body) if error and error.startswith("Expecting value") else error


def _answers(
    rows: list[dict[str, Json]], error: str | None, rows_wanted: int, monitor: _CallMonitor, response_ms: int
) -> Iterator[Answer]:
    yield Answer(
        rows=rows[:ROWS_PER_ANSWER],
        has_more_rows=len(rows) > ROWS_PER_ANSWER,
        has_more_pages=monitor.is_stopped or len(rows) >= rows_wanted,
        error=error,
        warnings=monitor.warnings,
        skipped=monitor.skipped,
        skip_reason=monitor.skip_reason,
        unread_page=monitor.unread_page,
        response_ms=response_ms,
        pages=monitor.pages,
        requests=monitor.requests,
        size=monitor.size,
    )
    for start in range(ROWS_PER_ANSWER, len(rows), ROWS_PER_ANSWER):
        yield Answer(
            rows=rows[start : start + ROWS_PER_ANSWER],
            has_more_rows=len(rows) > start + ROWS_PER_ANSWER,
            has_more_pages=len(rows) >= rows_wanted,
            error=None,
            warnings=[],
            skipped=0,
            skip_reason=None,
            unread_page=None,
            response_ms=0,
            pages=0,
            requests=0,
            size=0,
        )


def to_rows(frame: pd.DataFrame) -> list[dict[str, Json]]:
    """Convert JobSpy's table to JSON objects. Comma-separated columns become lists, and whole numbers integers."""
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
    """Convert a value of a table to JSON that PostgreSQL can store: no NaN, no NUL, no lone surrogates."""
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
