"""A web server that searches its own vacancies, and all other sites, in the same process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Sequence

from worker import InvalidItemError, Item, JobParameters, Json, Page, Search, Settings, Source, Worker

VACANCIES: list[Json] = [
    {"id": "v1", "title": "Nurse"},
    {"id": "v2", "title": "Night nurse"},
    {"id": "v3", "title": "Cook"},
]


class VacanciesSource(Source):
    """Searches the vacancies of this application."""

    name = "vacancies"
    kind = "jobs"
    sites: Sequence[str] = ("vacancies",)
    parameters = JobParameters

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Yield one page with all vacancies that match."""
        term = self.parameters.read(search.parameters).search_term.lower()
        found = [job for job in VACANCIES if isinstance(job, dict) and term in str(job["title"]).lower()]
        yield Page(1, [*found], response_ms=0, calls_used=0, is_last=True)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the vacancies of a page."""
        return page.payload if isinstance(page.payload, list) else []

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a vacancy into an item."""
        if not isinstance(record, dict):
            raise InvalidItemError("a vacancy must be an object")
        number = str(record["id"])
        return Item(external_id=number, title=str(record["title"]), url=f"https://acme.example/jobs/{number}")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with the number of vacancies."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n%d\n" % len(VACANCIES))
    await writer.drain()
    writer.close()


async def main() -> None:
    """Serve and search, until SIGTERM or Ctrl-C."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        await asyncio.start_server(answer, "127.0.0.1", int(os.environ.get("PORT", "8080"))),
        asyncio.TaskGroup() as tasks,
        Worker(Settings(), extra_sources=[VacanciesSource], handle_signals=False) as worker,
    ):
        tasks.create_task(worker.run())
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
