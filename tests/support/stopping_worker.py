"""A worker that stops dead at one point of its work, so that a test can kill it there."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import worker.engine.execution
from tests.support.listings import Listings
from worker.database.queue import Queue
from worker.engine.worker import Worker
from worker.local.supabase.stack import Endpoints
from worker.settings import Settings


@contextmanager
def stopped(stack: Endpoints, source: Listings, *point: str, time: int = 1) -> Iterator[None]:
    """A worker with such a source that has come to a point, and is killed at the end.

    Args:
        stack: Where it finds its run.
        source: What it searches with.
        point: `transform`, or a method of the queue with `before` or `after`.
        time: When it comes there for which time.
    """
    command = [
        sys.executable,
        "-m",
        __name__,
        *point,
        "--time",
        str(time),
        "--kind",
        source.kind,
        "--sites",
        *source.sites,
    ]
    command += ["--pages", str(source.pages), "--records", str(source.records_a_page), "--log", str(source.log)]
    keys = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | keys) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stopped\n"
            yield
        finally:
            process.kill()


def main() -> None:
    """As the process: work until the point is reached, say so, and do nothing any more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("point", nargs="+")
    parser.add_argument("--time", type=int, required=True)
    parser.add_argument("--kind", required=True)
    parser.add_argument("--sites", nargs="+", required=True)
    parser.add_argument("--pages", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    if options.point == ["transform"]:
        setattr(worker.engine.execution, "transform", _stop)  # noqa: B010 (a name that it imports, not one that it exports)
    else:
        method, when = options.point
        setattr(Queue, method, _stopping(getattr(Queue, method), when, options.time))
    source = Listings(options.kind, options.sites, options.log, pages=options.pages, records=options.records)
    working = Worker(Settings(), sources=[source])
    asyncio.run(working.reprocess() if "load_page" in options.point else working.once())


def _stopping(call: Callable[..., Awaitable[Any]], when: str, time: int) -> Callable[..., Awaitable[Any]]:
    times = count(1)

    async def stopping(*arguments: Any, **named: Any) -> Any:
        is_time = next(times) == time
        if is_time and when == "before":
            _stop()
        answer = await call(*arguments, **named)
        if is_time:
            _stop()
        return answer

    return stopping


def _stop(*_: object) -> None:
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
