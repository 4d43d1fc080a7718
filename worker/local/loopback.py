"""TCP ports of this machine's loopback address."""

from __future__ import annotations

import contextlib
import random
import socket

from worker.local.errors import LocalError

HOST = "127.0.0.1"

PORTS = range(20_000, 32_000)
"""Below the ports that systems choose themselves: from 32768 on Linux, from 49152 on macOS."""


def bind(port: int) -> socket.socket:
    """Return a TCP socket bound to `port` of the loopback address. 0 stands for a free port.

    Raises:
        LocalError: The port is in use, or this user may not use it.
    """
    # With the protocol given: only then does asyncio set TCP_NODELAY, without which each answer takes some 40 ms more.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # As servers do: closing connections of an earlier server do not block the port.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise LocalError(f"port {port} on {HOST} cannot be used: {error.strerror}") from None
    return bound


def free_port() -> int:
    """Return a TCP port that is free, and that the system does not give to other processes."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 (no secret)
        with contextlib.suppress(LocalError), bind(port):
            return port
