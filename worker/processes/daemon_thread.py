"""Work beside the event loop that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Do work that takes the processor, such that it delays no heartbeat, nor the end of the process.

    The threads of `asyncio.to_thread`, as those of any executor, are waited for at exit.

    Raises:
        RuntimeError: The work raised what neither a future nor a worker survives: StopIteration, SystemExit.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from here on nobody cancels it, only the waiting for it

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
            is_ordinary = isinstance(error, Exception) and not isinstance(error, StopIteration)
            done.set_exception(error if is_ordinary else RuntimeError(f"{error!r} was raised"))

    threading.Thread(target=run, name="worker-thread", daemon=True).start()
    return await asyncio.wrap_future(done)
