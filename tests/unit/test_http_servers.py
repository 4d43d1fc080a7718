"""Requests to misbehaving servers on loopback, and through proxies."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import socket
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loopback import LOOPBACK, Authority, Request, Server, proxy, replies, reply
from worker.engine.permits import LocalPermits
from worker.errors import ErrorCode, ExitError, SiteError
from worker.http import HttpSettings, Response, SiteHttp, addresses, open_http
from worker.http.bodies import MAX_BODY_BYTES
from worker.http.exits import OWN_ADDRESS, Exit, exits_in_text
from worker.http.site import MAX_REDIRECTS
from worker.model import SiteLimits


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def settings(authority: Authority) -> HttpSettings:
    return HttpSettings(ca_cert=authority.ca_cert, backoff_seconds=0)


def permits(via: Exit = OWN_ADDRESS) -> LocalPermits:
    return LocalPermits("site", {"site": SiteLimits()}, via)


class CountedPermits(LocalPermits):
    count = 0

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        self.count += 1
        return await super().take(bucket, requests)


async def get(settings: HttpSettings, url: str, **options: Any) -> Response:
    async with open_http(settings) as http:
        return await SiteHttp(http, permits(http.exits[0])).request("GET", url, **options)


async def failure_of(settings: HttpSettings, url: str, **options: Any) -> SiteError:
    with pytest.raises(SiteError) as raised:
        await get(settings, url, **options)
    return raised.value


# Bodies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 512])
async def test_packed_answers_are_unpacked(authority: Authority, settings: HttpSettings, padding: int) -> None:
    packed = gzip.compress(b'{"a": 1}') + b"\0" * padding
    async with authority.serve(replies(reply(packed, content_encoding="gzip"))) as server:
        response = await get(settings, f"https://localhost:{server.port}/")
        assert response.json() == {"a": 1}
        assert server.requests[0].headers["accept-encoding"] == "gzip"


async def test_a_large_answer_arrives_whole(authority: Authority, settings: HttpSettings) -> None:
    # Exactly as much as is unpacked at once, and more.
    body = b"x" * (2**20 * 3)
    async with authority.serve(replies(reply(gzip.compress(body), content_encoding="gzip"))) as server:
        assert (await get(settings, f"https://localhost:{server.port}/")).body == body


def bomb(layers: int = 1) -> bytes:
    packed = b"\0" * (MAX_BODY_BYTES + 1)
    for _ in range(layers):
        packed = gzip.compress(packed)
    return packed


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"\0" * (MAX_BODY_BYTES + 1), {}, "the answer is larger than 32 MiB"),
        (bomb(), {"content_encoding": "gzip"}, "the answer is larger than 32 MiB"),
        (bomb(2), {"content_encoding": "gzip, gzip"}, "the answer has the unsupported encoding gzip, gzip"),
        (b"x", {"content_encoding": "br"}, "the answer has the unsupported encoding br"),
        (b"not packed at all", {"content_encoding": "gzip"}, "the answer cannot be decompressed"),
        (gzip.compress(b"x" * 1000)[:-9], {"content_encoding": "gzip"}, "the answer is incomplete"),
        (zlib.compress(b"x"), {"content_encoding": "gzip"}, "the answer cannot be decompressed"),
        (
            gzip.compress(b"x") + b"\0" * MAX_BODY_BYTES,
            {"content_encoding": "gzip"},
            "the answer is larger than 32 MiB",
        ),
    ],
    ids=["oversized", "bomb", "bomb in a bomb", "brotli", "plain", "cut off", "zlib", "padding"],
)
async def test_answers_are_bounded(
    authority: Authority, settings: HttpSettings, body: bytes, headers: dict[str, str], message: str
) -> None:
    async with authority.serve(replies(reply(body, **headers))) as server:
        failure = await failure_of(settings, f"https://localhost:{server.port}/")
    assert (failure.code, failure.message) == (ErrorCode.UPSTREAM, message)
    assert len(server.requests) == 1


async def test_an_answer_that_drips_is_given_up_in_time(authority: Authority, settings: HttpSettings) -> None:
    hung_up = asyncio.Event()

    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            hung_up.set()

    async with (
        authority.serve(drip) as server,
        open_http(HttpSettings(ca_cert=settings.ca_cert, timeout_seconds=0.2, backoff_seconds=0)) as http,
    ):
        with pytest.raises(SiteError, match=r"no answer from localhost within 0\.2 s") as raised:
            await SiteHttp(http, permits()).request("GET", f"https://localhost:{server.port}/")
        assert raised.value.code is ErrorCode.TIMEOUT
        assert len(server.requests) == 3
        await hung_up.wait()


async def test_a_reset_connection_is_opened_again(authority: Authority, settings: HttpSettings) -> None:
    async def reset_once(_: Request, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.write(reply())

    async with authority.serve(reset_once) as server:
        response = await get(settings, f"https://localhost:{server.port}/")
    assert (response.status, response.requests, server.connections) == (200, 2, 2)


async def test_searches_that_are_cancelled_leave_the_others_well(authority: Authority, settings: HttpSettings) -> None:
    """Each takes its own connection with it, and no other."""
    answering = asyncio.Queue[None]()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target == "/large":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 10_000_000)
            answering.put_nowait(None)
        else:
            writer.write(reply())

    async with authority.serve(answer) as server, open_http(settings) as http:
        site = SiteHttp(http, permits())
        for _ in range(4):
            search = asyncio.create_task(site.request("GET", f"https://localhost:{server.port}/large"))
            await answering.get()
            search.cancel()
            await asyncio.wait([search])
            assert search.cancelled()
        response = await site.request("GET", f"https://localhost:{server.port}/")
    assert (response.status, response.requests) == (200, 1)


# Redirects -----------------------------------------------------------------------------------------------------------


def redirect(location: str, status: str = "302 Found") -> bytes:
    return reply(status=status, location=location)


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        ("301 Moved Permanently", "POST", b'{"q":1}'),
        ("302 Found", "POST", b'{"q":1}'),
        ("303 See Other", "GET", b""),
        ("307 Temporary Redirect", "POST", b'{"q":1}'),
        ("308 Permanent Redirect", "POST", b'{"q":1}'),
    ],
)
async def test_redirects_within_the_host_are_followed(
    authority: Authority, settings: HttpSettings, status: str, method: str, body: bytes
) -> None:
    async with (
        authority.serve(replies(redirect("../v2/jobs?page=1", status), reply())) as server,
        open_http(settings) as http,
    ):
        response = await SiteHttp(http, permits()).request(
            "POST", f"https://localhost:{server.port}/v1/jobs", headers={"X-API-Key": "k"}, json={"q": 1}
        )
    assert (response.status, response.requests) == (200, 2)
    asked = server.requests[1]
    assert (asked.method, asked.target, asked.body) == (method, "/v2/jobs?page=1", body)
    assert asked.headers["x-api-key"] == "k"
    assert asked.headers["host"] == f"localhost:{server.port}"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://evil.example/?key=1", "localhost redirects to another host: evil.example"),
        ("//evil.example/", "localhost redirects to another host: evil.example"),
        ("https://localhost/", "localhost redirects to another host: localhost"),
        ("https://localhost:{port}@evil.example/", "localhost redirects to another host: evil.example"),
        ("http://localhost:{port}/", "localhost: must be an absolute https address"),
        ("file:///etc/passwd", "localhost redirects to another host: none"),
        ("https://u:p@localhost:{port}/", "localhost: the address must not contain a user or a password"),
        ("https://localhost:x/", "localhost redirects to an invalid address"),
    ],
)
async def test_redirects_to_other_hosts_are_refused(
    authority: Authority, settings: HttpSettings, location: str, message: str
) -> None:
    async def lead(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(redirect(location.format(port=server.port)))

    async with authority.serve(lead) as server:
        failure = await failure_of(settings, f"https://localhost:{server.port}/")
    assert failure.code is ErrorCode.UPSTREAM
    assert failure.message.startswith(message)
    assert len(server.requests) == 1


async def test_redirects_end_somewhere(authority: Authority, settings: HttpSettings) -> None:
    async with authority.serve(replies(redirect("/"))) as server:
        failure = await failure_of(settings, f"https://localhost:{server.port}/")
    assert failure.message == f"localhost redirects more than {MAX_REDIRECTS} times"
    assert len(server.requests) == 1 + MAX_REDIRECTS


# Connections ---------------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_cookies_are_not(authority: Authority, settings: HttpSettings) -> None:
    answer = replies(reply(set_cookie="session=1; Path=/; Secure"))
    async with authority.serve(answer) as server, open_http(settings) as http:
        for _ in range(3):
            await SiteHttp(http, permits()).request("GET", f"https://localhost:{server.port}/")
    assert server.connections == 1
    assert all("cookie" not in request.headers for request in server.requests)


async def test_a_certificate_that_is_not_trusted_is_not_tried_twice(authority: Authority) -> None:
    async with authority.serve(replies(reply())) as server, open_http(HttpSettings(backoff_seconds=0)) as http:
        taken = CountedPermits("site", {})
        with pytest.raises(SiteError, match="CERTIFICATE_VERIFY_FAILED") as raised:
            await SiteHttp(http, taken).request("GET", f"https://localhost:{server.port}/")
    assert raised.value.code is ErrorCode.NETWORK
    assert (taken.count, server.requests) == (1, [])


async def test_a_refused_connection_is_a_network_error(settings: HttpSettings) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    failure = await failure_of(settings, f"https://localhost:{port}/")
    assert failure.code is ErrorCode.NETWORK
    assert failure.message.startswith("localhost: ")


# Exits ---------------------------------------------------------------------------------------------------------------


async def test_a_request_leaves_through_the_exit_of_its_permit(
    authority: Authority, settings: HttpSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        authority.serve(replies(reply()), "api.example.com") as server,
        proxy(server.port) as first,
        proxy(server.port) as second,
    ):
        exits = f"one=http://user:hunter%322@{LOOPBACK}:{first.port}, two={LOOPBACK}:{second.port}"
        async with open_http(HttpSettings(exits=exits_in_text(exits), ca_cert=settings.ca_cert)) as http:
            for via in (*http.exits, *http.exits):
                response = await SiteHttp(http, permits(via)).request(
                    "GET", "https://api.example.com/", params={"key": "s3cret"}
                )
                assert response.status == 200
    assert [tunnel.target for tunnel in first.requests] == ["api.example.com:443"]
    assert [tunnel.target for tunnel in second.requests] == ["api.example.com:443"]
    credentials = base64.b64encode(b"user:hunter22").decode()
    assert first.requests[0].headers["proxy-authorization"] == f"Basic {credentials}"
    assert "proxy-authorization" not in second.requests[0].headers
    assert len(server.requests) == 4
    assert all(secret not in caplog.text for secret in ("hunter", credentials, "s3cret"))


async def test_a_gateway_gets_a_new_connection_for_each_request(
    authority: Authority, settings: HttpSettings, tmp_path: Path
) -> None:
    async with authority.serve(replies(reply()), "api.example.com") as server, proxy(server.port) as gateway:
        file = tmp_path / "exits.toml"
        file.write_text(f'[[exits]]\nname = "pool"\naddress = "{LOOPBACK}:{gateway.port}"\nrotating = true\n')
        async with open_http(HttpSettings(exits_file=file, ca_cert=settings.ca_cert)) as http:
            for _ in range(3):
                await SiteHttp(http, permits(http.exits[0])).request("GET", "https://api.example.com/")
    assert len(gateway.requests) == 3


@pytest.mark.parametrize(
    ("answer", "is_of_exit"),
    [("407 Proxy Authentication Required", True), ("403 Forbidden", True), ("502 Bad Gateway", False)],
)
async def test_what_a_proxy_refuses_is_not_a_failure_of_the_site(
    authority: Authority, settings: HttpSettings, *, answer: str, is_of_exit: bool
) -> None:
    async with (
        authority.serve(replies(reply()), "api.example.com") as server,
        proxy(server.port, answer) as refusing,
    ):
        failure = await failure_of(
            HttpSettings(
                exits=exits_in_text(f"one=http://user:hunter2@{LOOPBACK}:{refusing.port}"),
                ca_cert=settings.ca_cert,
                backoff_seconds=0,
            ),
            "https://api.example.com/",
        )
    assert failure.code is ErrorCode.NETWORK
    assert isinstance(failure, ExitError) is is_of_exit
    assert failure.message == f"api.example.com: {'exit one' if is_of_exit else 'proxy'}: {answer}"
    # A refusal is final for the exit; a proxy that does not reach the site may reach it later.
    assert len(refusing.requests) == (1 if is_of_exit else 3)


async def test_a_dead_proxy_is_not_a_failure_of_the_site(settings: HttpSettings) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    dead = HttpSettings(exits=exits_in_text(f"one={LOOPBACK}:{port}"), ca_cert=settings.ca_cert, backoff_seconds=0)
    failure = await failure_of(dead, "https://api.example.com/")
    assert isinstance(failure, ExitError)
    assert failure.message.startswith("api.example.com: exit one: ")


async def test_a_proxy_that_breaks_tls_is_not_a_failure_of_the_site(authority: Authority) -> None:
    async with authority.serve(replies(reply()), "api.example.com") as server, proxy(server.port) as through:
        # Its certificate is not among the usual ones.
        strange = HttpSettings(exits=exits_in_text(f"one={LOOPBACK}:{through.port}"), backoff_seconds=0)
        assert isinstance(await failure_of(strange, "https://api.example.com/"), ExitError)


# Hosts that users named ----------------------------------------------------------------------------------------------


def resolving(monkeypatch: pytest.MonkeyPatch, **hosts: Iterable[str]) -> list[str]:
    """Resolve hosts as told; `a__b` is the host `a.b`. Return the hosts that are asked for, as they are."""
    asked = []

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
        asked.append(host)
        found = hosts.get(host.replace(".", "__"), [host])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.1", "2130706433", "0x7f.1"])
async def test_a_user_cannot_reach_this_machine(authority: Authority, settings: HttpSettings, host: str) -> None:
    async with authority.serve(replies(reply())) as server:
        failure = await failure_of(settings, f"https://{host}:{server.port}/", is_user_given=True)
        assert (failure.code, failure.is_final) == (ErrorCode.INVALID_PARAMETERS, True)
        assert failure.message.endswith("is not a public host")
        assert server.connections == 0


async def test_a_public_name_of_a_private_address_is_refused(
    settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, inside__example=["8.8.8.8", "10.0.0.1"])
    failure = await failure_of(settings, "https://inside.example/", is_user_given=True)
    assert (failure.code, failure.message) == (ErrorCode.INVALID_PARAMETERS, "inside.example is not a public host")


async def test_a_host_without_an_address_may_have_one_later(
    settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", fail)
    failure = await failure_of(settings, "https://nowhere.example/", is_user_given=True)
    assert (failure.code, failure.message) == (ErrorCode.NETWORK, "nowhere.example has no address")


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes loopback for a public network, and for nothing else."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == LOOPBACK)


async def ask_as_user(site: SiteHttp, server: Server, host: str) -> Response:
    return await site.request("GET", f"https://{host}:{server.port}/", is_user_given=True)


@pytest.mark.usefixtures("loopback_is_public")
async def test_the_request_goes_to_the_checked_address(
    authority: Authority, settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolving(monkeypatch, named__example=[LOOPBACK], other__example=[LOOPBACK])
    async with (
        authority.serve(replies(redirect("/there"), reply()), "named.example", "other.example") as server,
        open_http(settings) as http,
    ):
        site = SiteHttp(http, permits())
        assert (await ask_as_user(site, server, "named.example")).status == 200
        assert (await ask_as_user(site, server, "other.example")).status == 200
    # By name once for each request, the redirect included: nothing else asked where the name leads.
    assert [host for host in asked if host != LOOPBACK] == ["named.example", "named.example", "other.example"]
    assert [request.headers["host"] for request in server.requests] == [
        f"named.example:{server.port}", f"named.example:{server.port}", f"other.example:{server.port}",
    ]  # fmt: skip
    # A connection that was checked for one name is not used for another one at the same address.
    assert server.connections == 3


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_certificate_of_another_name_is_not_accepted(
    authority: Authority, settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, named__example=[LOOPBACK])
    async with authority.serve(replies(reply()), "other.example", LOOPBACK) as server:
        failure = await failure_of(settings, f"https://named.example:{server.port}/", is_user_given=True)
    assert "CERTIFICATE_VERIFY_FAILED" in failure.message
    assert server.requests == []


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_redirect_to_an_internal_address_is_refused(
    authority: Authority, settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    led = iter([LOOPBACK, "10.0.0.1"])

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
        address = next(led) if host == "named.example" else host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    async with authority.serve(replies(redirect("/there"), reply()), "named.example") as server:
        failure = await failure_of(settings, f"https://named.example:{server.port}/", is_user_given=True)
    assert failure.message == "named.example is not a public host"
    assert len(server.requests) == 1


@pytest.mark.usefixtures("loopback_is_public")
async def test_requests_to_user_given_hosts_bypass_the_proxies(
    authority: Authority, settings: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, named__example=[LOOPBACK])
    async with authority.serve(replies(reply()), "named.example") as server, proxy(server.port) as through:
        proxied = HttpSettings(exits=exits_in_text(f"boards={LOOPBACK}:{through.port}"), ca_cert=settings.ca_cert)
        response = await get(proxied, f"https://named.example:{server.port}/", is_user_given=True)
    assert response.status == 200
    assert through.connections == 0
