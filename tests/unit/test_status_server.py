"""The pages of a worker, and clients that mean it no good."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.engine import status_server as module
from worker.engine.status_server import MAX_CONNECTIONS, MAX_HEAD_BYTES, Answer, status_server
from worker.errors import SettingsError

LOOPBACK = "127.0.0.1"


async def ready() -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"not ready: the worker is stopping\n")


async def broken() -> Answer:
    raise OSError("password=hunter2")


@pytest.fixture
async def server() -> AsyncIterator[httpx.URL]:
    async with status_server(LOOPBACK, 0, {"/readyz": ready, "/broken": broken}) as url:
        yield httpx.URL(url)


async def said(server: httpx.URL, data: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection without an answer."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_page_is_answered_and_the_connection_closed(server: httpx.URL) -> None:
    async with httpx.AsyncClient(base_url=server) as client:
        answer = await client.get("/readyz?verbose")
        head = await client.head("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: the worker is stopping\n")
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"
    assert (head.status_code, head.content) == (503, b"")
    assert head.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /nothing HTTP/1.1", 404),
        (b"GET /readyz/ HTTP/1.1", 404),
        (b"GET /../readyz HTTP/1.1", 404),
        (b"GET http://example.com/readyz HTTP/1.1", 404),
        (b"POST /readyz HTTP/1.1", 405),
        (b"DELETE /readyz HTTP/1.1", 405),
        (b"CONNECT example.com:443 HTTP/1.1", 404),
        (b"GET /ready\x00z HTTP/1.1", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET", 400),
    ],
)
async def test_what_is_not_a_page_is_refused(server: httpx.URL, request_line: bytes, status: int) -> None:
    answer = await said(server, request_line + b"\r\nHost: worker\r\n\r\n")
    assert status_of(answer) == status
    if status == 405:
        assert b"Allow: GET, HEAD\r\n" in answer


async def test_a_request_without_a_host_or_with_two_lengths_is_refused(server: httpx.URL) -> None:
    assert status_of(await said(server, b"GET /readyz HTTP/1.1\r\n\r\n")) == 400
    lengths = b"Content-Length: 1\r\nContent-Length: 2\r\n"
    assert status_of(await said(server, b"GET /readyz HTTP/1.1\r\nHost: a\r\n" + lengths + b"\r\n")) == 400


async def test_a_head_that_is_too_long_is_refused_before_its_end(server: httpx.URL) -> None:
    endless = b"GET /readyz HTTP/1.1\r\nHost: worker\r\nX-Filler: " + b"a" * (MAX_HEAD_BYTES + module.READ_BYTES)
    assert status_of(await said(server, endless)) == 431
    assert status_of(await said(server, b"GET /" + b"a" * (MAX_HEAD_BYTES + module.READ_BYTES))) == 431


async def test_a_page_that_fails_says_nothing_of_the_reason(
    server: httpx.URL, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await said(server, b"GET /broken HTTP/1.1\r\nHost: worker\r\n\r\n")
    assert status_of(answer) == 500
    assert b"hunter2" not in answer
    assert "The page /broken cannot be made" in caplog.text


async def test_a_slow_client_loses_its_connection(server: httpx.URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.05)
    assert await said(server, b"GET /readyz HTTP/1.1\r\nHost: wor") == b""


async def test_clients_that_fill_all_connections_keep_no_one_out(server: httpx.URL) -> None:
    """The slowest are dropped: each has sent a part of its request, and would stay for seconds."""
    slow = [await asyncio.open_connection(server.host, server.port) for _ in range(3 * MAX_CONNECTIONS)]
    for _, writer in slow:
        writer.write(b"GET /readyz HTTP/1.1\r\n")
    async with httpx.AsyncClient(base_url=server) as client:
        assert (await client.get("/readyz")).status_code == 503
    async with asyncio.timeout(3):
        dropped = await asyncio.gather(*(ended(reader) for reader, _ in slow[: 2 * MAX_CONNECTIONS]))
    assert all(dropped)
    for _, writer in slow:
        writer.close()


async def test_an_open_connection_does_not_delay_the_end() -> None:
    async with status_server(LOOPBACK, 0, {"/readyz": ready}) as url:
        server = httpx.URL(url)
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /readyz HTTP/1.1\r\n")
        await said(server, b"GET /readyz HTTP/1.1\r\nHost: worker\r\n\r\n")
    async with asyncio.timeout(3):
        assert await ended(reader)
    writer.close()


@pytest.mark.hostile
@given(
    data=st.binary(max_size=400) | st.from_regex(rb"(GET|HEAD|X) /[a-z]* HTTP/1\.[01]\r\n.{0,40}\r\n", fullmatch=True)
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_an_answer_or_none(data: bytes) -> None:
    async def exchange() -> bytes:
        async with status_server(LOOPBACK, 0, {"/readyz": ready}) as url:
            server = httpx.URL(url)
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(data)
            writer.write_eof()
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    answer = asyncio.run(exchange())
    assert answer == b"" or status_of(answer) in (400, 404, 405, 431, 503)


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"^WORKER_HTTP_PORT: another program listens on port {port} of 127"):
            async with status_server(LOOPBACK, port, {}):
                pass


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^WORKER_HTTP_HOST: this machine does not have the address 192\.0\.2\.1"):
        async with status_server("192.0.2.1", 0, {}):
            pass
