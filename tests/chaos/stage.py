"""The stage: a stack whose Postgres can be restarted, with a faulty gateway in front of it, and played job boards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.plan import BoardFault, ExitFault, GatewayFault, PostgresFault, Shutdown
from worker.local.boards import Boards
from worker.local.loopback import HOST, bind, free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase.faulty_gateway import FaultyGateway
from worker.local.supabase.gateway import gateway, serving
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.tokens import Tokens

LOOK_SECONDS = 0.2
LATENCY_MS = 100
"""Latency of the boards: without it, a search would be too short to meet a fault."""


@dataclass(slots=True)
class Stage:
    """Everything around the workers.

    Attributes:
        folder: Folder for the data.
        url: Address of the stack, through the faulty gateway.
        report: Prints a line of progress.
    """

    folder: Path
    url: str
    anon_key: str
    service_role_key: str
    postgres: Postgres
    front: FaultyGateway
    boards: Boards
    report: Callable[[str], None]
    _gateway_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _postgres_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _board_faults: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Connect directly to the database, as the owner of the tables."""
        connecting = psycopg.AsyncConnection.connect(
            self.postgres.dsn("postgres"), autocommit=True, connect_timeout=10, options="-c statement_timeout=20s"
        )
        async with await connecting as connection:
            yield connection

    async def unended(self, seconds: float) -> list[str]:
        """Wait until every slot was fired and every run has ended. Return those that were not in time."""
        deadline = time.monotonic() + seconds
        async with self.database() as database:
            while True:
                cursor = await database.execute(
                    """
                    select format('%s: %s', id, status) from public.search_runs where completed_at is null
                    union all
                    select format('schedule of %s: due at %s', saved_search_id, next_slot_at)
                    from public.search_schedules where next_slot_at <= worker.now()
                    """
                )
                running = [text for (text,) in await cursor.fetchall()]
                if not running or time.monotonic() > deadline:
                    return running
                await asyncio.sleep(LOOK_SECONDS)

    async def break_gateway(self, fault: GatewayFault) -> None:
        """Let the gateway fail for a while."""
        async with self._gateway_lock:
            self.report(f"gateway: {fault.outage} for {fault.seconds:.1f} s")
            self.front.fail(fault.outage)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self.front.heal()

    async def restart_postgres(self, fault: PostgresFault) -> None:
        """Shut down Postgres, and restart it."""
        async with self._postgres_lock:
            self.report(f"Postgres: {fault.shutdown} shutdown, {fault.seconds:.1f} s down")
            await asyncio.to_thread(self.postgres.stop, immediately=fault.shutdown is Shutdown.IMMEDIATE)
            await asyncio.sleep(fault.seconds)
            started = time.monotonic()
            await asyncio.to_thread(self.postgres.start)
            self.report(f"Postgres: back after {time.monotonic() - started:.1f} s")

    async def break_board(self, fault: BoardFault) -> None:
        """Let a job board fail for a while. Replaces an earlier failure."""
        page = f" from page {fault.from_page}" if fault.from_page > 1 else ""
        self.report(f"{fault.site}: {fault.failure}{page} for {fault.seconds:.1f} s")
        number = self._board_faults[fault.site] = self._board_faults.get(fault.site, 0) + 1
        self.boards.fail(fault.site, fault.failure, from_page=fault.from_page)
        await asyncio.sleep(fault.seconds)
        if self._board_faults[fault.site] == number:
            self.boards.heal(fault.site)

    async def break_exit(self, fault: ExitFault) -> None:
        """Let an exit of the workers fail for a while."""
        self.report(f"exit {fault.exit}: dead for {fault.seconds:.1f} s")
        self.boards.exits.break_exit(fault.exit)
        await asyncio.sleep(fault.seconds)
        self.boards.exits.mend_exit(fault.exit)


@asynccontextmanager
async def set_up(folder: Path, report: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start everything but the workers.

    Args:
        folder: Folder for the data.
        report: Prints a line of progress.
    """
    tokens = Tokens(secrets.token_hex(32))
    async with AsyncExitStack() as resources:
        postgres = resources.enter_context(
            Postgres(folder / "supabase", free_port(), password=secrets.token_hex(16), sync=False),
        )
        apply_migrations(postgres.dsn("postgres"), migrations_folder())
        listener = resources.enter_context(bind(0))
        app = await resources.enter_async_context(gateway(postgres.dsn, tokens))
        await resources.enter_async_context(serving(app, listener))
        front = await resources.enter_async_context(FaultyGateway(f"http://{HOST}:{listener.getsockname()[1]}"))
        yield Stage(
            folder=folder,
            url=front.url,
            anon_key=tokens.api_key("anon"),
            service_role_key=tokens.api_key("service_role"),
            postgres=postgres,
            front=front,
            boards=await resources.enter_async_context(Boards(latency_ms=LATENCY_MS)),
            report=report,
        )
