"""Base class of sources whose site hosts one job board per company and has no search of its own."""

from __future__ import annotations

import re
import sys
from abc import abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from operator import itemgetter
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from worker.errors import ErrorCode, InvalidItemError, SiteError, UnknownBoardError
from worker.http import Response, SiteHttp
from worker.model import Item, Json, Organization, Page, Progress, SiteLimits
from worker.pipeline.salaries import NO_SALARY, Salary
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source
from worker.sources.company_boards_cursor import Cursor, Position
from worker.sources.fields import mapping
from worker.sources.job_filter import JobFilter, Match, published_since
from worker.sources.parameters import NAMES_BOARDS, JobParameters

PAGE_SIZE = 100
"""Most jobs on a page. With descriptions, that is one to two megabytes."""

DEFAULT_LIMITS = SiteLimits(min_delay_seconds=1, searches=4)
"""None of these APIs publishes a rate limit for reading. Lever's robots.txt asks for one second between requests, which
is also appropriate where a response has a whole board."""

MAX_BOARD_LENGTH = 100

MAX_FAILURES_IN_A_ROW = 3
"""After this many consecutive boards with errors of `_SITE_ERRORS`, the site counts as down."""

_SITE_ERRORS = frozenset({ErrorCode.BLOCKED, ErrorCode.NETWORK, ErrorCode.TIMEOUT, ErrorCode.UPSTREAM})

_BOARD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9_-])?")
_UNREADABLE = Match(sys.maxsize, 0, 0)


def is_board_name(name: str) -> bool:
    """Return whether a text can be the name of a board: one path segment of its URL."""
    return bool(_BOARD.fullmatch(name)) and ".." not in name and len(name) <= MAX_BOARD_LENGTH


def _valid_board(name: str) -> str:
    if is_board_name(name):
        return name
    raise PydanticCustomError(
        "board",
        "'{name}' is not the name of a board; allowed: letters, digits, spaces, - _ and . as in the board's address",
        {"name": name},
    )


BoardNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_BOARD_LENGTH), AfterValidator(_valid_board)]],
    Field(
        default_factory=list,
        validate_default=True,
        min_length=1,
        max_length=50,
        json_schema_extra={NAMES_BOARDS: True},
    ),
]
"""Names of one to fifty boards. A board's name is one path segment of its URL."""


class CompanyBoardsParameters(JobParameters):
    """Parameters that all searches of company boards have.

    Attributes:
        board_organizations: Whether the user gets organizations of his own from the boards that he names. The
            database reads it.
    """

    board_organizations: bool = False


class CompanyBoards(Source):
    """Searches the company boards that a run names, one after another.

    A board returns all its jobs; `JobFilter` selects the matching ones. A page has at most `PAGE_SIZE` matching jobs of
    one response, best first, unchanged: `{"board": name, "jobs": [...]}`. A response without matching jobs becomes a
    page without jobs, so that a resumed search does not request it again.

    `results_wanted` is the total over all boards. Each board may contribute an equal share; the unused part of a share
    passes to the boards after it. Progress counts boards.

    If a board fails, the search continues with the next one, and fails at the end with a message that names the failed
    boards. When it is resumed, it requests only these. If the site limits the rate or is down, the search fails
    immediately.

    Attributes:
        boards: Name of the parameter with the names of the boards.
        addresses: URLs of a board with `{}` for its name. After a 404 the next URL is tried.
        query: Query parameters of each request.
        answer_size: Jobs to request at a time; None: a response has the whole board.
        job_address: URL of a job's page; its first group is the name of the board.
    """

    kind = "jobs"
    parameters: type[CompanyBoardsParameters]
    boards: str
    addresses: Sequence[str]
    query: Mapping[str, str]
    answer_size: int | None = None
    job_address: re.Pattern[str]

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search the remaining boards.

        Raises:
            SiteError: One or more boards failed. The code is that of the first retryable failure, else of the first.
        """
        parameters = self.parameters.read(search.parameters)
        boards = list(dict.fromkeys(getattr(parameters, self.boards)))
        cursor = Cursor.of(search.cursor) or Cursor(
            published_since=published_since(parameters, search.newer_than, datetime.now(UTC))
        )
        job_filter = JobFilter(parameters, cursor.published_since)
        left = [board for board in boards if not cursor.at(board).is_done]
        failures = _Failures()
        number = search.next_page
        while left and cursor.found < parameters.results_wanted:
            board = left[0]
            await search.report(Progress("searching", len(boards) - len(left), len(boards), {"board": board}))
            cursor = cursor.with_share(board, parameters.results_wanted, len(left))
            left.remove(board)
            try:
                async with aclosing(self._search_board(search.http, job_filter, board, cursor.at(board))) as answers:
                    async for jobs, response_ms, requests, position in answers:
                        cursor = cursor.moved(board, position)
                        is_over = position.is_done and (not left or cursor.found >= parameters.results_wanted)
                        if is_over:
                            await search.report(Progress("searching", len(boards) - len(left), len(boards)))
                        yield Page(
                            number,
                            {"board": board, "jobs": jobs},
                            response_ms,
                            requests,
                            cursor=cursor.model_dump(mode="json"),
                            is_last=is_over and not failures,
                        )
                        number += 1
                failures.end_row()
            except SiteError as error:
                if error.code is ErrorCode.RATE_LIMITED:
                    raise
                failures.add(board, error)
                if failures.in_a_row == MAX_FAILURES_IN_A_ROW:
                    break
        if failures:
            await search.report(Progress("searching", len(boards) - len(left), len(boards)))
            raise failures.combined(len(boards))

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the jobs of a page, each as `{"board": name, "job": {...}}`."""
        payload = mapping(page.payload)
        board, jobs = payload.get("board"), payload.get("jobs")
        if not isinstance(board, str):
            raise InvalidItemError("must be a text", "board")
        if not isinstance(jobs, list):
            raise InvalidItemError("must be a list", "jobs")
        return [{"board": board, "job": job} for job in jobs]

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job of a board into an item."""
        board, job = mapping(record).get("board"), mapping(record).get("job")
        if not isinstance(board, str):
            raise InvalidItemError("must be a text", "board")
        if not isinstance(job, dict):
            raise InvalidItemError("must be an object", "job")
        item = self.item(board, job)
        return replace(
            item,
            # A board chooses the ids of its jobs: the prefix keeps them apart from those of other boards.
            external_id=f"{board.casefold()}/{item.external_id}",
            employer=Organization(profile_url=_page_of(board, item.url)),
            data={"board": board, **{name: value for name, value in item.data.items() if value}},
        )

    def records_in(self, site: str, content: Json, board: str | None = None) -> Sequence[Json]:
        """Return the jobs of content, each as `{"board": name, "job": {...}}`.

        The board is the one that a page's payload names, else `board`, else the one in the URLs of the jobs.

        Raises:
            UnknownBoardError: None of these names it.
        """
        records: list[Json] = []
        jobs: list[Json] = []
        for part in content if isinstance(content, list) else [content]:
            match part:
                case {"board": str(), "jobs": list()}:
                    records += self.records(site, Page(1, part, 0))
                case {"board": str(), "job": dict()}:
                    records.append(part)
                case _:
                    jobs += self._jobs_of(part)
        boards = [board or self._board_of(job) for job in jobs]
        # A job without a usable address is an error of that job, on the board of the others.
        other = next(filter(None, boards), None)
        if jobs and other is None:
            raise UnknownBoardError("neither the content nor the addresses of its jobs name the board")
        return records + [{"board": own or other, "job": job} for own, job in zip(boards, jobs, strict=True)]

    def _jobs_of(self, part: Json) -> Sequence[Json]:
        try:
            return self.jobs(part)
        except SiteError:
            return [part]

    def _board_of(self, job: Json) -> str | None:
        try:
            match = self.job_address.match(self.item("unknown", mapping(job)).url)
        except InvalidItemError:
            return None
        name = unquote(match[1]) if match else ""
        return name if is_board_name(name) else None

    @abstractmethod
    def jobs(self, answer: Json) -> Sequence[Json]:
        """Return the public jobs of a response.

        Raises:
            SiteError: `unverified`: the response does not have the expected format.
        """
        ...

    @abstractmethod
    def item(self, board: str, job: dict[str, Json]) -> Item:
        """Turn a job into an item, without normalization. `parse` removes empty values of `data`.

        Raises:
            InvalidItemError: A field is missing or invalid.
        """
        ...

    async def _search_board(
        self, http: SiteHttp, job_filter: JobFilter, board: str, position: Position
    ) -> AsyncGenerator[tuple[list[Json], int, int, Position], None]:
        """Yield the matching jobs of a board, up to its share, in pages.

        Yields:
            The jobs, the response time in milliseconds, the number of requests, and the position after the page.
        """
        addresses = self.addresses
        while not position.is_done:
            response, address = await self._request(http, board, position.start, addresses)
            addresses = (address,)
            # A response may have tens of megabytes: parsing it on the event loop would delay heartbeats.
            count, jobs = await in_daemon_thread(partial(self._select, response, board, job_filter))
            jobs = jobs[: position.taken + position.share - position.given]
            requests = response.requests
            is_read = False
            while not is_read:
                found = jobs[position.taken : position.taken + PAGE_SIZE]
                position = position.after(len(found))
                is_read = position.taken >= len(jobs)
                if is_read:
                    has_more = self.answer_size is not None and count >= self.answer_size
                    position = (
                        position.at_next(count) if has_more and position.given < position.share else position.done()
                    )
                yield found, response.elapsed_ms, requests, position
                requests = 0

    async def _request(self, http: SiteHttp, board: str, start: int, addresses: Sequence[str]) -> tuple[Response, str]:
        part = {} if self.answer_size is None else {"skip": str(start), "limit": str(self.answer_size)}
        for address in addresses:
            response = await http.request("GET", address.format(quote(board, safe="")), params={**self.query, **part})
            if response.status != HTTPStatus.NOT_FOUND:
                return response.checked(), address
        raise SiteError(ErrorCode.NOT_FOUND, "no such board")

    def _select(self, response: Response, board: str, job_filter: JobFilter) -> tuple[int, list[Json]]:
        """Return the number of jobs in a response, and the matching ones, best first.

        Unreadable jobs are kept and come last, so that they show up as errors of the page.
        """
        jobs = self.jobs(response.json())
        found: list[tuple[Match, Json]] = []
        for job in jobs:
            try:
                match = job_filter.match(self.parse(self.name, {"board": board, "job": job}))
            except InvalidItemError:
                match = _UNREADABLE
            if match is not None:
                found.append((match, job))
        found.sort(key=itemgetter(0))
        return len(jobs), [job for _, job in found]


def listed_jobs(answer: Json) -> list[Json]:
    """Return the list `jobs` of a response.

    Raises:
        SiteError: `unverified`: it has no such list.
    """
    jobs = mapping(answer).get("jobs")
    if not isinstance(jobs, list):
        raise SiteError(ErrorCode.UNVERIFIED, "the answer has no list of jobs")
    return jobs


def widest(salaries: Iterable[Salary]) -> Salary:
    """Return the range that contains all salaries with the interval and the currency of the first one.

    A job has several salaries for different levels or places. One whose interval is unknown counts only if all are so.
    """
    known = [salary for salary in salaries if salary.least is not None or salary.most is not None]
    if not known:
        return NO_SALARY
    first = next((salary for salary in known if salary.interval is not None), known[0])
    same = [salary for salary in known if (salary.interval, salary.currency) == (first.interval, first.currency)]
    least = min((salary.least for salary in same if salary.least is not None), default=None)
    most = max((salary.most for salary in same if salary.most is not None), default=None)
    return Salary(least, most, first.interval, first.currency)


def organization_of(board: str) -> str:
    """Derive a company's name from the name of its board: `acme-robotics` becomes `Acme Robotics`."""
    name = " ".join(re.split(r"[-_\s]+", board)).strip()
    return name.title() if name.islower() else name


def _page_of(board: str, url: str) -> str | None:
    """Return the address of a board from that of a job: `https://jobs.lever.co/acme` from `.../acme/123`."""
    page, segment, _ = url.partition(f"/{quote(board, safe='')}/")
    return page + segment.removesuffix("/") if segment else None


class _Failures:
    """The errors of the boards that failed.

    Attributes:
        in_a_row: Number of consecutive boards, up to the last one, that failed with one of `_SITE_ERRORS`.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self._errors: dict[str, SiteError] = {}

    def __bool__(self) -> bool:
        return bool(self._errors)

    def end_row(self) -> None:
        self.in_a_row = 0

    def add(self, board: str, error: SiteError) -> None:
        self._errors[board] = error
        self.in_a_row = self.in_a_row + 1 if error.code in _SITE_ERRORS else 0

    def combined(self, boards: int) -> SiteError:
        """Return one error for all failed boards.

        Args:
            boards: Number of boards of the search.
        """
        by_message: dict[str, list[str]] = defaultdict(list)
        for board, error in self._errors.items():
            by_message[error.message].append(board)
        causes = "; ".join(f"{message}: {', '.join(failed)}" for message, failed in by_message.items())
        errors = self._errors.values()
        cause = next((error for error in errors if not error.is_final), next(iter(errors)))
        return SiteError(
            cause.code,
            f"{len(errors)} of {boards} boards failed ({causes})",
            is_final=cause.is_final,
            retry_after_seconds=max((error.retry_after_seconds or 0 for error in errors), default=0) or None,
        )
