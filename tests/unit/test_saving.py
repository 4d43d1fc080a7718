"""Saving a run's pages: the real queue, in front of an API that answers as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import respx

from worker.database.client import open_client
from worker.database.queue import Queue
from worker.engine.saving import PageSaver
from worker.engine.spool import Spool
from worker.errors import LeaseLostError
from worker.model import FoundPage, Lease, Page, Run, RunSite, Transformed

Row = dict[str, Any]

URL = "http://supabase.test"
LEASE_LOST, REFUSED = "PT409", "22023"
SITE = RunSite("board", 1)
RUN = Run(UUID(int=1), Lease(UUID(int=1), UUID(int=2)), "jobs", {}, None, (SITE,), 1, 3)
FOUND = FoundPage("board", 1, None, "test", Page(1, {}, 5), Transformed(1, (), (), {}, 0))


@asynccontextmanager
async def saver_with(answers: Mapping[str, str | list[Row]], folder: Path) -> AsyncIterator[PageSaver]:
    """A saver whose calls get these answers, or are refused with these codes; all functions have to be called."""
    with respx.mock() as router:
        for function, answer in answers.items():
            call = router.post(f"{URL}/rest/v1/rpc/{function}")
            if isinstance(answer, str):
                refusal = {"code": answer, "message": "refused", "details": None, "hint": None}
                call.respond(409 if answer == LEASE_LOST else 400, json=refusal)
            else:
                call.respond(json=answer)
        async with open_client(URL, "a-key", timeout_seconds=5) as client:
            queue = Queue(client, worker_id="w", lease_seconds=60, outage_seconds=60)
            async with PageSaver(queue, Spool(folder), RUN) as saver:
                yield saver


@pytest.mark.parametrize(
    "answers",
    [
        {"worker_save_pages": [{"state": "lease_lost"}]},
        {"worker_save_pages": REFUSED, "worker_write_alert": LEASE_LOST},
    ],
)
async def test_a_lost_lease_ends_the_search(tmp_path: Path, answers: dict[str, str | list[Row]]) -> None:
    async with saver_with(answers, tmp_path) as saver:
        with pytest.raises(LeaseLostError):
            await saver.save(FOUND)


async def test_an_alert_that_is_refused_stops_nothing(tmp_path: Path) -> None:
    async with saver_with({"worker_save_pages": REFUSED, "worker_write_alert": REFUSED}, tmp_path) as saver:
        assert await saver.save(FOUND) is None


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_search_starts_where_the_answers_to_saved_pages_say(tmp_path: Path, *, is_late: bool) -> None:
    resumed = RunSite("board", 1, account="mine", cursor={"after": 3}, next_page=4)
    answer: Row = {"state": "done", "status": "completed", "results": 0, "new": 0} | (
        {"pending_site": asdict(resumed)} if is_late else {}
    )
    Spool(tmp_path).put(RUN.id, FOUND)
    async with saver_with({"worker_save_pages": [answer]}, tmp_path) as saver:
        await saver.settle()
        assert saver.reached(SITE) == (resumed if is_late else SITE)
