"""The command `scripts/compare-rest`."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg_pool
from starlette.applications import Starlette

from tests.compare_rest import databases, records, report
from tests.compare_rest.replay import Comparison, Side, compare, uuid_of
from tools.postgres import throwaway_postgres
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.rest.api import configure, rest_routes
from worker.local.supabase.tokens import Tokens

_WAIT_SECONDS = 600
_TIMEOUT_SECONDS = 30
_POLL_SECONDS = 0.5
_HOW_TO_START = """\
Start PostgREST 14 like this; the comparison begins when it answers at {url}.

PGRST_DB_URI='{dsn}' \\
PGRST_DB_SCHEMAS=public \\
PGRST_DB_ANON_ROLE=anon \\
PGRST_DB_EXTRA_SEARCH_PATH='public, extensions' \\
PGRST_DB_MAX_ROWS=1000 \\
PGRST_JWT_SECRET='{secret}' \\
postgrest
"""
_OF_THE_LOCAL_ONE = """\
The server at {url} is compared as the local one. It has to serve
{dsn} with the same secret.
"""


def main() -> int:
    """Run the command. Return 0 if the answers are equal, except for requests that the local stack refuses."""
    parser = argparse.ArgumentParser(prog="compare-rest", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--real", metavar="URL", help="URL of a PostgREST that will serve the printed database")
    which.add_argument("--dry", action="store_true", help="compare the local gateway with itself")
    parser.add_argument("--local", metavar="URL", help="URL of a running REST API, instead of one in this process")
    parser.add_argument(
        "--records", type=Path, default=records.FILE, help="file of the requests (default: %(default)s)"
    )
    options = parser.parse_args()
    with throwaway_postgres() as postgres:
        comparison = asyncio.run(_compared(postgres, options.records, local=options.local, real=options.real))
    for line in report.lines(comparison):
        sys.stdout.write(f"{line}\n")
    return 1 if comparison.differences else 0


async def _compared(postgres: Postgres, path: Path, *, local: str | None, real: str | None) -> Comparison:
    recorded = list(records.read(path))
    await asyncio.to_thread(databases.make, postgres, map(uuid_of, records.users(recorded)))
    secret = secrets.token_hex(32)
    tokens = Tokens(secret)
    dsn = partial(databases.dsn, postgres, role="authenticator")
    async with AsyncExitStack() as stack:
        sides = []
        for database, url, words in (
            (databases.LOCAL, local, _OF_THE_LOCAL_ONE),
            (databases.REAL, real, _HOW_TO_START),
        ):
            if url is None:
                client = await stack.enter_async_context(within(dsn(database), tokens))
            else:
                sys.stdout.write(words.format(url=url, dsn=dsn(database), secret=secret) + "\n")
                sys.stdout.flush()
                client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS))
                await _answering(client)
            sides.append(Side(client, tokens, secret))
        return await compare(sides[0], sides[1], recorded, partial(asyncio.to_thread, databases.reset, postgres))


@asynccontextmanager
async def within(dsn: str, tokens: Tokens) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the local REST API, which runs in this process."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=2, configure=configure, open=False) as pool:
        transport = httpx.ASGITransport(Starlette(routes=rest_routes(pool, tokens)))
        async with httpx.AsyncClient(transport=transport, base_url="http://local", timeout=_TIMEOUT_SECONDS) as client:
            yield client


async def _answering(client: httpx.AsyncClient) -> None:
    """Wait until a server answers, and is ready."""
    async with asyncio.timeout(_WAIT_SECONDS):
        while True:
            try:
                if not (await client.get("/books")).is_server_error:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
