"""Many small calls are sent as few large ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from worker.database.batches import Batches

Element = dict[str, Any]


class Server:
    """Answers each call when it is released."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.alone: list[bool] = []
        self.release = asyncio.Semaphore(0)
        self.arrived = asyncio.Condition()
        self.busy: set[int] = set()
        self.bad: set[int] = set()

    async def send(self, elements: Sequence[Element], is_alone: bool) -> list[Element]:
        numbers = [element["number"] for element in elements]
        self.calls.append(numbers)
        self.alone.append(is_alone)
        async with self.arrived:
            self.arrived.notify_all()
        await self.release.acquire()
        if self.bad.intersection(numbers):
            raise ValueError(f"{numbers} are refused")
        return [
            {"state": "busy" if number in self.busy and not is_alone else "done", "number": number}
            for number in numbers
        ]

    async def wait_for_calls(self, count: int) -> None:
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.calls) >= count)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def batches(server: Server) -> Batches[Element]:
    return Batches(server.send, most=3, must_be_alone=lambda answer: bool(answer["state"] == "busy"))


def start(batches: Batches[Element], *numbers: int) -> list[asyncio.Task[Element]]:
    return [asyncio.create_task(batches.call({"number": number})) for number in numbers]


async def test_what_piles_up_during_a_call_is_sent_with_the_next_one(server: Server, batches: Batches[Element]) -> None:
    (first,) = start(batches, 1)
    await server.wait_for_calls(1)
    others = start(batches, 2, 3, 4, 5)
    await asyncio.sleep(0)
    for _ in range(3):
        server.release.release()
    answers = await asyncio.gather(first, *others)
    assert server.calls == [[1], [2, 3, 4], [5]]
    assert server.alone == [True, False, True]
    assert [answer["number"] for answer in answers] == [1, 2, 3, 4, 5]


async def test_of_a_call_that_fails_the_bad_element_fails_alone(server: Server, batches: Batches[Element]) -> None:
    server.bad = {2}
    for _ in range(9):
        server.release.release()
    good, bad, other = await asyncio.gather(*start(batches, 1, 2, 3), return_exceptions=True)
    assert (good, other) == ({"state": "done", "number": 1}, {"state": "done", "number": 3})
    assert isinstance(bad, ValueError)
    assert sorted(server.calls) == [[1], [1, 2, 3], [2], [3]]


async def test_a_busy_element_is_sent_alone_and_the_next_call_does_not_wait_for_it(
    server: Server, batches: Batches[Element]
) -> None:
    server.busy = {2}
    (busy, other) = start(batches, 2, 3)
    await server.wait_for_calls(1)
    server.release.release()
    assert await other == {"state": "done", "number": 3}
    await server.wait_for_calls(2)
    (later,) = start(batches, 4)
    await server.wait_for_calls(3)
    assert server.calls == [[2, 3], [2], [4]]
    assert not busy.done()
    server.release.release()
    server.release.release()
    assert await later == {"state": "done", "number": 4}
    assert await busy == {"state": "done", "number": 2}


async def test_a_call_that_was_given_up_before_it_was_sent_is_not_sent(
    server: Server, batches: Batches[Element]
) -> None:
    (first,) = start(batches, 1)
    await server.wait_for_calls(1)
    given_up, other = start(batches, 2, 3)
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    server.release.release()
    server.release.release()
    await asyncio.gather(first, other)
    assert server.calls == [[1], [3]]


async def test_after_a_failure_calls_are_sent_as_before(server: Server, batches: Batches[Element]) -> None:
    server.bad = {1}
    for _ in range(2):
        server.release.release()
    with pytest.raises(ValueError, match="refused"):
        await batches.call({"number": 1})
    assert await batches.call({"number": 2}) == {"state": "done", "number": 2}
