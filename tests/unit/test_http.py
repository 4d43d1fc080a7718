"""Requests of a search: retries, error messages and secrets."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from worker.errors import ErrorCode, SettingsError, SiteError, SiteWaitingError
from worker.http import HttpClient, HttpSettings, Response, SiteHttp, open_http
from worker.http.exits import OWN_ADDRESS, Exit
from worker.model import Observed

URL = "https://api.example.com/v1/jobs"


class Permits:
    """Grants so many permits, and remembers what was asked and told."""

    def __init__(self, granted: int = 100) -> None:
        self._left = granted
        self.taken: list[tuple[str | None, int]] = []
        self.observed: list[tuple[float | None, str | None]] = []

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        if self._left == 0:
            raise SiteWaitingError("paused", 60)
        self._left -= 1
        self.taken.append((bucket, requests))
        return OWN_ADDRESS

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        self.observed.append((observed.retry_after_seconds, bucket))


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with open_http(HttpSettings(backoff_seconds=0)) as client:
        yield client


async def failure_of(http: HttpClient, url: str = URL, permits: Permits | None = None) -> SiteError:
    with pytest.raises(SiteError) as raised:
        await SiteHttp(http, permits or Permits()).request("GET", url)
    return raised.value


@respx.mock
async def test_a_failed_request_is_not_deferred(http: HttpClient) -> None:
    route = respx.get(URL).respond(500)
    response = await SiteHttp(http, Permits(granted=1)).request("GET", URL)
    assert (response.status, route.call_count) == (500, 1)
    respx.get(URL).mock(side_effect=httpx.ConnectError("refused"))
    assert (await failure_of(http, permits=Permits(granted=1))).code == ErrorCode.NETWORK
    with pytest.raises(SiteWaitingError):
        await SiteHttp(http, Permits(granted=0)).request("GET", URL)


@respx.mock
async def test_a_request_is_sent_as_it_was_given(http: HttpClient) -> None:
    route = respx.post(URL).respond(201, json={"found": 1}, headers={"X-Left": "3"})
    permits = Permits()
    response = await SiteHttp(http, permits).request(
        "POST",
        f"{URL}?a=1",
        params={"b": True, "c": 2.5, "d": "x y"},
        headers={"X-API-Key": "k", "Accept": "application/json"},
        json={"q": "ü"},
        bucket="example:search",
        cost=100,
    )
    request = route.calls.last.request
    assert request.url.query == b"a=1&b=true&c=2.5&d=x+y"
    assert request.headers["x-api-key"] == "k"
    assert request.headers["accept"] == "application/json"
    # With its version, where it is installed.
    assert request.headers["user-agent"].startswith("supabase-search-worker")
    assert request.content == '{"q":"ü"}'.encode()
    assert (response.status, response.json(), response.headers["x-left"]) == (201, {"found": 1}, "3")
    assert response.requests == 1
    assert permits.taken == [("example:search", 100)]


@respx.mock
async def test_the_operator_names_the_worker() -> None:
    route = respx.get(URL).respond(200)
    async with open_http(HttpSettings(user_agent="acme-jobs (ops@acme.example)")) as client:
        await SiteHttp(client, Permits()).request("GET", URL)
    assert route.calls.last.request.headers["user-agent"] == "acme-jobs (ops@acme.example)"


@respx.mock
async def test_each_retry_after_a_server_error_takes_a_permit(http: HttpClient) -> None:
    respx.get(URL).mock(side_effect=[httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200)])
    permits = Permits()
    response = await SiteHttp(http, permits).request("GET", URL, bucket="b", cost=2)
    assert (response.status, response.requests) == (200, 3)
    assert permits.taken == [("b", 2)] * 3


@respx.mock
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failing_server_is_requested_three_times(http: HttpClient, status: int) -> None:
    route = respx.get(URL).respond(status, json={"error": "down"})
    response = await SiteHttp(http, Permits()).request("GET", URL)
    assert (response.status, response.json(), response.requests) == (status, {"error": "down"}, 3)
    assert route.call_count == 3


@respx.mock
@pytest.mark.parametrize(
    "status", [200, 204, 301, 304, 400, 401, 403, 404, 408, 409, 410, 422, 425, 429, 501, 505, 599]
)
async def test_other_responses_are_not_retried(http: HttpClient, status: int) -> None:
    route = respx.get(URL).respond(status)
    assert (await SiteHttp(http, Permits()).request("GET", URL)).status == status
    assert route.call_count == 1


@respx.mock
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (httpx.ConnectTimeout(""), ErrorCode.TIMEOUT, "no connection to api.example.com within 10 s"),
        (httpx.ReadTimeout(""), ErrorCode.TIMEOUT, "no answer from api.example.com within 30 s"),
        (httpx.PoolTimeout(""), ErrorCode.TIMEOUT, "no answer from api.example.com within 30 s"),
        (httpx.ConnectError("refused"), ErrorCode.NETWORK, "api.example.com: refused"),
        (httpx.ReadError(""), ErrorCode.NETWORK, "api.example.com: ReadError"),
        (httpx.RemoteProtocolError("cut off"), ErrorCode.NETWORK, "api.example.com: cut off"),
        (httpx.ProxyError("407 Who"), ErrorCode.NETWORK, "api.example.com: proxy: 407 Who"),
    ],
)
async def test_without_an_answer_the_request_is_sent_three_times(
    http: HttpClient, error: Exception, code: ErrorCode, message: str
) -> None:
    route = respx.get(URL).mock(side_effect=error)
    failure = await failure_of(http)
    assert (failure.code, failure.message, failure.is_final) == (code, message, False)
    assert route.call_count == 3


@respx.mock
async def test_retry_after_is_reported_to_the_limits(http: HttpClient) -> None:
    route = respx.get(URL).respond(429, headers={"Retry-After": "120"})
    permits = Permits()
    response = await SiteHttp(http, permits).request("GET", URL, bucket="b")
    assert permits.observed == [(120.0, "b")]
    assert response.failure().retry_after_seconds == 120.0
    assert route.call_count == 1


@respx.mock
async def test_a_failed_server_that_asks_for_much_time_gets_it(http: HttpClient) -> None:
    route = respx.get(URL).respond(503, headers={"Retry-After": "6"})
    permits = Permits()
    assert (await SiteHttp(http, permits).request("GET", URL)).status == 503
    assert permits.observed == [(6.0, None)]
    assert route.call_count == 1


@respx.mock
async def test_a_failed_server_that_asks_for_little_time_is_waited_for(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    give_way = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await give_way(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    respx.get(URL).mock(side_effect=[httpx.Response(503, headers={"Retry-After": "4"}), httpx.Response(200)])
    assert (await SiteHttp(http, Permits()).request("GET", URL)).status == 200
    assert [seconds for seconds in pauses if seconds] == [4.0]


@pytest.mark.parametrize(
    ("status", "code", "is_final"),
    [
        (400, ErrorCode.UPSTREAM, True),
        (401, ErrorCode.UNAUTHORIZED, True),
        (402, ErrorCode.QUOTA_EXCEEDED, False),
        (403, ErrorCode.BLOCKED, False),
        (404, ErrorCode.NOT_FOUND, True),
        (408, ErrorCode.TIMEOUT, False),
        (409, ErrorCode.UPSTREAM, False),
        (410, ErrorCode.NOT_FOUND, True),
        (418, ErrorCode.UPSTREAM, True),
        (422, ErrorCode.UPSTREAM, True),
        (425, ErrorCode.UPSTREAM, False),
        (429, ErrorCode.RATE_LIMITED, False),
        (304, ErrorCode.UPSTREAM, False),
        (500, ErrorCode.UPSTREAM, False),
        (504, ErrorCode.TIMEOUT, False),
        (999, ErrorCode.UPSTREAM, False),
    ],
)
def test_each_status_says_why_the_site_failed(status: int, code: ErrorCode, is_final: bool) -> None:
    with pytest.raises(SiteError, match=f"response status code {status}") as raised:
        Response(status, httpx.Headers(), b"", 1).checked()
    assert (raised.value.code, raised.value.is_final) == (code, is_final)


@pytest.mark.parametrize("body", [b"", b'{"a":', b"\xff", b"[" * 100])
def test_invalid_json_is_an_error_of_the_site(body: bytes) -> None:
    response = Response(200, httpx.Headers({"Content-Type": "text/html"}), body, 1)
    with pytest.raises(SiteError, match=r"the answer \(status 200, text/html\) is not JSON") as raised:
        response.json()
    assert raised.value.code is ErrorCode.UPSTREAM


@respx.mock
async def test_credentials_show_nowhere(http: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {"key": "hunter2+x", "X-Api-Key": "hunter3", "Authorization": "Bearer hunter4"}
    params = {"key": secrets["key"], "q": "nurse"}
    headers = {name: secrets[name] for name in ("X-Api-Key", "Authorization")}
    echo = "no key hunter2%2Bx, hunter2+x, hunter3 or hunter4 known"
    respx.get(URL).mock(side_effect=[httpx.ConnectError(echo)] * 3 + [httpx.Response(400, text=echo)])

    with pytest.raises(SiteError) as raised:
        await SiteHttp(http, Permits()).request("GET", URL, params=params, headers=headers)
    response = await SiteHttp(http, Permits()).request("GET", URL, params=params, headers=headers)

    shown = "".join(traceback.format_exception(raised.value)) + str(response.failure(response.body.decode()))
    assert "no key ***, ***, *** or *** known" in shown
    assert "hunter" not in shown
    assert "hunter" not in repr(response).replace(repr(response.body), "")
    assert "hunter" not in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://api.example.com/", "api.example.com: must be an absolute https address"),
        ("ftp://api.example.com/", "api.example.com: must be an absolute https address"),
        ("/v1/jobs", "the address: must be an absolute https address"),
        ("https://", "the address: must be an absolute https address"),
        ("https://user:hunter2@api.example.com/", "api.example.com: the address must not contain a user or a password"),
        ("https://api.example.com:hunter2/", "the address or a header of the request is not valid"),
        ("https://[hunter2]/", "the address or a header of the request is not valid"),
        ("https://api.example.com/\0hunter2", "the address or a header of the request is not valid"),
    ],
)
async def test_only_https_is_allowed(http: HttpClient, url: str, message: str) -> None:
    permits = Permits()
    failure = await failure_of(http, url, permits)
    assert (failure.code, failure.message) == (ErrorCode.INTERNAL, message)
    with pytest.raises(SiteError) as raised:
        await SiteHttp(http, permits).request("GET", url, is_user_given=True)
    assert raised.value.code is ErrorCode.INVALID_PARAMETERS
    assert permits.taken == []


async def test_a_header_that_cannot_be_sent_is_not_shown(http: HttpClient) -> None:
    key = "hünter" + "2"  # a traceback shows this line
    with pytest.raises(SiteError, match="the address or a header of the request is not valid") as raised:
        await SiteHttp(http, Permits()).request("GET", URL, headers={"X-API-Key": key})
    assert key not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exits": "a=http://user:hunter2@h:99999"}, r"^exits: number 1: address must be \[scheme://\]"),
        (
            {"exits": "a=h:1,b=ftp://h:1"},
            "^exits: number 2: address has the scheme 'ftp'; allowed: http",
        ),
        ({"ca_cert": Path("/no/such/file")}, "^ca_cert: there is no file /no/such/file"),
        ({"timeout_seconds": 0}, "^timeout_seconds: must be greater than 0"),
        ({"backoff_seconds": -1}, "^backoff_seconds: must be greater than or equal to 0"),
        ({"user_agent": "a\nb"}, "^user_agent: must be printable ASCII"),
        ({"user_agent": ""}, "^user_agent: must be printable ASCII"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        HttpSettings(**settings)
    assert "hunter2" not in str(raised.value)
