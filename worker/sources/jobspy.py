"""Job boards through JobSpy's scrapers, each search in a child process of its own.

Nothing here imports JobSpy or pandas: `jobspy_scrape` does, in the child.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

from worker import sandbox
from worker.model import ErrorCode, InvalidItemError, Item, Json, Page, Parameters, SiteError, one_line
from worker.sources.jobspy_parameters import COUNTRIES, LOCATED_BY_TEXT, JobSearchParameters

logger = logging.getLogger(__name__)

CAPTCHA_PRONE = frozenset({"bayt", "hellowork"})
"""Sites whose captcha JobSpy takes for a page without jobs."""

LOST_SHARE = 0.2
"""From this share of unreadable jobs on, a search does not count as complete: the site's pages may have changed. Nor
does it if one of its answers has unreadable jobs alone, which a last page of few jobs would hide in the share."""

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
_ITEM_COLUMNS = frozenset({
    "id", "site", "title", "job_url", "company", "location", "is_remote", "date_posted", "min_amount",
    "max_amount", "interval", "currency", "job_url_direct", "description", "job_type",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobSpySettings:
    """How this worker runs JobSpy.

    Attributes:
        proxies: `http://user:password@host:port`, also `https`, `socks4` and `socks5` or without a scheme;
            `localhost` stands for no proxy. JobSpy takes them in turn, one a request.
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that intercept TLS.
        site_timeout_seconds: Time for one site, after which its search is killed. Pages until then are kept.
        page_delay_seconds: Least and greatest pause between two pages; None: JobSpy's own for each site.

    Raises:
        ValueError: A value cannot work.
    """

    proxies: tuple[str, ...] = ()
    ca_cert: Path | None = None
    site_timeout_seconds: float = 300.0
    page_delay_seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if problem := problem_of_proxies(self.proxies):
            raise ValueError(f"proxies: {problem}")
        if self.ca_cert is not None and not self.ca_cert.is_file():
            raise ValueError(f"ca_cert: {self.ca_cert} is not a file")
        if self.site_timeout_seconds <= 0:
            raise ValueError("site_timeout_seconds: must be above 0")
        if self.page_delay_seconds is not None and (problem := problem_of_page_delay(self.page_delay_seconds)):
            raise ValueError(f"page_delay_seconds: {problem}")


def problem_of_page_delay(seconds: tuple[float, float]) -> str | None:
    """Tell why a range of pauses cannot work, if it cannot."""
    least, greatest = seconds
    if 0 <= least <= greatest < math.inf:
        return None
    return "must be MIN,MAX: the least and the greatest pause, from 0 on"


def problem_of_proxies(proxies: Sequence[str]) -> str | None:
    """Tell what JobSpy would fail with, if anything. No value is shown: it may hold a password."""
    problems = ((number, _problem_of_proxy(proxy)) for number, proxy in enumerate(proxies, start=1))
    return next((f"number {number} {problem}" for number, problem in problems if problem), None)


def _problem_of_proxy(proxy: str) -> str | None:
    if re.search(r"[\s,;]", proxy):
        return "holds a space, a comma or a semicolon: each proxy is an entry of its own"
    try:
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        complete = bool(url.hostname) and url.port != 0
    except ValueError:
        complete = False
    if not complete:
        return "is not [scheme://][user:password@]host[:port]"
    if url.scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h"):
        return f"has the scheme {url.scheme!r}; allowed: http, https, socks4, socks5"
    if url.scheme.startswith("socks") and find_spec("socks") is None:
        return "is a SOCKS proxy, which needs the package requests[socks]"
    return None


class Answer(TypedDict):
    """What the child tells of one call of JobSpy: one message for every 100 rows, the rest with the first.

    Attributes:
        rows: Jobs as JobSpy gave them, without what JSON cannot hold.
        error: Why JobSpy could not go on, in its own words.
        warnings: What JobSpy ignored or did otherwise, each once in a search.
        skipped: Jobs that JobSpy could not read.
        skip_reason: Why it could not read the first of them.
        unread_page: Why JobSpy could not read a job's own page.
        response_ms: Time of the call in milliseconds, with JobSpy's pauses between its requests.
        requests: Search pages that JobSpy asked for.
    """

    rows: list[dict[str, Json]]
    error: str | None
    warnings: list[str]
    skipped: int
    skip_reason: str | None
    unread_page: str | None
    response_ms: int
    requests: int


class JobSpySource:
    """Searches eight job boards with JobSpy.

    Args:
        settings: Proxies, time limit and pauses.
    """

    name = "jobspy"
    kind = "jobs"
    version = 1
    sites: Sequence[str] = (
        "linkedin", "indeed", "zip_recruiter", "glassdoor", "bayt", "naukri", "bdjobs", "hellowork",
    )  # fmt: skip

    def __init__(self, settings: JobSpySettings | None = None) -> None:
        self._settings = settings or JobSpySettings()
        sandbox.preload(__name__, f"{__name__}_scrape")

    def validate(self, site: str, parameters: Parameters) -> None:
        """Check a run's parameters against what `site` can do, before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        self._search(site, parameters)

    async def fetch(self, site: str, parameters: Parameters, newer_than: datetime | None) -> AsyncGenerator[Page, None]:
        """Search `site`, page by page. Closing the generator kills the search at once.

        A page's payload is `{"rows": [...], "warnings": [...]}`, with at most 100 rows. A search that finds
        nothing, as far as JobSpy can tell, is one page without rows. Sites count the age of a job in days, if at all:
        `newer_than` gives the whole of its day.

        Raises:
            SiteError: The site failed, or not all that it has could be read. Pages that came before it are good.
        """
        search = self._search(site, parameters)
        tally = _Tally(site, search)
        answers = sandbox.stream(
            _scrape,
            site,
            self._arguments(site, search, newer_than),
            self._settings.page_delay_seconds,
            deadline_seconds=self._settings.site_timeout_seconds,
        )
        number = 0
        try:
            async with aclosing(answers):
                async for answer in answers:
                    answer["warnings"] = [self._masked(warning) for warning in answer["warnings"]]
                    for warning in answer["warnings"]:
                        logger.warning("%s: %s", site, warning)
                    if rows := tally.add(answer):
                        number += 1
                        yield _page(number, rows, answer["warnings"], answer["response_ms"], answer["requests"])
        except TimeoutError as error:
            raise SiteError(ErrorCode.TIMEOUT, str(error)) from None
        except sandbox.SandboxError as error:
            raise SiteError(ErrorCode.INTERNAL, self._masked(str(error))) from error
        if failure := tally.failure():
            raise SiteError(failure.code, self._masked(failure.message))
        if number == 0:
            yield _page(1, [], tally.warnings, tally.response_ms, tally.requests)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the rows of a page."""
        rows = page.payload.get("rows") if isinstance(page.payload, dict) else None
        if not isinstance(rows, list):
            raise InvalidItemError("must be a list", "rows")
        return rows

    def parse(self, site: str, record: Json) -> Item:
        """Turn a row into an item. One without an id, a title or a web address is no job."""
        if not isinstance(record, dict):
            raise InvalidItemError("a row must be an object")
        return Item(
            external_id=_required("id", _text(record, "id")),
            title=_required("title", _text(record, "title")),
            url=_required("job_url", _link(record, "job_url")),
            organization=_text(record, "company"),
            location=_text(record, "location"),
            is_remote=_is_remote(site, record),
            posted_at=_text(record, "date_posted"),
            salary_min=_number(record, "min_amount"),
            salary_max=_number(record, "max_amount"),
            salary_interval=_text(record, "interval"),
            currency=_text(record, "currency"),
            apply_url=_link(record, "job_url_direct"),
            description=_text(record, "description"),
            job_types=_texts(record, "job_type"),
            data={name: value for name, value in record.items() if name not in _ITEM_COLUMNS and value is not None},
        )

    def _search(self, site: str, parameters: Parameters) -> JobSearchParameters:
        if site == "google":
            raise SiteError(ErrorCode.INVALID_PARAMETERS, "sites: google is unavailable in JobSpy")
        if site not in self.sites:
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"sites: {site!r} is not one of {', '.join(self.sites)}")
        try:
            return JobSearchParameters.for_site(site, parameters)
        except SiteError as error:
            raise SiteError(error.code, self._masked(error.message)) from None

    def _arguments(self, site: str, search: JobSearchParameters, newer_than: datetime | None) -> dict[str, Any]:
        """JobSpy's arguments for one site."""
        hours_old = search.hours_old
        if newer_than is not None:
            hours = 24 * max(1, math.ceil((datetime.now(UTC) - newer_than) / timedelta(days=1)))
            hours_old = min(hours, hours_old or hours)
        location = search.location
        if location is None and site in LOCATED_BY_TEXT:
            location = search.country
        return {
            **search.model_dump(exclude={"sites", "country", "distance_miles"}),
            "description_format": "html",
            "hours_old": hours_old,
            "location": location,
            "country_indeed": search.country if search.country in COUNTRIES else None,
            "distance": search.distance_miles,
            "proxies": list(self._settings.proxies) or None,
            "ca_cert": str(self._settings.ca_cert) if self._settings.ca_cert else None,
        }

    def _masked(self, text: str) -> str:
        """A message that a person may read: one short line, without a proxy's password."""
        for proxy in self._settings.proxies:
            credentials = proxy.rpartition("@")[0].rpartition("//")[2]
            password = credentials.partition(":")[2]
            for secret in filter(None, (credentials, unquote(credentials), password, unquote(password))):
                text = text.replace(secret, "***")
        text = re.sub(r"//[^/\s@]+@", "//***@", text)
        text = re.sub(r"\s+(For further information|See) (visit )?https://\S+( first for more details.)?", "", text)
        return one_line(text)


class _Tally:
    """What one search has brought so far, and whether that is all of it."""

    def __init__(self, site: str, search: JobSearchParameters) -> None:
        self._site = site
        self._search = search
        self._found = self._lost = self._undescribed = 0
        self._has_unreadable_answer = False
        self._error: str | None = None
        self._skip_reason: str | None = None
        self._unread_page: str | None = None
        self.warnings: list[str] = []
        self.response_ms = self.requests = 0

    def add(self, answer: Answer) -> list[dict[str, Json]]:
        """Count an answer; give back its rows without those that are known not to match the search."""
        rows = answer["rows"]
        jobs = [row for row in rows if _is_job(row)]
        lost = len(rows) - len(jobs) + answer["skipped"]
        self._found += len(jobs)
        self._lost += lost
        self._has_unreadable_answer |= lost > 0 and not jobs
        self._undescribed += sum(not row.get("description") for row in jobs)
        self._error = self._error or answer["error"]
        self._skip_reason = self._skip_reason or answer["skip_reason"]
        self._unread_page = self._unread_page or answer["unread_page"]
        self.warnings += answer["warnings"]
        self.response_ms += answer["response_ms"]
        self.requests += answer["requests"]
        if not any(re.match(r"job_type .*isn't supported", warning) for warning in self.warnings):
            return rows
        return [row for row in rows if self._may_be_of_type(row.get("job_type"))]

    def failure(self) -> SiteError | None:
        """Why the search does not count as complete, if it does not."""
        if self._error is not None:
            return SiteError(classify(self._error), self._error)
        is_large_share = self._lost > 0 and self._lost >= LOST_SHARE * (self._found + self._lost)
        if is_large_share or self._has_unreadable_answer:
            return SiteError(
                ErrorCode.UNVERIFIED,
                f"{self._lost} of {self._found + self._lost} jobs could not be read; the site may have changed: "
                f"{self._skip_reason or 'no id, title or link'}",
            )
        if self._search.fetch_description and self._unread_page and self._undescribed >= LOST_SHARE * self._found:
            return SiteError(
                classify(self._unread_page),
                f"{self._undescribed} of {self._found} jobs have no description: {self._unread_page}",
            )
        if self._found == 0 and self._site in CAPTCHA_PRONE:
            return SiteError(ErrorCode.UNVERIFIED, "no jobs, which is also what a captcha looks like here")
        return None

    def _may_be_of_type(self, job_types: Json) -> bool:
        return not isinstance(job_types, list) or self._search.job_type in job_types


def classify(error: str) -> ErrorCode:
    """Tell why a search failed from what JobSpy says of it.

    Args:
        error: A message of `DataFrame.attrs["errors"]`, or of a log line.
    """
    return next((code for pattern, code in _ERROR_CODES if re.search(pattern, error)), ErrorCode.UPSTREAM)


def _scrape(site: str, arguments: dict[str, Any], page_delay_seconds: tuple[float, float] | None) -> Iterator[Answer]:
    from worker.sources.jobspy_scrape import scrape  # noqa: PLC0415 (JobSpy and pandas are the child's alone)

    return scrape(site, arguments, page_delay_seconds)


def _page(number: int, rows: list[dict[str, Json]], warnings: list[str], response_ms: int, requests: int) -> Page:
    payload: dict[str, Json] = {"rows": [*rows], "warnings": [*warnings]}
    return Page(number, payload, response_ms, requests)


def _is_job(row: dict[str, Json]) -> bool:
    return None not in (_text(row, "id"), _text(row, "title"), _link(row, "job_url"))


def _required(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidItemError("is missing, or not what it should be", name)
    return value


def _is_remote(site: str, row: dict[str, Json]) -> bool | None:
    value = row.get("is_remote")
    if site == "linkedin" and not value:
        return None  # JobSpy only looks for "remote" in LinkedIn's titles and locations
    return value if isinstance(value, bool) else None


def _text(row: dict[str, Json], name: str) -> str | None:
    value = row.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _link(row: dict[str, Json], name: str) -> str | None:
    """A web address: what a frontend makes a link of must not be `javascript:`."""
    value = _text(row, name)
    return value if value and re.match(r"https?://", value, re.IGNORECASE) else None


def _texts(row: dict[str, Json], name: str) -> tuple[str, ...]:
    value = row.get(name)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _number(row: dict[str, Json], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else None
