"""The plan: which searches and faults happen at which time. It depends only on a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from worker.errors import ErrorCode
from worker.local.boards import Failure
from worker.local.supabase.faulty_gateway import Outage

SITES = ("linkedin", "indeed", "zip_recruiter", "glassdoor")
TERMS = ("engineer", "manager", "designer", "nurse", "analyst", "teacher", "accountant", "developer")
EXITS = ("one", "two", "three")
"""The exits of each worker."""
USERS = 8
LEASE_SECONDS = 5
"""The minimum of `worker_claim_runs`, so that much happens in a short time."""

SECONDS_A_RUN = 0.7
MIN_SECONDS = 14.0
SHARE_AT_ONCE = 0.3
SHARE_CANCELLED = 0.1
SHARE_WATCHED = 0.1
SHARE_EQUAL = 0.4
SHARE_WITH_FALLBACKS = 0.3
SLOTS = 4
"""Slots of each schedule. There is one schedule for five searches."""

POSSIBLE_ERRORS: dict[Failure, frozenset[ErrorCode]] = {
    Failure.RATE_LIMITED: frozenset({ErrorCode.RATE_LIMITED}),
    Failure.BLOCKED: frozenset({ErrorCode.BLOCKED}),
    Failure.SERVER_ERROR: frozenset({ErrorCode.UPSTREAM}),
    Failure.BAD_GATEWAY: frozenset({ErrorCode.UPSTREAM}),
    Failure.RESET: frozenset({ErrorCode.NETWORK}),
    Failure.TRUNCATED: frozenset({ErrorCode.NETWORK}),
    Failure.SCHEMA_DRIFT: frozenset({ErrorCode.UNVERIFIED}),
    Failure.HANG: frozenset({ErrorCode.TIMEOUT}),
    Failure.DRIP: frozenset({ErrorCode.TIMEOUT}),
}
"""The error code of a search of a failing board. Empty boards are left out: they look like boards without listings."""


class Blow(StrEnum):
    """What happens to the process of a worker."""

    KILL = "SIGKILL"
    PAUSE = "SIGSTOP"
    TERMINATE = "SIGTERM"


class Shutdown(StrEnum):
    """How Postgres is shut down. `immediate` is like a crash: the next start recovers."""

    FAST = "fast"
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True)
class WorkerFault:
    """A signal to a worker. A paused worker continues after `seconds`, which is longer than a lease."""

    at: float
    worker: int
    blow: Blow
    seconds: float


@dataclass(frozen=True, slots=True)
class GatewayFault:
    """The gateway of Supabase fails for `seconds`."""

    at: float
    outage: Outage
    seconds: float


@dataclass(frozen=True, slots=True)
class PostgresFault:
    """Postgres is shut down, and restarted after `seconds`."""

    at: float
    shutdown: Shutdown
    seconds: float


@dataclass(frozen=True, slots=True)
class BoardFault:
    """A job board fails for `seconds`."""

    at: float
    site: str
    failure: Failure
    from_page: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ExitFault:
    """An exit of the workers refuses all connections for `seconds`."""

    at: float
    exit: str
    seconds: float


Fault: TypeAlias = WorkerFault | GatewayFault | PostgresFault | BoardFault | ExitFault
Card: TypeAlias = Blow | type[GatewayFault] | type[PostgresFault] | type[BoardFault] | type[ExitFault]
DECK: Sequence[Card] = (*Blow, *Blow, GatewayFault, PostgresFault, *(4 * (BoardFault,)), *(2 * (ExitFault,)))
"""The relative frequency of each kind of fault."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a user.

    Attributes:
        at: Seconds from the start.
        user: Number of the user.
        key: Its idempotency key.
        cancelled_after: Seconds until the user cancels it. `None`: never.
        is_watched: Whether the user follows it until it ends.
    """

    at: float
    user: int
    key: str
    parameters: dict[str, Any]
    cancelled_after: float | None = None
    is_watched: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """A saved search of a user, and when it is repeated.

    Attributes:
        user: Number of the user.
        slots: Seconds from the start.
    """

    user: int
    name: str
    parameters: dict[str, Any]
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the start. All times are seconds from the start.

    Attributes:
        references: Searches of every site for every term, made without faults. Their results are the expected ones.
    """

    seed: int
    workers: int
    references: tuple[Search, ...]
    searches: tuple[Search, ...]
    schedules: tuple[Schedule, ...]
    faults: tuple[Fault, ...]

    @property
    def possible_errors(self) -> frozenset[tuple[str, str]]:
        """The possible errors: (site, error code)."""
        ordered = {
            (fault.site, str(code))
            for fault in self.faults
            if isinstance(fault, BoardFault)
            for code in POSSIBLE_ERRORS[fault.failure]
        }
        # Also without failing boards: a search may time out while its worker is paused or its pages cannot be saved, or
        # wait for other searches for longer than the maximum wait.
        # If all exits have failed, the site could not be reached.
        codes = (str(ErrorCode.TIMEOUT), str(ErrorCode.RATE_LIMITED), str(ErrorCode.NETWORK), "worker_lost")
        anywhere = {(site, code) for site in SITES for code in codes}
        return frozenset(ordered | anywhere)


def make_plan(*, seed: int, runs: int, workers: int) -> Plan:
    """Plan an experiment.

    Args:
        seed: Equal seeds give equal plans.
        runs: Number of searches.
        workers: Number of worker processes.
    """
    rng = random.Random(seed)
    seconds = max(MIN_SECONDS, runs * SECONDS_A_RUN)
    terms = rng.sample(TERMS, min(len(TERMS), 2 + runs // 10))
    wanted = {term: rng.randint(10, 40) for term in terms}
    references = tuple(
        Search(0.0, user % USERS, f"reference-{term}", _parameters(term, wanted[term], SITES))
        for user, term in enumerate(terms)
    )
    return Plan(
        seed=seed,
        workers=workers,
        references=references,
        searches=tuple(_searches(rng, runs, seconds, wanted)),
        schedules=tuple(_schedules(rng, max(2, runs // 5), seconds, wanted)),
        faults=tuple(_faults(rng, seconds, workers)),
    )


def _searches(rng: random.Random, runs: int, seconds: float, wanted: dict[str, int]) -> Iterator[Search]:
    asked: list[dict[str, Any]] = []
    for number in range(runs):
        term = rng.choice(list(wanted))
        sites = rng.sample(SITES, rng.choices((1, 2, 3), (4, 4, 2))[0])
        parameters = _parameters(term, wanted[term], sites)
        if rng.random() < SHARE_WITH_FALLBACKS:
            parameters["fallback_sites"] = [site for site in SITES if site not in sites][:1]
        if asked and rng.random() < SHARE_EQUAL:
            parameters = rng.choice(asked)
        asked.append(parameters)
        yield Search(
            at=0.0 if rng.random() < SHARE_AT_ONCE else rng.uniform(0, 0.8 * seconds),
            user=rng.randrange(USERS),
            key=f"run-{number}",
            parameters=parameters,
            cancelled_after=rng.uniform(0, 10) if rng.random() < SHARE_CANCELLED else None,
            is_watched=rng.random() < SHARE_WATCHED,
        )


def _schedules(rng: random.Random, count: int, seconds: float, wanted: dict[str, int]) -> Iterator[Schedule]:
    for number in range(count):
        term = rng.choice(list(wanted))
        yield Schedule(
            user=rng.randrange(USERS),
            name=f"saved-{number}",
            parameters=_parameters(term, wanted[term], rng.sample(SITES, 1)),
            # In whole seconds: the run of a slot is known by them. A schedule of a user has whole minutes.
            slots=tuple(sorted(rng.sample(range(1, max(SLOTS + 1, int(0.8 * seconds))), SLOTS))),
        )


def _parameters(term: str, results_wanted: int, sites: Sequence[str]) -> dict[str, Any]:
    return {"search_term": term, "sites": [*sites], "results_wanted": results_wanted}


def _faults(rng: random.Random, seconds: float, workers: int) -> Iterator[Fault]:
    at = rng.uniform(1, 2)
    for number, card in enumerate(_cards(rng)):
        if number >= len(DECK) and at > seconds:
            return
        yield _fault(rng, at, card, workers)
        at += rng.uniform(0.5, 2.0)


def _cards(rng: random.Random) -> Iterator[Card]:
    """Yield faults from shuffled decks, endlessly. So each kind of fault happens even in a short experiment."""
    while True:
        yield from rng.sample(DECK, len(DECK))


def _fault(rng: random.Random, at: float, card: Card, workers: int) -> Fault:
    if isinstance(card, Blow):
        return WorkerFault(
            at, rng.randrange(workers), card, seconds=rng.uniform(LEASE_SECONDS + 0.5, LEASE_SECONDS + 3)
        )
    if card is GatewayFault:
        return GatewayFault(at, rng.choice([*Outage]), seconds=rng.uniform(1, 6))
    if card is PostgresFault:
        return PostgresFault(at, rng.choice([*Shutdown]), seconds=rng.uniform(0, 3))
    if card is ExitFault:
        return ExitFault(at, rng.choice(EXITS), seconds=rng.uniform(2, 8))
    return BoardFault(
        at,
        site=rng.choice(SITES),
        failure=rng.choice([*POSSIBLE_ERRORS]),
        from_page=rng.choice((1, 1, 2, 3)),
        seconds=rng.uniform(2, 8),
    )
