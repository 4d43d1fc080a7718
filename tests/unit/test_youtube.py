"""Searches for creators through YouTube's API, simulated with respx."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.support.hostile import hostile, json_scalars
from tests.support.sources import Trial, item_of, search_source
from worker.engine.permits import LocalPermits
from worker.errors import ErrorCode, InvalidItemError
from worker.model import Json, Observed, Page
from worker.sources.youtube import MAX_PAGES, YouTubeSettings, YouTubeSource
from worker.sources.youtube_api import seconds_to_reset

API = "https://www.googleapis.com/youtube/v3"
KEY = "AIza-very-secret"
SOURCE = YouTubeSource(YouTubeSettings(api_key=SecretStr(KEY)))
NOW = datetime.now(UTC)

FIELDS = st.sampled_from((
    "asked", "asked_at", "search", "channels", "uploads", "videos", "items", "id", "channelId", "snippet", "title",
    "description", "customUrl", "country", "defaultLanguage", "statistics", "subscriberCount", "hiddenSubscriberCount",
    "contentDetails", "relatedPlaylists", "videoId", "videoPublishedAt", "publishedAt", "brandingSettings", "channel",
    "keywords", "search_term", "min_subscribers", "max_subscribers", "language", "active_within_days", "most",
    "nextPageToken", "thumbnails", "high", "url", "video",
))  # fmt: skip
VALUES = st.sampled_from((
    "UC1", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "12", "@x", "\ud800", "en",
))  # fmt: skip
HOSTILE = st.recursive(
    json_scalars | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=7),
    max_leaves=20,
)
OBJECTS = st.dictionaries(FIELDS, HOSTILE, max_size=4)
RECORDS = st.builds(
    lambda channel_id, snippet, found, record: {
        "asked_at": NOW.isoformat(), **record,
        "channel": found | {"id": channel_id, "snippet": {"title": "A"} | snippet},
    },
    VALUES, OBJECTS, OBJECTS, OBJECTS,
)  # fmt: skip


class Played:
    """Plays the API: channels in pages of a search, and what is known of them."""

    def __init__(self, *pages: Sequence[dict[str, Any]]) -> None:
        self.pages = pages
        self.channels = {channel["id"]: channel for page in pages for channel in page}
        self.uploads: dict[str, list[tuple[str, datetime]]] = {}
        self.audio_languages: dict[str, str] = {}
        self.search = respx.get(f"{API}/search").mock(side_effect=self._search)
        self.list = respx.get(f"{API}/channels").mock(side_effect=self._channels)
        self.playlists = respx.get(f"{API}/playlistItems").mock(side_effect=self._uploads)
        self.videos = respx.get(f"{API}/videos").mock(side_effect=self._videos)

    def _search(self, request: httpx.Request) -> httpx.Response:
        place = int(request.url.params.get("pageToken", 0))
        items = [{"id": {"kind": "youtube#channel", "channelId": channel["id"]}} for channel in self.pages[place]]
        after = {"nextPageToken": str(place + 1)} if place + 1 < len(self.pages) else {}
        return httpx.Response(200, json={"items": items} | after)

    def _channels(self, request: httpx.Request) -> httpx.Response:
        ids = sorted(request.url.params["id"].split(","))
        return httpx.Response(200, json={"items": [self.channels[i] for i in ids if i in self.channels]})

    def _uploads(self, request: httpx.Request) -> httpx.Response:
        playlist = request.url.params["playlistId"]
        if playlist not in self.uploads:
            return error(404, "playlistNotFound")
        items = [
            {
                "snippet": {"title": title, "publishedAt": at.isoformat()},
                "contentDetails": {"videoId": f"{playlist}-{place}", "videoPublishedAt": at.isoformat()},
            }
            for place, (title, at) in enumerate(self.uploads[playlist])
        ]
        return httpx.Response(200, json={"items": items})

    def _videos(self, request: httpx.Request) -> httpx.Response:
        found = [i for i in request.url.params["id"].split(",") if i in self.audio_languages]
        items = [{"id": i, "snippet": {"defaultAudioLanguage": self.audio_languages[i]}} for i in found]
        return httpx.Response(200, json={"items": items} if items else {})


def channel(number: int, subscribers: int | None = 1000, **snippet: Json) -> dict[str, Any]:
    return {
        "id": f"UC{number:03}",
        "snippet": {"title": f"Channel {number}", "description": "Videos."} | snippet,
        "statistics": {
            "viewCount": "5000",
            "videoCount": "7",
            "hiddenSubscriberCount": subscribers is None,
            **({} if subscribers is None else {"subscriberCount": str(subscribers)}),
        },
        "contentDetails": {"relatedPlaylists": {"uploads": f"UU{number:03}"}},
    }


def error(status: int, *reasons: str, **details: Any) -> httpx.Response:
    entries = [{"reason": reason, "domain": "youtube", "message": f"with {KEY}"} for reason in reasons]
    body = {"code": status, "message": f"Project 1234 with {KEY}", "errors": entries, "details": [details]}
    return httpx.Response(status, json={"error": body})


async def find(
    source: YouTubeSource = SOURCE, *, fails: bool = False, cursor: Json = None, next_page: int = 1, **parameters: Any
) -> Trial:
    """Search for channels; whether it fails has to be as expected."""
    trial = await search_source(source, {"search_term": "channel"} | parameters, cursor=cursor, next_page=next_page)
    assert (trial.error is not None) is fails, trial.error
    return trial


# Parameters ----------------------------------------------------------------------------------------------------------


async def test_a_missing_key_is_named() -> None:
    source = YouTubeSource(YouTubeSettings(api_key=None))
    assert source.credentials == {"YOUTUBE_API_KEY": False}
    found = (await find(source, fails=True)).failure
    assert (found.code, found.is_final) == (ErrorCode.UNAUTHORIZED, True)
    assert found.message == "the worker lacks YOUTUBE_API_KEY"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"search_term": " "}, "search_term"),
        ({"keywords": []}, "keywords"),
        ({"min_subscribers": -1}, "min_subscribers: must be an integer from 0 to 1000000000"),
        ({"min_subscribers": 9, "max_subscribers": 8}, "max_subscribers: "),
        ({"language": "German"}, "language: "),
        ({"language": "d1"}, "must be a language code, such as en or pt-BR"),
        ({"active_within_days": 0}, "active_within_days"),
        ({"results_wanted": 501}, "results_wanted: must be an integer from 1 to 500"),
    ],
)
async def test_invalid_parameters_are_reported_with_what_is_allowed(parameters: dict[str, Any], problem: str) -> None:
    found = (await find(fails=True, **parameters)).failure
    assert (found.code, found.is_final) == (ErrorCode.INVALID_PARAMETERS, True)
    assert problem in found.message


# Fetch, enrich, score ------------------------------------------------------------------------------------------------


@respx.mock
async def test_a_page_is_a_search_with_its_channels() -> None:
    played = Played([channel(2), channel(1)], [channel(3)])
    trial = await find()
    assert [(page.number, page.is_last, page.calls_used) for page in trial.pages] == [(1, False, 2), (2, True, 2)]
    assert trial.titles == ["Channel 2", "Channel 1", "Channel 3"]  # equal scores: in YouTube's order
    asked = played.search.calls[0].request.url.params
    assert dict(asked) == {"part": "snippet", "type": "channel", "q": "channel", "maxResults": "50"}
    assert played.search.calls[1].request.url.params["pageToken"] == "1"
    assert played.list.calls[0].request.url.params["id"] == "UC002,UC001"
    assert played.playlists.call_count == played.videos.call_count == 0


@respx.mock
async def test_the_key_is_in_a_header_and_in_no_address() -> None:
    Played([channel(1)])
    await find(language="en", active_within_days=3)
    assert respx.calls.call_count == 3
    for call in respx.calls:
        assert call.request.headers["X-Goog-Api-Key"] == KEY
        assert KEY not in str(call.request.url)


@respx.mock
async def test_the_steps_are_reported() -> None:
    played = Played([channel(1), channel(2)], [channel(3)])
    played.uploads = {f"UU00{number}": [("New", NOW)] for number in (1, 2, 3)}
    trial = await find(active_within_days=5, results_wanted=40)
    assert [(step.step, step.current, step.total, step.details) for step in trial.progress] == [
        ("fetching", 0, 40, {}),
        ("enriching", 0, 40, {"channels": 2}),
        ("enriching", 0, 40, {"channels": 2, "uploads": 2, "looked_up": 0}),
        ("enriching", 0, 40, {"channels": 2, "uploads": 2, "looked_up": 1}),
        ("scoring", 0, 40, {"channels": 2, "matched": 2}),
        ("fetching", 2, 40, {}),
        ("enriching", 2, 40, {"channels": 1}),
        ("enriching", 2, 40, {"channels": 1, "uploads": 1, "looked_up": 0}),
        ("scoring", 2, 40, {"channels": 1, "matched": 1}),
        ("scoring", 3, 3, {}),
    ]


@respx.mock
async def test_the_best_of_a_page_come_first_and_no_more_than_wanted() -> None:
    played = Played([channel(1, 100), channel(2, 10**6), channel(3, 10**4)], [channel(4)])
    trial = await find(results_wanted=2)
    assert trial.titles == ["Channel 2", "Channel 3"]
    assert trial.pages[0].is_last
    assert played.search.call_count == 1


@respx.mock
async def test_results_are_counted_over_all_pages() -> None:
    Played([channel(1), channel(2)], [channel(3), channel(4)], [channel(5)])
    trial = await find(results_wanted=3)
    assert trial.titles == ["Channel 1", "Channel 2", "Channel 3"]
    assert [page.is_last for page in trial.pages] == [False, True]


@respx.mock
async def test_an_item_has_the_figures_and_the_score() -> None:
    snippet: dict[str, Json] = {
        "title": "Chess Corner", "description": "All about openings <3", "customUrl": "@chesscorner", "country": "IN",
        "defaultLanguage": "en-GB", "publishedAt": "2019-01-01T00:00:00Z",
        "thumbnails": {"high": {"url": "https://yt3.ggpht.com/x"}},
    }  # fmt: skip
    played = Played([channel(1, 100_000, **snippet)])
    played.uploads = {"UU001": [("The Sicilian", NOW), ("An endgame", NOW - timedelta(days=9))]}
    [item] = (await find(search_term="chess -puzzles", keywords=["openings", "endgame"], active_within_days=1)).items
    assert (item.external_id, item.title) == ("UC001", "Chess Corner")
    assert item.url == "https://www.youtube.com/@chesscorner"
    assert (item.location, item.country) == ("IN", "IN")
    assert item.description is not None
    assert "All about openings" in item.description
    assert item.data == {
        "score": 88,
        "score_parts": {"topic": 1.0, "keywords": 0.75, "size": 0.6, "activity": 1.0},
        "subscribers": 100_000, "views": 5000, "videos": 7, "language": "en", "country": "IN",
        "handle": "@chesscorner", "created_at": "2019-01-01T00:00:00Z", "newest_upload_at": NOW.isoformat(),
        "upload_titles": ["The Sicilian", "An endgame"], "thumbnail": "https://yt3.ggpht.com/x",
    }  # fmt: skip


@respx.mock
async def test_a_page_is_read_the_same_at_any_time() -> None:
    played = Played([channel(1), channel(2)])
    played.uploads = {"UU001": [("New", NOW - timedelta(days=3))], "UU002": [("Old", NOW - timedelta(days=9))]}
    [page] = (await find(active_within_days=5)).pages
    assert isinstance(page.payload, dict)
    # A year later, or read again a year after it was fetched.
    later = Page(1, page.payload | {"asked_at": (NOW + timedelta(days=4)).isoformat()}, 1)
    assert len(SOURCE.records("youtube", page)) == 1
    assert len(SOURCE.records("youtube", later)) == 0


# Filters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({}, {"Channel 1", "Channel 2", "Channel 3"}),
        ({"min_subscribers": 500}, {"Channel 2"}),
        ({"min_subscribers": 0}, {"Channel 1", "Channel 2"}),
        ({"max_subscribers": 100}, {"Channel 1"}),
        ({"min_subscribers": 101, "max_subscribers": 999}, set()),
    ],
)
@respx.mock
async def test_a_hidden_number_of_subscribers_fits_no_bound(bounds: dict[str, Any], found: set[str]) -> None:
    Played([channel(1, 100), channel(2, 1000), channel(3, None)])
    assert set((await find(**bounds)).titles) == found


@respx.mock
async def test_only_the_active_are_found() -> None:
    played = Played([channel(number) for number in range(1, 5)])
    played.uploads = {
        "UU001": [("New", NOW - timedelta(days=6, hours=23))],
        "UU002": [("Old", NOW - timedelta(days=8))],
        "UU003": [],
    }
    assert (await find(active_within_days=7)).titles == ["Channel 1"]


@respx.mock
async def test_the_language_is_the_channels_or_the_newest_uploads_or_the_countrys() -> None:
    played = Played([
        channel(1, defaultLanguage="de-AT"), channel(2, defaultLanguage="fr"), channel(3), channel(4),
        channel(5, country="AT"), channel(6, country="CH"), channel(7, defaultLanguage="zxx", country="DE"),
    ])  # fmt: skip
    played.uploads = {f"UU00{number}": [("Video", NOW), ("Older", NOW - timedelta(days=1))] for number in (3, 4, 6)}
    played.audio_languages = {"UU003-0": "de", "UU004-0": "en-US", "UU004-1": "de"}
    assert (await find(language="de-DE")).titles == ["Channel 3", "Channel 1", "Channel 5", "Channel 7"]
    assert played.search.calls.last.request.url.params["relevanceLanguage"] == "de"
    assert {call.request.url.params["playlistId"] for call in played.playlists.calls} == {
        "UU003", "UU004", "UU005", "UU006", "UU007",
    }  # fmt: skip
    assert played.videos.calls.last.request.url.params["id"] == "UU003-0,UU004-0,UU006-0"


@pytest.mark.parametrize(("language", "sent"), [("pt-BR", "pt"), ("zh-Hant", "zh-Hant"), ("zh-TW", "zh"), ("EN", "en")])
@respx.mock
async def test_the_language_is_sent_as_youtube_takes_it(language: str, sent: str) -> None:
    played = Played([channel(1)])
    await find(language=language)
    assert played.search.calls.last.request.url.params["relevanceLanguage"] == sent


@respx.mock
async def test_uploads_are_looked_up_only_of_those_that_pass_the_other_filters() -> None:
    played = Played([channel(1, 5), channel(2, defaultLanguage="fr"), channel(3, None), channel(4)])
    await find(language="de", active_within_days=9, min_subscribers=100)
    assert [call.request.url.params["playlistId"] for call in played.playlists.calls] == ["UU004"]
    assert played.videos.call_count == 0


# Going on ------------------------------------------------------------------------------------------------------------


@respx.mock
async def test_a_search_resumes_after_its_last_page() -> None:
    played = Played([channel(1), channel(2)], [channel(3)], [channel(4), channel(5)])
    whole = await find(results_wanted=4)
    played.search.reset()
    cursor = json.loads(json.dumps(whole.pages[0].cursor))
    rest = await find(cursor=cursor, next_page=2, results_wanted=4)
    assert [page.number for page in rest.pages] == [2, 3]
    assert rest.titles == whole.titles[2:] == ["Channel 3", "Channel 4"]
    assert [call.request.url.params["pageToken"] for call in played.search.calls] == ["1", "2"]


@respx.mock
async def test_an_expired_page_token_restarts_the_search() -> None:
    played = Played([channel(1)], [channel(2)])
    saved = (await find()).pages[0].cursor
    expired = iter([error(400, "invalidPageToken")])
    played.search.reset()
    played.search.mock(side_effect=lambda request: next(expired, None) or played._search(request))  # noqa: SLF001
    trial = await find(cursor=saved, next_page=2)
    assert [page.number for page in trial.pages] == [2, 3]
    assert trial.titles == ["Channel 1", "Channel 2"]
    assert {step.current for step in trial.progress[:-1]} == {1}
    assert trial.progress[-1].current == 2


@respx.mock
async def test_a_page_token_that_is_refused_at_once_fails_the_search() -> None:
    played = Played([channel(1)], [channel(2)])
    saved = (await find()).pages[0].cursor

    def play(request: httpx.Request) -> httpx.Response:
        return error(400, "invalidPageToken") if "pageToken" in request.url.params else played._search(request)  # noqa: SLF001

    played.search.mock(side_effect=play)
    found = (await find(fails=True, cursor=saved, next_page=2)).failure
    assert (found.code, found.is_final) == (ErrorCode.UPSTREAM, False)


@pytest.mark.parametrize("cursor", [7, [], {}, {"page_token": "1"}, {"page_token": 1.5, "found": 1, "pages": 1}])
@respx.mock
async def test_an_invalid_cursor_starts_with_the_first_page(cursor: Json) -> None:
    Played([channel(1)], [channel(2)])
    assert (await find(cursor=cursor)).titles == ["Channel 1", "Channel 2"]


@respx.mock
async def test_a_search_without_matches_ends() -> None:
    played = Played(*([channel(number, None)] for number in range(3 * MAX_PAGES)))
    pages = (await find(min_subscribers=1)).pages
    assert len(pages) == played.search.call_count == MAX_PAGES
    assert pages[-1].is_last


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "is_final"),
    [
        (error(403, "quotaExceeded"), ErrorCode.QUOTA_EXCEEDED, False),
        (error(403, "dailyLimitExceeded"), ErrorCode.QUOTA_EXCEEDED, False),
        (
            error(429, "rateLimitExceeded", metadata={"quota_limit": "SearchListPerDayPerProject"}),
            ErrorCode.QUOTA_EXCEEDED,
            False,
        ),
        (error(403, "rateLimitExceeded"), ErrorCode.RATE_LIMITED, False),
        (error(403, "userRateLimitExceeded"), ErrorCode.RATE_LIMITED, False),
        (error(429, "rateLimitExceeded", metadata={"quota_limit": "PerMinute"}), ErrorCode.RATE_LIMITED, False),
        (error(429), ErrorCode.RATE_LIMITED, False),
        (error(400, "keyInvalid"), ErrorCode.UNAUTHORIZED, True),
        (error(400, "badRequest", reason="API_KEY_INVALID"), ErrorCode.UNAUTHORIZED, True),
        (error(403, "accessNotConfigured"), ErrorCode.UNAUTHORIZED, True),
        (error(403, "ipRefererBlocked"), ErrorCode.UNAUTHORIZED, True),
        (error(403, "forbidden"), ErrorCode.UNAUTHORIZED, True),
        (error(401, "authError"), ErrorCode.UNAUTHORIZED, True),
        (error(400, "invalidRelevanceLanguage"), ErrorCode.INVALID_PARAMETERS, True),
        (error(500, "backendError"), ErrorCode.UPSTREAM, False),
        (error(503, "backendError"), ErrorCode.UPSTREAM, False),
        (httpx.Response(503, text="<html>"), ErrorCode.UPSTREAM, False),
    ],
)
@pytest.mark.parametrize("route", ["search", "list"])
@respx.mock
async def test_documented_errors(*, route: str, answer: httpx.Response, code: ErrorCode, is_final: bool) -> None:
    played = Played([channel(1)])
    getattr(played, route).mock(return_value=answer)
    found = (await find(fails=True)).failure
    assert (found.code, found.is_final) == (code, is_final)
    assert KEY not in found.message
    assert "1234" not in found.message


@respx.mock
async def test_a_spent_quota_is_observed_until_midnight_in_california(monkeypatch: pytest.MonkeyPatch) -> None:
    observed: list[tuple[Observed, str | None]] = []

    async def observe(self: LocalPermits, limits: Observed, bucket: str | None = None) -> None:  # noqa: ARG001
        observed.append((limits, bucket))

    monkeypatch.setattr(LocalPermits, "observe", observe)
    played = Played([channel(1)], [channel(2)])
    played.list.mock(side_effect=[httpx.Response(200, json={"items": [channel(1)]}), error(403, "quotaExceeded")])
    trial = await find(fails=True)
    [(limits, bucket)] = observed
    assert (limits.remaining, bucket) == (0, "youtube")
    assert limits.resets_in_seconds == trial.failure.retry_after_seconds
    assert limits.resets_in_seconds is not None
    assert 0 < limits.resets_in_seconds <= 25 * 3600
    # What was found before is kept, and the search goes on after it.
    assert [page.number for page in trial.pages] == [1]
    assert trial.cursor == {"page_token": "1", "found": 1, "pages": 1}


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        ("2026-01-15T07:59:59+00:00", 1),
        ("2026-07-15T06:59:00+00:00", 60),
        ("2026-07-15T07:00:00+00:00", 24 * 3600),
        ("2026-03-08T08:00:00+00:00", 23 * 3600),  # the clock is put forward that day
        ("2026-11-01T07:00:00+00:00", 25 * 3600),  # and back
        ("2026-01-15T00:59:59-07:00", 1),
    ],
)
def test_the_time_to_midnight_in_california(now: str, seconds: int) -> None:
    assert seconds_to_reset(datetime.fromisoformat(now)) == seconds


@pytest.mark.parametrize("body", ["", "<html>", "null", "[]", '{"items": {}}', "{}", "[" * 9_000])
@pytest.mark.parametrize("status", [200, 400, 403, 500])
@respx.mock
async def test_an_unexpected_body_fails_the_search(status: int, body: str) -> None:
    respx.get(f"{API}/search").respond(status, text=body)
    found = (await find(fails=True)).failure
    if status == 200:
        assert found.code in (ErrorCode.UNVERIFIED, ErrorCode.UPSTREAM)


# Hostile answers -----------------------------------------------------------------------------------------------------


def test_an_unreadable_channel_is_reported() -> None:
    payload: dict[str, Json] = {
        "asked": {"search_term": "x", "min_subscribers": 5},
        "asked_at": NOW.isoformat(),
        "search": {},
        "channels": {"items": ["x", {"id": "UC1"}, {"snippet": {"title": "No id"}, "statistics": {}}]},
    }
    records = SOURCE.records("youtube", Page(1, payload, 1))
    assert len(records) == 2
    for record in records:
        with pytest.raises(InvalidItemError):
            SOURCE.parse("youtube", record)


@given(payload=HOSTILE)
def test_any_page_is_read_or_refused(payload: Json) -> None:
    check_page(payload)


@given(channels=st.lists(HOSTILE, max_size=3), asked=HOSTILE, uploads=HOSTILE, videos=HOSTILE)
def test_any_page_of_that_form_is_read_or_refused(
    channels: list[Json], asked: Json, uploads: Json, videos: Json
) -> None:
    check_page(
        {
            "asked": asked,
            "asked_at": NOW.isoformat(),
            "search": {"items": []},
            "channels": {"items": [{"id": "UC1", "snippet": {"title": "A"}}, *channels]},
            "uploads": {"UC1": uploads},
            "videos": videos,
        }
    )


def check_page(payload: Json) -> None:
    page = Page(1, payload, 1)
    try:
        records = SOURCE.records("youtube", page)
    except InvalidItemError:
        return
    assert records == SOURCE.records("youtube", page)
    for record in records:
        check_record(record)


@given(record=HOSTILE | RECORDS)
def test_any_record_is_a_creator_or_refused(record: Json) -> None:
    check_record(record)


def check_record(record: Json) -> None:
    if item := item_of(SOURCE, record):
        assert item.title
        assert item.url.startswith("https://www.youtube.com/")
        assert isinstance(item.data["score"], int)
        assert 0 <= item.data["score"] <= 100


@hostile(50)
@given(listing=HOSTILE, channels=HOSTILE, uploads=HOSTILE, status=st.sampled_from((200, 200, 200, 400, 403, 500)))
async def test_any_answer_is_read_or_fails_the_search(
    listing: Json, channels: Json, uploads: Json, status: int
) -> None:
    with respx.mock(assert_all_called=False) as played:
        found = {"items": [{"id": {"channelId": "UC1"}}, listing]}
        played.get(f"{API}/search").respond(200, content=json.dumps(found).encode())
        played.get(f"{API}/channels").respond(status, content=json.dumps({"items": [channel(1), channels]}).encode())
        played.get(f"{API}/playlistItems").respond(200, content=json.dumps(uploads).encode())
        played.get(f"{API}/videos").respond(200, content=json.dumps(uploads).encode())
        trial = await search_source(SOURCE, {"search_term": "channel", "language": "en", "active_within_days": 5})
    assert KEY not in str(trial.error)
