"""Searches Remotive, a board for remote jobs, through its public API.

The API needs no key and returns the whole board in one response. Its parameters, shapes and terms are described at
https://github.com/remotive-com/remote-jobs-api. The terms require a link to the job at Remotive and a mention of
Remotive as the source: each item has both in `data.attribution`. They forbid republishing the jobs on other boards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from worker.errors import InvalidItemError
from worker.model import Item, Json, Organization, Page, Progress, SiteLimits
from worker.pipeline.stated_pay import find_salary
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source
from worker.sources.fields import link, mapping, required, text, texts
from worker.sources.harvest import Harvest
from worker.sources.job_filter import JobFilter, published_since
from worker.sources.parameters import JobParameters

ADDRESS = "https://remotive.com/api/remote-jobs"

_ITEM_FIELDS = frozenset({
    "id", "url", "title", "company_name", "job_type", "publication_date", "candidate_required_location", "description",
    "company_logo", "company_logo_url",
})  # fmt: skip


class RemotiveSource(Source):
    """Reads the board of Remotive and selects the matching jobs."""

    name = "remotive"
    kind = "jobs"
    sites: Sequence[str] = ("remotive",)
    hosts: Mapping[str, str] = {"remotive": "remotive.com"}
    parameters = JobParameters
    # The documentation recommends at most four requests a day. More than two a minute are blocked.
    # Its wish is meant for each user, whatever the number of addresses.
    limits: Mapping[str, SiteLimits] = {
        "remotive": SiteLimits(requests=2, period_seconds=60, burst=2, quota=4, per_exit=False)
    }

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Read the board as one page.

        The payload is the response, reduced to the matching jobs, newest first as Remotive sorts them.

        Raises:
            SiteError: Remotive refused the request or failed.
        """
        parameters = self.parameters.read(search.parameters)
        wanted = JobFilter(parameters, published_since(parameters, search.newer_than, datetime.now(UTC)))
        harvest = Harvest(
            lambda record: self.parse(search.site, record),
            lambda item: wanted.match(item) is not None,
            parameters.results_wanted,
        )
        await search.report(Progress("searching", 0, parameters.results_wanted))
        response = (await search.http.request("GET", ADDRESS)).checked()
        answer = response.json()
        jobs = await in_daemon_thread(partial(harvest.select, _jobs(answer)))
        await search.report(Progress("searching", harvest.found, parameters.results_wanted, {"read": harvest.read}))
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
            InvalidItemError: The response has no list of jobs.
        """
        jobs = _jobs(page.payload)
        if jobs is None:
            raise InvalidItemError("must be a list", "jobs")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item. The pay is a text such as `$40,000 - $50,000`, per year and in US dollars.

        Raises:
            InvalidItemError: The record has no id, no title or no URL.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("a job must be an object")
        address = required(link(record.get("url")), "url")
        pay = find_salary(f"Salary: {text(record.get('salary')) or 'unknown'}", "US")
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
            employer=Organization(logo_url=link(record.get("company_logo")) or link(record.get("company_logo_url"))),
            data=data,
        )


def _jobs(answer: Json) -> list[Json] | None:
    jobs = mapping(answer).get("jobs")
    return jobs if isinstance(jobs, list) else None
