"""Sources whose site is many boards, one of each company, that answer with all of their jobs and search nothing."""

from __future__ import annotations

import math
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
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError
from pydantic_core import PydanticCustomError

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.http import Response, SiteHttp
from worker.model import Item, Json, Page, Progress, SiteLimits
from worker.pipeline.salaries import NO_SALARY, Salary
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source
from worker.sources.fields import mapping
from worker.sources.job_filter import JobFilter, Match, since
from worker.sources.parameters import NAMES_BOARDS, JobParameters

PAGE_SIZE = 100
"""Most jobs of a page: with their descriptions, one to two megabytes."""

POLITE = SiteLimits(min_delay_seconds=1, searches=4)
"""None of these APIs publishes a limit for reading. Lever's robots.txt asks for a second between two requests; where an
answer is a whole board, more than that would be rude as well."""

MOST_FAILURES_IN_A_ROW = 3
"""So many boards that fail one after another, as all do at a site that is down, mean that it is."""

_DOWN = frozenset({ErrorCode.BLOCKED, ErrorCode.NETWORK, ErrorCode.TIMEOUT, ErrorCode.UPSTREAM})

_BOARD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9_-])?")
_UNREADABLE = Match(sys.maxsize, 0, 0)


def _is_board(name: str) -> str:
    if _BOARD.fullmatch(name) and ".." not in name:
        return name
    raise PydanticCustomError(
        "board",
        "'{name}' names no board; allowed: letters, digits, spaces, - _ and . as in the address of the board",
        {"name": name},
    )


BoardNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_is_board)]],
    Field(
        default_factory=list,
        validate_default=True,
        min_length=1,
        max_length=50,
        json_schema_extra={NAMES_BOARDS: True},
    ),
]
"""One to fifty companies, each by the name that its board has in its address, where it is one segment of the path."""


class CompanyBoards(Source):
    """Searches the boards of the companies that a run names, one after another.

    A board answers with all of its jobs, whatever is asked for: `JobFilter` chooses among them. A page holds at most
    `PAGE_SIZE` matching jobs of one answer, best first, each as it came: `{"board": name, "jobs": [...]}`. An answer
    without a matching job is a page without jobs, so that a search that goes on does not ask for it again.

    `results_wanted` counts for all boards together. Each may give an equal share of it; what it leaves goes to those
    after it. Progress counts boards.

    A board that fails keeps no other from being searched: the site fails in the end, and names it. A search that goes
    on then asks the boards that failed. Only where the site itself wants less, or is down, it fails at once.

    Attributes:
        boards: The parameter with the boards' names.
        addresses: Where boards are, `{}` in place of the name. What is not known at one is looked for at the next.
        query: Query parameters of each request.
        answer_size: How many jobs to ask for at a time; None: a board has one answer.
    """

    kind = "jobs"
    parameters: type[JobParameters]
    boards: str
    addresses: Sequence[str]
    query: Mapping[str, str]
    answer_size: int | None = None

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search the boards that are not searched yet.

        Raises:
            SiteError: Boards failed: `not_found` if no board that failed is known, else the first cause that may pass.
        """
        asked = self.parameters.read(search.parameters)
        boards = list(dict.fromkeys(getattr(asked, self.boards)))
        cursor = _Cursor.of(search.cursor) or _Cursor(published_since=since(asked, search.newer_than, _now()))
        job_filter = JobFilter(asked, cursor.published_since)
        left = [board for board in boards if not cursor.at(board).is_done]
        failures = _Failures()
        number = search.next_page
        while left and cursor.found < asked.results_wanted:
            board = left[0]
            await search.report(Progress("searching", len(boards) - len(left), len(boards), {"board": board}))
            cursor = cursor.with_share(board, asked.results_wanted, len(left))
            left.remove(board)
            try:
                async with aclosing(self._search_board(search.http, job_filter, board, cursor.at(board))) as answers:
                    async for jobs, response_ms, requests, position in answers:
                        cursor = cursor.moved(board, position)
                        is_over = position.is_done and (not left or cursor.found >= asked.results_wanted)
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
                if failures.in_a_row == MOST_FAILURES_IN_A_ROW:
                    break
        if failures:
            await search.report(Progress("searching", len(boards) - len(left), len(boards)))
            raise failures.in_one(len(boards))

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
            # A board may say any id: those of another board's jobs must not be among them.
            external_id=f"{board.casefold()}/{item.external_id}",
            data={"board": board, **{name: value for name, value in item.data.items() if value}},
        )

    @abstractmethod
    def jobs(self, answer: Json) -> Sequence[Json]:
        """Return the jobs of a board's answer that the public may see.

        Raises:
            SiteError: `unverified`, the answer is none of a board's.
        """
        ...

    @abstractmethod
    def item(self, board: str, job: dict[str, Json]) -> Item:
        """Turn a job into an item, in the board's own words. What is empty in `data` is left out.

        Raises:
            InvalidItemError: It is no job; with the field that is wrong.
        """
        ...

    async def _search_board(
        self, http: SiteHttp, job_filter: JobFilter, board: str, position: _Position
    ) -> AsyncGenerator[tuple[list[Json], int, int, _Position], None]:
        """Yield the matching jobs of a board, as many as its share, each time with what they cost and where it is."""
        addresses = self.addresses
        while not position.is_done:
            response, address = await self._ask(http, board, position.start, addresses)
            addresses = (address,)
            # An answer may be tens of megabytes: reading it must not hold up the heartbeats.
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

    async def _ask(self, http: SiteHttp, board: str, start: int, addresses: Sequence[str]) -> tuple[Response, str]:
        part = {} if self.answer_size is None else {"skip": str(start), "limit": str(self.answer_size)}
        for address in addresses:
            response = await http.request("GET", address.format(quote(board, safe="")), params={**self.query, **part})
            if response.status != HTTPStatus.NOT_FOUND:
                return response.checked(), address
        raise SiteError(ErrorCode.NOT_FOUND, "no such board")

    def _select(self, response: Response, board: str, job_filter: JobFilter) -> tuple[int, list[Json]]:
        """Return how many jobs an answer has, and those that match, best first. What cannot be read is kept, last."""
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
    """Return the list `jobs` of an answer.

    Raises:
        SiteError: `unverified`, there is none.
    """
    jobs = mapping(answer).get("jobs")
    if not isinstance(jobs, list):
        raise SiteError(ErrorCode.UNVERIFIED, "the answer has no list of jobs")
    return jobs


def widest(salaries: Iterable[Salary]) -> Salary:
    """Return the range that holds all that are told for the first one's interval and currency (levels, places)."""
    told = [salary for salary in salaries if salary.least is not None or salary.most is not None]
    if not told:
        return NO_SALARY
    same = [salary for salary in told if (salary.interval, salary.currency) == (told[0].interval, told[0].currency)]
    least = min((salary.least for salary in same if salary.least is not None), default=None)
    most = max((salary.most for salary in same if salary.most is not None), default=None)
    return Salary(least, most, told[0].interval, told[0].currency)


def organization_of(board: str) -> str:
    """Return a company's name as far as its board's name tells it: `acme-robotics` is Acme Robotics."""
    name = " ".join(re.split(r"[-_\s]+", board)).strip()
    return name.title() if name.islower() else name


# How far a search is -------------------------------------------------------------------------------------


class _Position(BaseModel):
    """How far the search of one board is.

    Attributes:
        share: How many of its jobs are wanted at most; 0: it has not begun.
        given: How many were found.
        start: Where in the board its current answer begins.
        taken: How many of that answer's matching jobs were found.
        is_done: Whether nothing is left to search.
    """

    model_config = ConfigDict(frozen=True)

    share: NonNegativeInt = 0
    given: NonNegativeInt = 0
    start: NonNegativeInt = 0
    taken: NonNegativeInt = 0
    is_done: bool = False

    def after(self, count: int) -> _Position:
        return self.model_copy(update={"given": self.given + count, "taken": self.taken + count})

    def at_next(self, count: int) -> _Position:
        return self.model_copy(update={"start": self.start + count, "taken": 0})

    def done(self) -> _Position:
        return self.model_copy(update={"is_done": True})


class _Cursor(BaseModel):
    """How far a search is, as its pages carry it.

    Attributes:
        published_since: Kept, because `hours_old` counts from when the search began.
        positions: Of the boards that were begun.
    """

    model_config = ConfigDict(frozen=True)

    published_since: datetime | None = None
    positions: dict[str, _Position] = Field(default_factory=dict)

    @classmethod
    def of(cls, cursor: Json) -> _Cursor | None:
        """Read a page's cursor; None without one, and where it is none of this version: the search then begins anew."""
        try:
            return cls.model_validate(cursor)
        except ValidationError:
            return None

    @property
    def found(self) -> int:
        return sum(position.given for position in self.positions.values())

    def at(self, board: str) -> _Position:
        return self.positions.get(board, _Position())

    def moved(self, board: str, position: _Position) -> _Cursor:
        return self.model_copy(update={"positions": {**self.positions, board: position}})

    def with_share(self, board: str, results_wanted: int, boards_left: int) -> _Cursor:
        """Give a board that begins its share of what is still wanted."""
        position = self.at(board)
        share = position.share or math.ceil((results_wanted - self.found) / boards_left)
        return self.moved(board, position.model_copy(update={"share": share}))


def _now() -> datetime:
    return datetime.now(UTC)


# Boards that fail ----------------------------------------------------------------------------------------


class _Failures:
    """Why boards could not be searched.

    Attributes:
        in_a_row: How many of the last boards failed as they all do where the site is down.
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
        self.in_a_row = self.in_a_row + 1 if error.code in _DOWN else 0

    def in_one(self, boards: int) -> SiteError:
        """Return one error for all of them."""
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
