"""The platform: restarts worker processes, as Render or Kubernetes would, and reports how they end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from tests.chaos.plan import EXITS, LEASE_SECONDS, Blow, WorkerFault
from tests.chaos.stage import Stage
from worker.local.processes import STOP_SECONDS, running

RESTART_SECONDS = 0.2
ORPHAN_SECONDS = 5
# What multiprocessing prints when a worker is killed while it starts a child process.
_HALF_STARTED_CHILD = re.compile(
    r"^Traceback .*multiprocessing/forkserver\.py.*^EOFError: Ran out of input$", re.MULTILINE | re.DOTALL
)


class Place:
    """A place for one worker: when a process ends, the next one starts.

    Args:
        number: Its number.
        environment: Environment variables of the workers.
        folder: Folder for its log.
        report: Prints a line of progress.

    Attributes:
        problems: Violations of the rules for ending.
        unheard: Workers that ended before they listened to signals, so before they could claim anything.
        groups: Process groups of all workers so far.
    """

    def __init__(
        self, number: int, environment: Mapping[str, str], folder: Path, report: Callable[[str], None]
    ) -> None:
        self.problems: list[str] = []
        self.unheard: list[str] = []
        self.groups: set[int] = set()
        self.log = folder / f"worker-{number}.log"
        self._number = number
        self._environment = environment
        self._report = report
        self._blow: Blow | None = None
        self._process: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def keep_running(self) -> None:
        """Run one worker after another, until `close`."""
        life = 0
        while not self._is_closed:
            life += 1
            worker_id = f"worker-{self._number}.{life}"
            async with running("worker", "run", log=self.log, WORKER_ID=worker_id, **self._environment) as process:
                self.groups.add(process.pid)
                self._process.set_result(process)
                code = await process.wait()
            self._judge(worker_id, code)
            self._process = asyncio.get_running_loop().create_future()
            self._blow = None
            await asyncio.sleep(RESTART_SECONDS)

    async def strike(self, fault: WorkerFault) -> None:
        """Send the planned signal to the worker. Wait until it has ended or continues."""
        async with self._lock:
            process = await self._process
            if fault.blow is not Blow.PAUSE:
                self._report(f"worker {self._number}: {fault.blow}")
                await self._end(process, fault.blow)
                return
            self._report(f"worker {self._number}: {fault.blow} for {fault.seconds:.1f} s")
            _send(process, signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                _send(process, signal.SIGCONT)

    async def close(self) -> None:
        """Stop the worker, and do not start another one."""
        async with self._lock:
            process = await self._process
            self._is_closed = True
            await self._end(process, Blow.TERMINATE)

    async def _end(self, process: asyncio.subprocess.Process, blow: Blow) -> None:
        self._blow = blow
        _send(process, signal.Signals[blow])
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            self.problems.append(f"worker {self._number} did not end within {STOP_SECONDS} s of {blow}")
            process.kill()

    def _judge(self, worker_id: str, code: int) -> None:
        match self._blow, code:
            case (Blow.TERMINATE, 0) | (Blow.KILL, -9):
                pass
            case Blow.TERMINATE, -15:
                self.unheard.append(worker_id)
            case blow, _:
                self.problems.append(f"{worker_id} ended with exit code {code} after {blow or 'no signal'}")


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself, which `_judge` reports
        process.send_signal(number)


def problems_of_log(log: Path) -> list[str]:
    """Return the tracebacks in a log, and the lines that are not JSON."""
    problems: list[str] = []
    for is_json, lines in groupby(log.read_text(errors="replace").splitlines(), key=lambda line: line.startswith("{")):
        if is_json:
            entries = [json.loads(line) for line in lines]
            problems += [
                f"{entry['message']}: {entry['exception'].splitlines()[-1]}"
                for entry in entries
                if "exception" in entry
            ]
        elif not _HALF_STARTED_CHILD.search(text := "\n".join(lines)):
            problems.append(text)
    return problems


def left_over(groups: set[int]) -> list[str]:
    """Return the processes of these process groups that do not end within some seconds."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (left := _processes(groups)) and time.monotonic() < deadline:
        time.sleep(RESTART_SECONDS)
    return left


def _processes(groups: set[int]) -> list[str]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid=,pid=,stat=,args="], capture_output=True, text=True, check=True, timeout=10
    )
    lines = (line.split(None, 3) for line in listed.stdout.splitlines())
    return [f"{pid} {args}" for pgid, pid, stat, args in lines if int(pgid) in groups and not stat.startswith("Z")]


def worker_environment(stage: Stage) -> dict[str, str]:
    """Return the settings of the workers, with short waits."""
    return {
        "SUPABASE_URL": stage.url,
        "SUPABASE_SERVICE_ROLE_KEY": stage.service_role_key,
        "WORKER_CONCURRENCY": "2",
        "WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
        "WORKER_OUTAGE_SECONDS": "60",
        "WORKER_SPOOL_DIR": str(stage.folder / "spool"),
        "WORKER_GRACE_SECONDS": "2",
        "WORKER_POLL_SECONDS": "0.3",
        "WORKER_POLL_IDLE_SECONDS": "2",
        "WORKER_REQUEST_TIMEOUT_SECONDS": "2",
        "WORKER_SITE_TIMEOUT_SECONDS": "12",
        "WORKER_LOG_FORMAT": "json",
        "WORKER_EXITS": ",".join(f"{name}={stage.boards.exit_url(name)}" for name in EXITS),
        "JOBSPY_CA_CERT": str(stage.boards.ca_cert),
        "JOBSPY_PAGE_DELAY_SECONDS": "0.1,0.5",
    }
