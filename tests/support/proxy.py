"""A proxy between a frontend and the local stack, which can cut sockets or silence Realtime."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

from worker.local.supabase.stack import Endpoints

_CHUNK = 65_536
_TEXT = 1


class Proxy:
    """Forwards connections to a local stack.

    Attributes:
        events: Names of the events that Realtime has sent to the frontend, in order.
        is_silent: Whether changes of rows are withheld from then on; everything else of Realtime passes.
    """

    def __init__(self, target: str) -> None:
        self.events: list[str] = []
        self.is_silent = False
        self._target = urlsplit(target)
        self._sockets: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._has_event = asyncio.Condition()

    async def has_sent(self, event: str, *, times: int = 1) -> None:
        """Wait until Realtime has sent this event so many times."""
        async with asyncio.timeout(30), self._has_event:
            await self._has_event.wait_for(lambda: self.events.count(event) >= times)

    def cut(self) -> None:
        """Cut the sockets of Realtime."""
        for writer in self._sockets:
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._forward(reader, writer)
        finally:
            self._connections.discard(task)
            await _close(writer)

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        to_stack, from_stack = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            # Frames are read here, so they must not be compressed.
            from_stack.write(re.sub(rb"(?im)^sec-websocket-extensions:.*\r\n", b"", head))
            if b"upgrade: websocket" not in head.lower():
                await _both(_copy(reader, from_stack), _copy(to_stack, writer))
                return
            writer.write(await to_stack.readuntil(b"\r\n\r\n"))
            self._sockets.add(writer)
            try:
                await _both(_copy(reader, from_stack), self._copy_frames(to_stack, writer))
            finally:
                self._sockets.discard(writer)
        finally:
            await _close(from_stack)

    async def _copy_frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # https://www.rfc-editor.org/rfc/rfc6455#section-5.2: frames of servers are not masked.
        while True:
            head = await reader.readexactly(2)
            length = head[1] & 0x7F
            if size := {126: 2, 127: 8}.get(length, 0):
                extended = await reader.readexactly(size)
                head, length = head + extended, int.from_bytes(extended)
            payload = await reader.readexactly(length)
            event = json.loads(payload)[3] if head[0] & 0x0F == _TEXT else ""
            if event == "postgres_changes" and self.is_silent:
                continue
            writer.write(head + payload)
            await writer.drain()
            async with self._has_event:
                self.events.append(event)
                self._has_event.notify_all()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(5):
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()


async def _both(*directions: Coroutine[None, None, None]) -> None:
    """Forward in both directions until one of them has ended."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


@asynccontextmanager
async def proxied(stack: Endpoints) -> AsyncIterator[tuple[Endpoints, Proxy]]:
    """Put a proxy in front of a stack; yield the endpoints as its frontend sees them."""
    proxy = Proxy(stack.url)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield replace(stack, url=f"http://127.0.0.1:{port}"), proxy
    finally:
        server.close()
        await proxy.close()
