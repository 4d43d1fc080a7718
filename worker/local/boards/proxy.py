"""The HTTP proxy in front of the played sites: it answers CONNECT with a certificate of its own, and plays the host.

A connection goes `_accept` -> `_serve` -> `_serve_proxy` (CONNECT, or the control endpoint) -> `_serve_site` (the
requests for the host) -> `_answer`. Any other host is refused, so nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

import h11
import trustme

from worker.local.boards.control import control
from worker.local.boards.exits import ExitRules, exit_in
from worker.local.boards.failures import Failure, FailurePlans
from worker.local.boards.http import Exchange, Request, Response
from worker.local.boards.request_log import BoardRequest, RequestLog
from worker.local.boards.sites.board import Board, error_page

logger = logging.getLogger(__name__)

DRIP_INTERVAL_SECONDS = 1.0

# Closing a socket sends a reset if SO_LINGER is on with a time of 0.
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Proxy:
    """Serves the connections of the clients.

    Args:
        boards: What plays each site, by site.
        failures: The failures that the sites are set to.
        exits: How the sites treat the exits of the clients.
        log: Where requests are noted.
        authority: Issues the certificates of the played hosts.
        latency_seconds: How long every answer is delayed.
    """

    def __init__(
        self,
        boards: Mapping[str, Board],
        failures: FailurePlans,
        exits: ExitRules,
        log: RequestLog,
        *,
        authority: trustme.CA,
        latency_seconds: float,
    ) -> None:
        self._boards_by_host = {host: board for board in boards.values() for host in board.hosts}
        self._failures = failures
        self._exits = exits
        self._log = log
        self._authority = authority
        self._latency_seconds = latency_seconds
        self._tls_contexts: dict[str, ssl.SSLContext] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection in a task of its own."""
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        """Close every connection at once."""
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve_proxy(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, h11.ProtocolError) as error:
            logger.debug("connection lost: %s", error)
        except Exception:
            logger.exception("a request failed")
        finally:
            # Early releases of Python 3.11 (seen with 3.11.2) raise this if the TLS connection is closed already.
            with suppress(AttributeError):
                writer.transport.abort()

    async def _serve_proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer)
        while request := await exchange.receive():
            host, _, port = request.target.rpartition(":")
            board = self._boards_by_host.get(host)
            if request.target.startswith("/"):
                await exchange.send(control(request, self._failures, self._exits, self._log))
            elif status := self._exits.status_of(exit_in(request.headers)):
                await exchange.send(error_page(status))
            elif request.method == "CONNECT" and board and port == str(board.port):
                await exchange.accept_tunnel()
                await writer.start_tls(self._tls_context(host))
                await self._serve_site(Exchange(reader, writer, host), board, exit_in(request.headers))
                return
            else:
                logger.warning("refused %s: this host is not played", request.target)
                self._log.refused.append(request.target)
                await exchange.send(error_page(HTTPStatus.BAD_GATEWAY))

    def _tls_context(self, host: str) -> ssl.SSLContext:
        if host not in self._tls_contexts:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.set_alpn_protocols(["http/1.1"])
            self._authority.issue_cert(host).configure_cert(context)
            self._tls_contexts[host] = context
        return self._tls_contexts[host]

    async def _serve_site(self, exchange: Exchange, board: Board, exit_name: str) -> None:
        """Serve one connection to a played host until either side closes it."""
        while request := await exchange.receive():
            at = time.monotonic()
            page = board.page(request)
            failure = self._failures.take(board.site, page) or self._exits.take(board.site, exit_name, page, at)
            logged = BoardRequest(at, request.method, request.host, request.target, page, failure, exit_name)
            await self._log.add(board.site, logged)
            await asyncio.sleep(self._latency_seconds + self._exits.delay_of(exit_name))
            match failure:
                case Failure.HANG:
                    await exchange.hang()
                    return
                case Failure.DRIP:
                    await exchange.drip(DRIP_INTERVAL_SECONDS)
                    return
                case Failure.RESET:
                    # None: the client has closed the connection already.
                    if (raw := exchange.writer.get_extra_info("socket")) is not None:
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                    exchange.writer.transport.abort()
                    return
                case Failure.TRUNCATED:
                    await exchange.send_truncated(board.answer(request))
                    return
                case _:
                    await exchange.send(_answer(board, request, failure))


def _answer(board: Board, request: Request, failure: Failure | None) -> Response:
    match failure:
        case Failure.CAPTCHA:
            return board.captcha()
        case Failure.EMPTY:
            return board.empty(request)
        case Failure.SCHEMA_DRIFT:
            return board.drifted(board.answer(request))
        case Failure():
            return board.failed(failure)
        case None:
            return board.answer(request)
