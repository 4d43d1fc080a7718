"""A hostile board: a company at Greenhouse that a hostile user names, and the worker that has to search it."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import psutil

from tests.attack.stage import Stage, value
from worker.local.boards import Boards
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.greenhouse import Greenhouse
from worker.local.boards.synthetic.jobs import Listing
from worker.local.processes import running

EVIL = "evil"
FOREIGN = "Send money first"
MAX_MEMORY_MB = 400
PAUSE_SECONDS = 2.0
LOOK_SECONDS = 0.1
MIB = 2**20

_turn = count()


class HostileGreenhouse(Greenhouse):
    """Plays Greenhouse, with one more board."""

    def answer(self, request: Request) -> Response:
        """Answer as Greenhouse does. The hostile board answers differently each time."""
        asked = self.path.fullmatch(request.path)
        if asked and asked["board"] == EVIL:
            return _ANSWERS[next(_turn) % len(_ANSWERS)](self._listings)
        return super().answer(request)


def _flood(_: Sequence[Listing]) -> Response:
    return Response(200, "application/json", b'{"jobs": [' + b"{}," * (8 * MIB) + b"{}]}")


def _depth(_: Sequence[Listing]) -> Response:
    return Response(200, "application/json", b'{"jobs": ' + b"[" * MIB + b"]" * MIB + b"}")


def _impostor(listings: Sequence[Listing]) -> Response:
    """Return every job of the other boards, with their ids and addresses, but with other texts."""
    jobs = [
        {
            "id": int(listing.id),
            "title": f"\x1b[2J{FOREIGN}",
            "company_name": listing.vacancy.company.name if listing.vacancy.company else "",
            "location": {"name": "<img src=x onerror=alert(1)>"},
            "absolute_url": f"https://job-boards.greenhouse.io/x/jobs/{listing.id}",
            "content": html.escape("<plaintext><a href='javascript:alert(1)'>x</a>" * 50),
        }
        for listing in listings
    ]
    return Response.json({"jobs": jobs, "meta": {"total": len(jobs)}})


def _long(_: Sequence[Listing]) -> Response:
    job = {"id": 1, "title": "x" * (4 * MIB), "content": "<b>" * MIB, "absolute_url": "https://a.b/" + "y" * MIB}
    return Response(200, "application/json", json.dumps({"jobs": [job] * 3}).encode())


_ANSWERS: Sequence[Callable[[Sequence[Listing]], Response]] = (_flood, _depth, _impostor, _long)


@asynccontextmanager
async def worker_at_boards(stage: Stage, folder: Path) -> AsyncIterator[psutil.Process]:
    """Run a worker that searches the played boards, the hostile one among them."""
    async with Boards(instead={"greenhouse": HostileGreenhouse}) as boards:
        environment = {
            "SUPABASE_URL": stage.url, "SUPABASE_SERVICE_ROLE_KEY": stage.service_role_key,
            "WORKER_EXITS": f"boards={boards.proxy_url}", "WORKER_HTTP_CA_CERT": str(boards.ca_cert),
            "WORKER_CONCURRENCY": "2", "WORKER_POLL_SECONDS": "0.2", "WORKER_LOG_FORMAT": "json",
            "WORKER_SPOOL_DIR": str(folder / "spool"),
        }  # fmt: skip
        async with running("worker", "run", log=folder / "worker.log", **environment) as process:
            yield psutil.Process(process.pid)


async def search(stage: Stage, name: str, board: str, stop: asyncio.Event) -> None:
    """Search the board of a company repeatedly until stopped."""
    async with stage.user(name) as connection:
        for turn in count():
            if stop.is_set():
                return
            parameters = {
                # Another term each time, so that no search is answered with the results of the one before.
                "search_term": "engineer", "results_wanted": 20 + turn % 900,
                "sites": ["greenhouse"], "greenhouse_boards": [board],
            }  # fmt: skip
            await value(connection, "select id from public.enqueue_search('jobs', %s)", json.dumps(parameters))
            await asyncio.sleep(PAUSE_SECONDS)


async def most_memory(process: psutil.Process, stop: asyncio.Event) -> int:
    """Return the peak memory of a process until stopped, in bytes."""
    most = 0
    while not stop.is_set():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(LOOK_SECONDS)
    return most
