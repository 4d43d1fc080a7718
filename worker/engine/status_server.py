"""A small HTTP server for pages about the worker itself. It expects hostile clients.

It answers GET and HEAD, reads no bodies, and closes each connection after one answer. h11, which httpx brings, parses
the requests. A client that is slow, or sends too much, loses its connection; one of many connections at once is the
oldest that is closed, so that a new one always gets its answer.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import h11

from worker.errors import SettingsError

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8192
"""Longest request line with all headers."""
MAX_CONNECTIONS = 32
CONNECTION_SECONDS = 5
"""Longest duration of a connection, from its first byte to its last."""
READ_BYTES = 4096

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        body: Its text; a line end is not added.
        content_type: The header of that name.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


PageMaker = Callable[[], Awaitable[Answer]]


@asynccontextmanager
async def status_server(host: str, port: int, pages: Mapping[str, PageMaker]) -> AsyncIterator[str]:
    """Serve pages until the end of the block.

    Args:
        host: IP address to listen on.
        port: Port to listen on; 0: any free one.
        pages: What makes the answer, by path.

    Yields:
        The address of the server, such as `http://127.0.0.1:9000`.

    Raises:
        SettingsError: It cannot listen there.
    """
    server = _Server(pages)
    try:
        listener = await asyncio.start_server(server.accept, host, port, limit=READ_BYTES)
    except OSError as error:
        raise SettingsError(_reason(error, host, port)) from None
    name = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{name}:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.close()


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"WORKER_HTTP_PORT: another program listens on port {port} of {host}; choose another port"
    if error.errno == errno.EACCES:
        return f"WORKER_HTTP_PORT: this user may not listen on port {port}; choose one above 1023"
    if error.errno in (errno.EADDRNOTAVAIL, None):  # since Python 3.13, asyncio gives no number for this
        return f"WORKER_HTTP_HOST: this machine does not have the address {host}"
    return f"WORKER_HTTP_PORT: cannot listen on port {port} of {host}: {error.strerror}"


class _Server:
    """Answers connections.

    Args:
        pages: What makes the answer, by path.
    """

    def __init__(self, pages: Mapping[str, PageMaker]) -> None:
        self._pages = pages
        # In the order in which they were opened.
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to answer a connection; if there are too many, close the oldest one."""
        task = asyncio.create_task(self._serve(reader, writer))
        task.add_done_callback(lambda ended: self._open.pop(ended, None))
        self._open[task] = writer
        if len(self._open) > MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).transport.abort()

    async def close(self) -> None:
        """Close all connections."""
        tasks = [*self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # The client may close the connection, or send nothing more.
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(CONNECTION_SECONDS):
                    await self._answer_request(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        try:
            request = await _request(connection, reader)
            if request is None:
                return
            answer = await self._answer(request)
        except h11.RemoteProtocolError as error:
            request = None
            answer = _refusal(HTTPStatus(error.error_status_hint))
        writer.write(_written(connection, answer, with_body=request is None or request.method != b"HEAD"))
        await writer.drain()

    async def _answer(self, request: h11.Request) -> Answer:
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        page = self._pages.get(path)
        if page is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        if request.method not in (b"GET", b"HEAD"):
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return await page()
        except Exception:
            logger.exception("The page %s cannot be made", path)
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the head of a request; None if the client has sent none.

    Raises:
        h11.RemoteProtocolError: It is not HTTP, or too long.
    """
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ_BYTES))
    return event if isinstance(event, h11.Request) else None


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status, f"{status.phrase}\n".encode())


def _written(connection: h11.Connection, answer: Answer, *, with_body: bool) -> bytes:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    response = h11.Response(status_code=answer.status, headers=headers, reason=answer.status.phrase)
    written = connection.send(response) or b""
    if with_body:
        written += connection.send(h11.Data(data=answer.body)) or b""
    return written
