"""HTTPS servers and proxies on loopback, that behave as badly as a test wants them to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import trustme

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Answer: TypeAlias = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """What a server was asked, and where it is.

    Attributes:
        connections: How many there were.
        requests: In order; a proxy's are all `CONNECT`.
    """

    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)


def reply(body: bytes | str = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """An answer; `content_type` is the header `content-type`."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"content_type": "application/json", "content_length": str(len(content))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + content


def replies(*answers: bytes) -> Answer:
    """Answers in turn; the last one again and again."""
    left = list(answers)

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return answer


class Authority:
    """Signs the certificates of servers; `ca_cert` is what their clients have to trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_cert = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_cert))

    @asynccontextmanager
    async def serve(self, answer: Answer, *hosts: str) -> AsyncIterator[Server]:
        """Serve HTTPS under the names of `hosts`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(*(hosts or ("localhost",))).configure_cert(context)
        server = Server()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while request := await _read(reader):
                server.requests.append(request)
                await answer(request, writer)
                await writer.drain()

        async with listen(server, converse, context):
            yield server


@asynccontextmanager
async def proxy(port: int, status: str = "200 OK") -> AsyncIterator[Server]:
    """Tunnel to a port on loopback, whatever host is asked for; or refuse with another status."""
    server = Server()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read(reader)
        assert request is not None
        server.requests.append(request)
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            await pass_on(reader, writer, port)

    async with listen(server, tunnel):
        yield server


async def pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    port: int,
    first: bytes = b"",
    *,
    skips_head: bool = False,
) -> None:
    """Copy between a connection and a new one to a port on loopback, in both directions, until both have ended.

    Args:
        reader: What the connection sends.
        writer: What it receives.
        port: Where the new connection leads.
        first: What is sent there first.
        skips_head: Whether the head of the HTTP answer to that is not passed on.
    """
    there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        there_writer.write(first)
        if skips_head:
            await there_reader.readuntil(b"\r\n\r\n")
        async with asyncio.TaskGroup() as pipes:
            pipes.create_task(_pipe(reader, there_writer))
            pipes.create_task(_pipe(there_reader, writer))
    finally:
        there_writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def listen(
    server: Server,
    converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[None]:
    """Listen on a free port of loopback. At the end, all connections are closed."""
    running: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(run(reader, writer))
        running[task] = writer
        task.add_done_callback(running.pop)

    listening = await asyncio.start_server(accept, LOOPBACK, 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listening.close()
        open_ones = dict(running)
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        for writer in open_ones.values():
            # A task that is cancelled before it begins closes nothing.
            writer.transport.abort()
        await listening.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
