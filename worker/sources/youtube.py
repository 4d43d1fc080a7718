"""Searches creators on YouTube by topic, adds statistics and uploads of their channels, and scores them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.model import Item, Json, Page, Progress, SiteLimits
from worker.settings import ApiKey, EnvironmentSettings, plain
from worker.sources import Search, Source
from worker.sources.creator_score import Creator, Criteria, fits_activity, fits_language, fits_size, language_of, score
from worker.sources.fields import link, mapping, number, sequence, text
from worker.sources.parameters import SearchParameters
from worker.sources.youtube_api import LIMITS, YouTube
from worker.sources.youtube_page import (
    asked_at,
    channel_ids,
    channel_records,
    creator_of,
    criteria_of,
    id_of,
    matches,
    newest_video,
    uploads_playlist,
)

MAX_PAGES = 20
"""Most pages of one search. YouTube returns about 500 channels per search, and all searches share 100 pages a day."""


class CreatorParameters(SearchParameters):
    """Parameters of a search for creators.

    Attributes:
        search_term: The topic in YouTube's query syntax: `|` means or, `-` excludes a word.
        keywords: Words and phrases that raise a creator's score.
        min_subscribers: Least number of subscribers. Excludes creators who hide it.
        max_subscribers: Greatest number of subscribers. Excludes creators who hide it.
        language: BCP 47 tag of the language. Excludes creators whose language is unknown.
        active_within_days: Greatest age of the newest upload, in days.
        results_wanted: Number of creators.
    """

    search_term: str = Field(min_length=1, max_length=200)
    keywords: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] | None = Field(
        None, min_length=1, max_length=20
    )
    min_subscribers: int | None = Field(None, ge=0, le=1_000_000_000)
    max_subscribers: int | None = Field(None, ge=0, le=1_000_000_000)
    language: str | None = Field(None, min_length=2, max_length=10)
    active_within_days: int | None = Field(None, ge=1, le=3650)
    results_wanted: int = Field(50, ge=1, le=500)

    @field_validator("max_subscribers")
    @classmethod
    def _check_bounds(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < (info.data.get("min_subscribers") or 0):
            raise ValueError("must not be below min_subscribers")
        return value

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?", value):
            raise ValueError("must be a language code, such as en or pt-BR")
        return value


class YouTubeSettings(EnvironmentSettings):
    """The operator's access to YouTube.

    Attributes:
        api_key: Key of the YouTube Data API v3; None: it is not set.
    """

    api_key: ApiKey | None = Field(
        default=None,
        validation_alias="YOUTUBE_API_KEY",
        description="Key of the YouTube Data API v3, for the site youtube.",
    )


class YouTubeSource(Source):
    """Searches channels on YouTube.

    Args:
        settings: The operator's access to YouTube; by default from the environment.
    """

    name = "youtube"
    kind = "creators"
    sites: Sequence[str] = ("youtube",)
    hosts: Mapping[str, str] = {"youtube": "www.googleapis.com"}
    parameters = CreatorParameters
    settings = YouTubeSettings
    limits: Mapping[str, SiteLimits] = LIMITS

    def __init__(self, settings: YouTubeSettings | None = None) -> None:
        self._api_key = plain((settings or YouTubeSettings()).api_key)
        self.credentials = {"YOUTUBE_API_KEY": self._api_key is not None}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search YouTube page by page: fetch results, look up their channels, and filter them.

        A page's payload has YouTube's unchanged responses, the parameters and the time of the search: all that
        `records` and `parse` need. If YouTube rejects the page token of a resumed search, the search restarts, and its
        pages get the next numbers.

        Raises:
            SiteError: YouTube refused the request or failed. Pages yielded before remain valid.
        """
        parameters = CreatorParameters.read(search.parameters)
        if self._api_key is None:
            raise SiteError(ErrorCode.UNAUTHORIZED, "the worker lacks YOUTUBE_API_KEY")
        position = _Position.read(search.cursor)
        is_resumed = position.page_token is not None
        steps = _ProgressReporter(search, parameters.results_wanted)
        for page_number in count(search.next_page):
            youtube = YouTube(search.http, self._api_key)
            steps.reach(position.found)
            await steps.report("fetching")
            listing = await youtube.search(parameters.search_term, parameters.language, position.page_token)
            if listing is None and is_resumed:
                position = _Position()
                listing = await youtube.search(parameters.search_term, parameters.language, None)
            if listing is None:
                raise SiteError(ErrorCode.UPSTREAM, "YouTube refused its own page token")
            is_resumed = False
            most = parameters.results_wanted - position.found
            payload: dict[str, Json] = {
                "asked": parameters.model_dump(mode="json", exclude={"sites", "results_wanted"}) | {"most": most},
                "asked_at": datetime.now(UTC).isoformat(),
                "search": listing,
            }
            await _enrich(payload, youtube, steps)
            matched = len(matches(payload))
            await steps.report("scoring", channels=len(channel_ids(listing)), matched=matched)

            position = _Position(text(listing.get("nextPageToken")), position.found + matched, position.pages + 1)
            is_last = position.is_end(listing, parameters)
            if is_last:
                steps.end(position.found)
                await steps.report("scoring")
            yield Page(
                page_number,
                payload,
                youtube.elapsed_ms,
                calls_used=youtube.requests,
                cursor=None if is_last else asdict(position),
                is_last=is_last,
            )
            if is_last:
                return

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the matching channels of a page, best first (see `matches`).

        Raises:
            InvalidItemError: The page is not one of `fetch`.
        """
        payload = mapping(page.payload)
        for field in ("asked", "search", "channels"):
            if not isinstance(payload.get(field), dict):
                raise InvalidItemError("must be an object", field)
        return [*matches(payload)]

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a channel into an item. `data` has its statistics, its score and the parts of the score.

        Raises:
            InvalidItemError: The record is not a channel, or has no id or no title.
        """
        kept = mapping(record)
        channel_id, creator = id_of(kept), creator_of(kept)
        if channel_id is None:
            raise InvalidItemError("is missing", "id")
        if not creator.title:
            raise InvalidItemError("is missing", "title")
        snippet = mapping(mapping(kept.get("channel")).get("snippet"))
        handle = text(snippet.get("customUrl"))
        path = handle if handle and handle.startswith("@") else f"channel/{channel_id}"
        return Item(
            external_id=channel_id,
            title=creator.title,
            url=f"https://www.youtube.com/{quote(path, safe='@/', errors='replace')}",
            location=creator.country,
            country=creator.country,
            description=creator.description or None,
            data=_data(kept, creator),
        )

    def records_in(self, site: str, content: Json, board: str | None = None) -> Sequence[Json]:
        """Return the channels of content: a page's payload, or channels as YouTube's API returns them."""
        listed = mapping(content)
        if listed.get("kind") == "youtube#channelListResponse":
            content = listed.get("items")
        elif listed.get("kind") == "youtube#channel":
            return [{"channel": content, "asked": {}, "asked_at": datetime.now(UTC).isoformat()}]
        return super().records_in(site, content, board)


def _data(record: dict[str, Json], creator: Creator) -> dict[str, Json]:
    channel = mapping(record.get("channel"))
    snippet, statistics = mapping(channel.get("snippet")), mapping(channel.get("statistics"))
    scored = score(creator, criteria_of(record), asked_at(record))
    data: dict[str, Json] = {
        "score": scored.total,
        "score_parts": {**scored.parts},
        "subscribers": creator.subscribers,
        "views": number(statistics.get("viewCount")),
        "videos": number(statistics.get("videoCount")),
        "language": language_of(creator),
        "country": creator.country,
        "handle": text(snippet.get("customUrl")),
        "keywords": creator.keywords or None,
        "created_at": text(snippet.get("publishedAt")),
        "newest_upload_at": creator.newest_upload.isoformat() if creator.newest_upload else None,
        "upload_titles": None if creator.upload_titles is None else [*creator.upload_titles],
        "thumbnail": link(mapping(mapping(snippet.get("thumbnails")).get("high")).get("url")),
    }
    return {name: value for name, value in data.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Position:
    """Where to resume a search. Kept as the cursor of each page.

    Attributes:
        page_token: YouTube's token of the next page; None: the first page.
        found: Creators on the pages before.
        pages: Number of the pages before.
    """

    page_token: str | None = None
    found: int = 0
    pages: int = 0

    @classmethod
    def read(cls, cursor: Json) -> Self:
        """Parse a page's cursor. Return the position of the first page if it is missing or invalid."""
        kept = mapping(cursor)
        page_token, found, pages = text(kept.get("page_token")), number(kept.get("found")), number(kept.get("pages"))
        return cls() if page_token is None or found is None or pages is None else cls(page_token, found, pages)

    def is_end(self, listing: Mapping[str, Json], parameters: CreatorParameters) -> bool:
        """Return whether the search ends with the page of `listing`."""
        is_enough = self.found >= parameters.results_wanted or self.pages >= MAX_PAGES
        return is_enough or self.page_token is None or not sequence(listing.get("items"))


@dataclass(slots=True)
class _ProgressReporter:
    """Reports the steps of a search. Progress counts the creators found and never decreases.

    Attributes:
        search: The search.
        total: Creators wanted; at the end, creators found.
        found: Creators found so far.
    """

    search: Search
    total: int
    found: int = 0

    def reach(self, found: int) -> None:
        """Set the number of creators on the pages so far."""
        self.found = max(self.found, found)

    def end(self, found: int) -> None:
        """Set the number of creators on all pages."""
        self.reach(found)
        self.total = self.found

    async def report(self, step: str, **details: Json) -> None:
        """Report the current step, with counts of its own."""
        await self.search.report(Progress(step, self.found, max(self.found, self.total), details))


async def _enrich(payload: dict[str, Json], youtube: YouTube, steps: _ProgressReporter) -> None:
    """Look up the channels of a page, and their uploads if a filter needs them.

    Looking up uploads costs one unit per channel. It is limited to channels that match the other filters.
    """
    ids = channel_ids(mapping(payload["search"]))
    await steps.report("enriching", channels=len(ids))
    payload["channels"] = await youtube.channels(ids) if ids else {}
    criteria, now = criteria_of(payload), asked_at(payload)
    playlists = {
        channel_id: playlist
        for record in channel_records(payload)
        if _needs_uploads(creator_of(record), criteria)
        and (channel_id := id_of(record))
        and (playlist := uploads_playlist(record))
    }
    uploads: dict[str, Json] = {}
    payload["uploads"] = uploads
    for channel_id, playlist in playlists.items():
        await steps.report("enriching", channels=len(ids), uploads=len(playlists), looked_up=len(uploads))
        uploads[channel_id] = await youtube.uploads(playlist)
    if criteria.language is None:
        return
    creators = [(record, creator_of(record)) for record in channel_records(payload)]
    videos = [
        video
        for record, creator in creators
        if creator.language is None and fits_activity(creator, criteria, now) and (video := newest_video(record))
    ]
    payload["videos"] = await youtube.videos(videos) if videos else {}


def _needs_uploads(creator: Creator, criteria: Criteria) -> bool:
    if not fits_size(creator, criteria):
        return False
    if criteria.language is not None and creator.language is None:
        return True
    return criteria.active_within_days is not None and fits_language(creator, criteria)
