"""Jobs in Germany and around, from Arbeitnow's public API, which needs no key and searches nothing itself.

Parameters, shapes and order are those of https://www.arbeitnow.com/blog/job-board-api and of `meta` in each answer. Its
terms (https://www.arbeitnow.com/terms) ask for a link to the site: each item has it in `data.attribution`.
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
from worker.sources.job_filter import JobFilter, since
from worker.sources.parameters import JobParameters

ADDRESS = "https://www.arbeitnow.com/api/job-board-api"

ATTRIBUTION: Mapping[str, Json] = {"name": "Arbeitnow", "url": "https://www.arbeitnow.com/"}

MOST_PAGES = 30
"""Pages of one search at most: the whole board, with 100 jobs on a page."""

_ITEM_FIELDS = frozenset({
    "slug", "title", "url", "company_name", "location", "remote", "created_at", "description", "job_types",
})  # fmt: skip


class ArbeitnowSource(Source):
    """Searches Arbeitnow: reads its pages, newest jobs first, and picks out what is asked for."""

    name = "arbeitnow"
    kind = "jobs"
    sites: Sequence[str] = ("arbeitnow",)
    parameters = JobParameters
    # "Please do not abuse", say its terms, without a figure; the board changes once an hour.
    limits: Mapping[str, SiteLimits] = {"arbeitnow": SiteLimits(min_delay_seconds=2, searches=2)}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Read the board, page by page, until there are enough jobs, the others are too old, or it has no more.

        A page's payload is the answer with those of its jobs that are asked for and that no page before it had.

        Raises:
            SiteError: Arbeitnow refused or failed. Pages that came before it are good.
        """
        asked = self.parameters.read(search.parameters)
        oldest = since(asked, search.newer_than, datetime.now(UTC))
        wanted = JobFilter(asked, oldest)
        page, found_ids, read = _resumed(search.cursor)
        harvest = Harvest(
            lambda record: self.parse(search.site, record),
            lambda item: wanted.match(item) is not None,
            asked.results_wanted,
            found_ids,
        )
        await search.report(Progress("searching", harvest.found, asked.results_wanted, {"read": read}))
        for page_number in count(search.next_page):
            response = (await search.http.request("GET", ADDRESS, params={"page": page})).checked()
            answer = response.json()
            jobs = await in_daemon_thread(partial(harvest.pick, _jobs(answer)))
            read += harvest.read
            is_enough = not harvest.has_news or harvest.is_complete or page_number >= MOST_PAGES
            is_last = harvest.drift is None and (is_enough or _is_end(answer, oldest))
            page += 1
            await search.report(Progress("searching", harvest.found, asked.results_wanted, {"read": read}))
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
            InvalidItemError: The answer has no list of jobs.
        """
        jobs = _jobs(page.payload)
        if jobs is None:
            raise InvalidItemError("must be a list", "data")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item.

        Raises:
            InvalidItemError: It is no job: one has a slug, a title and a web address.
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
    """Return the page to go on with, the ids of the jobs that were found, and how many were read."""
    kept = mapping(cursor)
    page = number(kept.get("page"))
    return (page, texts(kept.get("found_ids")), number(kept.get("read")) or 0) if page else (1, (), 0)


def _is_end(answer: Json, oldest: datetime | None) -> bool:
    """Tell whether no page after this one can have a job that is wanted: they come newest first."""
    # The link is not followed: it may name another host, and pages are numbered.
    if text(mapping(mapping(answer).get("links")).get("next")) is None:
        return True
    posted = [_time(job) for job in _jobs(answer) or ()]
    return oldest is not None and None not in posted and all(moment < oldest for moment in posted if moment)


def _time(job: Json) -> datetime | None:
    iso = to_iso(text(mapping(job).get("created_at")))
    return datetime.fromisoformat(iso) if iso and "T" in iso else None
