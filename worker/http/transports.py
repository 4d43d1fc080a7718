"""Connection pools to sites: one for each exit."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self

import httpx

from worker.http.exits import Exit
from worker.http.settings import HttpSettings

MAX_CONNECTIONS = 100
MAX_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_SECONDS = 30


class ExitTransports:
    """A connection pool for each exit, opened at its first request.

    Args:
        settings: Certificates.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._context = _context(settings)
        self._pools: dict[str, httpx.AsyncHTTPTransport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))

    def of(self, via: Exit) -> httpx.AsyncHTTPTransport:
        """Return the transport that sends requests through an exit."""
        if via.name not in self._pools:
            proxy = None if via.proxy is None else httpx.Proxy(via.proxy)
            if proxy is not None and proxy.url.scheme == "https":
                proxy.ssl_context = self._context
            # HTTP/2 stays off. When a search is cancelled in the middle of a response, httpcore leaves the stream open:
            # its data uses up the connection's flow-control window, and later requests on that connection get no
            # response. With HTTP/1.1, a cancelled search only closes its own connection. A search sends one request at
            # a time anyway.
            transport = _SocksTransport if via.proxy and via.proxy.startswith("socks") else httpx.AsyncHTTPTransport
            self._pools[via.name] = transport(
                verify=self._context, limits=_pool(0 if via.rotating else MAX_IDLE_CONNECTIONS), proxy=proxy
            )
        return self._pools[via.name]


class _SocksTransport(httpx.AsyncHTTPTransport):
    """Raises httpx's own error if a proxy does not speak SOCKS. httpcore passes on the error of its SOCKS library."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        from socksio import ProtocolError  # noqa: PLC0415 (extra socks)

        try:
            return await super().handle_async_request(request)
        except ProtocolError as error:
            raise httpx.ProxyError(f"no answer of a SOCKS proxy: {error}", request=request) from error


def direct_transport(settings: HttpSettings) -> httpx.AsyncHTTPTransport:
    """Return a transport without a proxy that keeps no connections alive."""
    return httpx.AsyncHTTPTransport(verify=_context(settings), limits=_pool(0))


def _context(settings: HttpSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_cert) if settings.ca_cert else httpx.create_ssl_context()


def _pool(max_idle: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=max_idle, keepalive_expiry=IDLE_CONNECTION_SECONDS
    )
