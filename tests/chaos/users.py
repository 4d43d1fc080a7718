"""The users: they enqueue, watch and cancel searches, and retry each request until it succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial

import httpx
from postgrest.exceptions import APIError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.chaos.plan import Search
from worker.database.client import open_client
from worker.database.user import Row, User

TIMEOUT_SECONDS = 5
PATIENCE_SECONDS = 60
RETRY_SECONDS = 0.5


class Users:
    """Signed-in users.

    Args:
        users: The users.
        ids: Their ids.

    Attributes:
        ids: Their ids.
    """

    def __init__(self, users: Sequence[User], ids: Sequence[str]) -> None:
        self.ids = ids
        self._users = users
        self._watchers: dict[str, asyncio.Task[str]] = {}

    async def search(self, search: Search) -> None:
        """Enqueue a search at its time, and watch or cancel it as planned."""
        await asyncio.sleep(search.at)
        user = self._users[search.user]
        run = await _insist(partial(user.enqueue, "jobs", search.parameters, idempotency_key=search.key))
        if search.is_watched:
            self._watchers[run["id"]] = asyncio.create_task(_end_as_seen(user, run["id"]))
        if search.cancelled_after is not None:
            await asyncio.sleep(search.cancelled_after)
            await _insist(partial(user.cancel, run["id"]))

    async def watched(self, seconds: float) -> dict[str, str]:
        """Wait until the watchers have seen the ends of their runs. Return the status that each saw, by run."""
        if self._watchers:
            await asyncio.wait(self._watchers.values(), timeout=seconds)
        for watcher in self._watchers.values():
            watcher.cancel()
        seen = await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        return {
            run_id: status if isinstance(status, str) else f"failed with {status!r}"
            for run_id, status in zip(self._watchers, seen, strict=True)
        }


async def _end_as_seen(user: User, run_id: str) -> str:
    async with aclosing(user.follow([run_id])) as states:
        return [str(state[run_id].run["status"]) async for state in states][-1]


async def _insist(call: Callable[[], Awaitable[Row]]) -> Row:
    return await AsyncRetrying(
        retry=retry_if_exception_type((httpx.TransportError, APIError)),
        wait=wait_fixed(RETRY_SECONDS),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )(call)


@asynccontextmanager
async def signed_up(url: str, key: str, count: int) -> AsyncIterator[Users]:
    """Sign up users.

    Args:
        url: Address of the stack.
        key: The API key for users.
        count: Number of users.
    """
    async with AsyncExitStack() as resources:
        users, ids = [], []
        for number in range(count):
            client = await resources.enter_async_context(open_client(url, key, timeout_seconds=TIMEOUT_SECONDS))
            answer = await client.auth.sign_up({"email": f"user-{number}@example.com", "password": "correct horse"})
            assert answer.user is not None
            users.append(User(client, url, key))
            ids.append(answer.user.id)
        yield Users(users, ids)
