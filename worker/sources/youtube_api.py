"""Client of the YouTube Data API v3: the four lists that a search for creators reads, and the API's errors.

See https://developers.google.com/youtube/v3/docs, and for quotas
https://developers.google.com/youtube/v3/determine_quota_cost: searches have a quota of 100 a day, and each other
request costs one of 10,000 units a day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus
from zoneinfo import ZoneInfo

from worker.errors import ErrorCode, SiteError
from worker.http import Response, SiteHttp
from worker.model import Json, Observed, SiteLimits
from worker.sources.creator_score import primary_language
from worker.sources.fields import mapping, sequence, text

ADDRESS = "https://www.googleapis.com/youtube/v3"
PACIFIC = "America/Los_Angeles"
"""Time zone at whose midnight the quotas reset."""

BUCKET, SEARCH_BUCKET = "youtube", "youtube:search"
LIMITS: Mapping[str, SiteLimits] = {
    BUCKET: SiteLimits(quota=10_000, quota_period="day", quota_timezone=PACIFIC),
    SEARCH_BUCKET: SiteLimits(quota=100, quota_period="day", quota_timezone=PACIFIC),
}

PAGE_SIZE = 50
"""Most results on a page, and most ids in a request."""

UPLOADS = 10
"""Number of newest uploads of a channel that are read."""

_UPLOAD_FIELDS = "items(snippet(title,publishedAt),contentDetails(videoId,videoPublishedAt))"
_VIDEO_FIELDS = "items(id,snippet(defaultLanguage,defaultAudioLanguage))"

# https://developers.google.com/youtube/v3/docs/errors, https://developers.google.com/youtube/v3/docs/core_errors
_QUOTA_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"})
_RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "servingLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_NO_PLAYLIST_REASONS = frozenset({"playlistNotFound", "playlistItemsNotAccessible"})
_KEY_REASONS = frozenset({"keyInvalid", "keyExpired", "API_KEY_INVALID", "API_KEY_EXPIRED"})
_REASON = re.compile(r"[A-Za-z_]{3,60}")
_CHINESE = re.compile("zh-han[st]", re.IGNORECASE)


class YouTube:
    """Sends requests to YouTube, and counts them. Error messages do not contain the key.

    Args:
        http: Sends the requests.
        api_key: The operator's key.

    Attributes:
        elapsed_ms: Total response time so far, in milliseconds.
        requests: Number of requests so far.
    """

    def __init__(self, http: SiteHttp, api_key: str) -> None:
        self._http = http
        self._api_key = api_key
        self.elapsed_ms = 0
        self.requests = 0

    async def search(self, query: str, language: str | None, page_token: str | None) -> dict[str, Json] | None:
        """Search for channels and return one page of results.

        Args:
            query: The search term.
            language: BCP 47 tag of the preferred language of results; None: any.
            page_token: `nextPageToken` of the page before; None: the first page.

        Returns:
            The response, with a list of items; None if YouTube rejects the page token.

        Raises:
            SiteError: YouTube refused the request or failed.
        """
        params = {"part": "snippet", "type": "channel", "q": query, "maxResults": str(PAGE_SIZE)}
        if language is not None:
            params["relevanceLanguage"] = _relevance_language(language)
        if page_token is not None:
            params["pageToken"] = page_token
        response = await self._get("/search", params, SEARCH_BUCKET)
        if "invalidPageToken" in _reasons(response):
            return None
        answer = await self._read(response, SEARCH_BUCKET)
        if not isinstance(answer.get("items"), list):
            raise SiteError(ErrorCode.UNVERIFIED, "YouTube's answer has no list of items: its API may have changed")
        return answer

    async def channels(self, ids: Sequence[str]) -> dict[str, Json]:
        """Return channels by their ids, without those that no longer exist.

        Args:
            ids: At most `PAGE_SIZE` ids.

        Raises:
            SiteError: YouTube refused the request or failed.
        """
        parts = "snippet,statistics,contentDetails,brandingSettings"
        params = {"part": parts, "id": ",".join(ids), "maxResults": str(PAGE_SIZE)}
        return await self._read(await self._get("/channels", params, BUCKET), BUCKET)

    async def uploads(self, playlist: str) -> dict[str, Json]:
        """Return the newest videos on a channel's playlist of uploads; an empty object if it has no such playlist.

        Raises:
            SiteError: YouTube refused the request or failed.
        """
        params = {"part": "snippet,contentDetails", "playlistId": playlist, "maxResults": str(UPLOADS)}
        response = await self._get("/playlistItems", params | {"fields": _UPLOAD_FIELDS}, BUCKET)
        return {} if _reasons(response) & _NO_PLAYLIST_REASONS else await self._read(response, BUCKET)

    async def videos(self, ids: Sequence[str]) -> dict[str, Json]:
        """Return the languages of videos by their ids.

        Args:
            ids: At most `PAGE_SIZE` ids.

        Raises:
            SiteError: YouTube refused the request or failed.
        """
        params = {"part": "snippet", "id": ",".join(ids), "fields": _VIDEO_FIELDS}
        return await self._read(await self._get("/videos", params, BUCKET), BUCKET)

    async def _get(self, path: str, params: Mapping[str, str], bucket: str) -> Response:
        # A header keeps the key out of the URL: https://cloud.google.com/apis/docs/system-parameters
        headers = {"X-Goog-Api-Key": self._api_key, "Accept": "application/json"}
        response = await self._http.request("GET", ADDRESS + path, params=params, headers=headers, bucket=bucket)
        self.elapsed_ms += response.elapsed_ms
        self.requests += response.requests
        return response

    async def _read(self, response: Response, bucket: str) -> dict[str, Json]:
        if response.status != HTTPStatus.OK:
            raise await self._failure(response, bucket)
        answer = response.json()
        if not isinstance(answer, dict):
            raise SiteError(ErrorCode.UNVERIFIED, "YouTube's answer is not an object: its API may have changed")
        return answer

    async def _failure(self, response: Response, bucket: str) -> SiteError:
        reasons = _reasons(response)
        reason = ", ".join(sorted(reasons)) or "no reason given"
        if reasons & _QUOTA_REASONS or (reasons & _RATE_REASONS and _is_daily(response)):
            wait = seconds_to_reset(datetime.now(UTC))
            await self._http.observe(Observed(remaining=0, resets_in_seconds=wait), bucket)
            unit = "searches" if bucket == SEARCH_BUCKET else "units"
            return SiteError(
                ErrorCode.QUOTA_EXCEEDED,
                f"YouTube's daily quota of {unit} is used up; it resets at midnight Pacific Time",
                retry_after_seconds=wait,
            )
        if reasons & _RATE_REASONS:
            retry_after = response.retry_after_seconds
            return SiteError(ErrorCode.RATE_LIMITED, f"YouTube: {reason}", retry_after_seconds=retry_after)
        match response.status:
            case 400 if not reasons & _KEY_REASONS:
                return SiteError(ErrorCode.INVALID_PARAMETERS, f"YouTube refused the search: {reason}")
            case 400 | 401 | 403:
                # Google's message names the operator's project: only its reason is shown.
                return SiteError(ErrorCode.UNAUTHORIZED, f"YouTube refused YOUTUBE_API_KEY: {reason}")
            case _:
                return response.failure(reason)


def seconds_to_reset(now: datetime) -> float:
    """Return the seconds until the quotas reset.

    Args:
        now: The current time, with a time zone.
    """
    there = now.astimezone(ZoneInfo(PACIFIC))
    midnight = datetime.combine(there.date() + timedelta(days=1), time(), there.tzinfo)
    return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()


def _error(response: Response) -> dict[str, Json]:
    if response.status == HTTPStatus.OK:
        return {}
    try:
        return mapping(mapping(response.json()).get("error"))
    except SiteError:
        return {}


def _reasons(response: Response) -> frozenset[str]:
    """Return the reasons of an error, from YouTube's `errors` and from the `details` of Google's API gateway."""
    error = _error(response)
    entries = [*sequence(error.get("errors")), *sequence(error.get("details"))]
    reasons = (text(mapping(entry).get("reason")) for entry in entries)
    return frozenset(reason for reason in reasons if reason and _REASON.fullmatch(reason))


def _is_daily(response: Response) -> bool:
    """Return whether the exceeded limit is a daily one. Only its name shows that."""
    details = map(mapping, sequence(_error(response).get("details")))
    limits = (text(mapping(detail.get("metadata")).get("quota_limit")) for detail in details)
    return any("PerDay" in limit for limit in limits if limit)


def _relevance_language(tag: str) -> str:
    """Return a language for `relevanceLanguage`: an ISO 639-1 code, or `zh-Hans` or `zh-Hant`."""
    return tag if _CHINESE.fullmatch(tag) else primary_language(tag) or tag
