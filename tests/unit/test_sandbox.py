from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import psutil
import pytest

from worker.errors import ErrorCode, SiteError
from worker.model import Json
from worker.processes.bounded_json import MAX_VALUES
from worker.processes.sandbox import MAX_FRAME_BYTES, SandboxError, stream

FOREVER = 3600.0
PATIENCE = 60.0


def count(numbers: int) -> Iterator[Json]:
    yield from range(numbers)


def every_json_type() -> Iterator[Json]:
    yield {"text": "é 😀", "list": [1, 2.5, True, None], "object": {"": {}}}


def many_values(count: int) -> Iterator[Json]:
    yield [{}] * count


def pid_then_values(values: list[Json]) -> Iterator[Json]:
    yield os.getpid()
    yield from values


def pid_then_hang() -> Iterator[Json]:
    yield os.getpid()
    time.sleep(FOREVER)


def large_values(values: int, size: int) -> Iterator[Json]:
    for _ in range(values):
        yield "x" * size


def refuse() -> Iterator[Json]:
    yield "one"
    raise SiteError(ErrorCode.BLOCKED, "403 from the board")


class ForeignError(Exception):
    def __init__(self, *, detail: str) -> None:
        super().__init__(detail)
        self.lock = threading.Lock()


def raise_unpicklable() -> Iterator[Json]:
    yield "one"
    raise ForeignError(detail="it broke")


def yield_nan() -> Iterator[Json]:
    yield float("nan")


def die_by(number: int) -> Iterator[Json]:
    yield "one"
    os.kill(os.getpid(), number)


def exit_with(code: int) -> Iterator[Json]:
    yield "one"
    os._exit(code)


def wait_for_file(path: str) -> Iterator[Json]:
    yield "waiting"
    while not Path(path).exists():
        time.sleep(0.01)
    yield "found"


def signal_the_forkserver_and_itself(number: int) -> Iterator[Json]:
    os.kill(os.getppid(), number)
    os.kill(os.getpid(), number)
    yield os.getppid()


def environment_then_hang() -> Iterator[Json]:
    yield dict(os.environ)
    time.sleep(FOREVER)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("sandbox") for thread in threading.enumerate())


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what tells nobody when it happens: a process or a thread that ends."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def collect(values: AsyncGenerator[Json, None]) -> tuple[list[Json], Exception | None]:
    collected: list[Json] = []
    while True:
        try:
            collected.append(await anext(values))
        except StopAsyncIteration:
            return collected, None
        except (SiteError, SandboxError, TimeoutError) as error:
            return collected, error


async def test_yields_every_value_in_order() -> None:
    assert await collect(stream(count, 500, deadline_seconds=PATIENCE)) == (list(range(500)), None)


async def test_values_come_as_they_were_sent() -> None:
    values, error = await collect(stream(every_json_type, deadline_seconds=PATIENCE))
    assert error is None
    assert values == list(every_json_type())


async def test_large_values_pass() -> None:
    values, error = await collect(stream(large_values, 4, 8_000_000, deadline_seconds=PATIENCE))
    assert error is None
    assert [len(str(value)) for value in values] == [8_000_000] * 4


async def test_site_error_comes_through_unchanged() -> None:
    values, error = await collect(stream(refuse, deadline_seconds=PATIENCE))
    assert values == ["one"]
    assert isinstance(error, SiteError)
    assert (error.code, error.message) == (ErrorCode.BLOCKED, "403 from the board")


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (raise_unpicklable, (), "ForeignError: it broke"),
        (die_by, (signal.SIGKILL,), "the child process was killed by SIGKILL"),
        (die_by, (signal.SIGSEGV,), "the child process was killed by SIGSEGV"),
        (exit_with, (3,), "the child process ended with exit code 3"),
    ],
)
async def test_failing_child_is_an_error_after_its_values(function: type, args: tuple[int, ...], message: str) -> None:
    values, error = await collect(stream(function, *args, deadline_seconds=PATIENCE))
    assert values == ["one"]
    assert isinstance(error, SandboxError)
    assert str(error) == message


async def test_value_that_is_not_json_is_an_error() -> None:
    _, error = await collect(stream(yield_nan, deadline_seconds=PATIENCE))
    assert isinstance(error, SandboxError)
    assert "not JSON compliant" in str(error)


async def test_exit_codes_of_concurrent_children_are_distinguished() -> None:
    outcomes = await asyncio.gather(
        *(collect(stream(exit_with, code, deadline_seconds=PATIENCE)) for code in range(3, 9))
    )
    assert [str(error) for _, error in outcomes] == [
        f"the child process ended with exit code {code}" for code in range(3, 9)
    ]


async def test_deadline_kills_the_child() -> None:
    values, error = await collect(stream(pid_then_hang, deadline_seconds=2.0))
    assert isinstance(error, TimeoutError)
    assert str(error) == "not finished after 2 s"
    assert not running(int(str(values[0])))


async def test_deadline_holds_while_the_reader_is_busy() -> None:
    async with aclosing(stream(pid_then_hang, deadline_seconds=2.0)) as values:
        pid = int(str(await anext(values)))
        await eventually(lambda: not running(pid))
        with pytest.raises(TimeoutError):
            await anext(values)


async def test_deadline_that_comes_while_the_child_starts() -> None:
    values, error = await collect(stream(pid_then_hang, deadline_seconds=0.0))
    assert values == []
    assert isinstance(error, TimeoutError)


async def test_closing_kills_the_child() -> None:
    values = stream(pid_then_hang, deadline_seconds=FOREVER)
    pid = int(str(await anext(values)))
    assert running(pid)
    await values.aclose()
    assert not running(pid)


async def test_closing_kills_a_child_that_waits_to_send() -> None:
    big: list[Json] = ["x" * 10_000_000]
    values = stream(pid_then_values, big, deadline_seconds=FOREVER)
    pid = int(str(await anext(values)))
    await values.aclose()
    assert not running(pid)


async def test_cancelling_the_reader_kills_the_child() -> None:
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def read() -> None:
        async with aclosing(stream(pid_then_hang, deadline_seconds=FOREVER)) as values:
            async for value in values:
                pids.put_nowait(int(str(value)))

    reader = asyncio.create_task(read())
    pid = await pids.get()
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader
    assert reader.cancelled()
    assert not running(pid)


async def test_cancelling_during_the_start_kills_the_child(open_folder: Path) -> None:
    await eventually(no_thread_is_left)  # an earlier test's may still be ending
    reader = asyncio.create_task(collect(stream(wait_for_file, str(open_folder / "x"), deadline_seconds=FOREVER)))
    await eventually(lambda: not no_thread_is_left())
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert multiprocessing.active_children() == []


async def test_event_loop_runs_while_the_child_blocks(open_folder: Path) -> None:
    async with aclosing(stream(wait_for_file, str(open_folder / "go"), deadline_seconds=PATIENCE)) as values:
        assert await anext(values) == "waiting"
        found = asyncio.ensure_future(anext(values))
        assert not found.done()
        (open_folder / "go").touch()
        assert await found == "found"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_process_group_do_not_stop_children(number: signal.Signals) -> None:
    first, error = await collect(stream(signal_the_forkserver_and_itself, number, deadline_seconds=PATIENCE))
    assert error is None
    second = await collect(stream(signal_the_forkserver_and_itself, number, deadline_seconds=PATIENCE))
    assert second == (first, None)


async def test_a_value_beyond_the_limit_is_an_error() -> None:
    values, error = await collect(stream(large_values, 1, MAX_FRAME_BYTES, deadline_seconds=PATIENCE))
    assert values == []
    assert isinstance(error, SandboxError)
    assert str(error).endswith(f"the limit is {MAX_FRAME_BYTES}")


async def test_a_value_that_would_take_too_much_memory_is_an_error() -> None:
    values, error = await collect(stream(many_values, MAX_VALUES, deadline_seconds=PATIENCE))
    assert values == []
    assert isinstance(error, SandboxError)
    assert str(error) == "a value that the child sent holds more than 1,000,000 values"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="lists file descriptors")
async def test_no_file_descriptor_or_thread_is_left() -> None:
    def descriptors() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    async def use() -> None:
        await collect(stream(count, 3, deadline_seconds=PATIENCE))
        await collect(stream(exit_with, 3, deadline_seconds=PATIENCE))
        values = stream(pid_then_hang, deadline_seconds=PATIENCE)
        await anext(values)
        await values.aclose()
        await eventually(no_thread_is_left)  # it ends a moment after its last job

    await use()
    before = descriptors()
    for _ in range(3):
        await use()
    assert descriptors() == before


PARENT = """
import asyncio, multiprocessing.forkserver, sys
sys.path.insert(0, {path!r})
from test_sandbox import pid_then_hang
from worker.processes.sandbox import stream

async def main():
    # Development mode would tell of what takes 0.1 s, which a busy machine makes of anything.
    asyncio.get_running_loop().slow_callback_duration = float("inf")
    async for pid in stream(pid_then_hang, deadline_seconds=3600):
        print(pid, multiprocessing.forkserver._forkserver._forkserver_pid, flush=True)

if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def start_parent(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(path=str(Path(__file__).parent)))
    parent = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, [int(pid) for pid in parent.stdout.readline().split()]


async def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    assert len(pids) == 2, parent.communicate()
    parent.kill()
    _, stderr = parent.communicate()
    await eventually(lambda: not any(map(running, pids)))
    assert stderr == ""


async def test_ctrl_c_on_the_terminal_is_quiet(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    assert len(pids) == 2, parent.communicate()
    os.killpg(parent.pid, signal.SIGINT)
    stdout, stderr = parent.communicate()
    assert (stdout, stderr, parent.returncode) == ("interrupted\n", "", 0)
    await eventually(lambda: not any(map(running, pids)))


SECRETIVE = """
import asyncio, json, os, sys
sys.path.insert(0, {path!r})
from contextlib import aclosing
from test_sandbox import environment_then_hang
from worker.processes.sandbox import stream

async def main():
    async with aclosing(stream(environment_then_hang, deadline_seconds=3600)) as values:
        print(json.dumps([await anext(values), dict(os.environ)]), flush=True)
        sys.stdin.readline()

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_process_but_the_parent_holds_its_secrets(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(SECRETIVE.format(path=str(Path(__file__).parent)))
    kept = {"LC_TIME": "C", "SSL_CERT_FILE": "/nowhere.pem"}
    # A proxy of the environment would be a way out besides the exit of a search.
    secrets = {
        "https_proxy": "http://user:hunter2@127.0.0.1:1",
        "SUPABASE_SERVICE_ROLE_KEY": "hunter2",
        "DATABASE_URL": "postgres://user:hunter2@host",
    }
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | kept | secrets,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        in_child, in_parent = json.loads(parent.stdout.readline())
        others = psutil.Process(parent.pid).children(recursive=True)
        environments = [in_child]
        for other in others:
            with suppress(psutil.AccessDenied):  # its user may not look either, unless it is root
                environments.append(other.environ())
        parent.communicate("\n")
    assert len(others) == 3  # the tracker, the forkserver and the child
    assert in_parent.items() >= secrets.items()
    assert in_child.items() >= kept.items()
    assert "hunter2" not in str(environments)


ABANDONING = """
import asyncio, sys
sys.path.insert(0, {path!r})
from test_sandbox import pid_then_hang
from worker.processes.sandbox import stream

if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    values = stream(pid_then_hang, deadline_seconds=3600)
    print(loop.run_until_complete(anext(values)), flush=True)
"""


def test_an_open_stream_does_not_delay_the_end(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(ABANDONING.format(path=str(Path(__file__).parent)))
    answer = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=True)
    asyncio.run(eventually(lambda: not running(int(answer.stdout))))
