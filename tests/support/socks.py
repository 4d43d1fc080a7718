"""A SOCKS5 proxy in front of the played boards (RFC 1928 and 1929)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.loopback import LOOPBACK, Server, listen, pass_on

USER, PASSWORD = "max", "hunter2"

_BY_PASSWORD = 2
_NAME = 3
_SUCCEEDED = 0


@dataclass(slots=True)
class Socks(Server):
    """A SOCKS5 proxy that needs a password.

    Attributes:
        refused: What it refused, and why.
    """

    refused: list[str] = field(default_factory=list)

    def address(self, password: str = PASSWORD) -> str:
        """Its address as an exit of a worker."""
        return f"socks5://{USER}:{password}@{LOOPBACK}:{self.port}"


async def _text(reader: asyncio.StreamReader) -> str:
    (length,) = await reader.readexactly(1)
    return (await reader.readexactly(length)).decode()


@asynccontextmanager
async def socks_proxy(boards_exit: str, reply: int = _SUCCEEDED) -> AsyncIterator[Socks]:
    """Start a SOCKS5 proxy that reaches the played boards.

    Args:
        boards_exit: The address of an exit of the boards.
        reply: How it answers the request to connect.
    """
    target = urlsplit(boards_exit)
    credentials = base64.b64encode(f"{target.username}:{target.password}".encode()).decode()
    proxy = Socks()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(bytes([5, _BY_PASSWORD]))
        await reader.readexactly(1)
        is_known = (await _text(reader), await _text(reader)) == (USER, PASSWORD)
        writer.write(bytes([1, not is_known]))
        if not is_known:
            proxy.refused.append("wrong password")
            return await writer.drain()
        *_, kind = await reader.readexactly(4)
        if kind != _NAME:
            proxy.refused.append("an address: names are to be resolved by the proxy")
            return None
        host, port = await _text(reader), int.from_bytes(await reader.readexactly(2))
        writer.write(bytes([5, reply, 0, 1, *bytes(6)]))
        if reply != _SUCCEEDED:
            return await writer.drain()
        request = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        assert target.port is not None
        return await pass_on(reader, writer, target.port, request.encode(), skips_head=True)

    async with listen(proxy, tunnel):
        yield proxy
