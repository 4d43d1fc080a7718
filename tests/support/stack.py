"""Local stacks, and clients of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import httpx
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tests.compare_rest.recorder import trust
from worker.database.user import User, signed_in_as
from worker.local.supabase.gateway import gateway, serving
from worker.local.supabase.postgres import Postgres, embedded_binaries
from worker.local.supabase.realtime.server import Realtime
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens

# The server under test: `scripts/test --postgres` names another one than the embedded one.
BINARIES = Path(os.environ.get("WORKER_LOCAL_POSTGRES") or embedded_binaries())

# In an installation of its own, or where Debian has it.
HAS_PGVECTOR = any(
    [*folder.rglob("vector.control")]
    for folder in (BINARIES.parent / "share", Path("/usr/share/postgresql", BINARIES.parent.name))
)

PASSWORD = "correct horse"

SignIn: TypeAlias = Callable[[], Awaitable[AsyncClient]]


@contextmanager
def running_stack(*options: str) -> Iterator[Endpoints]:
    """Start a local stack with data of its own, as a process; it must end with exit code 0.

    Args:
        options: Further options of the command `local`.
    """
    with tempfile.TemporaryDirectory(prefix="supabase-local-") as data:
        if not options:
            subprocess.run(["cp", "-a", f"{_new_stack().name}/.", data], check=True)
        with _started(data, *options) as endpoints:
            trust(endpoints.jwt_secret)
            yield endpoints


@cache
def _new_stack() -> tempfile.TemporaryDirectory[str]:
    """Return the data of a stack that was started once: a copy of it starts in a third of the time of a new one."""
    folder = tempfile.TemporaryDirectory(prefix="supabase-local-")
    with _started(folder.name):
        return folder


@contextmanager
def _started(data: str, *options: str) -> Iterator[Endpoints]:
    command = [sys.executable, "-m", "worker", "local", "--json", "--port", "0", "--no-sync", "--data", data, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, "the local stack did not start"
            yield Endpoints(**json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
            exit_code = process.wait()
    assert exit_code == 0


@asynccontextmanager
async def supabase_client(url: str, key: str) -> AsyncIterator[AsyncClient]:
    """A supabase-py client, closed at the end with everything that it opened."""
    async with httpx.AsyncClient(timeout=30) as http:
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = await acreate_client(url, key, options)
        try:
            yield client
        finally:
            await client.realtime.close()


@asynccontextmanager
async def new_user(stack: Endpoints) -> AsyncIterator[AsyncClient]:
    """A client that is signed in as a new user, by a link: to hash a password takes 50 ms."""
    email = new_email()
    async with (
        supabase_client(stack.url, stack.service_role_key) as admin,
        supabase_client(stack.url, stack.anon_key) as client,
    ):
        await admin.auth.admin.create_user({"email": email, "email_confirm": True})
        link = await admin.auth.admin.generate_link({"type": "magiclink", "email": email})
        await client.auth.verify_otp({"type": "email", "token_hash": link.properties.hashed_token})
        yield client


def signed_in_user(stack: Endpoints, name: str | None = None) -> AbstractAsyncContextManager[User]:
    """A user of the library, by default a new one."""
    return signed_in_as(stack.url, stack.anon_key, f"{name or uuid4()}@example.com", PASSWORD, create=True)


def new_email() -> str:
    """An address that no other user has."""
    return f"{uuid4()}@example.com"


def worker_environment(stack: Endpoints) -> dict[str, str]:
    """The environment variables of a worker of a stack."""
    return {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}


def user_token(stack: Endpoints, user: str, *, lifetime_seconds: int = 600) -> str:
    """An access token of a user, who need not exist."""
    claims = {"role": "authenticated", "sub": user, "aud": "authenticated"}
    return Tokens(stack.jwt_secret).issue(claims, lifetime_seconds=lifetime_seconds)


@asynccontextmanager
async def served(postgres: Postgres) -> AsyncIterator[Endpoints]:
    """Serve a gateway in this process, in front of a Postgres that the test may stop."""
    async with served_with_realtime(postgres) as (endpoints, _):
        yield endpoints


@asynccontextmanager
async def served_with_realtime(postgres: Postgres) -> AsyncIterator[tuple[Endpoints, Realtime]]:
    """The same; yield also its Realtime server."""
    secret = "a secret of at least thirty-two bytes"
    tokens = Tokens(secret)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with gateway(postgres.dsn, tokens) as app, serving(app, listener):
            keys = tokens.api_key("anon"), tokens.api_key("service_role")
            yield Endpoints(url, *keys, db_url=postgres.dsn("postgres"), jwt_secret=secret), app.state.realtime
