"""How much a worker does at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine import load as module
from worker.engine.load import (
    CALM_SECONDS,
    MAX_LAG_SECONDS,
    RESERVE_BYTES,
    SEARCH_BYTES,
    YOUNG_SECONDS,
    Load,
    Reading,
    has_room,
    next_limit,
)
from worker.errors import ErrorCode, SiteError
from worker.processes.memory import Memory, MemoryUse
from worker.processes.sandbox import ChildDiedError

LIMIT = 2**40


def with_room(searches: float) -> MemoryUse:
    """Memory that has room for so many more searches."""
    return MemoryUse(LIMIT - RESERVE_BYTES - int(searches * SEARCH_BYTES), LIMIT)


readings = st.builds(
    Reading,
    running=st.integers(0, 120),
    waiting=st.integers(0, 120),
    lag_seconds=st.floats(0, 10),
    has_lost_child=st.booleans(),
    memory=st.none() | st.builds(MemoryUse, st.integers(0, 2**34), st.integers(1, 2**34)),
    calm_seconds=st.floats(0, 100),
)
limits = st.integers(1, 100)


@given(limit=limits, maximum=limits, reading=readings)
def test_the_limit_is_from_one_to_the_maximum_and_has_a_reason(limit: int, maximum: int, reading: Reading) -> None:
    decided, reason = next_limit(limit, maximum, reading)
    assert 1 <= decided <= maximum
    assert decided == limit or reason != "no change" or maximum < limit


@given(limit=limits, maximum=limits, reading=readings)
def test_the_limit_rises_by_one_at_most_and_only_if_nothing_suffers(limit: int, maximum: int, reading: Reading) -> None:
    decided, _ = next_limit(limit, maximum, reading)
    assert decided <= limit + 1
    if decided > limit:
        assert reading.running >= limit
        assert reading.calm_seconds >= CALM_SECONDS
        assert not reading.has_lost_child
        assert not reading.waiting
        assert reading.lag_seconds <= MAX_LAG_SECONDS


@given(limit=limits, maximum=limits, reading=readings, less=st.integers(0, 2**30))
def test_less_memory_never_means_more_searches(limit: int, maximum: int, reading: Reading, less: int) -> None:
    if reading.memory is None:
        return
    tighter = replace(reading, memory=MemoryUse(reading.memory.used + less, reading.memory.limit))
    assert next_limit(limit, maximum, tighter)[0] <= next_limit(limit, maximum, reading)[0]


@given(maximum=limits, start=limits)
def test_a_worker_with_work_and_memory_comes_to_its_maximum(maximum: int, start: int) -> None:
    limit = min(start, maximum)
    for _ in range(maximum):
        limit, _ = next_limit(limit, maximum, Reading(running=limit))
    assert limit == maximum


@pytest.mark.parametrize(
    ("limit", "reading", "expected"),
    [
        (5, Reading(running=2), (5, "no change")),
        (5, Reading(running=5), (6, "there is more work, and room for it")),
        (5, Reading(running=5, calm_seconds=CALM_SECONDS - 1), (5, "no change")),
        (8, Reading(running=5, memory=with_room(0)), (5, "1048512 of 1048576 MiB of memory are used")),
        (8, Reading(running=0, memory=with_room(2.9)), (2, "1048419 of 1048576 MiB of memory are used")),
        (8, Reading(running=4, memory=with_room(-9)), (1, "1048800 of 1048576 MiB of memory are used")),
        (5, Reading(running=5, memory=with_room(1)), (6, "there is more work, and room for it")),
        (8, Reading(running=8, waiting=3), (5, "3 of them wait for memory")),
        (5, Reading(running=8, waiting=3), (5, "3 of them wait for memory")),
        (8, Reading(running=8, lag_seconds=0.5), (7, "the event loop is late by 0.5 s")),
        (7, Reading(running=8, lag_seconds=0.5), (7, "the event loop is late by 0.5 s")),
        (8, Reading(running=3, lag_seconds=0.5), (2, "the event loop is late by 0.5 s")),
        (8, Reading(running=0, lag_seconds=0.5), (8, "no change")),
        (8, Reading(running=8, has_lost_child=True), (7, "a scraper has died")),
    ],
)
def test_decisions(limit: int, reading: Reading, expected: tuple[int, str]) -> None:
    assert next_limit(limit, 10, reading) == expected


@given(taken=st.lists(st.floats(0, 1), max_size=60), places=st.floats(-5, 50))
def test_all_that_start_fit_if_none_takes_more_than_its_share(taken: list[float], places: float) -> None:
    """However much each has taken when the next one asks: at the end all have taken the whole."""
    before = RESERVE_BYTES + int(places * SEARCH_BYTES)
    young: list[int] = []
    room = before
    for share in taken:
        if not has_room(len(young), young, room):
            break
        young.append(room)
        room -= int(share * SEARCH_BYTES)
    assert len(young) <= max(1, places)
    assert len(young) == len(taken) or len(young) >= int(places)


def test_a_scraper_that_has_grown_counts_by_what_it_takes() -> None:
    room = RESERVE_BYTES + SEARCH_BYTES
    assert has_room(8, [], room)
    assert not has_room(8, [], room - 1)
    assert not has_room(8, [room + SEARCH_BYTES - 1], room)
    assert has_room(0, [], -1)


class PlayedMemory:
    """Memory whose use the test sets."""

    def __init__(self, use: MemoryUse | None) -> None:
        self.use = use

    def read(self) -> MemoryUse | None:
        return self.use


class Scrapers:
    """Scrapers that start when there is room, and end when the test wants."""

    def __init__(self, use: MemoryUse | None) -> None:
        self.seconds = 0.0
        self.memory = PlayedMemory(use)
        self.load = Load(10, cast("Memory", self.memory), lambda: self.seconds)
        self.stopped = 0
        self.running: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.stopped += 1
        try:
            yield
        finally:
            self.stopped -= 1

    async def _run(self, name: str, error: Exception | None) -> None:
        async with self.load.child_place(self.waiting):
            self.running[name] = asyncio.Event()
            await self.running[name].wait()
            del self.running[name]
            if error is not None:
                raise error

    def ask(self, name: str, error: Exception | None = None) -> asyncio.Task[None]:
        self._tasks[name] = asyncio.create_task(self._run(name, error))
        return self._tasks[name]

    async def until_running(self, *names: str, waiting: int = 0) -> None:
        """Wait until these scrapers run, and so many others wait."""
        async with asyncio.timeout(10):
            while set(self.running) != set(names) or self.load.waiting != waiting:  # noqa: ASYNC110 (several events)
                await asyncio.sleep(0.005)

    async def end(self, name: str) -> None:
        self.running[name].set()
        await asyncio.gather(self._tasks[name], return_exceptions=True)


async def test_without_room_one_scraper_runs_at_a_time_in_their_order() -> None:
    scrapers = Scrapers(with_room(-100))
    for name in "abc":
        scrapers.ask(name)
    for name, waiting in (("a", 2), ("b", 1), ("c", 0)):
        await scrapers.until_running(name, waiting=waiting)
        assert (scrapers.load.children, scrapers.stopped) == (1, waiting)
        await scrapers.end(name)
    assert scrapers.load.children == 0


async def test_a_scraper_may_start_once_the_others_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM_POLL_SECONDS", 0.01)
    scrapers = Scrapers(with_room(2.5))
    for name in "abc":
        scrapers.ask(name)
    await scrapers.until_running("a", "b", waiting=1)
    scrapers.seconds += YOUNG_SECONDS
    await scrapers.until_running("a", "b", "c")
    for name in "abc":
        await scrapers.end(name)


async def test_a_search_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    scrapers = Scrapers(with_room(-1))
    scrapers.ask("a")
    await scrapers.until_running("a")
    second, _ = scrapers.ask("b"), scrapers.ask("c")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    await scrapers.end("a")
    await scrapers.until_running("c")
    assert (scrapers.load.waiting, scrapers.stopped) == (0, 0)
    await scrapers.end("c")


async def test_a_search_that_waits_for_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.05)
    scrapers = Scrapers(with_room(-1))
    scrapers.ask("a")
    await scrapers.until_running("a")
    with pytest.raises(SiteError, match="no memory for a scraper within") as failure:
        await scrapers.ask("b")
    assert failure.value.code == ErrorCode.INTERNAL
    assert scrapers.load.waiting == 0
    await scrapers.end("a")


async def test_a_scraper_that_dies_lowers_the_limit_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scrapers = Scrapers(None)
    died = SiteError(ErrorCode.INTERNAL, "died")
    died.__cause__ = ChildDiedError("was killed by SIGKILL")
    scrapers.ask("a", died)
    await scrapers.until_running("a")
    await scrapers.end("a")
    await scrapers.load.look(running=10)
    assert scrapers.load.limit == 9
    await scrapers.load.look(running=9)
    assert scrapers.load.limit == 9
    scrapers.seconds += CALM_SECONDS
    await scrapers.load.look(running=9)
    assert scrapers.load.limit == 10
    await scrapers.load.look(running=10)
    assert [record.message for record in caplog.records if "at once" in record.message] == [
        "Searches at once: 9 of at most 10: a scraper has died",
        "Searches at once: 10 of at most 10: there is more work, and room for it",
    ]


async def test_the_event_loop_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAG_SECONDS", 0.01)
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.03)
    load = Load(10, cast("Memory", PlayedMemory(with_room(3))))
    lags: list[float] = []
    watching = asyncio.create_task(load.watch(lambda: 1, lags.append))
    async with asyncio.timeout(10):
        while load.limit != 4:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.005)
    watching.cancel()
    assert len(lags) >= 3
    assert min(lags) >= 0
