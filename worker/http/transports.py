"""Connections to sites: pools of them, directly or through proxies in turn."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from itertools import cycle

import httpx

from worker.http.proxies import with_scheme
from worker.http.settings import HttpSettings

MOST_CONNECTIONS = 100
MOST_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_SECONDS = 30


class Rotation(httpx.AsyncBaseTransport):
    """Transports taken in turn, one a request."""

    def __init__(self, transports: Sequence[httpx.AsyncBaseTransport]) -> None:
        self._turns = cycle(transports)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the next one."""
        return await next(self._turns).handle_async_request(request)


def transports(settings: HttpSettings) -> Iterator[httpx.AsyncHTTPTransport]:
    """Yield one for each proxy, or one without, and last the one that keeps no connection."""
    # HTTP/2 stays off. A search that is cancelled in the middle of an answer leaves its stream open in httpcore: what
    # still comes for it uses up the connection's window, and every later request on that connection gets no answer.
    # With HTTP/1.1 it takes its own connection with it and no other; one search sends one request at a time anyway.
    context = ssl.create_default_context(cafile=settings.ca_cert) if settings.ca_cert else httpx.create_ssl_context()
    for proxy in settings.proxies or (None,):
        through = None if proxy is None else httpx.Proxy(with_scheme(proxy))
        if through is not None and through.url.scheme == "https":
            through.ssl_context = context
        yield httpx.AsyncHTTPTransport(verify=context, limits=_pool(MOST_IDLE_CONNECTIONS), proxy=through)
    yield httpx.AsyncHTTPTransport(verify=context, limits=_pool(0))


def _pool(idle: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=MOST_CONNECTIONS, max_keepalive_connections=idle, keepalive_expiry=IDLE_CONNECTION_SECONDS
    )
