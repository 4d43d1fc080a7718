"""The HTTP server of a local stack: REST, Auth and Realtime, behind the check of the API key."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.local.supabase.auth.api import auth_routes
from worker.local.supabase.realtime.http import broadcast_routes
from worker.local.supabase.realtime.server import Realtime
from worker.local.supabase.rest.api import configure, rest_routes
from worker.local.supabase.tokens import ANON, SERVICE_ROLE, Tokens

_POOL_TIMEOUT_SECONDS = 10.0
_GRACE_SECONDS = 3
_ANY = ("*",)
MAX_FRAME_BYTES = 5_000_000  # of a WebSocket, as on the platform


@asynccontextmanager
async def gateway(dsn: Callable[[str], str], tokens: Tokens) -> AsyncIterator[Starlette]:
    """Run the services behind the gateway, and yield the ASGI application. Its `state.realtime` is for tests.

    Args:
        dsn: Returns the connection URL of a database role.
        tokens: Signs and verifies the tokens of the stack.
    """
    realtime = Realtime(dsn("supabase_admin"), tokens)
    rest = AsyncConnectionPool(
        dsn("authenticator"),
        min_size=2,
        max_size=10,
        timeout=_POOL_TIMEOUT_SECONDS,
        configure=configure,
        open=False,
    )
    auth: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        dsn("supabase_auth_admin"),
        min_size=1,
        max_size=4,
        timeout=_POOL_TIMEOUT_SECONDS,
        kwargs={"row_factory": dict_row},
        open=False,
    )
    async with rest, auth:
        following = asyncio.create_task(realtime.run())
        try:
            app = Starlette(
                routes=[
                    Mount("/rest/v1", routes=rest_routes(rest, tokens)),
                    Mount("/auth/v1", routes=auth_routes(auth, tokens)),
                    WebSocketRoute("/realtime/v1/websocket", realtime.websocket),
                    Mount("/realtime/v1", routes=broadcast_routes(realtime)),
                ],
                middleware=[
                    Middleware(
                        CORSMiddleware, allow_origins=_ANY, allow_methods=_ANY, allow_headers=_ANY, expose_headers=_ANY
                    ),
                    Middleware(_ApiKeyMiddleware, keys={tokens.api_key(role) for role in (ANON, SERVICE_ROLE)}),
                ],
                # A client that disconnects during its request is not an error. The response is not read.
                exception_handlers={ClientDisconnect: lambda _request, _error: Response(status_code=400)},
            )
            app.state.realtime = realtime
            yield app
        finally:
            following.cancel()
            await asyncio.wait([following])


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on a bound socket. On exit, close the WebSockets, and give running requests 3 s to end."""
    server = _Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=MAX_FRAME_BYTES,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    # From here on the kernel accepts connections: a client may connect before the server task has started.
    listener.listen()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The stack handles signals: it stops this server, and then Postgres.
        yield


class _ApiKeyMiddleware:
    """Refuses requests without one of the API keys of the stack, as the gateway of the platform does.

    A request without a token has the role of its key. Realtime checks its keys itself.
    """

    def __init__(self, app: ASGIApp, keys: set[str]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        key = request.headers.get("apikey") or request.query_params.get("apikey")
        if key not in self._keys:
            message = "Invalid API key" if key else "No API key found in request"
            hint = "The `apikey` request header has to be the local stack's `anon` or `service_role` key."
            await JSONResponse({"message": message, "hint": hint}, status_code=401)(scope, receive, send)
            return
        if "authorization" not in request.headers:
            MutableHeaders(scope=scope)["authorization"] = f"Bearer {key}"
        await self._app(scope, receive, send)
