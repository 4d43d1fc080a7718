"""Searches Arbeitnow, a job board for Germany, through its public API.

The API needs no key and has no search: the source reads the whole board and filters it. Its parameters, shapes and
order are described at https://www.arbeitnow.com/blog/job-board-api and in `meta` of each response. Its terms
(https://www.arbeitnow.com/terms) require a link to the site: each item has it in `data.attribution`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import count

from worker.errors import InvalidItemError
from worker.model import Item, Json, Page, Progress, SiteLimits
from worker.pipeline.dates import to_iso
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source
from worker.sources.fields import flag, link, mapping, number, required, text, texts
from worker.sources.harvest import Harvest
from worker.sources.job_filter import JobFilter, published_since
from worker.sources.parameters import JobParameters

ADDRESS = "https://www.arbeitnow.com/api/job-board-api"

ATTRIBUTION: Mapping[str, Json] = {"name": "Arbeitnow", "url": "https://www.arbeitnow.com/"}

MAX_PAGES = 30
"""Most pages of one search. With 100 jobs per page, this covers the whole board."""

_ITEM_FIELDS = frozenset({
    "slug", "title", "url", "company_name", "location", "remote", "created_at", "description", "job_types",
})  # fmt: skip


class ArbeitnowSource(Source):
    """Reads the pages of Arbeitnow, newest jobs first, and selects the matching jobs."""

    name = "arbeitnow"
    kind = "jobs"
    sites: Sequence[str] = ("arbeitnow",)
    hosts: Mapping[str, str] = {"arbeitnow": "www.arbeitnow.com"}
    parameters = JobParameters
    # The terms ask clients not to abuse the API, without giving a limit. The board is updated once an hour.
    limits: Mapping[str, SiteLimits] = {"arbeitnow": SiteLimits(min_delay_seconds=2, searches=2)}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Read the board page by page, until enough jobs are found, the remaining ones are too old, or it ends.

        A page's payload is the response, reduced to the matching jobs that no earlier page had.

        Raises:
            SiteError: Arbeitnow refused the request or failed. Pages yielded before remain valid.
        """
        parameters = self.parameters.read(search.parameters)
        oldest = published_since(parameters, search.newer_than, datetime.now(UTC))
        wanted = JobFilter(parameters, oldest)
        page, found_ids, read = _resumed(search.cursor)
        harvest = Harvest(
            lambda record: self.parse(search.site, record),
            lambda item: wanted.match(item) is not None,
            parameters.results_wanted,
            found_ids,
        )
        await search.report(Progress("searching", harvest.found, parameters.results_wanted, {"read": read}))
        for page_number in count(search.next_page):
            response = (await search.http.request("GET", ADDRESS, params={"page": page})).checked()
            answer = response.json()
            jobs = await in_daemon_thread(partial(harvest.select, _jobs(answer)))
            read += harvest.read
            is_enough = not harvest.has_news or harvest.is_complete or page_number >= MAX_PAGES
            is_last = harvest.drift is None and (is_enough or _is_end(answer, oldest))
            page += 1
            await search.report(Progress("searching", harvest.found, parameters.results_wanted, {"read": read}))
            yield Page(
                page_number,
                mapping(answer) | {"data": jobs} if harvest.drift is None else answer,
                response.elapsed_ms,
                response.requests,
                cursor=None
                if is_last or harvest.drift
                else {"page": page, "found_ids": [*harvest.found_ids], "read": read},
                is_last=is_last,
            )
            if harvest.drift:
                raise harvest.drift
            if is_last:
                return

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the jobs of a page.

        Raises:
            InvalidItemError: The response has no list of jobs.
        """
        jobs = _jobs(page.payload)
        if jobs is None:
            raise InvalidItemError("must be a list", "data")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item.

        Raises:
            InvalidItemError: The record has no slug, no title or no URL.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("a job must be an object")
        data: dict[str, Json] = {
            name: value for name, value in record.items() if name not in _ITEM_FIELDS and value is not None
        }
        data["attribution"] = {**ATTRIBUTION}
        return Item(
            external_id=required(text(record.get("slug")), "slug"),
            title=required(text(record.get("title")), "title"),
            url=required(link(record.get("url")), "url"),
            organization=text(record.get("company_name")),
            location=text(record.get("location")),
            is_remote=flag(record.get("remote")),
            posted_at=text(record.get("created_at")),
            description=text(record.get("description")),
            job_types=texts(record.get("job_types")),
            data=data,
        )


def _jobs(answer: Json) -> list[Json] | None:
    data = mapping(answer).get("data")
    return data if isinstance(data, list) else None


def _resumed(cursor: Json) -> tuple[int, Sequence[str], int]:
    """Return the next page, the ids of the jobs found so far, and the number of jobs read."""
    kept = mapping(cursor)
    page = number(kept.get("page"))
    return (page, texts(kept.get("found_ids")), number(kept.get("read")) or 0) if page else (1, (), 0)


def _is_end(answer: Json, oldest: datetime | None) -> bool:
    """Return whether later pages cannot have matching jobs. Pages are sorted by date, newest first."""
    # Only the presence of the link counts: its URL could name another host.
    if text(mapping(mapping(answer).get("links")).get("next")) is None:
        return True
    posted = [_time(job) for job in _jobs(answer) or ()]
    return oldest is not None and None not in posted and all(moment < oldest for moment in posted if moment)


def _time(job: Json) -> datetime | None:
    iso = to_iso(text(mapping(job).get("created_at")))
    return datetime.fromisoformat(iso) if iso and "T" in iso else None
