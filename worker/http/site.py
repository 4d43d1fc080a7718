"""Requests of one search: each with its permit, and within the rules for all of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    Future,
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from worker.errors import ErrorCode, SiteError, SiteWaitingError
from worker.http.addresses import public_addresses
from worker.http.bodies import UNPACKED
from worker.http.client import HttpClient
from worker.http.masking import request_secrets
from worker.http.permits import Permits
from worker.http.response import Response
from worker.model import Json, Observed

TRIES = 3
LONGEST_PAUSE_SECONDS = 5
"""Between two tries. A site that asks for more (`Retry-After`) gets it from the limits that all workers keep to."""

MOST_REDIRECTS = 5
HTTPS_PORT = 443

_HEADERS = {"Accept": "*/*", "Accept-Encoding": UNPACKED}
# The failures of a server that may have passed a moment later. Of those below 500 none has: they say what is wrong with
# the request, or ask for more time than a moment.
_PASSING_STATUSES = frozenset({
    HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
})  # fmt: skip
_REDIRECTS = frozenset({
    HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
})  # fmt: skip


class SiteHttp:
    """Requests of one search, each with its permit; transient failures are repeated, with a permit each.

    Args:
        client: Sends them.
        permits: The limits of the search's site, which all workers share.
    """

    def __init__(self, client: HttpClient, permits: Permits) -> None:
        self._client = client
        self._permits = permits

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int | float | bool] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Json = None,
        bucket: str | None = None,
        cost: int = 1,
        is_user_given: bool = False,
    ) -> Response:
        """Ask the site, and return its answer whatever its status; a search may always be asked for again.

        A failure of the network, and an answer that says that the server failed (500, 502, 503, 504), is tried up to
        three times in all. Redirects are followed to the same host alone.

        Args:
            method: `GET` or `POST`.
            url: Absolute `https` address.
            params: Query parameters to add.
            headers: Headers to add; credentials among them appear in no log or message.
            json: Body.
            bucket: The limit that the request counts for; None: the site's own.
            cost: How much of it.
            is_user_given: Whether a user chose the host: it must then be a public one, and is asked directly, whatever
                the proxies are.

        Raises:
            SiteError: No answer came (`timeout`, `network`), it is too large, leads to another host, or must not be
                asked for.
            SiteWaitingError: The site must not be asked now.
        """
        asking = _Asking(
            self._client,
            self._permits,
            bucket,
            cost,
            tuple(request_secrets(params, headers)),
            is_user_given=is_user_given,
        )
        try:
            target = httpx.URL(url).copy_merge_params(params or {})
            all_headers = httpx.Headers({"User-Agent": self._client.settings.user_agent, **_HEADERS})
            all_headers.update(headers)
            request = httpx.Request(method, target, headers=all_headers, json=json)
        except (httpx.InvalidURL, ValueError):
            # The library would quote what is wrong, which may be a credential.
            code = ErrorCode.INVALID_PARAMETERS if is_user_given else ErrorCode.INTERNAL
            raise SiteError(code, "the address or a header of the request is not valid") from None
        return await asking.answer(request)

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Pass on what the site tells of its limits."""
        await self._permits.observe(observed, bucket)


class _PassingError(SiteError):
    """No answer came; one may come to the same request a moment later."""


class _Asking:
    """One request of a source: its tries, and the redirects of each."""

    def __init__(
        self,
        client: HttpClient,
        permits: Permits,
        bucket: str | None,
        cost: int,
        secrets: tuple[str, ...],
        *,
        is_user_given: bool,
    ) -> None:
        self._client = client
        self._permits = permits
        self._bucket = bucket
        self._cost = cost
        self._secrets = secrets
        self._is_user_given = is_user_given
        self._tries = self._requests = 0
        self._failed: Future | None = None
        self._elapsed_seconds = 0.0

    async def answer(self, request: httpx.Request) -> Response:
        """Return the site's answer; raise what is left of a failure after the last try."""
        _check_address(request.url, ErrorCode.INVALID_PARAMETERS if self._is_user_given else ErrorCode.INTERNAL)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_PassingError) | retry_if_result(_has_failed),
            wait=self._pause_seconds,
            stop=stop_after_attempt(TRIES),
            before_sleep=self._keep,
            retry_error_callback=_outcome,
        )
        try:
            response: Response = await retrying(self._try, request)
        except SiteWaitingError:
            if self._failed is None:
                raise
            # Put off, the search would ask the same again, behind all others: it would fail as often, and never end.
            response = self._failed.result()
        return response

    def _keep(self, state: RetryCallState) -> None:
        self._failed = state.outcome

    async def _try(self, request: httpx.Request) -> Response:
        self._tries += 1
        for _ in range(1 + MOST_REDIRECTS):
            response = await self._send(request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirected(request, response.status, location)
        raise SiteError(ErrorCode.UPSTREAM, f"{request.url.host} redirects more than {MOST_REDIRECTS} times")

    async def _send(self, request: httpx.Request) -> Response:
        address = await self._address(request.url) if self._is_user_given else None
        await self._permits.take(self._bucket, self._cost)
        clock = asyncio.get_running_loop().time
        began_at = clock()
        self._requests += 1
        try:
            answer, body = await self._client.send(request, address)
        except (TimeoutError, httpx.TransportError) as error:
            raise self._failure(request.url.host, error) from None
        finally:
            self._elapsed_seconds += clock() - began_at
        response = Response(
            answer.status_code,
            answer.headers,
            body,
            round(self._elapsed_seconds * 1e3),
            self._requests,
            self._secrets,
        )
        if response.retry_after_seconds is not None:
            await self._permits.observe(Observed(retry_after_seconds=response.retry_after_seconds), self._bucket)
        return await response.read_aside()

    async def _address(self, url: httpx.URL) -> str:
        try:
            async with asyncio.timeout(self._client.connect_seconds):
                addresses = await public_addresses(url.host, url.port or HTTPS_PORT)
        except TimeoutError as error:
            raise self._failure(url.host, error) from None
        return addresses[(self._tries - 1) % len(addresses)]

    def _failure(self, host: str, error: TimeoutError | httpx.TransportError) -> SiteError:
        """Return why no answer came, without what the library quotes of the request."""
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            return SiteError(ErrorCode.INTERNAL, f"the request to {host} is not valid HTTP")
        if isinstance(error, httpx.ConnectTimeout):
            return _PassingError(
                ErrorCode.TIMEOUT, f"no connection to {host} within {self._client.connect_seconds:g} s"
            )
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            seconds = self._client.settings.timeout_seconds
            return _PassingError(ErrorCode.TIMEOUT, f"no answer of {host} within {seconds:g} s")
        proxy = "proxy: " if isinstance(error, httpx.ProxyError) else ""
        reason = self._client.masked(str(error) or type(error).__name__, self._secrets)
        failure = SiteError if _is_untrusted(error) else _PassingError
        return failure(ErrorCode.NETWORK, f"{host}: {proxy}{reason}")

    def _pause_seconds(self, state: RetryCallState) -> float:
        assert state.outcome is not None
        backoff = wait_random_exponential(multiplier=self._client.settings.backoff_seconds, max=LONGEST_PAUSE_SECONDS)
        asked = None if state.outcome.failed else state.outcome.result().retry_after_seconds
        return max(backoff(state), asked or 0.0)


def _check_address(url: httpx.URL, code: ErrorCode) -> None:
    if url.scheme != "https" or not url.host:
        raise SiteError(code, f"{url.host or 'the address'}: only absolute https addresses are asked")
    if url.userinfo:
        raise SiteError(code, f"{url.host}: an address must not hold a user")


def _redirected(request: httpx.Request, status: int, location: str) -> httpx.Request:
    """Return the request that a redirect asks for: the same, but for its address (and `See Other`, which is a GET)."""
    host = request.url.host
    try:
        target = request.url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise SiteError(ErrorCode.UPSTREAM, f"{host} redirects to what is no address") from None
    if (target.host, target.port) != (host, request.url.port):
        raise SiteError(ErrorCode.UPSTREAM, f"{host} redirects to {target.host}, another host, which is not asked")
    _check_address(target, ErrorCode.UPSTREAM)
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    if status == HTTPStatus.SEE_OTHER:
        return httpx.Request("GET", target, headers=headers)
    return httpx.Request(request.method, target, headers=headers, content=request.content)


def _is_untrusted(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _has_failed(response: Response) -> bool:
    """Whether the server failed, and did not ask for more time than a search waits in place."""
    return response.status in _PASSING_STATUSES and (response.retry_after_seconds or 0) <= LONGEST_PAUSE_SECONDS


def _outcome(state: RetryCallState) -> Any:
    """Return the last answer, or raise the last failure, when there are no tries left."""
    assert state.outcome is not None
    return state.outcome.result()
