"""Searches Hireboard, a job board with an API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import count

from pydantic import Field

from worker import (
    ApiKey,
    EnvironmentSettings,
    ErrorCode,
    InvalidItemError,
    Item,
    JobParameters,
    Json,
    Observed,
    Page,
    Progress,
    Search,
    SiteError,
    SiteLimits,
    Source,
)

API = "https://api.hireboard.example/v1/jobs"
PAGE_SIZE = 50


class HireboardParameters(JobParameters):
    """The parameters of a search of Hireboard: those of all jobs, and one of its own."""

    hireboard_team: str | None = Field(None, min_length=1, max_length=50)


class HireboardSettings(EnvironmentSettings):
    """The settings of the source, from the environment or from the file `.env`."""

    api_key: ApiKey | None = Field(
        default=None, validation_alias="HIREBOARD_API_KEY", description="Key of Hireboard, for the site hireboard."
    )


class HireboardSource(Source):
    """Searches Hireboard with its API: https://developers.hireboard.example."""

    name = "hireboard"
    kind = "jobs"
    sites: Sequence[str] = ("hireboard",)
    version = 1
    parameters = HireboardParameters
    settings = HireboardSettings
    limits: Mapping[str, SiteLimits] = {"hireboard": SiteLimits(requests=10, period_seconds=1, quota=5000)}

    def __init__(self, settings: HireboardSettings | None = None) -> None:
        key = (settings or HireboardSettings()).api_key
        self._key = key.get_secret_value() if key else ""
        self.credentials = {"HIREBOARD_API_KEY": key is not None}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search, page by page.

        Raises:
            SiteError: The site refused or failed. Earlier pages are valid.
        """
        asked = HireboardParameters.read(search.parameters)
        # The cursor of the last page that was saved, if this search continues an earlier attempt.
        offset = search.cursor if isinstance(search.cursor, int) else 0
        for number in count(search.next_page):
            limit = min(PAGE_SIZE, asked.results_wanted - offset)
            query: dict[str, str | int] = {"q": asked.search_term, "offset": offset, "limit": limit}
            if asked.hireboard_team is not None:
                query["team"] = asked.hireboard_team
            if search.newer_than is not None:
                query["since"] = search.newer_than.isoformat()
            response = await search.http.request("GET", API, params=query, headers={"X-API-Key": self._key})
            left = response.headers.get("X-Quota-Left", "")
            if left.isdecimal():
                await search.http.observe(Observed(remaining=int(left)))
            answer = response.checked().json()
            jobs = answer.get("jobs") if isinstance(answer, dict) else None
            if not isinstance(jobs, list):
                raise SiteError(ErrorCode.UPSTREAM, "the answer has no list of jobs")
            offset += len(jobs)
            is_last = len(jobs) < limit or offset >= asked.results_wanted
            yield Page(number, answer, response.elapsed_ms, response.requests, cursor=offset, is_last=is_last)
            if is_last:
                return
            await search.report(Progress("searching", offset, asked.results_wanted))

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the jobs of a page."""
        jobs = page.payload.get("jobs") if isinstance(page.payload, dict) else None
        if not isinstance(jobs, list):
            raise InvalidItemError("must be a list", "jobs")
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a job into an item."""
        if not isinstance(record, dict):
            raise InvalidItemError("a job must be an object")
        for field in ("id", "title", "url"):
            if not isinstance(record.get(field), str):
                raise InvalidItemError("must be a text", field)
        return Item(
            external_id=str(record["id"]),
            title=str(record["title"]),
            url=str(record["url"]),
            organization=_text(record.get("company")),
            location=_text(record.get("city")),
            posted_at=_text(record.get("posted")),
            description=_text(record.get("html")),
            data={"team": record.get("team")},
        )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None
