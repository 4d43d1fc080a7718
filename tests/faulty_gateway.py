"""A gateway that fails on demand, in front of a stack's own."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

# As an API gateway answers whose upstream is gone: JSON, but none of PostgREST's.
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 36\r\n"
    b'connection: close\r\n\r\n{"message":"name resolution failed"}'
)
PATIENCE_SECONDS = 30


class FaultyGateway:
    """Passes everything on, until told to fail.

    Attributes:
        url: Where it listens, once entered.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._answer: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._failures = asyncio.Semaphore(0)
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._hang_up()

    def fail(self, answer: bytes) -> None:
        """Answer every request with this, also on connections that are open; nothing at all if it is empty."""
        self._answer = answer
        self._failures = asyncio.Semaphore(0)
        self._hang_up()

    def heal(self) -> None:
        """Pass everything on again."""
        self._answer = None

    async def failed(self, times: int) -> None:
        """Wait until so many requests have failed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(times):
                await self._failures.acquire()

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._answer is None:
            upstream = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            self._writers |= {writer, upstream[1]}
            await asyncio.gather(_pass_on(reader, upstream[1]), _pass_on(upstream[0], writer))
            self._writers -= {writer, upstream[1]}
        else:
            await reader.read(65536)
            writer.write(self._answer)
            self._failures.release()
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # aborted, by either side or by `fail`
    finally:
        writer.close()
