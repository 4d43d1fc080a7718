"""The endpoints of Auth."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from worker.local.supabase.auth.errors import AuthError
from worker.local.supabase.auth.links import generate_link, use_link
from worker.local.supabase.auth.passwords import verify_password
from worker.local.supabase.auth.request_body import RequestBody
from worker.local.supabase.auth.sessions import Sessions, end_sessions, session_exists
from worker.local.supabase.auth.users import (
    Connection,
    delete_user,
    find_user,
    find_user_by_email,
    insert_user,
    list_users,
    public_user,
    required,
    update_user,
)
from worker.local.supabase.tokens import SERVICE_ROLE, TokenError, Tokens

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request, Connection], Awaitable[Response]]

_USERS_PER_PAGE = 50


def auth_routes(pool: AsyncConnectionPool[Connection], tokens: Tokens) -> list[BaseRoute]:
    """Return the routes below `/auth/v1`.

    Args:
        pool: Connections of the role `supabase_auth_admin`, with rows as dictionaries.
        tokens: Signs and verifies access tokens.
    """
    public, user, admin = _Public(tokens), _User(tokens), _Admin(tokens)

    def route(path: str, **endpoints: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            try:
                async with pool.connection() as connection:
                    return await endpoints[request.method](request, connection)
            except UniqueViolation:
                message = "A user with this email address has already been registered"
                return AuthError(422, "email_exists", message).response()
            except AuthError as error:
                return error.response()
            except psycopg.Error as error:
                logger.warning("a request to Auth failed: %s", error)
                message = "Unexpected failure, please check server logs for more information"
                return AuthError(500, "unexpected_failure", message).response()

        return Route(path, handle, methods=list(endpoints))

    return [
        route("/signup", POST=public.sign_up),
        route("/token", POST=public.token),
        route("/user", GET=user.get, PUT=user.update),
        route("/logout", POST=user.log_out),
        route("/recover", POST=public.recover),
        route("/otp", POST=public.one_time_password),
        route("/verify", POST=public.verify),
        route("/admin/generate_link", POST=admin.generate_link),
        route("/admin/users", GET=admin.list, POST=admin.create),
        route("/admin/users/{id:uuid}", GET=admin.get, PUT=admin.update, DELETE=admin.delete),
        Route("/health", lambda _: JSONResponse({"name": "GoTrue", "description": "Auth of a local stack"})),
        Route("/{path:path}", _refuse, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


async def _refuse(request: Request) -> Response:
    return AuthError.unsupported(f"{request.method} /auth/v1/{request.path_params['path']}").response()


class _Public:
    """Endpoints that need no access token."""

    def __init__(self, tokens: Tokens) -> None:
        self._sessions = Sessions(tokens)

    async def sign_up(self, request: Request, connection: Connection) -> Response:
        body = await RequestBody.read(request)
        if body.email and not body.password:
            raise AuthError(400, "validation_failed", "Signup requires a valid password")
        try:
            user = await insert_user(
                connection, body, confirm=body.email is not None, app_metadata=None, user_metadata=body.data
            )
        except UniqueViolation:
            raise AuthError(422, "user_already_exists", "User already registered") from None
        method = "password" if body.email else "anonymous"
        return JSONResponse(await self._sessions.begin(connection, user, method))

    async def token(self, request: Request, connection: Connection) -> Response:
        body = await RequestBody.read(request)
        match request.query_params.get("grant_type"):
            case "password":
                return await self._sign_in(connection, body)
            case "refresh_token":
                return JSONResponse(await self._sessions.refresh(connection, body.refresh_token))
        raise AuthError(400, "invalid_credentials", "unsupported_grant_type")

    @staticmethod
    async def recover(request: Request, connection: Connection) -> Response:
        body = await RequestBody.read(request)
        if not body.email:
            raise AuthError(400, "validation_failed", "Password recovery requires an email")
        if await find_user_by_email(connection, body.email) is None:
            return JSONResponse({})  # nobody may find out who has an account
        raise AuthError.unsent("recovery")

    @staticmethod
    async def one_time_password(request: Request, connection: Connection) -> Response:
        body = await RequestBody.read(request)
        if body.email and body.phone:
            message = "Only an email address or phone number should be provided"
            raise AuthError(400, "validation_failed", message)
        if body.email and body.channel:
            raise AuthError(400, "validation_failed", "Channel should only be specified with Phone OTP")
        is_known = body.email is not None and await find_user_by_email(connection, body.email) is not None
        if (body.email or body.phone) and not (body.create_user or is_known):
            raise AuthError(422, "otp_disabled", "Signups not allowed for otp")
        if body.email:
            raise AuthError.unsent("magic link")
        if body.phone:
            raise AuthError(400, "phone_provider_disabled", "Unsupported phone provider")
        raise AuthError(400, "validation_failed", "One of email or phone must be set")

    async def verify(self, request: Request, connection: Connection) -> Response:
        user = await use_link(connection, await RequestBody.read(request))
        return JSONResponse(await self._sessions.begin(connection, user, "otp"))

    async def _sign_in(self, connection: Connection, body: RequestBody) -> Response:
        user = await find_user_by_email(connection, body.email)
        if user is None or not await verify_password(body.password or "", user["encrypted_password"]):
            raise AuthError(400, "invalid_credentials", "Invalid login credentials")
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return JSONResponse(await self._sessions.begin(connection, user, "password"))


class _User:
    """Endpoints for the user of the access token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def get(self, request: Request, connection: Connection) -> Response:
        user, _ = await self._authenticate(request, connection)
        return JSONResponse(public_user(user))

    async def update(self, request: Request, connection: Connection) -> Response:
        user, session = await self._authenticate(request, connection)
        body = await RequestBody.read(request)
        if body.app_metadata:
            raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
        if body.password:
            await end_sessions(connection, user["id"], session, scope="others")
        body.user_metadata = body.data
        body.email_confirm = body.email is not None
        return JSONResponse(public_user(await update_user(connection, user["id"], body)))

    async def log_out(self, request: Request, connection: Connection) -> Response:
        user, session = await self._authenticate(request, connection)
        await end_sessions(connection, user["id"], session, scope=request.query_params.get("scope", "global"))
        return Response(status_code=204)

    async def _authenticate(self, request: Request, connection: Connection) -> tuple[DictRow, str | None]:
        """Return the user and the session of the access token."""
        claims = _claims(self._tokens, request)
        if not claims.get("sub"):  # an API key
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        user = await find_user(connection, claims["sub"])
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        session: str | None = claims.get("session_id")
        if session and not await session_exists(connection, session):
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return user, session


class _Admin:
    """Endpoints for the service role."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def generate_link(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        url = str(request.url).removesuffix("/admin/generate_link")
        return JSONResponse(await generate_link(connection, await RequestBody.read(request), url))

    async def list(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        page, per_page = _positive(request, "page", 1), _positive(request, "per_page", _USERS_PER_PAGE)
        users = [public_user(user) for user in await list_users(connection, page=page, per_page=per_page)]
        return JSONResponse({"users": users, "aud": "authenticated"})

    async def create(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        body = await RequestBody.read(request)
        if not body.email:
            raise AuthError(400, "validation_failed", "Cannot create a user without either an email or phone")
        user = await insert_user(
            connection,
            body,
            confirm=bool(body.email_confirm),
            app_metadata=body.app_metadata,
            user_metadata=body.user_metadata,
        )
        return JSONResponse(public_user(user))

    async def get(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        return JSONResponse(public_user(required(await find_user(connection, request.path_params["id"]))))

    async def update(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        body = await RequestBody.read(request)
        return JSONResponse(public_user(await update_user(connection, request.path_params["id"], body)))

    async def delete(self, request: Request, connection: Connection) -> Response:
        self._require_service_role(request)
        if (await RequestBody.read(request)).should_soft_delete:
            raise AuthError(422, "feature_disabled", "A local stack has no soft deletion of users")
        await delete_user(connection, request.path_params["id"])
        return JSONResponse({})

    def _require_service_role(self, request: Request) -> None:
        if _claims(self._tokens, request).get("role") != SERVICE_ROLE:
            raise AuthError(403, "not_admin", "User not allowed")


def _claims(tokens: Tokens, request: Request) -> dict[str, Any]:
    try:
        return tokens.claims(request.headers["authorization"].partition(" ")[2])
    except TokenError as error:
        message = f"invalid JWT: unable to parse or verify signature, {error}"
        raise AuthError(403, "bad_jwt", message) from None


def _positive(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        message = f"Bad Pagination Parameters: {name} must be a positive number"
        raise AuthError(400, "validation_failed", message)
    return int(text)
