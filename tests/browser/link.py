"""A TCP connection to a server that can be cut and mended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

_CHUNK = 65_536
_PATIENCE_SECONDS = 20


class Link:
    """Forwards the connections to a port of its own, in a thread.

    Args:
        target: Address of the server.
        loop: The event loop of the thread.
    """

    def __init__(self, target: str, loop: asyncio.AbstractEventLoop) -> None:
        self._target = urlsplit(target)
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._forwarding: set[asyncio.Task[None]] = set()

    @classmethod
    @contextmanager
    def to(cls, target: str) -> Iterator[Link]:
        """Open a link to a server; close it at the end."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        link = cls(target, loop)
        link.mend()
        try:
            yield link
        finally:
            link.cut()
            link._run(loop.shutdown_asyncgens())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def url(self) -> str:
        """The address to use instead of that of the server."""
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break the connections, and refuse new ones."""
        self._run(self._cut())

    def mend(self) -> None:
        """Forward connections again."""
        self._run(self._mend())

    def _run(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_PATIENCE_SECONDS)

    async def _mend(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._forwarding, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        task = asyncio.current_task()
        assert task is not None
        self._forwarding.add(task)
        self._open.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
            self._open.add(to_server)
            await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer))
        except ConnectionError:
            pass
        finally:
            for used in filter(None, (writer, to_server)):
                used.transport.abort()
                self._open.discard(used)
            self._forwarding.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
