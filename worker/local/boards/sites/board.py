"""The base of a played site: its hosts, and its answers to requests and to failures."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from worker.local.boards.failures import Failure
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import Listing


class Board(ABC):
    """One site, as far as the source that searches it uses it.

    Args:
        listings: The jobs that it lists.
        now: The time by which ages are computed.
        seed: Seed of the data that it generates itself.

    Attributes:
        site: The name that sources use.
        hosts: The hosts that it plays.
        port: The port of these hosts.
        renamed: Names in its answers, and the names that replace them when the schema drifts.
        credentials: Credentials that it accepts, by the environment variable that the worker reads.
    """

    site: ClassVar[str]
    hosts: ClassVar[frozenset[str]]
    port: ClassVar[int] = 443
    renamed: ClassVar[Mapping[str, str]]
    credentials: ClassVar[Mapping[str, str]] = {}

    def __init__(self, listings: Sequence[Listing], now: datetime, seed: int = 1) -> None:
        self.now = now
        self.seed = seed
        self._listings = listings
        self._by_id = {listing.id: listing for listing in listings}

    @abstractmethod
    def page(self, request: Request) -> int | None:
        """Return the number of the requested search page, from 1. `None` for any other request."""

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Answer a request."""

    def empty(self, request: Request) -> Response:
        """Answer a request as if there were no listings."""
        return type(self)((), self.now, self.seed).answer(request)

    def failed(self, failure: Failure) -> Response:
        """Answer with an error: an HTML page, unless the site overrides this method with its own format.

        Args:
            failure: One with an answer: `RATE_LIMITED`, `QUOTA_EXCEEDED`, `BLOCKED`, `BAD_GATEWAY` or `SERVER_ERROR`.
        """
        return _ERROR_ANSWERS[failure]

    def captcha(self) -> Response:
        """Answer with the page for suspected robots: Cloudflare's, unless the site overrides this method."""
        return Response.html(
            '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body><main>'
            "<h1>Verify you are human</h1><p>Complete the check below to continue.</p></main>"
            "<script>(function(){window._cf_chl_opt = {cType: 'managed'};})();</script></body></html>"
        )

    def drifted(self, response: Response) -> Response:
        """Return an answer after a change of the schema: with the names of `renamed`."""
        body = response.body.decode()
        for name, new_name in self.renamed.items():
            body = body.replace(name, new_name)
        return Response(response.status, response.content_type, body.encode(), response.headers)

    def _find(self, search: Search) -> list[Listing]:
        return search.run(self._listings, self.now)


def error_page(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    """Return the error page of a web server."""
    title = f"{status.value} {status.phrase}"
    return Response.html(
        f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>",
        status,
        headers,
    )


_ERROR_ANSWERS = {
    Failure.RATE_LIMITED: error_page(HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": "60"}),
    Failure.QUOTA_EXCEEDED: error_page(HTTPStatus.TOO_MANY_REQUESTS),
    Failure.BLOCKED: error_page(HTTPStatus.FORBIDDEN),
    Failure.BAD_GATEWAY: error_page(HTTPStatus.BAD_GATEWAY),
    Failure.SERVER_ERROR: Response.json({"error": "internal server error"}, HTTPStatus.INTERNAL_SERVER_ERROR),
}


def json_ld(value: Mapping[str, object]) -> str:
    """Return a script element with linked data, escaped for HTML."""
    text = json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/ld+json">{text}</script>'
