"""The server of the played sites: it listens on loopback while its context is open."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from worker.local.boards.exits import ExitRule, ExitRules
from worker.local.boards.failures import Failure, FailurePlan, FailurePlans
from worker.local.boards.proxy import Proxy
from worker.local.boards.request_log import BoardRequest, RequestLog
from worker.local.boards.sites import BOARDS, SITES, check_site
from worker.local.boards.sites.board import Board
from worker.local.boards.synthetic.jobs import Listing
from worker.local.boards.synthetic.listings import generate_listings

LOOPBACK = "127.0.0.1"


class Boards:
    """Plays job boards and APIs on loopback. Sources search them through its proxy and its certificate.

    An async context manager. Nothing leaves the machine: a host that is not played is refused.

    Args:
        port: Port to listen on. 0 for a free one.
        seed: Seed of the listings. Equal seeds give equal listings.
        now: Time with a zone by which listings are dated. `None` for the current time.
        failures: Failures from the start, by site.
        latency_ms: How long every answer is delayed, in milliseconds.
        ca_cert: File for the certificate of the authority. `None` for a temporary file.
        instead: Replacements for the boards that play a site, by site.

    Attributes:
        sites: Names of the played sites.
        exits: Which exits do not work or are slow; see `block_exits` for the sites.
        credentials: Credentials that the played sites accept, by the environment variable that the worker reads.
        listings: Every job that the boards list. Listings with the same `Listing.vacancy` are the same job.
    """

    sites = SITES
    credentials: Mapping[str, str] = {name: key for board in BOARDS for name, key in board.credentials.items()}

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
        self.listings: tuple[Listing, ...] = generate_listings(seed, now)
        boards = {
            board.site: (instead or {}).get(board.site, board)(
                [listing for listing in self.listings if listing.site == board.site], now, seed
            )
            for board in BOARDS
        }
        self._failures = FailurePlans()
        self.exits = ExitRules(seed)
        self._log = RequestLog(SITES)
        self._authority = trustme.CA()
        self._proxy = Proxy(
            boards, self._failures, self.exits, self._log, authority=self._authority, latency_seconds=latency_ms / 1000
        )
        self._port = port
        self._ca_cert = ca_cert
        self._resources = ExitStack()
        self._server: asyncio.Server | None = None
        self._url = ""
        for site, failure in (failures or {}).items():
            self._set(site, failure if isinstance(failure, FailurePlan) else FailurePlan(failure=failure))

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port is in use, or the certificate cannot be written.
        """
        with ExitStack() as resources:
            if self._ca_cert is None:
                folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="boards-"))
                self._ca_cert = Path(folder) / "ca.pem"
            self._authority.cert_pem.write_to_path(str(self._ca_cert))
            self._server = await asyncio.start_server(self._proxy.accept, LOOPBACK, self._port)
            self._url = f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, and close every connection."""
        assert self._server is not None
        with self._resources:
            self._server.close()
            await self._proxy.close()
            await self._server.wait_closed()

    @property
    def proxy_url(self) -> str:
        """URL of the proxy: for `proxies` of JobSpy, and for `WORKER_EXITS` of the worker."""
        return self._url

    def exit_url(self, name: str) -> str:
        """Return the URL of the proxy for an exit, by which the sites tell it apart."""
        return self._url.replace("://", f"://{name}:played@")

    @property
    def control_url(self) -> str:
        """URL below which failures are set and requests are read over HTTP."""
        return f"{self.proxy_url}/control"

    @property
    def ca_cert(self) -> Path:
        """The certificate of the authority, as PEM: for JobSpy's `ca_cert` and for `WORKER_HTTP_CA_CERT`."""
        assert self._ca_cert is not None
        return self._ca_cert

    @property
    def refused(self) -> list[str]:
        """Requested hosts that are not played."""
        return self._log.refused

    def requests(self, site: str) -> list[BoardRequest]:
        """Return the requests that `site` received, in order.

        Raises:
            ValueError: There is no such site.
        """
        check_site(site)
        return self._log.of(site)

    async def wait_for_requests(self, site: str, count: int) -> list[BoardRequest]:
        """Wait until `site` has received `count` requests, and return its requests.

        Raises:
            ValueError: There is no such site.
        """
        check_site(site)
        return await self._log.wait_for(site, count)

    def forget_requests(self) -> None:
        """Forget all requests and refused hosts."""
        self._log.clear()

    def fail(self, site: str, failure: Failure | str, from_page: int = 1, requests: int | None = None) -> None:
        """Let `site` fail from now on. Replaces an earlier failure.

        Args:
            site: One of `sites`.
            failure: What it does instead of answering.
            from_page: With 1, every request fails. With a later page, only that search page and later ones.
            requests: How many requests fail before the site answers again. `None` for all.

        Raises:
            ValueError: There is no such site or failure, or a number is below 1.
        """
        self._set(site, FailurePlan(failure=Failure(failure), from_page=from_page, requests=requests))

    def block_exits(self, site: str, rule: ExitRule) -> None:
        """Let `site` refuse exits by a rule from now on.

        Raises:
            ValueError: There is no such site.
        """
        check_site(site)
        self.exits.set(site, rule)

    def current_failures(self) -> dict[str, FailurePlan]:
        """Return the failure of each site that fails, with the number of requests that are left to fail."""
        return self._failures.current()

    def heal(self, site: str | None = None) -> None:
        """Let `site`, or every site, answer again. A request that already hangs or drips continues to do so.

        Raises:
            ValueError: There is no such site.
        """
        if site is not None:
            check_site(site)
        healed = SITES if site is None else (site,)
        self._failures.cancel(*healed)
        self.exits.cancel(*healed)

    def _set(self, site: str, plan: FailurePlan) -> None:
        check_site(site)
        self._failures.set(site, plan)
