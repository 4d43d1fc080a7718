"""The one client of a process, and what it sends through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from worker.http.bodies import read_body
from worker.http.masking import mask, proxy_secrets
from worker.http.settings import HttpSettings
from worker.http.transports import Rotation, transports

CONNECT_SECONDS = 10


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


@asynccontextmanager
async def open_http(settings: HttpSettings | None = None) -> AsyncIterator[HttpClient]:
    """Open the client of a process, and close it with all of its connections.

    Raises:
        OSError: The file of certificates cannot be read.
    """
    settings = settings or HttpSettings()
    async with AsyncExitStack() as opened:
        *shared, direct = [await opened.enter_async_context(transport) for transport in transports(settings)]
        yield HttpClient(settings, Rotation(shared), direct)
