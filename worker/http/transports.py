"""Connection pools to sites: one direct pool, or one per proxy, used in rotation."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from itertools import cycle

import httpx

from worker.http.proxies import with_scheme
from worker.http.settings import HttpSettings

MAX_CONNECTIONS = 100
MAX_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_SECONDS = 30


class RotatingTransport(httpx.AsyncBaseTransport):
    """Sends each request through the next of several transports (round robin)."""

    def __init__(self, transports: Sequence[httpx.AsyncBaseTransport]) -> None:
        self._transports = cycle(transports)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the next transport."""
        return await next(self._transports).handle_async_request(request)


def transports(settings: HttpSettings) -> Iterator[httpx.AsyncHTTPTransport]:
    """Yield a transport for each proxy, or one without a proxy; last a direct one that keeps no connections alive."""
    # HTTP/2 stays off. When a search is cancelled in the middle of a response, httpcore leaves the stream open: its
    # data uses up the connection's flow-control window, and later requests on that connection get no response. With
    # HTTP/1.1, a cancelled search only closes its own connection. A search sends one request at a time anyway.
    context = _context(settings)
    for proxy in settings.proxies or (None,):
        via = None if proxy is None else httpx.Proxy(with_scheme(proxy))
        if via is not None and via.url.scheme == "https":
            via.ssl_context = context
        yield httpx.AsyncHTTPTransport(verify=context, limits=_pool(MAX_IDLE_CONNECTIONS), proxy=via)
    yield httpx.AsyncHTTPTransport(verify=context, limits=_pool(0))


def direct_transport(settings: HttpSettings) -> httpx.AsyncHTTPTransport:
    """Return a transport without a proxy that keeps no connections alive."""
    return httpx.AsyncHTTPTransport(verify=_context(settings), limits=_pool(0))


def _context(settings: HttpSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_cert) if settings.ca_cert else httpx.create_ssl_context()


def _pool(max_idle: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=max_idle, keepalive_expiry=IDLE_CONNECTION_SECONDS
    )
