"""HTTP for sources: one client a process, and with it the rules that every request keeps to."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
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

from worker.addresses import public_addresses
from worker.bodies import UNPACKED, read_body
from worker.masking import mask, proxy_secrets, request_secrets
from worker.model import ErrorCode, Json, Observed, SiteError
from worker.permits import Permits, SiteWaitingError
from worker.proxies import HTTPX_SOCKS, problem_of_proxies, with_scheme
from worker.retry_after import retry_after_seconds

TRIES = 3
LONGEST_PAUSE_SECONDS = 5
"""Between two tries. A site that asks for more (`Retry-After`) gets it from the limits that all workers keep to."""

CONNECT_SECONDS = 10
MOST_REDIRECTS = 5
HTTPS_PORT = 443
MOST_CONNECTIONS = 100
MOST_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_SECONDS = 30

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
_ERROR_CODES: Mapping[int, ErrorCode] = {
    HTTPStatus.UNAUTHORIZED: ErrorCode.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED: ErrorCode.QUOTA_EXCEEDED,
    HTTPStatus.FORBIDDEN: ErrorCode.BLOCKED,
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ErrorCode.NETWORK,
    HTTPStatus.REQUEST_TIMEOUT: ErrorCode.TIMEOUT,
    HTTPStatus.GONE: ErrorCode.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCode.RATE_LIMITED,
    HTTPStatus.GATEWAY_TIMEOUT: ErrorCode.TIMEOUT,
}
# Below 500 a status blames the request, which will be the same next time; but for these (RFC 9110, RFC 8470, RFC 4918).
_PASSING_REFUSALS = frozenset({
    HTTPStatus.CONFLICT, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY,
})  # fmt: skip


def default_user_agent() -> str:
    """Return the name of this software and its version, as `User-Agent` tells it (RFC 9110, 10.1.5)."""
    name = "supabase-search-worker"
    try:
        return f"{name}/{version(name)}"
    except PackageNotFoundError:  # a copy of the code that is not installed
        return name


def problem_of_user_agent(text: str) -> str | None:
    """Tell why a header cannot hold this, if it cannot."""
    return None if re.fullmatch("[!-~]([ -~]*[!-~])?", text) else "must be printable ASCII"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How this worker sends requests to sites.

    Attributes:
        proxies: `http://user:password@host:port`, taken in turn, one a request; none: directly.
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that open TLS.
        timeout_seconds: Timeout of one request, from connecting to the last byte read.
        user_agent: What the worker calls itself.
        backoff_seconds: Greatest pause before a request is sent a second time; twice that before the third time.

    Raises:
        ValueError: A value cannot work.
    """

    proxies: tuple[str, ...] = ()
    ca_cert: Path | None = None
    timeout_seconds: float = 30.0
    user_agent: str = field(default_factory=default_user_agent)
    backoff_seconds: float = 1.0

    def __post_init__(self) -> None:
        if problem := problem_of_proxies(self.proxies, HTTPX_SOCKS):
            raise ValueError(f"proxies: {problem}")
        if self.ca_cert is not None and not self.ca_cert.is_file():
            raise ValueError(f"ca_cert: {self.ca_cert} is not a file")
        if not self.timeout_seconds > 0:
            raise ValueError("timeout_seconds: must be above 0")
        if not self.backoff_seconds >= 0:
            raise ValueError("backoff_seconds: must be 0 or more")
        if problem := problem_of_user_agent(self.user_agent):
            raise ValueError(f"user_agent: {problem}")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of a site, whatever its status.

    Attributes:
        headers: By name, in any case.
        elapsed_ms: Time from the first request to the end of the answer, in milliseconds, without waiting for permits
            and without the pauses between tries.
        requests: Requests that it took, with those that were repeated or redirected.
        secrets: Credentials of the request, which no message may repeat.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    elapsed_ms: int
    requests: int = 1
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Json:
        """Return the body as JSON.

        Raises:
            SiteError: `upstream`, it is none.
        """
        try:
            value: Json = json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "of no type")
            raise SiteError(ErrorCode.UPSTREAM, f"the answer (status {self.status}, {kind}) is not JSON") from None
        return value

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the site asks to be left alone (`Retry-After`, RFC 9110, 10.2.3), in seconds."""
        return retry_after_seconds(self.headers)

    def failure(self, message: str | None = None) -> SiteError:
        """Return what the status says, as it is told where a source knows nothing better.

        Args:
            message: What the site says of it.
        """
        code = _ERROR_CODES.get(self.status)
        blames_request = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        text = f"response status code {self.status}" + (f": {mask(message, self.secrets)}" if message else "")
        return SiteError(
            code or ErrorCode.UPSTREAM,
            text,
            is_final=True if code is None and blames_request and self.status not in _PASSING_REFUSALS else None,
            retry_after_seconds=self.retry_after_seconds,
        )

    def checked(self) -> Response:
        """Return this answer if its status is a success.

        Raises:
            SiteError: It is not; as `failure` tells.
        """
        if HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            return self
        raise self.failure()


class HttpClient:
    """The one client of a process. Use `open_http`.

    It sends through httpx's transports rather than through its client, which logs every address with the keys in its
    query, and carries cookies from one user's search to another's.

    Args:
        settings: How to send requests.
        transport: Sends to the sites.
        direct: Sends to hosts that users named: never through a proxy, where nobody can see which address a name leads
            to, and with a connection for each request: one is checked for its host's name, but reused by address.
    """

    def __init__(
        self, settings: HttpSettings, transport: httpx.AsyncBaseTransport, direct: httpx.AsyncBaseTransport
    ) -> None:
        self.settings = settings
        self.connect_seconds = min(CONNECT_SECONDS, settings.timeout_seconds)
        self._transport = transport
        self._direct = direct

    def site(self, permits: Permits) -> SiteHttp:
        """Return what one search sends its requests with."""
        return SiteHttp(self, permits)

    async def send(self, request: httpx.Request, address: str | None = None) -> tuple[httpx.Response, bytes]:
        """Send a request once, and read the answer, which is closed then.

        Args:
            request: With the address as the source gave it.
            address: The IP address to connect to.

        Raises:
            TimeoutError: The answer was not there in time.
            httpx.TransportError: None came, or not all of it.
            SiteError: `upstream`, it is too large, or cannot be unpacked.
        """
        seconds = self.settings.timeout_seconds
        phases = httpx.Timeout(seconds, connect=self.connect_seconds)
        extensions: dict[str, Any] = {"timeout": phases.as_dict()}
        transport, url = self._transport, request.url
        if address is not None:
            # The header `Host`, which the request has already, and the certificate remain those of the name.
            transport, url = self._direct, request.url.copy_with(host=address)
            extensions["sni_hostname"] = request.url.host
        sent = httpx.Request(
            request.method, url, headers=request.headers, content=request.content, extensions=extensions
        )
        async with asyncio.timeout(seconds):
            answer = await transport.handle_async_request(sent)
            try:
                return answer, await read_body(answer)
            finally:
                await answer.aclose()

    def masked(self, text: str, secrets: Iterable[str]) -> str:
        """Return text without the passwords of the proxies, and without a request's secrets."""
        return mask(text, (*proxy_secrets(self.settings.proxies), *secrets))


class SiteHttp:
    """Requests of one search, each with its permit; transient failures are repeated, with a permit each."""

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
        return response

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


@asynccontextmanager
async def open_http(settings: HttpSettings | None = None) -> AsyncIterator[HttpClient]:
    """Open the client of a process, and close it with all of its connections.

    Raises:
        OSError: The file of certificates cannot be read.
    """
    settings = settings or HttpSettings()
    async with AsyncExitStack() as opened:
        transports = [await opened.enter_async_context(transport) for transport in _transports(settings)]
        *shared, direct = transports
        yield HttpClient(settings, _Rotation(shared), direct)


class _Rotation(httpx.AsyncBaseTransport):
    """Transports taken in turn, one a request."""

    def __init__(self, transports: Sequence[httpx.AsyncBaseTransport]) -> None:
        self._turns = cycle(transports)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the next one."""
        return await next(self._turns).handle_async_request(request)


def _transports(settings: HttpSettings) -> Iterator[httpx.AsyncHTTPTransport]:
    """Yield one for each proxy, or one without, and last the one that keeps no connection."""
    # HTTP/2 stays off. A search that is cancelled in the middle of an answer leaves its stream open in httpcore: what
    # still comes for it uses up the connection's window, and every later request on that connection gets no answer.
    # With HTTP/1.1 it takes its own connection with it and no other; one search sends one request at a time anyway.
    context = ssl.create_default_context(cafile=settings.ca_cert) if settings.ca_cert else httpx.create_ssl_context()
    for proxy in settings.proxies or (None,):
        through = None if proxy is None else httpx.Proxy(with_scheme(proxy))
        if through is not None and through.url.scheme == "https":
            through.ssl_context = context
        yield httpx.AsyncHTTPTransport(verify=context, limits=_limits(MOST_IDLE_CONNECTIONS), proxy=through)
    yield httpx.AsyncHTTPTransport(verify=context, limits=_limits(0))


def _limits(idle: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=MOST_CONNECTIONS, max_keepalive_connections=idle, keepalive_expiry=IDLE_CONNECTION_SECONDS
    )


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
