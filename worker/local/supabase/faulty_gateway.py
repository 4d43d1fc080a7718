"""A gateway in front of that of a stack, which fails on demand: for the tests and the chaos experiment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from worker.local.loopback import HOST

FAILURE_TIMEOUT_SECONDS = 30

# The answer of an API gateway that does not reach its upstream: JSON, but not that of PostgREST.
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 36\r\n"
    b'connection: close\r\n\r\n{"message":"name resolution failed"}'
)
_DEAD_CONNECTION = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 51\r\n"
    b'connection: close\r\n\r\n{"code":"","message":"","details":null,"hint":null}'
)
_CHUNK_BYTES = 65536


class Outage(StrEnum):
    """How a request fails."""

    UNAVAILABLE = "503"
    HANG_UP = "hang-up"
    SILENCE = "silence"
    LOST_ANSWER = "lost answer"
    """The request is carried out, but the connection closes before the answer."""
    DEAD_CONNECTION = "dead connection"
    """The answer of PostgREST whose connection to Postgres was closed without a message."""


class FaultyGateway:
    """Passes everything on, until `fail` is called.

    Args:
        upstream: Address of the stack.

    Attributes:
        url: Its address, once entered.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._outage: Outage | bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._failures = asyncio.Semaphore(0)
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and close every connection."""
        self._server.close()
        self._hang_up()
        await asyncio.gather(*self._conversations)

    def fail(self, outage: Outage | bytes) -> None:
        """Close the open connections, and let every request fail in this way from now on.

        Args:
            outage: How requests fail, or the bytes to answer them with.
        """
        self._outage = outage
        self._failures = asyncio.Semaphore(0)
        self._hang_up()

    def heal(self) -> None:
        """Pass everything on again. Closes the open connections, as a restarted proxy does."""
        self._outage = None
        self._hang_up()

    async def failed(self, count: int) -> None:
        """Wait until this number of requests has failed.

        Raises:
            TimeoutError: They did not fail within 30 s.
        """
        async with asyncio.timeout(FAILURE_TIMEOUT_SECONDS):
            for _ in range(count):
                await self._failures.acquire()

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        self._writers.add(writer)
        try:
            await self._treat(reader, writer)
        except OSError:
            pass  # closed by either side, or by `fail`
        finally:
            self._writers.discard(writer)
            await _closed(writer)
            self._conversations.discard(task)

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outage = self._outage
        if outage is None or outage is Outage.LOST_ANSWER:
            from_upstream, to_upstream = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            self._writers.add(to_upstream)
            answered = self._lose(from_upstream, writer) if outage else _pass_on(from_upstream, writer)
            try:
                await asyncio.gather(_pass_on(reader, to_upstream), answered)
            finally:
                self._writers.discard(to_upstream)
            return
        if not await reader.read(_CHUNK_BYTES):
            return
        self._failures.release()
        match outage:
            case bytes():
                writer.write(outage)
            case Outage.UNAVAILABLE:
                writer.write(_UNAVAILABLE)
            case Outage.DEAD_CONNECTION:
                writer.write(_DEAD_CONNECTION)
            case Outage.SILENCE:
                await reader.read()  # until one side closes the connection

    async def _lose(self, from_upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await from_upstream.read(_CHUNK_BYTES):
            self._failures.release()
        writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # closed by either side, or by `fail`
    finally:
        await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
