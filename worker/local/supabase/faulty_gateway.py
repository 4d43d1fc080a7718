"""A gateway that fails on demand, in front of a stack's own: for the tests and the chaos experiment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PATIENCE_SECONDS = 30

# As an API gateway answers whose upstream is gone: JSON, but none of PostgREST's.
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
    """What becomes of a request."""

    UNAVAILABLE = "503"
    HANG_UP = "hang-up"
    SILENCE = "silence"
    LOST_ANSWER = "lost answer"
    """It is carried out, but the connection ends before the answer."""
    DEAD_CONNECTION = "dead connection"
    """PostgREST's connection to Postgres closed without a message."""


class FaultyGateway:
    """Passes everything on, until told to fail.

    Args:
        upstream: Address of the stack.

    Attributes:
        url: Where it listens, once entered.
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
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and cut every connection."""
        self._server.close()
        self._hang_up()
        await asyncio.gather(*self._conversations)

    def fail(self, outage: Outage | bytes) -> None:
        """Cut the connections that are open, and treat every request like this from now on.

        Args:
            outage: What becomes of them, or the bytes that each is answered with.
        """
        self._outage = outage
        self._failures = asyncio.Semaphore(0)
        self._hang_up()

    def heal(self) -> None:
        """Pass everything on again. What was met with silence is cut, as by a proxy that is restarted."""
        self._outage = None
        self._hang_up()

    async def failed(self, times: int) -> None:
        """Wait until so many requests have failed.

        Raises:
            TimeoutError: They did not come within 30 s.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(times):
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
            pass  # aborted, by either side or by `fail`
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
                await reader.read()  # until somebody hangs up

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
        pass  # aborted, by either side or by `fail`
    finally:
        await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
