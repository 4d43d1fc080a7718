"""A worker that lives as long as a FastAPI or Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker import Settings, Worker


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Search while the application serves: `FastAPI(lifespan=lifespan)`."""
    async with Worker(Settings(), handle_signals=False) as worker:
        searching = asyncio.create_task(worker.run())
        yield
    await searching
