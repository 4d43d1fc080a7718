"""Remote jobs from Remotive's public API, which needs no key and gives its whole board with one request.

Parameters, shapes and terms are those of https://github.com/remotive-com/remote-jobs-api. Its terms ask to link to the
job at Remotive and to name Remotive as the source, and not to pass its jobs on to other boards: each item has them in
`data.attribution`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from worker.errors import InvalidItemError
from worker.model import Item, Json, Page, Progress, SiteLimits
from worker.pipeline.salaries import find_salary
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source
from worker.sources.fields import link, mapping, required, text, texts
from worker.sources.harvest import Harvest
from worker.sources.job_filter import JobFilter, since
from worker.sources.parameters import JobParameters

ADDRESS = "https://remotive.com/api/remote-jobs"

_ITEM_FIELDS = frozenset({
    "id", "url", "title", "company_name", "job_type", "publication_date", "candidate_required_location", "description",
})  # fmt: skip


class RemotiveSource(Source):
    """Searches Remotive: reads its board, and picks out what is asked for."""

    name = "remotive"
    kind = "jobs"
    sites: Sequence[str] = ("remotive",)
    parameters = JobParameters
    # Four requests a day are its advice; who asks more than twice a minute is shut out.
    limits: Mapping[str, SiteLimits] = {"remotive": SiteLimits(requests=2, period_seconds=60, burst=2, quota=4)}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Read the board, which is one page.

        Its payload is the answer with those of its jobs that are asked for, the newest first, as Remotive sorts them.

        Raises:
            SiteError: Remotive refused or failed.
        """
        asked = self.parameters.read(search.parameters)
        wanted = JobFilter(asked, since(asked, search.newer_than, datetime.now(UTC)))
        harvest = Harvest(
            lambda record: self.parse(search.site, record),
            lambda item: wanted.match(item) is not None,
            asked.results_wanted,
        )
        await search.report(Progress("searching", 0, asked.results_wanted))
        response = (await search.http.request("GET", ADDRESS)).checked()
        answer = response.json()
        jobs = await in_daemon_thread(partial(harvest.pick, _jobs(answer)))
        await search.report(Progress("searching", harvest.found, asked.results_wanted, {"read": harvest.read}))
        yield Page(
            search.next_page,
            mapping(answer) | {"jobs": jobs} if harvest.drift is None else answer,
            response.elapsed_ms,
            response.requests,
            is_last=harvest.drift is None,
        )
        if harvest.drift:
            raise harvest.drift

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the jobs of a page.

        Raises:
            InvalidItemError: The answer has no list of jobs.
        """
        jobs = _jobs(page.payload)
        if jobs is None:
            raise InvalidItemError("must be a list", "jobs")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item. Its pay is a text, such as `$40,000 - $50,000`: by the year and in US dollars.

        Raises:
            InvalidItemError: It is no job: one has an id, a title and an address at Remotive.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("a job must be an object")
        address = required(link(record.get("url")), "url")
        pay = find_salary(f"Salary: {text(record.get('salary')) or 'not told'}", "US")
        data: dict[str, Json] = {
            name: value for name, value in record.items() if name not in _ITEM_FIELDS and value is not None
        }
        data["attribution"] = {"name": "Remotive", "url": address}
        return Item(
            external_id=required(text(record.get("id")), "id"),
            title=required(text(record.get("title")), "title"),
            url=address,
            organization=text(record.get("company_name")),
            location=text(record.get("candidate_required_location")),
            is_remote=True,
            posted_at=text(record.get("publication_date")),
            salary_min=pay.least,
            salary_max=pay.most,
            salary_interval=pay.interval,
            currency=pay.currency,
            description=text(record.get("description")),
            job_types=texts([record.get("job_type")]),
            data=data,
        )


def _jobs(answer: Json) -> list[Json] | None:
    jobs = mapping(answer).get("jobs")
    return jobs if isinstance(jobs, list) else None
