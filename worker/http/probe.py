"""Asks a site once through an exit, for operators who want to know whether the exit works."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from worker.errors import ErrorCode, SiteError
from worker.http.bodies import ACCEPT_ENCODING, read_body
from worker.http.challenges import bot_check
from worker.http.client import HttpClient
from worker.http.exits import Exit
from worker.http.site import failure_of

PATH = "/robots.txt"
"""What is asked for: meant for robots, small, and part of no search."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of a site.

    Attributes:
        status: Its HTTP status, whatever it is: the site was reached.
        latency_ms: Time from the start of the connection to the end of the answer, in milliseconds.
        family: `IPv4` or `IPv6`: how the worker is connected to the site, or to the proxy in front of it.
    """

    status: int
    latency_ms: int
    family: str


async def probe(client: HttpClient, host: str, via: Exit) -> Probe:
    """Ask a host once, without a permit and without a retry.

    Raises:
        ExitError: The exit failed, not the site.
        SiteError: No answer came (`timeout`, `network`), or a bot check (`blocked`), or too many requests were sent
            (`rate_limited`).
    """
    clock = asyncio.get_running_loop().time
    seconds = client.settings.timeout_seconds
    phases = httpx.Timeout(seconds, connect=client.connect_seconds)
    headers = {"User-Agent": client.settings.user_agent, "Accept": "*/*", "Accept-Encoding": ACCEPT_ENCODING}
    request = httpx.Request("GET", f"https://{host}{PATH}", headers=headers, extensions={"timeout": phases.as_dict()})
    began_at = clock()
    try:
        async with asyncio.timeout(seconds):
            answer = await client.transport_of(via).handle_async_request(request)
            try:
                address = answer.extensions["network_stream"].get_extra_info("server_addr")
                body = await read_body(answer)
            finally:
                await answer.aclose()
    except (TimeoutError, httpx.TransportError) as error:
        raise failure_of(client, host, error, via) from None
    if check := bot_check(answer.headers, body):
        raise SiteError(ErrorCode.BLOCKED, check)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise SiteError(ErrorCode.RATE_LIMITED, f"response status code {answer.status_code}")
    return Probe(answer.status_code, round((clock() - began_at) * 1e3), "IPv6" if ":" in str(address[0]) else "IPv4")
