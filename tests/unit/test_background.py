from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import pytest

from worker.engine import background
from worker.engine.background import Background, ChoreError
from worker.errors import DatabaseUnreachableError

FOREVER = 3600.0
PATIENCE = 10.0


class Recorded:
    """A chore that does its tasks, batch by batch, and then has nothing more to do."""

    def __init__(
        self, name: str, done: list[str], *batches: float | Exception | Callable[[], Awaitable[float]]
    ) -> None:
        self.name = name
        self.worked = asyncio.Event()
        self._done = done
        self._batches = list(batches)

    async def __call__(self) -> float:
        batch = self._batches.pop(0) if self._batches else FOREVER
        self._done.append(self.name)
        self.worked.set()
        if isinstance(batch, Exception):
            raise batch
        return batch if isinstance(batch, float) else await batch()


@pytest.fixture
def done() -> list[str]:
    """The chores that were worked on, one entry a batch."""
    return []


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "SETTLE_SECONDS", "FAILURE_PAUSE_SECONDS"):
        monkeypatch.setattr(background, name, 0)


def named(*chores: Recorded) -> dict[str, Recorded]:
    return {chore.name: chore for chore in chores}


async def hang() -> float:
    await asyncio.Event().wait()
    raise AssertionError


async def test_chores_take_turns(done: list[str]) -> None:
    first, second = Recorded("a", done, 0.0, 0.0), Recorded("b", done, 0.0)
    await Background(named(first, second)).work_off(PATIENCE)
    assert done == ["a", "b", "a", "b", "a"]


async def test_one_at_a_time(done: list[str]) -> None:
    first, second = Recorded("a", done, hang), Recorded("b", done)
    await Background(named(first, second)).work_off(0.01)
    assert done == ["a"]


async def test_a_round_is_one_batch_of_each(done: list[str]) -> None:
    first, second = Recorded("a", done, 0.0, 0.0, 0.0), Recorded("b", done, 0.0, 0.0)
    await Background(named(first, second)).work_off(PATIENCE, rounds=1)
    assert done == ["a", "b"]


async def test_what_is_due_later_is_not_waited_for(done: list[str]) -> None:
    await Background(named(Recorded("a", done, 5.0))).work_off(FOREVER)
    assert done == ["a"]


async def test_a_failure_is_logged_and_tried_again(done: list[str], caplog: pytest.LogCaptureFixture) -> None:
    failing = Recorded("Counting", done, ValueError("no number"), DatabaseUnreachableError("gone"), 0.0)
    other = Recorded("b", done)
    await Background(named(failing, other)).work_off(PATIENCE)
    assert done == ["Counting", "b", "Counting", "Counting", "Counting"]
    unexpected, explained = caplog.records
    assert unexpected.getMessage() == "Counting failed, again in 0 s: no number"
    assert unexpected.exc_info
    assert explained.getMessage() == "Counting failed, again in 0 s: gone"
    assert not explained.exc_info
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_pauses_after_failures_grow_and_are_bounded(
    done: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FAILURE_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(background, "MAX_FAILURE_PAUSE_SECONDS", 3e-9)
    monkeypatch.setattr(random, "uniform", lambda *_: 1.0)
    chores = Background(named(Recorded("a", done, *[ChoreError("busy")] * 1100)))
    await chores.work_off(PATIENCE)
    assert len(done) == 1101
    pauses = [record.args[1] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses[:4] == [1e-9, 2e-9, 3e-9, 3e-9]
    assert set(pauses[2:]) == {3e-9}


async def test_a_chore_may_say_when_to_try_again(done: list[str]) -> None:
    await Background(named(Recorded("a", done, ChoreError("busy", retry_in_seconds=0), 0.0))).work_off(PATIENCE)
    assert done == ["a", "a", "a"]
    done.clear()
    await Background(named(Recorded("a", done, ChoreError("busy", retry_in_seconds=FOREVER)))).work_off(PATIENCE)
    assert done == ["a"]


async def test_a_ring_ends_the_pause(done: list[str]) -> None:
    first, second = Recorded("a", done), Recorded("b", done)
    chores = Background(named(first, second))
    running = asyncio.create_task(chores.run())
    async with asyncio.timeout(PATIENCE):
        await second.worked.wait()
        second.worked.clear()
        chores.ring(second.name)
        await second.worked.wait()
    assert done == ["a", "b", "b"]
    chores.stop()
    await running


async def test_a_ring_while_it_works_is_not_missed(done: list[str]) -> None:
    async def ring_and_be_done() -> float:
        chores.ring(chore.name)
        return FOREVER

    chore = Recorded("a", done, ring_and_be_done)
    chores = Background(named(chore))
    await chores.work_off(PATIENCE)
    assert done == ["a", "a"]


async def test_a_ring_does_not_hurry_what_failed(done: list[str]) -> None:
    chore = Recorded("a", done, ChoreError("busy", retry_in_seconds=FOREVER))
    chores = Background(named(chore))
    await chores.work_off(PATIENCE)
    chores.ring(chore.name)
    await chores.work_off(PATIENCE)
    assert done == ["a"]


@pytest.mark.parametrize("off", [True, False])
async def test_stopping_cancels_the_chore_at_once_and_for_good(done: list[str], *, off: bool) -> None:
    chore = Recorded("a", done, hang, 0.0)
    chores = Background(named(chore))
    working = asyncio.create_task(chores.work_off(FOREVER) if off else chores.run())
    await chore.worked.wait()
    chores.stop()
    async with asyncio.timeout(PATIENCE):
        await working
        await chores.work_off(FOREVER)
        await chores.run()
    assert done == ["a"]


async def test_a_chore_that_was_cancelled_is_still_due(done: list[str]) -> None:
    chore = Recorded("a", done, hang)
    chores = Background(named(chore))
    running = asyncio.create_task(chores.run())
    await chore.worked.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await chores.work_off(PATIENCE)
    assert done == ["a", "a"]


async def test_finishing_waits_for_the_chore_in_hand_and_begins_no_other(done: list[str]) -> None:
    may_end = asyncio.Event()

    async def slow() -> float:
        await may_end.wait()
        done.append("end of a")
        return 0.0

    first = Recorded("a", done, slow)
    chores = Background(named(first, Recorded("b", done)))
    running = asyncio.create_task(chores.run())
    await first.worked.wait()
    finishing = asyncio.create_task(chores.finish(PATIENCE))
    await asyncio.sleep(0)
    may_end.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(finishing, running)
    assert done == ["a", "end of a"]


async def test_finishing_ends_at_once_while_nothing_is_in_hand(done: list[str]) -> None:
    chore = Recorded("a", done)
    chores = Background(named(chore))
    running = asyncio.create_task(chores.run())
    await chore.worked.wait()
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(chores.finish(FOREVER), running)
    assert done == ["a"]


async def test_finishing_cancels_a_chore_that_takes_too_long(done: list[str]) -> None:
    chore = Recorded("a", done, hang)
    chores = Background(named(chore))
    running = asyncio.create_task(chores.run())
    await chore.worked.wait()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(chores.finish(0.01), running)
    await chores.work_off(PATIENCE)
    assert done == ["a", "a"]
