"""The HTTP client that all searches of a process share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from worker.http.bodies import read_body
from worker.http.exits import Exit, exits_of
from worker.http.masking import mask
from worker.http.settings import HttpSettings
from worker.http.transports import ExitTransports, direct_transport

CONNECT_SECONDS = 10


class HttpClient:
    """The HTTP client that all searches of a process share. Use `open_http` to create it.

    It uses httpx's transports and not `httpx.AsyncClient`, which logs each URL with the keys in its query and shares
    cookies between searches of different users.

    Args:
        settings: Timeouts, exits and certificates.
        transports: The transports for requests to sites, by exit.
        direct: The transport for requests to hosts that users name. It uses no proxy, because a proxy would resolve the
            name itself. It reuses no connection, because httpcore finds connections by address, while TLS verified
            another host's name.

    Attributes:
        exits: The ways out to the sites.
    """

    def __init__(self, settings: HttpSettings, transports: ExitTransports, direct: httpx.AsyncBaseTransport) -> None:
        self.settings = settings
        self.exits = settings.all_exits()
        self.connect_seconds = min(CONNECT_SECONDS, settings.timeout_seconds)
        self._transports = transports
        self._direct = direct

    def exits_of(self, site: str) -> tuple[Exit, ...]:
        """Return the exits through which a site may be searched, as the settings list them."""
        return exits_of(self.exits, site)

    async def send(self, request: httpx.Request, via: Exit, address: str | None = None) -> tuple[httpx.Response, bytes]:
        """Send a request once, without retries.

        Args:
            request: The request, with the host name in its URL.
            via: The exit to send it through, unless there is an `address`.
            address: The IP address to connect to instead of resolving the name; None: resolve it.

        Returns:
            The closed response and its decompressed body.

        Raises:
            TimeoutError: The response was not complete within `timeout_seconds`.
            httpx.TransportError: No complete response arrived.
            SiteError: `upstream`: the body is too large or cannot be decompressed.
        """
        seconds = self.settings.timeout_seconds
        phases = httpx.Timeout(seconds, connect=self.connect_seconds)
        extensions: dict[str, Any] = {"timeout": phases.as_dict()}
        url = request.url
        if address is None:
            transport = self.transport_of(via)
        else:
            # The `Host` header is already set; SNI and the certificate must also use the name.
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

    def transport_of(self, via: Exit) -> httpx.AsyncBaseTransport:
        """Return what sends requests through an exit."""
        return self._transports.of(via)

    def masked(self, text: str, secrets: Iterable[str]) -> str:
        """Return text with the credentials of the exits and these secrets masked."""
        return mask(text, (*(secret for each in self.exits for secret in each.secrets), *secrets))


@asynccontextmanager
async def open_http(settings: HttpSettings | None = None) -> AsyncIterator[HttpClient]:
    """Open an HTTP client, and close it with all its connections on exit.

    Args:
        settings: Timeouts, exits and certificates; None: the defaults.

    Raises:
        OSError: The certificate file cannot be read.
    """
    settings = settings or HttpSettings()
    async with ExitTransports(settings) as transports, direct_transport(settings) as direct:
        yield HttpClient(settings, transports, direct)
