"""Runs blocking work in a daemon thread, which does not delay the end of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run CPU-bound work in a daemon thread, so that it delays neither heartbeats nor the end of the process.

    `asyncio.to_thread` would not do: Python waits at exit for the threads of an executor.

    Args:
        work: The function to call. Cancelling the caller does not stop it.

    Returns:
        What `work` returned.

    Raises:
        RuntimeError: `work` raised StopIteration, or a BaseException such as SystemExit. Other exceptions are raised
            unchanged.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # the future cannot be cancelled any more, only the await

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
            is_ordinary = isinstance(error, Exception) and not isinstance(error, StopIteration)
            done.set_exception(error if is_ordinary else RuntimeError(f"{error!r} was raised"))

    threading.Thread(target=run, name="worker-thread", daemon=True).start()
    return await asyncio.wrap_future(done)
