"""`scripts/compare-rest`: what it finds when two servers differ, and that the local gateway equals itself."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import jwt
import psycopg_pool
import pytest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.compare_rest import databases, records, report
from tests.compare_rest.__main__ import within
from tests.compare_rest.recorder import Recorder
from tests.compare_rest.records import RESET, Record
from tests.compare_rest.replay import Comparison, Side, compare
from tools.postgres import throwaway_postgres
from worker.local.supabase.gateway import serving
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.rest.api import configure, rest_routes
from worker.local.supabase.tokens import Tokens

SECRET = "x" * 32
TOKENS = Tokens(SECRET)
BOOKS = Record("GET", "/books?select=id,title&order=id&id=lt.3", role="service_role")
PRICE = Record("GET", "/books?select=price&id=eq.1", role="service_role")
INSERT = Record(
    "POST",
    "/books?select=id,owner",
    role="service_role",
    headers={"prefer": "return=representation", "content-type": "application/json"},
    body='{"title": "a", "owner": "<uuid 7>"}',
)

Alter = Callable[[MutableHeaders, bytes], bytes]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with throwaway_postgres() as running:
        databases.make(running, [])
        yield running


class Altered:
    """Passes requests on, and alters the answers."""

    def __init__(self, app: ASGIApp, alter: Alter) -> None:
        self._app = app
        self._alter = alter
        self.methods: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.methods.append(scope["method"])
        start: Message = {}

        async def altered(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body = self._alter(MutableHeaders(raw=start["headers"]), message.get("body", b""))
            await send(start)
            await send({**message, "body": body})

        await self._app(scope, receive, altered)


@asynccontextmanager
async def altering(postgres: Postgres, alter: Alter) -> AsyncIterator[tuple[httpx.AsyncClient, Altered]]:
    dsn = databases.dsn(postgres, databases.REAL, "authenticator")
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, configure=configure, open=False) as pool:
        app = Altered(Starlette(routes=rest_routes(pool, TOKENS)), alter)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://real") as client:
            yield client, app


async def compared(postgres: Postgres, alter: Alter, *sent: Record) -> tuple[Comparison, list[str]]:
    """Compare the local gateway with an altered one; return also the methods that reached the latter."""
    dsn = databases.dsn(postgres, databases.LOCAL, "authenticator")
    async with within(dsn, TOKENS) as local, altering(postgres, alter) as (real, app):
        reset = partial(asyncio.to_thread, databases.reset, postgres)
        sides = Side(local, TOKENS, SECRET), Side(real, TOKENS, SECRET)
        return await compare(*sides, (RESET, *sent), reset), app.methods


def same(_headers: MutableHeaders, body: bytes) -> bytes:
    return body


def kinds(comparison: Comparison) -> list[str]:
    return [difference.kind for difference in comparison.differences]


async def test_writes_happen_once_in_each_database(postgres: Postgres) -> None:
    comparison, methods = await compared(postgres, same, BOOKS, INSERT, INSERT, PRICE)
    assert (comparison.requests, comparison.succeeded, kinds(comparison)) == (4, 4, [])
    assert methods == ["GET", "POST", "POST", "GET"]
    assert list(report.lines(comparison)) == ["4 requests, 4 of them with success", "", "no difference"]


async def test_a_header_that_differs(postgres: Postgres) -> None:
    def alter(headers: MutableHeaders, body: bytes) -> bytes:
        headers["content-range"] = "0-9/*"
        return body

    comparison, _ = await compared(postgres, alter, BOOKS, PRICE)
    assert kinds(comparison) == ["header Content-Range"] * 2
    assert (comparison.differences[0].local, comparison.differences[0].real) == ("0-1/*", "0-9/*")
    printed = list(report.lines(comparison))
    assert printed[2:5] == [
        "2 x header Content-Range",
        "    GET /books?select=id,title&order=id&id=lt.3 [service_role]",
        "        local: 0-1/*",
    ]
    assert printed[-1] == "2 differences"


@pytest.mark.parametrize(
    ("before", "after"), [(b"9.50", b"9.5"), (b'"Emma"', b'"Anna"'), (b'[{"id":1', b'[{"id":1,"more":null')]
)
async def test_a_body_that_differs(postgres: Postgres, before: bytes, after: bytes) -> None:
    def alter(headers: MutableHeaders, body: bytes) -> bytes:
        headers["content-length"] = str(len(body.replace(before, after)))
        return body.replace(before, after)

    comparison, _ = await compared(postgres, alter, BOOKS, PRICE)
    assert kinds(comparison) == ["body"]


async def test_a_status_that_differs(postgres: Postgres) -> None:
    nobody = Record("GET", "/books", role="anon")
    comparison, _ = await compared(postgres, same, nobody)
    assert kinds(comparison) == []
    async with within(databases.dsn(postgres, databases.LOCAL, "authenticator"), TOKENS) as local:
        teapot = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(418, text="no JSON")), base_url="http://real"
        )
        async with teapot as real:
            sides = Side(local, TOKENS, SECRET), Side(real, TOKENS, SECRET)
            comparison = await compare(*sides, [nobody], partial(asyncio.sleep, 0))
    assert "status 401 instead of 418" in kinds(comparison)


async def test_what_is_refused_is_counted_and_changes_nothing(postgres: Postgres) -> None:
    put = Record("PUT", "/books?id=eq.1", role="service_role", body="{}")
    spread = Record("GET", "/notes?select=id,...books(title)", role="service_role")
    everything = Record("DELETE", "/books", role="service_role")
    comparison, methods = await compared(postgres, same, put, spread, everything)
    assert (kinds(comparison), methods) == ([], ["GET"])
    assert [(message, answers) for _, message, answers in comparison.refused] == [
        ("the local stack does not know the method PUT", None),
        ("the local stack does not know spread embeds (...)", False),
    ]
    assert sum(comparison.left_out.values()) == 1


async def test_words_of_a_parser_are_its_own(postgres: Postgres) -> None:
    def alter(_headers: MutableHeaders, body: bytes) -> bytes:
        return body.replace(b"column 1", b"column 2")

    comparison, _ = await compared(postgres, alter, Record("GET", "/books?id=5", role="service_role"))
    assert kinds(comparison) == []


async def run(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.compare_rest", *options, stdout=asyncio.subprocess.PIPE
    )


def recorded(path: Path, sent: Sequence[Record]) -> str:
    path.write_text("".join(f"{record.line()}\n" for record in sent))
    return str(path)


@pytest.mark.parametrize(("alter", "exit_code"), [(same, 0), (lambda _, body: body.replace(b"Emma", b"Anna"), 1)])
async def test_the_command_waits_for_the_other_server(tmp_path: Path, alter: Alter, exit_code: int) -> None:
    file = recorded(tmp_path / "records.jsonl", [RESET, BOOKS, INSERT])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = await run("--real", url, "--records", file)
        assert process.stdout is not None
        printed = b""
        while b"\npostgrest\n" not in printed:
            printed += await process.stdout.readline()
        found = dict(re.findall(r"PGRST_(DB_URI|JWT_SECRET)='(.*)'", printed.decode()))
        tokens = Tokens(found["JWT_SECRET"])
        async with psycopg_pool.AsyncConnectionPool(
            found["DB_URI"], min_size=1, configure=configure, open=False
        ) as pool:
            app = Altered(Starlette(routes=rest_routes(pool, tokens)), alter)
            async with serving(app, listener):
                printed, _ = await process.communicate()
    assert process.returncode == exit_code, printed.decode()
    assert f"\n{'1 differences' if exit_code else 'no difference'}\n".encode() in printed


async def test_the_local_gateway_equals_itself() -> None:
    process = await run("--dry")
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    requests, succeeded = re.findall(rb"[0-9]+", printed)[:2]
    assert int(requests) > 700
    assert int(succeeded) > 250


def request(method: str, path: str, *, token: str = "", body: str | None = None, **headers: str) -> httpx.Request:
    authorization = f"Bearer {token or TOKENS.api_key('service_role')}"
    headers = {"authorization": authorization, **headers}
    return httpx.Request(method, f"http://stack{path}", headers=headers, content=body)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    running = Recorder(tmp_path / "rest.jsonl")
    running.trust(SECRET)
    return running


def test_each_shape_is_recorded_once(recorder: Recorder, tmp_path: Path) -> None:
    answer = httpx.Response(200, text="[]")
    for path in ("/rest/v1/books?id=eq.1", "/rest/v1/books?id=eq.2", "/rest/v1/books?id=gt.2", "/auth/v1/user"):
        recorder.note(request("GET", path), answer)
    assert [record.path for record in records.read(tmp_path / "rest.jsonl")] == ["/books?id=eq.1", "/books?id=gt.2"]


def test_a_probe_is_recorded_each_time(recorder: Recorder, tmp_path: Path) -> None:
    answer = httpx.Response(200, text="[]")
    for _ in range(2):
        with recorder.probing():
            for path in ("/rest/v1/books?id=eq.1", "/rest/v1/books?id=eq.2", "/rest/v1/books?id=eq.2"):
                recorder.note(request("GET", path), answer)
    paths = [record.path for record in records.read(tmp_path / "rest.jsonl")]
    assert paths == ["", "/books?id=eq.1", "/books?id=eq.2"] * 2


def test_what_is_kept_of_a_request(recorder: Recorder, tmp_path: Path) -> None:
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    user = TOKENS.issue({"role": "authenticated", "sub": ids[0], "session_id": ids[1], "email": "a"})
    answer = httpx.Response(200, text=json.dumps([ids[2], ids[0], ids[2]]))
    recorder.note(request("POST", "/rest/v1/rpc/f", token=user, body=f'{{"a": "{ids[0]}"}}', prefer="a"), answer)
    recorder.note(request("GET", f"/rest/v1/books?id=eq.{ids[2]}"), httpx.Response(200))
    forged = jwt.encode({"role": "service_role"}, "y" * 32)
    recorder.note(request("GET", "/rest/v1/books", token=forged), httpx.Response(401))
    call, read, refused = records.read(tmp_path / "rest.jsonl")
    assert (call.claims["sub"], call.body, call.uuids) == ("<uuid 0>", '{"a": "<uuid 0>"}', [2, 0])
    assert call.headers == {"prefer": "a"}
    assert (read.role, read.path) == ("service_role", "/books?id=eq.<uuid 2>")
    assert refused.authorization == f"Bearer {forged}"
