"""HTTP/1.1 on a stream: reads requests and writes responses, with h11."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a board.

    Attributes:
        host: Without the port.
        target: Path and query, as sent.
        headers: By name in lower case.
    """

    method: str
    host: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of the query parameters, by name."""
        return parse_qs(urlsplit(self.target).query)

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def number(self, name: str, default: int) -> int:
        """Return a query parameter as a number. `default` if it is missing or not a number."""
        value = self.parameter(name)
        return int(value) if value.isdecimal() else default


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its whole body."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def html(cls, text: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
        """Return a page."""
        return cls(status, "text/html; charset=utf-8", text.encode(), headers or {})

    @classmethod
    def json(cls, value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
        """Return JSON."""
        return cls(status, "application/json", json.dumps(value, ensure_ascii=False).encode(), headers or {})

    @classmethod
    def redirect(cls, location: str) -> Response:
        """Return a redirect."""
        return cls.html("", HTTPStatus.FOUND, {"location": location})

    @classmethod
    def not_found(cls) -> Response:
        """Return a 404."""
        return cls.html("<!DOCTYPE html><title>Page not found</title>", HTTPStatus.NOT_FOUND)

    def head(self) -> h11.Response:
        """Return the status and the headers, with the length of the whole body."""
        headers = {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            **self.headers,
        }
        return h11.Response(
            status_code=self.status, headers=list(headers.items()), reason=HTTPStatus(self.status).phrase
        )


class Exchange:
    """The server's end of one connection.

    Args:
        host: The host of the CONNECT request. Empty before it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str = "") -> None:
        self.writer = writer
        self.http = h11.Connection(h11.SERVER)
        self._reader = reader
        self._host = host

    async def receive(self) -> Request | None:
        """Return the next request. `None` if the client has closed the connection.

        Raises:
            h11.RemoteProtocolError: The client did not send HTTP.
        """
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        head: h11.Request | None = None
        body = b""
        while self.http.our_state not in (h11.MUST_CLOSE, h11.CLOSED):
            match self.http.next_event():
                case h11.NEED_DATA:
                    self.http.receive_data(await self._reader.read(_READ_BYTES))
                case h11.Request() as head:
                    pass
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage() if head:
                    return Request(
                        head.method.decode(),
                        self._host,
                        head.target.decode(),
                        {name.decode(): value.decode("latin-1") for name, value in head.headers},
                        body,
                    )
                case _:
                    break
        return None

    async def send(self, response: Response) -> None:
        """Send a response, with head and body in one write."""
        head = self.http.send(response.head()) or b""
        data = self.http.send(h11.Data(data=response.body)) or b""
        end = self.http.send(h11.EndOfMessage()) or b""
        self.writer.write(head + data + end)
        await self.writer.drain()

    async def accept_tunnel(self) -> None:
        """Accept a CONNECT. The caller reads and writes the rest of the stream."""
        accepted = h11.Response(status_code=HTTPStatus.OK, headers=[], reason="Connection established")
        self.writer.write(self.http.send(accepted) or b"")
        await self.writer.drain()

    async def hang(self) -> None:
        """Send nothing until the client disconnects or the task is cancelled."""
        while await self._reader.read(_READ_BYTES):
            pass

    async def send_truncated(self, response: Response) -> None:
        """Announce the whole body, but send only its first half. The caller closes the connection."""
        head = self.http.send(response.head()) or b""
        self.writer.write(head + response.body[: len(response.body) // 2])
        await self.writer.drain()

    async def drip(self, interval_seconds: float) -> None:
        """Send an endless body, one byte at a time, until the client disconnects or the task is cancelled."""
        head = h11.Response(
            status_code=HTTPStatus.OK,
            headers=[("content-type", "text/html; charset=utf-8"), ("transfer-encoding", "chunked")],
        )
        self.writer.write(self.http.send(head) or b"")
        while not self.writer.is_closing():
            self.writer.write(self.http.send(h11.Data(data=b" ")) or b"")
            await self.writer.drain()
            await asyncio.sleep(interval_seconds)
