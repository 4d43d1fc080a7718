"""Sends messages to the webhook endpoints of the operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx

from worker.errors import SiteError
from worker.http.addresses import public_addresses
from worker.http.retry_after import retry_after_seconds
from worker.http.settings import HttpSettings
from worker.http.transports import direct_transport
from worker.printable import one_line

TIMEOUT_SECONDS = 15
"""Limit of one attempt, from the lookup of the host to the status of the answer."""
CONNECT_SECONDS = 5
MAX_ADDRESSES = 3

DEFAULT_PORTS = {"http": 80, "https": 443}


class UndeliveredError(Exception):
    """A receiver did not accept a message.

    Args:
        reason: Why, as a sentence, kept as `one_line`.
        is_gone: Whether the receiver wants no more messages: status 410.
        retry_after_seconds: Seconds until the receiver accepts the next request, if it says so.
    """

    def __init__(self, reason: str, *, is_gone: bool = False, retry_after_seconds: float | None = None) -> None:
        self.reason = one_line(reason)
        self.is_gone = is_gone
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.reason)


class WebhookHttp:
    """Posts messages. It follows no redirect and reads no body of an answer. Use `open_webhook_http` to create it.

    Args:
        transport: Connects without a proxy, because a proxy would resolve the host itself.
        user_agent: The header `User-Agent`.
        allow_private: Whether addresses that are not public, and http, are allowed.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, *, user_agent: str, allow_private: bool) -> None:
        self._transport = transport
        self._user_agent = user_agent
        self._allow_private = allow_private

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send a message once, as JSON.

        Args:
            url: The address of the receiver.
            headers: Headers to add.
            body: The body.

        Raises:
            UndeliveredError: The address is not allowed, or the receiver did not answer with a status from 200 to 299
                within `TIMEOUT_SECONDS`.
        """
        try:
            all_headers = {"User-Agent": self._user_agent, "Content-Type": "application/json", **headers}
            request = httpx.Request("POST", url, headers=all_headers, content=body)
        except (httpx.InvalidURL, ValueError):
            raise UndeliveredError("the address is not valid") from None
        if request.url.scheme != "https" and not self._allow_private:
            raise UndeliveredError("the address must begin with https")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._answer(request)
        except TimeoutError:
            raise UndeliveredError(f"no answer within {TIMEOUT_SECONDS} s") from None
        except SiteError as error:
            raise UndeliveredError(error.message) from None
        except httpx.TransportError as error:
            raise UndeliveredError(f"{type(error).__name__}: {error}") from None
        if not answer.is_success:
            raise UndeliveredError(
                f"the receiver answered {answer.status_code}",
                is_gone=answer.status_code == HTTPStatus.GONE,
                retry_after_seconds=retry_after_seconds(answer.headers),
            )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        addresses = await self._addresses(request.url)
        for address in addresses[:-1]:
            try:
                return await self._send(request, address)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._send(request, addresses[-1])

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        if self._allow_private:
            return [url.host]
        return (await public_addresses(url.host, url.port or DEFAULT_PORTS[url.scheme]))[:MAX_ADDRESSES]

    async def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        # The `Host` header is already set; SNI and the certificate must also use the name.
        phases = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            content=request.content,
            extensions={"timeout": phases.as_dict(), "sni_hostname": request.url.host},
        )
        answer = await self._transport.handle_async_request(sent)
        await answer.aclose()
        return answer


@asynccontextmanager
async def open_webhook_http(settings: HttpSettings, *, allow_private: bool) -> AsyncIterator[WebhookHttp]:
    """Open a client for webhook endpoints, and close it with all its connections on exit.

    Args:
        settings: Certificates and the `User-Agent`.
        allow_private: Whether addresses that are not public, and http, are allowed.
    """
    async with direct_transport(settings) as transport:
        yield WebhookHttp(transport, user_agent=settings.user_agent, allow_private=allow_private)
