"""HTTP/1.1 on a stream: one request in, one answer out, read and written by h11."""

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
    """A request as a board sees it.

    Attributes:
        host: Without the port.
        target: Path and query as they were sent.
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
        """The query's values by name."""
        return parse_qs(urlsplit(self.target).query)

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def number(self, name: str, default: int) -> int:
        """Return a query parameter that counts something; `default` where it is missing or no number."""
        value = self.parameter(name)
        return int(value) if value.isdecimal() else default


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with its whole body."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def html(cls, text: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with a page."""
        return cls(status, "text/html; charset=utf-8", text.encode(), headers or {})

    @classmethod
    def json(cls, value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with JSON."""
        return cls(status, "application/json", json.dumps(value, ensure_ascii=False).encode(), headers or {})

    @classmethod
    def redirect(cls, location: str) -> Response:
        """Answer that the page is elsewhere."""
        return cls.html("", HTTPStatus.FOUND, {"location": location})

    @classmethod
    def not_found(cls) -> Response:
        """Answer that there is no such page."""
        return cls.html("<!DOCTYPE html><title>Page not found</title>", HTTPStatus.NOT_FOUND)

    def head(self) -> h11.Response:
        """Return status and headers, with the length of the whole body."""
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
        host: The host that the connection is for, once it is known from a CONNECT.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str = "") -> None:
        self.writer = writer
        self.http = h11.Connection(h11.SERVER)
        self._reader = reader
        self._host = host

    async def receive(self) -> Request | None:
        """Return the next request, or `None` when the client has closed.

        Raises:
            h11.RemoteProtocolError: What came is not HTTP.
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
        """Answer, with head and body in one write."""
        head = self.http.send(response.head()) or b""
        data = self.http.send(h11.Data(data=response.body)) or b""
        end = self.http.send(h11.EndOfMessage()) or b""
        self.writer.write(head + data + end)
        await self.writer.drain()

    async def accept_tunnel(self) -> None:
        """Answer a CONNECT; what follows on the stream is no longer this exchange's."""
        accepted = h11.Response(status_code=HTTPStatus.OK, headers=[], reason="Connection established")
        self.writer.write(self.http.send(accepted) or b"")
        await self.writer.drain()

    async def hang(self) -> None:
        """Answer nothing until the client goes or the task is cancelled."""
        while await self._reader.read(_READ_BYTES):
            pass

    async def send_cut_off(self, response: Response) -> None:
        """Promise the whole body, send its first half. The caller closes the connection."""
        head = self.http.send(response.head()) or b""
        self.writer.write(head + response.body[: len(response.body) // 2])
        await self.writer.drain()

    async def drip(self, interval_seconds: float) -> None:
        """Send a body that never ends, a byte at a time. Ends when the client goes or the task is cancelled."""
        head = h11.Response(
            status_code=HTTPStatus.OK,
            headers=[("content-type", "text/html; charset=utf-8"), ("transfer-encoding", "chunked")],
        )
        self.writer.write(self.http.send(head) or b"")
        while not self.writer.is_closing():
            self.writer.write(self.http.send(h11.Data(data=b" ")) or b"")
            await self.writer.drain()
            await asyncio.sleep(interval_seconds)
