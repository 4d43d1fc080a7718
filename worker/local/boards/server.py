"""The loopback server: a proxy that plays the hosts behind it, and the switches for their failures."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import h11
import trustme

from worker.local.boards.arbeitnow import Arbeitnow
from worker.local.boards.ashby import Ashby
from worker.local.boards.bayt import Bayt
from worker.local.boards.bdjobs import BDJobs
from worker.local.boards.board import Board, error_page
from worker.local.boards.control import control
from worker.local.boards.failures import Failure, FailurePlan, FailurePlans
from worker.local.boards.glassdoor import Glassdoor
from worker.local.boards.greenhouse import Greenhouse
from worker.local.boards.hellowork import HelloWork
from worker.local.boards.indeed import Indeed
from worker.local.boards.jsearch import JSearch
from worker.local.boards.lever import Lever
from worker.local.boards.linkedin import LinkedIn
from worker.local.boards.listings import Listing, generate
from worker.local.boards.messages import Exchange, Request, Response
from worker.local.boards.naukri import Naukri
from worker.local.boards.remotive import Remotive
from worker.local.boards.unipile import Unipile
from worker.local.boards.youtube import YouTube
from worker.local.boards.ziprecruiter import ZipRecruiter

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
DRIP_INTERVAL_SECONDS = 1.0

_BOARDS: tuple[type[Board], ...] = (
    LinkedIn,
    Indeed,
    Glassdoor,
    ZipRecruiter,
    Bayt,
    Naukri,
    BDJobs,
    HelloWork,
    JSearch,
    Arbeitnow,
    Remotive,
    Greenhouse,
    Ashby,
    Lever,
    Unipile,
    YouTube,
)
SITES = tuple(board.site for board in _BOARDS)


# What makes closing a socket send a reset: SO_LINGER on, for no time.
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class BoardRequest:
    """A request that a played site got.

    Attributes:
        at: When it came, in seconds of the server's monotonic clock.
        page: The search page asked for, from 1; `None` for any other request.
        failure: How the board failed, or `None` if it answered.
    """

    at: float
    method: str
    host: str
    path: str
    page: int | None
    failure: Failure | None


class Boards:
    """Plays job boards and APIs on loopback, for sources to search through the proxy and the certificate given here.

    An async context manager. Nothing leaves the machine: a host that is not played is refused.

    Args:
        port: Port to listen on; 0 for a free one.
        seed: What the listings are made from.
        now: Time with a zone by which listings are dated; the current time if `None`.
        failures: Failures from the start, by site.
        latency_ms: How long every answer is held back.
        ca_cert: Where to write the certificate of the authority; a temporary file if `None`.
        instead: What plays a site in place of its own board, by site.

    Attributes:
        sites: The sources' names of them.
        credentials: What the sites with keys take, by the environment variable that the worker reads.
        listings: Every job that the boards list. `Listing.vacancy` tells which listings are the same job.
        refused: Hosts that were asked for and are not played.
    """

    sites = SITES
    credentials: Mapping[str, str] = {name: key for board in _BOARDS for name, key in board.credentials.items()}

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 1,
        now: datetime | None = None,
        failures: Mapping[str, Failure | FailurePlan] | None = None,
        latency_ms: int = 0,
        ca_cert: Path | None = None,
        instead: Mapping[str, type[Board]] | None = None,
    ) -> None:
        now = now or datetime.now(UTC)
        self.listings: tuple[Listing, ...] = generate(seed, now)
        self.refused: list[str] = []
        self._port = port
        self._latency_seconds = latency_ms / 1000
        self._boards = {
            board.site: (instead or {}).get(board.site, board)(
                [listing for listing in self.listings if listing.site == board.site], now, seed
            )
            for board in _BOARDS
        }
        self._ports = {host: board.port for board in _BOARDS for host in board.hosts}
        self._sites_by_host = {host: board.site for board in _BOARDS for host in board.hosts}
        self._requests: dict[str, list[BoardRequest]] = {site: [] for site in SITES}
        self._requested = asyncio.Condition()
        self._plans = FailurePlans()
        for site, failure in (failures or {}).items():
            plan = failure if isinstance(failure, FailurePlan) else FailurePlan(failure=failure)
            self.order(site, plan)
        self._authority = trustme.CA()
        self._tls_contexts: dict[str, ssl.SSLContext] = {}
        self._ca_cert = ca_cert
        self._resources = ExitStack()
        self._server: asyncio.Server | None = None
        self._url = ""
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port is taken, or the certificate cannot be written.
        """
        with ExitStack() as resources:
            if self._ca_cert is None:
                folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="boards-"))
                self._ca_cert = Path(folder) / "ca.pem"
            self._authority.cert_pem.write_to_path(str(self._ca_cert))
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)
            self._url = f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, and cut every connection."""
        assert self._server is not None
        with self._resources:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    @property
    def proxy_url(self) -> str:
        """What to give JobSpy in `proxies`, and the worker's own client in `WORKER_HTTP_PROXIES`."""
        return self._url

    @property
    def control_url(self) -> str:
        """Where failures are ordered and requests are read over HTTP."""
        return f"{self.proxy_url}/control"

    @property
    def ca_cert(self) -> Path:
        """The certificate of the authority, as PEM: for JobSpy's `ca_cert` and `WORKER_HTTP_CA_CERT`."""
        assert self._ca_cert is not None
        return self._ca_cert

    def requests(self, site: str) -> list[BoardRequest]:
        """Return what `site` has been asked, in order.

        Raises:
            ValueError: No such site.
        """
        return list(self._requests[_known(site)])

    async def wait_for_requests(self, site: str, count: int) -> list[BoardRequest]:
        """Wait until `site` has been asked `count` times, and return what it was asked.

        Raises:
            ValueError: No such site.
        """
        requests = self._requests[_known(site)]
        async with self._requested:
            await self._requested.wait_for(lambda: len(requests) >= count)
        return list(requests)

    def forget_requests(self) -> None:
        """Clear what the sites were asked, and the refused hosts."""
        self.refused.clear()
        for requests in self._requests.values():
            requests.clear()

    def fail(self, site: str, failure: Failure | str, from_page: int = 1, requests: int | None = None) -> None:
        """Let `site` fail from now on, in place of an earlier failure.

        Args:
            site: One of `sites`.
            failure: What it does instead of answering.
            from_page: From 1 on every request fails; from a later page on only search pages do.
            requests: How many requests fail before the site is well again; `None` for all.

        Raises:
            ValueError: No such site or failure, or a number below 1.
        """
        self.order(site, FailurePlan(failure=Failure(failure), from_page=from_page, requests=requests))

    def order(self, site: str, plan: FailurePlan) -> None:
        """Let `site` fail as `plan` says, in place of an earlier failure.

        Raises:
            ValueError: No such site.
        """
        self._plans.order(_known(site), plan)

    def current_failures(self) -> dict[str, FailurePlan]:
        """Return the failures that still stand, by site, with the requests that are left to fail."""
        return self._plans.current()

    def heal(self, site: str | None = None) -> None:
        """Let `site`, or every site, answer again. What hangs or drips already goes on until it is cut.

        Raises:
            ValueError: No such site.
        """
        for healed in SITES if site is None else (_known(site),):
            self._plans.cancel(healed)

    # Connections -----------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, h11.ProtocolError) as error:
            log.debug("connection lost: %s", error)
        except Exception:
            log.exception("a request could not be answered")
        finally:
            # Early releases of Python 3.11 (seen with 3.11.2) raise this where the TLS connection is gone already.
            with suppress(AttributeError):
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a proxy client: CONNECT to a played host, or the control endpoint."""
        exchange = Exchange(reader, writer)
        while request := await exchange.receive():
            host, _, port = request.target.rpartition(":")
            if request.target.startswith("/"):
                await exchange.send(control(self, request))
            elif request.method == "CONNECT" and port == str(self._ports.get(host)):
                await exchange.accept_tunnel()
                await writer.start_tls(self._tls_context(host))
                await self._play(Exchange(reader, writer, host))
                return
            else:
                log.warning("refused %s: not a played host", request.target)
                self.refused.append(request.target)
                await exchange.send(error_page(HTTPStatus.BAD_GATEWAY))

    def _tls_context(self, host: str) -> ssl.SSLContext:
        if host not in self._tls_contexts:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.set_alpn_protocols(["http/1.1"])
            self._authority.issue_cert(host).configure_cert(context)
            self._tls_contexts[host] = context
        return self._tls_contexts[host]

    async def _play(self, exchange: Exchange) -> None:
        """Serve one connection to a played host until somebody closes it."""
        while request := await exchange.receive():
            at = time.monotonic()
            site = self._sites_by_host[request.host]
            page = self._boards[site].page(request)
            failure = self._plans.take(site, page)
            async with self._requested:
                self._requests[site].append(
                    BoardRequest(at, request.method, request.host, request.target, page, failure)
                )
                self._requested.notify_all()
            await asyncio.sleep(self._latency_seconds)
            match failure:
                case Failure.HANG:
                    await exchange.hang()
                    return
                case Failure.DRIP:
                    await exchange.drip(DRIP_INTERVAL_SECONDS)
                    return
                case Failure.RESET:
                    raw = exchange.writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                    exchange.writer.transport.abort()
                    return
                case Failure.TRUNCATED:
                    await exchange.send_cut_off(self._boards[site].answer(request))
                    return
                case _:
                    await exchange.send(self._answer(site, request, failure))

    def _answer(self, site: str, request: Request, failure: Failure | None) -> Response:
        board = self._boards[site]
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


def _known(site: str) -> str:
    if site not in SITES:
        raise ValueError(f"no site {site!r}: one of {', '.join(SITES)}")
    return site
