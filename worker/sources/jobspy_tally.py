"""Counts the results of a search with JobSpy, and decides where it resumes and whether it is complete."""

from __future__ import annotations

import re
from typing import TypedDict

from pydantic import BaseModel, ConfigDict

from worker.errors import ErrorCode, ExitError, SiteError
from worker.http.challenges import BOT_CHECK
from worker.http.exits import OWN_ADDRESS
from worker.model import Json
from worker.sources.jobspy_parameters import JobSpyParameters
from worker.sources.jobspy_rows import id_of, is_job
from worker.sources.jobspy_sites import SITES

CAPTCHA_PRONE = frozenset({"bayt", "hellowork"})
"""Sites whose pages JobSpy reads as pages without jobs, whatever they are. A captcha without a known mark looks the
same as no jobs."""

UNREADABLE_SHARE = 0.2
"""Share of unreadable jobs at which a search is incomplete, because the format of the site's pages may have changed. A
search is also incomplete if all jobs of its last page are unreadable."""

UNREADABLE_PAGES = 3
"""Consecutive pages with only unreadable jobs after which a search ends."""

# JobSpy's errors are the messages of its own exceptions and those of requests, curl, pydantic and `worker.http`. The
# first match counts. Some messages quote the search or a page: anchors keep the quoted words from matching.
_ERROR_CODES = (
    (rf"^{BOT_CHECK}", ErrorCode.BLOCKED),
    (r"^Invalid \w+: ", ErrorCode.INVALID_PARAMETERS),
    (r"(?s)^location '.*' not found$", ErrorCode.NOT_FOUND),
    (r"^response status code 429", ErrorCode.RATE_LIMITED),
    # 406 is Naukri's captcha, 999 LinkedIn's refusal.
    (r"^response status code (401|403|406|999)", ErrorCode.BLOCKED),
    (r"^response status code 407", ErrorCode.NETWORK),
    (r"^(unexpected page with no jobs|redirected to )", ErrorCode.BLOCKED),
    (r"^(API error|response status code|the answer is HTML|\d+ validation errors? for) ?", ErrorCode.UPSTREAM),
    (r"curl: \(28\)|timed out", ErrorCode.TIMEOUT),
    (r"curl: \(\d+\)|ConnectionPool\(|Connection (aborted|broken)|^Failed to parse: |[Pp]roxy", ErrorCode.NETWORK),
    (r"(?i)captcha", ErrorCode.BLOCKED),
)


# Messages of requests and curl about the proxy, which is what they connect to, and about TLS. They match no quoted
# URL, which has neither spaces nor brackets.
_EXIT_FAILURES = re.compile(
    r"^response status code 407|ProxyError\(|Tunnel connection failed: 4|CONNECT tunnel failed, response 4"
    r"|Proxy CONNECT aborted|SOCKS(HTTPS)?Connection\(.*Failed to establish a new connection: "
    r"|curl: \((5|7|35|60|97)\)|CERTIFICATE_VERIFY_FAILED|SSLError\("
)
# The proxy works, but did not reach the site: https://www.rfc-editor.org/rfc/rfc1928#section-6, and code 91 of SOCKS4.
_UNREACHED_BY_PROXY = re.compile(
    r"(Tunnel connection failed:|CONNECT tunnel failed, response) 5"
    r"|Failed to establish a new connection: (0x0[3-6]|0x5B): |complete SOCKS5 connection to \S+ \([3-6]\)"
    r"|complete SOCKS4 connection to \S+ \(91\)"
)


def is_exit_failure(error: str) -> bool:
    """Return whether an error message of JobSpy, which used a proxy, is about the proxy and not about the site."""
    return (
        classify(error) in (ErrorCode.NETWORK, ErrorCode.TIMEOUT)
        and _EXIT_FAILURES.search(error) is not None
        and not _UNREACHED_BY_PROXY.search(error)
    )


def classify(error: str) -> ErrorCode:
    """Return the error code for an error message of JobSpy.

    Args:
        error: A message of `DataFrame.attrs["errors"]` or of a log line.
    """
    return next((code for pattern, code in _ERROR_CODES if re.search(pattern, error)), ErrorCode.UPSTREAM)


class Answer(TypedDict):
    """The result of a call of JobSpy, in one answer per 100 rows. The first answer has all other values.

    Attributes:
        rows: Jobs from JobSpy, converted to JSON.
        has_more_rows: Whether another answer of this call follows.
        has_more_pages: Whether the site may have more jobs than requested.
        error: JobSpy's error message; None: no error.
        warnings: JobSpy's warnings, such as parameters that it ignored.
        skipped: Jobs that JobSpy could not read.
        skip_reason: Why JobSpy could not read the first of them.
        unread_page: Why JobSpy could not read a job's own page.
        response_ms: Duration of the call in milliseconds, including JobSpy's pauses.
        pages: Search pages that JobSpy requested.
        requests: Requests that JobSpy sent.
        size: Bytes of the bodies of the answers to them.
    """

    rows: list[dict[str, Json]]
    has_more_rows: bool
    has_more_pages: bool
    error: str | None
    warnings: list[str]
    skipped: int
    skip_reason: str | None
    unread_page: str | None
    response_ms: int
    pages: int
    requests: int
    size: int


class Cursor(BaseModel):
    """Where to resume a search, and the counts that decide its outcome.

    Attributes:
        offset: Jobs to skip; a multiple of the page size.
        found: Readable jobs.
        lost: Unreadable jobs.
        unreadable_pages: Consecutive search pages, up to the last one, with only unreadable jobs.
        undescribed: Readable jobs without a description.
        skip_reason: Why the first lost job could not be read.
        unread_page: Why the first unreadable page of a job could not be read.
        warnings: JobSpy's distinct warnings.
        last_ids: Ids of the jobs of the last slice. If the site has new jobs, the next slice repeats some of them.
    """

    model_config = ConfigDict(extra="forbid")

    offset: int = 0
    found: int = 0
    lost: int = 0
    unreadable_pages: int = 0
    undescribed: int = 0
    skip_reason: str | None = None
    unread_page: str | None = None
    warnings: list[str] = []
    last_ids: list[str] = []


class Tally:
    """The results of one search so far.

    Args:
        site: The site.
        search: The parameters of the search.
        cursor: The cursor of the page to resume after; None: a new search.

    Attributes:
        has_ended: Whether there is nothing more to request.
        via: The exit of the last call.
    """

    def __init__(self, site: str, search: JobSpyParameters, cursor: Json) -> None:
        self._site = site
        self._search = search
        self._so_far = Cursor.model_validate(cursor or {})
        self._seen = set(self._so_far.last_ids)
        self._error: str | None = None
        self.has_ended = False
        self.via = OWN_ADDRESS

    @property
    def found(self) -> int:
        """Readable jobs."""
        return self._so_far.found

    @property
    def offset(self) -> int:
        """Jobs of the site to skip."""
        return self._so_far.offset

    @property
    def rows_to_ask_for(self) -> int:
        """Rows to request in the next call."""
        missing = self._search.results_wanted - self._so_far.found
        pages = SITES[self._site].slice_pages
        return missing if pages is None else min(missing, pages * SITES[self._site].page_jobs)

    @property
    def cursor(self) -> Json:
        """The cursor to resume after; None: the search can only restart.

        If the pages so far are incomplete, the search cannot be resumed after them: they have to be read again.
        """
        if SITES[self._site].slice_pages is None or self._shortfall():
            return None
        return self._so_far.model_dump()

    def add(self, answer: Answer) -> tuple[list[dict[str, Json]], list[str]]:
        """Add an answer.

        Returns:
            Its new rows, without those that are known not to match the search; its new warnings.
        """
        so_far = self._so_far
        rows = [row for row in answer["rows"] if id_of(row) not in self._seen]
        ids = [known for row in rows if (known := id_of(row))]
        self._seen.update(ids)
        so_far.last_ids = ids or so_far.last_ids
        jobs = [row for row in rows if is_job(row)]
        lost = len(rows) - len(jobs) + answer["skipped"]
        so_far.found += len(jobs)
        so_far.lost += lost
        so_far.undescribed += sum(not row.get("description") for row in jobs)
        if jobs:
            so_far.unreadable_pages = 0
        elif lost:
            so_far.unreadable_pages += max(1, answer["pages"])
        so_far.skip_reason = so_far.skip_reason or answer["skip_reason"]
        so_far.unread_page = so_far.unread_page or answer["unread_page"]
        warnings = [warning for warning in answer["warnings"] if warning not in so_far.warnings]
        so_far.warnings = so_far.warnings + warnings
        self._error = answer["error"] or self._error
        # An error always belongs to the last search page.
        so_far.offset += (answer["pages"] - (answer["error"] is not None)) * SITES[self._site].page_jobs
        if not answer["has_more_rows"]:
            self.has_ended = self._error is not None or self._has_all(answer, brought_any=bool(rows or lost))
        if any(re.match(r"job_type .*isn't supported", warning) for warning in so_far.warnings):
            rows = [row for row in rows if self._may_be_of_type(row.get("job_type"))]
        return rows, warnings

    def failure(self) -> SiteError | None:
        """Return why a search that has ended is incomplete; None if it is complete."""
        if self._error is not None:
            if self.via.proxy is not None and is_exit_failure(self._error):
                return ExitError(f"exit {self.via.name}: {self._error}")
            return SiteError(classify(self._error), self._error)
        if self._so_far.found == self._so_far.lost == 0 and self._site in CAPTCHA_PRONE:
            return SiteError(ErrorCode.UNVERIFIED, "no jobs found; a captcha of this site looks the same")
        return self._shortfall()

    def _has_all(self, answer: Answer, *, brought_any: bool) -> bool:
        """Return whether the search ends after a call without an error. It does if the site only repeats jobs."""
        return (
            SITES[self._site].slice_pages is None
            or not answer["has_more_pages"]
            or self._so_far.found >= self._search.results_wanted
            or self._so_far.unreadable_pages >= UNREADABLE_PAGES
            or not brought_any
        )

    def _shortfall(self) -> SiteError | None:
        """Return why the jobs so far are incomplete; None if they are complete."""
        so_far = self._so_far
        jobs = so_far.found + so_far.lost
        if so_far.lost > 0 and (so_far.lost >= UNREADABLE_SHARE * jobs or so_far.unreadable_pages > 0):
            return SiteError(
                ErrorCode.UNVERIFIED,
                f"{so_far.lost} of {jobs} jobs could not be read; the site may have changed: "
                f"{so_far.skip_reason or 'no id, title or link'}",
            )
        unread = self._search.fetch_description and so_far.unread_page
        if unread and so_far.undescribed >= UNREADABLE_SHARE * so_far.found:
            return SiteError(
                classify(unread), f"{so_far.undescribed} of {so_far.found} jobs have no description: {unread}"
            )
        return None

    def _may_be_of_type(self, job_types: Json) -> bool:
        return not isinstance(job_types, list) or self._search.job_type in job_types
