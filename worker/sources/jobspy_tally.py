"""What a search through JobSpy has brought so far, where it goes on, and whether it is complete."""

from __future__ import annotations

import re
from typing import TypedDict

from pydantic import BaseModel, ConfigDict

from worker.errors import ErrorCode, SiteError
from worker.model import Json
from worker.sources.jobspy_parameters import JobSpyParameters
from worker.sources.jobspy_rows import id_of, is_job
from worker.sources.jobspy_sites import SITES

CAPTCHA_PRONE = frozenset({"bayt", "hellowork"})
"""Sites whose captcha JobSpy takes for a page without jobs."""

LOST_SHARE = 0.2
"""From this share of unreadable jobs on, a search does not count as complete: the site's pages may have changed. Nor
does it if the last of its pages have unreadable jobs alone, which a page of few jobs would hide in the share."""

HOPELESS_PAGES = 3
"""Pages in a row with unreadable jobs alone, at which a search ends."""

# JobSpy's errors are the texts of its own exceptions, requests', curl's and pydantic's. The first match counts;
# anchors keep words of a search or of a page, which some messages quote, from deciding.
_ERROR_CODES = (
    (r"^Invalid \w+: ", ErrorCode.INVALID_PARAMETERS),
    (r"(?s)^location '.*' not found$", ErrorCode.NOT_FOUND),
    (r"^response status code 429", ErrorCode.RATE_LIMITED),
    # 406 is Naukri's captcha, 999 LinkedIn's refusal.
    (r"^response status code (401|403|406|999)", ErrorCode.BLOCKED),
    (r"^response status code 407", ErrorCode.NETWORK),
    (r"^(unexpected page with no jobs|redirected to )", ErrorCode.BLOCKED),
    (r"^(API error|response status code|\d+ validation errors? for) ?", ErrorCode.UPSTREAM),
    (r"curl: \(28\)|timed out", ErrorCode.TIMEOUT),
    (r"curl: \(\d+\)|ConnectionPool\(|Connection (aborted|broken)|^Failed to parse: |[Pp]roxy", ErrorCode.NETWORK),
    (r"(?i)captcha", ErrorCode.BLOCKED),
)


def classify(error: str) -> ErrorCode:
    """Tell why a search failed from what JobSpy says of it.

    Args:
        error: A message of `DataFrame.attrs["errors"]`, or of a log line.
    """
    return next((code for pattern, code in _ERROR_CODES if re.search(pattern, error)), ErrorCode.UPSTREAM)


class Answer(TypedDict):
    """What the child tells of its call of JobSpy: one message for every 100 rows, the rest with the first.

    Attributes:
        rows: Jobs as JobSpy gave them, without what JSON cannot hold.
        has_more_rows: Whether another message of this call follows.
        has_more_pages: Whether the site may have more than was asked for.
        error: Why JobSpy could not go on, in its own words.
        warnings: What JobSpy ignored or did otherwise.
        skipped: Jobs that JobSpy could not read.
        skip_reason: Why it could not read the first of them.
        unread_page: Why JobSpy could not read a job's own page.
        response_ms: Time of the call in milliseconds, with JobSpy's pauses between its requests.
        pages: Search pages that JobSpy asked for.
        requests: Requests that JobSpy sent.
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


class Cursor(BaseModel):
    """Where a search goes on, and what of the pages before decides its outcome.

    Attributes:
        offset: Jobs to pass over, a whole number of search pages.
        found: Jobs that came.
        lost: Jobs that could not be read.
        unreadable_pages: The last search pages in a row with unreadable jobs alone.
        undescribed: Jobs that came without a description.
        skip_reason: Why the first lost job could not be read.
        unread_page: Why the first unread page of a job could not be read.
        warnings: What JobSpy ignored or did otherwise, each once.
        last_ids: Jobs of the slice before: what a site that gets new jobs meanwhile shows again.
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
    """What one search has brought so far, and whether that is all of it.

    Args:
        site: The site.
        search: What is searched for.
        cursor: That of the page to go on after; None: the search begins.

    Attributes:
        has_ended: Whether there is nothing more to ask for.
    """

    def __init__(self, site: str, search: JobSpyParameters, cursor: Json) -> None:
        self._site = site
        self._search = search
        self._so_far = Cursor.model_validate(cursor or {})
        self._seen = set(self._so_far.last_ids)
        self._error: str | None = None
        self.has_ended = False

    @property
    def found(self) -> int:
        """Jobs that came."""
        return self._so_far.found

    @property
    def offset(self) -> int:
        """Jobs of the site to pass over."""
        return self._so_far.offset

    @property
    def rows_to_ask_for(self) -> int:
        """Rows to ask for in the next call."""
        missing = self._search.results_wanted - self._so_far.found
        pages = SITES[self._site].slice_pages
        return missing if pages is None else min(missing, pages * SITES[self._site].page_jobs)

    @property
    def cursor(self) -> Json:
        """Where to go on; None: nowhere but at the beginning.

        Nobody goes on after pages with which the search would not count as complete: only another look at them may
        bring what they lack.
        """
        if SITES[self._site].slice_pages is None or self._shortfall():
            return None
        return self._so_far.model_dump()

    def add(self, answer: Answer) -> tuple[list[dict[str, Json]], list[str]]:
        """Count an answer.

        Returns:
            Its rows, without those that came before and those that are known not to match the search; its warnings,
            without those that came before.
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
        # An error is always that of the last search page.
        so_far.offset += (answer["pages"] - (answer["error"] is not None)) * SITES[self._site].page_jobs
        if not answer["has_more_rows"]:
            self.has_ended = self._error is not None or self._has_all(answer, brought_any=bool(rows or lost))
        if any(re.match(r"job_type .*isn't supported", warning) for warning in so_far.warnings):
            rows = [row for row in rows if self._may_be_of_type(row.get("job_type"))]
        return rows, warnings

    def failure(self) -> SiteError | None:
        """Why the search, which has ended, does not count as complete, if it does not."""
        if self._error is not None:
            return SiteError(classify(self._error), self._error)
        if self._so_far.found == self._so_far.lost == 0 and self._site in CAPTCHA_PRONE:
            return SiteError(ErrorCode.UNVERIFIED, "no jobs, which is also what a captcha looks like here")
        return self._shortfall()

    def _has_all(self, answer: Answer, *, brought_any: bool) -> bool:
        """Tell whether to ask for no more after a call that went well.

        A site that repeats itself is at its end, too.
        """
        return (
            SITES[self._site].slice_pages is None
            or not answer["has_more_pages"]
            or self._so_far.found >= self._search.results_wanted
            or self._so_far.unreadable_pages >= HOPELESS_PAGES
            or not brought_any
        )

    def _shortfall(self) -> SiteError | None:
        """What the jobs lack that came so far, if it is too much."""
        so_far = self._so_far
        jobs = so_far.found + so_far.lost
        if so_far.lost > 0 and (so_far.lost >= LOST_SHARE * jobs or so_far.unreadable_pages > 0):
            return SiteError(
                ErrorCode.UNVERIFIED,
                f"{so_far.lost} of {jobs} jobs could not be read; the site may have changed: "
                f"{so_far.skip_reason or 'no id, title or link'}",
            )
        unread = self._search.fetch_description and so_far.unread_page
        if unread and so_far.undescribed >= LOST_SHARE * so_far.found:
            return SiteError(
                classify(unread), f"{so_far.undescribed} of {so_far.found} jobs have no description: {unread}"
            )
        return None

    def _may_be_of_type(self, job_types: Json) -> bool:
        return not isinstance(job_types, list) or self._search.job_type in job_types
