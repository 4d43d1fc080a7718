"""Requests of one search: permits, retries, redirects and checks of addresses."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
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

from worker.errors import ErrorCode, ExitError, SiteError, SiteWaitingError
from worker.http.addresses import public_addresses
from worker.http.bodies import ACCEPT_ENCODING
from worker.http.challenges import bot_check
from worker.http.client import HttpClient
from worker.http.exits import Exit
from worker.http.masking import request_secrets
from worker.http.permits import Permits
from worker.http.response import Response
from worker.http.usage import Meter, ignore
from worker.model import Json, Observed

MAX_ATTEMPTS = 3
MAX_PAUSE_SECONDS = 5
"""Longest backoff between two attempts. A longer `Retry-After` is reported to the site's shared limits instead."""

MAX_REDIRECTS = 5
HTTPS_PORT = 443

_HEADERS = {"Accept": "*/*", "Accept-Encoding": ACCEPT_ENCODING}
# Server errors that may be over within seconds. A 4xx status is not retried here: it reports an error in the request or
# a longer wait.
_TRANSIENT_STATUSES = frozenset({
    HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
})  # fmt: skip
_REDIRECTS = frozenset({
    HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
})  # fmt: skip


def _ignore(_: int | None) -> None:
    """Do nothing with the status of a response."""


class SiteHttp:
    """Sends the requests of one search. Each request and each retry takes a permit.

    Args:
        client: The HTTP client.
        permits: The limits of the search's site, which all workers share.
        on_request: Called after each request with the status of its response; None: no response arrived.
        meter: Counts each request and the bytes of its answer.
    """

    def __init__(
        self,
        client: HttpClient,
        permits: Permits,
        *,
        on_request: Callable[[int | None], None] = _ignore,
        meter: Meter = ignore,
    ) -> None:
        self._client = client
        self._permits = permits
        self._on_request = on_request
        self._meter = meter

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
        """Send a request to the site and return its response with any status, unless it is a bot check.

        Network errors and the statuses 500, 502, 503 and 504 are retried, up to `MAX_ATTEMPTS` attempts in all; every
        request must therefore be safe to repeat. Redirects are followed only to the same host.

        Args:
            method: `GET` or `POST`.
            url: Absolute `https` URL.
            params: Query parameters to add.
            headers: Headers to add. Credentials in them do not appear in logs or messages.
            json: Body.
            bucket: The bucket that the request counts against; None: the site's own.
            cost: Permits that the request takes.
            is_user_given: Whether a user chose the host. Its addresses must then be public, and the request bypasses
                the exits.

        Raises:
            ExitError: The exit failed, not the site.
            SiteError: No response arrived (`timeout`, `network`), the response is a bot check (`blocked`), is too large
                or redirects to another host (`upstream`), or the URL is not allowed (`invalid_parameters`, `internal`).
            SiteWaitingError: The site's limits do not allow a request now.
        """
        attempts = _Attempts(
            self._client,
            self._permits,
            bucket,
            cost,
            tuple(request_secrets(params, headers)),
            is_user_given=is_user_given,
            on_request=self._on_request,
            meter=self._meter,
        )
        try:
            target = httpx.URL(url).copy_merge_params(params or {})
            all_headers = httpx.Headers({"User-Agent": self._client.settings.user_agent, **_HEADERS})
            all_headers.update(headers)
            request = httpx.Request(method, target, headers=all_headers, json=json)
        except (httpx.InvalidURL, ValueError):
            # The library's message quotes the invalid value, which may be a credential.
            code = ErrorCode.INVALID_PARAMETERS if is_user_given else ErrorCode.INTERNAL
            raise SiteError(code, "the address or a header of the request is not valid") from None
        return await attempts.run(request)

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Report limits that the site sent, so that all workers respect them."""
        await self._permits.observe(observed, bucket)


class _TransientError(SiteError):
    """No response arrived; a retry may succeed."""


class _Attempts:
    """The attempts at one request of a source, each with its redirects."""

    def __init__(
        self,
        client: HttpClient,
        permits: Permits,
        bucket: str | None,
        cost: int,
        secrets: tuple[str, ...],
        *,
        is_user_given: bool,
        on_request: Callable[[int | None], None],
        meter: Meter,
    ) -> None:
        self._client = client
        self._permits = permits
        self._bucket = bucket
        self._cost = cost
        self._secrets = secrets
        self._is_user_given = is_user_given
        self._on_request = on_request
        self._meter = meter
        self._attempts = self._requests = 0
        self._last_failure: Future | None = None
        self._elapsed_seconds = 0.0

    async def run(self, request: httpx.Request) -> Response:
        """Return the site's response, or raise the failure of the last attempt."""
        _check_address(request.url, ErrorCode.INVALID_PARAMETERS if self._is_user_given else ErrorCode.INTERNAL)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError) | retry_if_result(_is_transient),
            wait=self._backoff_seconds,
            stop=stop_after_attempt(MAX_ATTEMPTS),
            before_sleep=self._keep_failure,
            retry_error_callback=_last_outcome,
        )
        try:
            response: Response = await retrying(self._attempt, request)
        except SiteWaitingError:
            if self._last_failure is None:
                raise
            # Deferring would repeat the same failing request for as long as the site fails: the search would never end.
            response = self._last_failure.result()
        return response

    def _keep_failure(self, state: RetryCallState) -> None:
        self._last_failure = state.outcome

    async def _attempt(self, request: httpx.Request) -> Response:
        self._attempts += 1
        for _ in range(1 + MAX_REDIRECTS):
            response = await self._send(request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirected(request, response.status, location)
        raise SiteError(ErrorCode.UPSTREAM, f"{request.url.host} redirects more than {MAX_REDIRECTS} times")

    async def _send(self, request: httpx.Request) -> Response:
        address = await self._address(request.url) if self._is_user_given else None
        via = await self._permits.take(self._bucket, self._cost)
        clock = asyncio.get_running_loop().time
        began_at = clock()
        self._requests += 1
        status, body = None, b""
        try:
            answer, body = await self._client.send(request, via, address)
            status = answer.status_code
        except (TimeoutError, httpx.TransportError) as error:
            raise failure_of(self._client, request.url.host, error, None if address else via, self._secrets) from None
        finally:
            self._elapsed_seconds += clock() - began_at
            self._on_request(status)
            self._meter(via, 1, len(body))
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
        if check := bot_check(response.headers, response.body):
            raise SiteError(ErrorCode.BLOCKED, check, retry_after_seconds=response.retry_after_seconds)
        return await response.parsed_in_thread()

    async def _address(self, url: httpx.URL) -> str:
        try:
            async with asyncio.timeout(self._client.connect_seconds):
                addresses = await public_addresses(url.host, url.port or HTTPS_PORT)
        except TimeoutError as error:
            raise failure_of(self._client, url.host, error, None, self._secrets) from None
        return addresses[(self._attempts - 1) % len(addresses)]

    def _backoff_seconds(self, state: RetryCallState) -> float:
        assert state.outcome is not None
        backoff = wait_random_exponential(multiplier=self._client.settings.backoff_seconds, max=MAX_PAUSE_SECONDS)
        retry_after = None if state.outcome.failed else state.outcome.result().retry_after_seconds
        return max(backoff(state), retry_after or 0.0)


def failure_of(
    client: HttpClient,
    host: str,
    error: TimeoutError | httpx.TransportError,
    via: Exit | None,
    secrets: tuple[str, ...] = (),
) -> SiteError:
    """Return the error for a missing response; secrets that the library quotes are masked.

    Args:
        client: The client that sent the request.
        host: The host that was asked.
        error: What the client raised.
        via: The exit that the request left through; None: no exit of the settings.
        secrets: Secrets of the request.
    """
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return SiteError(ErrorCode.INTERNAL, f"the request to {host} is not valid HTTP")
    reason = client.masked(str(error) or type(error).__name__, secrets)
    if via is not None and via.proxy is not None and _is_failure_of_proxy(error):
        return ExitError(f"{host}: exit {via.name}: {reason}")
    if isinstance(error, httpx.ConnectTimeout):
        return _TransientError(ErrorCode.TIMEOUT, f"no connection to {host} within {client.connect_seconds:g} s")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        seconds = client.settings.timeout_seconds
        return _TransientError(ErrorCode.TIMEOUT, f"no answer from {host} within {seconds:g} s")
    proxy = "proxy: " if isinstance(error, httpx.ProxyError) else ""
    failure = SiteError if _is_certificate_error(error) else _TransientError
    return failure(ErrorCode.NETWORK, f"{host}: {proxy}{reason}")


def _check_address(url: httpx.URL, code: ErrorCode) -> None:
    if url.scheme != "https" or not url.host:
        raise SiteError(code, f"{url.host or 'the address'}: must be an absolute https address")
    if url.userinfo:
        raise SiteError(code, f"{url.host}: the address must not contain a user or a password")


def _redirected(request: httpx.Request, status: int, location: str) -> httpx.Request:
    """Return the request to the redirect's target. A 303 (`See Other`) turns it into a GET without a body."""
    host = request.url.host
    try:
        target = request.url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise SiteError(ErrorCode.UPSTREAM, f"{host} redirects to an invalid address") from None
    if (target.host, target.port) != (host, request.url.port):
        raise SiteError(ErrorCode.UPSTREAM, f"{host} redirects to another host: {target.host or 'none'}")
    _check_address(target, ErrorCode.UPSTREAM)
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    if status == HTTPStatus.SEE_OTHER:
        return httpx.Request("GET", target, headers=headers)
    return httpx.Request(request.method, target, headers=headers, content=request.content)


_UNREACHED_BY_PROXY = re.compile(
    r"^5[0-9][0-9]|could not connect: (Network unreachable|Host unreachable|Connection refused|TTL expired)"
)


def _is_failure_of_proxy(error: TimeoutError | httpx.TransportError) -> bool:
    """Whether a proxy failed, and not the site behind it: no connection, no TLS, or no right to use it.

    A proxy answers with a server error if it does not reach the site, a SOCKS proxy with one of four codes
    (https://www.rfc-editor.org/rfc/rfc1928#section-6).
    """
    if isinstance(error, httpx.ProxyError):
        return _UNREACHED_BY_PROXY.search(str(error)) is None
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _is_certificate_error(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_transient(response: Response) -> bool:
    """Return whether to retry after this response: a transient status without a long `Retry-After`."""
    return response.status in _TRANSIENT_STATUSES and (response.retry_after_seconds or 0) <= MAX_PAUSE_SECONDS


def _last_outcome(state: RetryCallState) -> Any:
    """Return the response of the last attempt, or raise its error."""
    assert state.outcome is not None
    return state.outcome.result()
