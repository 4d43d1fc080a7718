"""The YouTube Data API v3: searches for channels, their details and their uploads, with daily quotas."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar

from worker.local.boards.failures import Failure
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.synthetic.channels import Channel, channels
from worker.local.boards.synthetic.jobs import Listing, words

SEARCHES_A_DAY, UNITS_A_DAY = 100, 10_000

_KEY = "played-youtube-key"
_ROOT = "/youtube/v3"
_MAX_RESULTS = 50
_FAILURES: Mapping[Failure, tuple[HTTPStatus, str]] = {
    Failure.RATE_LIMITED: (HTTPStatus.FORBIDDEN, "rateLimitExceeded"),
    Failure.QUOTA_EXCEEDED: (HTTPStatus.FORBIDDEN, "quotaExceeded"),
    Failure.BLOCKED: (HTTPStatus.FORBIDDEN, "accessNotConfigured"),
    Failure.BAD_GATEWAY: (HTTPStatus.SERVICE_UNAVAILABLE, "backendError"),
    Failure.SERVER_ERROR: (HTTPStatus.INTERNAL_SERVER_ERROR, "backendError"),
}


class YouTube(Board):
    """www.googleapis.com/youtube/v3. It lists channels instead of jobs, generated from the seed. Quotas never reset."""

    site = "youtube"
    hosts = frozenset({"www.googleapis.com"})
    renamed: ClassVar[Mapping[str, str]] = {'"items":': '"results":'}
    credentials: ClassVar[Mapping[str, str]] = {"YOUTUBE_API_KEY": _KEY}

    def __init__(self, listings: Sequence[Listing], now: datetime, seed: int = 1) -> None:
        super().__init__(listings, now, seed)
        self._channels = channels(seed, now)
        self._spent: Counter[str] = Counter()

    def page(self, request: Request) -> int | None:
        """Return the page of the page token."""
        if request.path != f"{_ROOT}/search":
            return None
        return (_start(request) or 0) // max(request.number("maxResults", 5), 1) + 1

    def answer(self, request: Request) -> Response:
        """Answer with one of the four lists, until its quota is exceeded."""
        lists: dict[str, Callable[[Request], Response]] = {
            "search": self._search,
            "channels": self._list_channels,
            "playlistItems": self._list_uploads,
            "videos": self._list_videos,
        }
        name = request.path.removeprefix(f"{_ROOT}/")
        if request.headers.get("x-goog-api-key", request.parameter("key")) != _KEY:
            return _error(HTTPStatus.BAD_REQUEST, "badRequest", "API_KEY_INVALID")
        if name not in lists or request.method != "GET":
            return _error(HTTPStatus.NOT_FOUND, "notFound")
        bucket, quota = ("searches", SEARCHES_A_DAY) if name == "search" else ("units", UNITS_A_DAY)
        if self._spent[bucket] >= quota:
            return _error(HTTPStatus.FORBIDDEN, "quotaExceeded")
        self._spent[bucket] += 1
        return lists[name](request)

    def empty(self, request: Request) -> Response:  # noqa: ARG002
        """Answer without results."""
        return _found([], 0, None)

    def failed(self, failure: Failure) -> Response:
        """Answer with one of the API's errors."""
        return _error(*_FAILURES[failure])

    def _search(self, request: Request) -> Response:
        start, count = _start(request), request.number("maxResults", 5)
        if start is None:
            return _error(HTTPStatus.BAD_REQUEST, "invalidPageToken")
        if request.parameter("type") != "channel" or not 0 < count <= _MAX_RESULTS:
            return _error(HTTPStatus.BAD_REQUEST, "invalidParameter")
        wanted = words(request.parameter("q"))
        found = [channel for channel in self._channels if wanted <= words(f"{channel.title} {channel.description}")]
        # Results in the requested language come first. Others follow.
        found.sort(key=lambda channel: channel.language != request.parameter("relevanceLanguage", channel.language))
        shown = found[start : start + count]
        end = start + len(shown)
        items = [
            {
                "kind": "youtube#searchResult",
                "id": {"kind": "youtube#channel", "channelId": channel.id},
                "snippet": {"channelId": channel.id, "title": channel.title, "description": channel.description[:160]},
            }
            for channel in shown
        ]
        return _found(items, len(found), _token(end) if end < len(found) else None)

    def _list_channels(self, request: Request) -> Response:
        wanted = request.parameter("id").split(",")
        # In the order of the API, not in that of the request.
        found = [_channel(channel) for channel in self._channels if channel.id in wanted]
        return _found(found, len(found), None)

    def _list_uploads(self, request: Request) -> Response:
        playlist = request.parameter("playlistId")
        channel = next((channel for channel in self._channels if channel.playlist == playlist), None)
        if channel is None or not channel.uploads:
            return _error(HTTPStatus.NOT_FOUND, "playlistNotFound")
        items = [
            {
                "snippet": {
                    "title": f"{channel.topic.capitalize()} in practice, part {len(channel.uploads) - place}",
                    "publishedAt": published.isoformat(),
                },
                "contentDetails": {"videoId": channel.video_id(place), "videoPublishedAt": published.isoformat()},
            }
            for place, published in enumerate(channel.uploads)
        ]
        return _found(items[: request.number("maxResults", 5)], len(items), None)

    def _list_videos(self, request: Request) -> Response:
        wanted = request.parameter("id").split(",")
        items = [
            {"id": video_id, "snippet": {"defaultAudioLanguage": channel.language}}
            for channel in self._channels
            for video_id in (channel.video_id(place) for place in range(len(channel.uploads)))
            if video_id in wanted
        ]
        return _found(items, len(items), None)


def _channel(channel: Channel) -> dict[str, Any]:
    """Return a channel as the API does: numbers are strings, and unknown values are left out."""
    snippet: dict[str, Any] = {
        "title": channel.title,
        "description": channel.description,
        "customUrl": channel.handle,
        "publishedAt": channel.created.isoformat(),
        "thumbnails": {"high": {"url": f"https://yt3.ggpht.com/{channel.id}=s800", "width": 800, "height": 800}},
    }
    if channel.shows_country:
        snippet["country"] = channel.country
    if channel.declared_language:
        snippet["defaultLanguage"] = channel.declared_language
    statistics: dict[str, Any] = {
        "viewCount": str(channel.subscribers * 40),
        "hiddenSubscriberCount": channel.hides_subscribers,
        "videoCount": str(len(channel.uploads)),
    }
    if not channel.hides_subscribers:
        statistics["subscriberCount"] = str(channel.subscribers)
    return {
        "kind": "youtube#channel",
        "id": channel.id,
        "snippet": snippet,
        "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": channel.playlist}},
        "statistics": statistics,
        "brandingSettings": {"channel": {"title": channel.title, "keywords": f'{channel.topic} "how to"'}},
    }


def _start(request: Request) -> int | None:
    """Return the position of the first requested result, from 0. `None` if the page token is invalid."""
    token = request.parameter("pageToken")
    try:
        return int(base64.urlsafe_b64decode(token).decode()) if token else 0
    except ValueError:
        return None


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(str(start).encode()).decode()


def _found(items: list[Any], total: int, next_page: str | None) -> Response:
    answer: dict[str, Any] = {"items": items, "pageInfo": {"totalResults": total, "resultsPerPage": len(items)}}
    return Response.json(answer | ({"nextPageToken": next_page} if next_page else {}))


def _error(status: HTTPStatus, reason: str, detail: str | None = None) -> Response:
    error: dict[str, Any] = {
        "code": status.value,
        "message": status.phrase,
        "errors": [{"message": status.phrase, "domain": "global", "reason": reason}],
    }
    if detail:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail}]
    return Response.json({"error": error}, status)
