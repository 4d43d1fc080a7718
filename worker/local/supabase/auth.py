"""The slice of Supabase Auth that clients use here: users, passwords, anonymous users, sessions and the admin API.

Statuses, codes and messages are those of https://github.com/supabase/auth (`internal/api`) at API version 2024-01-01,
with `mailer_autoconfirm` on: an e-mail address is confirmed at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from worker.local.supabase.tokens import ACCESS_TOKEN_LIFETIME_SECONDS, TokenError, Tokens

logger = logging.getLogger(__name__)

Connection = AsyncConnection[DictRow]
Endpoint = Callable[[Request, Connection], Awaitable[Response]]

_API_VERSION = "2024-01-01"
_MINIMUM_PASSWORD_LENGTH = 6
_USERS_PER_PAGE = 50
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_EMAIL_PROVIDER = {"provider": "email", "providers": ["email"]}
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}

_SELECT_USER = "select * from auth.users where id = %s"
_ADD_USER = """
insert into auth.users (
    id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
    created_at, updated_at, is_anonymous
) values (
    gen_random_uuid(), 'authenticated', 'authenticated', %(email)s::text, %(password)s,
    case when %(confirm)s then now() end, %(app_metadata)s, %(user_metadata)s, now(), now(), %(email)s::text is null
)
returning *
"""
_UPDATE_USER = """
update auth.users set
    email = coalesce(%(email)s::text, email),
    encrypted_password = coalesce(%(password)s, encrypted_password),
    email_confirmed_at = case when %(confirm)s then coalesce(email_confirmed_at, now()) else email_confirmed_at end,
    raw_app_meta_data = (
        select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(raw_app_meta_data || %(app_metadata)s)
        where value <> 'null'
    ),
    raw_user_meta_data = (
        select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(raw_user_meta_data || %(user_metadata)s)
        where value <> 'null'
    ),
    updated_at = now(),
    is_anonymous = is_anonymous and %(email)s::text is null
where id = %(id)s
returning *
"""
_SIGN_IN = "update auth.users set last_sign_in_at = now() where id = %s returning *"
_ADD_SESSION = """
insert into auth.sessions (id, user_id, created_at, updated_at, method) values (%s, %s, now(), now(), %s) returning *
"""
_ADD_REFRESH = """
insert into auth.refresh_tokens (token, user_id, session_id, parent, revoked, created_at, updated_at)
values (%s, %s, %s, %s, false, now(), now())
"""
_SELECT_REFRESH = """
select session_id, revoked, (
    select token from auth.refresh_tokens as active
    where active.session_id = given.session_id and active.parent = given.token and not active.revoked
) as successor
from auth.refresh_tokens as given where token = %s for update
"""
_REVOKE_REFRESH = "update auth.refresh_tokens set revoked = true, updated_at = now() where token = %s"
_END_SESSIONS = {
    "global": "delete from auth.sessions where user_id = %(user)s",
    "local": "delete from auth.sessions where id = %(session)s",
    "others": "delete from auth.sessions where user_id = %(user)s and id is distinct from %(session)s",
}


class AuthError(Exception):
    """A request that Auth refuses."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self._status = status
        self._body = {"code": code, "message": message, **details}

    def response(self) -> Response:
        """Return the HTTP response."""
        headers = {"X-Supabase-Api-Version": _API_VERSION, "X-Sb-Error-Code": self._body["code"]}
        return JSONResponse(self._body, self._status, headers)


def auth_routes(pool: AsyncConnectionPool[Connection], tokens: Tokens) -> list[BaseRoute]:
    """Return the routes below `/auth/v1`.

    Args:
        pool: Connections as `supabase_auth_admin`, with rows as dictionaries.
        tokens: What signs and verifies access tokens.
    """
    auth = _Auth(tokens)

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
                logger.warning("a request could not be answered: %s", error)
                message = "Unexpected failure, please check server logs for more information"
                return AuthError(500, "unexpected_failure", message).response()

        return Route(path, handle, methods=list(endpoints))

    return [
        route("/signup", POST=auth.sign_up),
        route("/token", POST=auth.token),
        route("/user", GET=auth.get_user, PUT=auth.update_user),
        route("/logout", POST=auth.log_out),
        route("/admin/users", GET=auth.list_users, POST=auth.create_user),
        route("/admin/users/{id:uuid}", GET=auth.find_user, PUT=auth.change_user, DELETE=auth.delete_user),
        Route("/health", lambda _: JSONResponse({"name": "GoTrue", "description": "Auth of a local stack"})),
    ]


class _Body(BaseModel):
    """The members of requests' JSON objects."""

    email: str | None = None
    password: str | None = None
    refresh_token: str | None = None
    data: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None
    user_metadata: dict[str, Any] | None = None
    email_confirm: bool | None = None
    should_soft_delete: bool | None = None

    @classmethod
    async def read(cls, request: Request) -> _Body:
        try:
            body = cls.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            [first, *_] = error.errors()
            message = ": ".join(map(str, ["Could not parse request body as JSON", *first["loc"], first["msg"]]))
            raise AuthError(400, "bad_json", message) from None
        body.email = body.email.lower() if body.email else None
        if body.email and not _EMAIL.fullmatch(body.email):
            raise AuthError(400, "validation_failed", "Unable to validate email address: invalid format")
        return body

    async def new_password(self) -> str | None:
        """Return the hash of a password to be set."""
        if not self.password:
            return None
        if len(self.password) < _MINIMUM_PASSWORD_LENGTH:
            message = f"Password should be at least {_MINIMUM_PASSWORD_LENGTH} characters."
            raise AuthError(422, "weak_password", message, weak_password={"reasons": ["length"]})
        return await _hash(self.password, secrets.token_bytes(16))


class _Auth:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    # For anybody

    async def sign_up(self, request: Request, connection: Connection) -> Response:
        body = await _Body.read(request)
        if body.email and not body.password:
            raise AuthError(400, "validation_failed", "Signup requires a valid password")
        values = {
            "email": body.email,
            "password": await body.new_password(),
            "confirm": body.email is not None,
            "app_metadata": Jsonb(_EMAIL_PROVIDER if body.email else {}),
            "user_metadata": Jsonb(body.data or {}),
        }
        try:
            user = await _one(connection, _ADD_USER, values)
        except UniqueViolation:
            raise AuthError(422, "user_already_exists", "User already registered") from None
        return await self._begin_session(connection, user, "password" if body.email else "anonymous")

    async def token(self, request: Request, connection: Connection) -> Response:
        body = await _Body.read(request)
        match request.query_params.get("grant_type"):
            case "password":
                return await self._sign_in(connection, body)
            case "refresh_token":
                return await self._refresh(connection, body.refresh_token)
        raise AuthError(400, "invalid_credentials", "unsupported_grant_type")

    async def _sign_in(self, connection: Connection, body: _Body) -> Response:
        user = await _one_or_none(connection, "select * from auth.users where email = %s", (body.email,))
        if user is None or not await _is_password(body.password or "", user):
            raise AuthError(400, "invalid_credentials", "Invalid login credentials")
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return await self._begin_session(connection, user, "password")

    async def _refresh(self, connection: Connection, token: str | None) -> Response:
        found = await _one_or_none(connection, _SELECT_REFRESH, (token,))
        if found is None:
            raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        session = await _one(connection, "select * from auth.sessions where id = %s", (found["session_id"],))
        successor = found["successor"]
        if not found["revoked"]:
            await connection.execute(_REVOKE_REFRESH, (token,))
            successor = await _issue_refresh_token(connection, session, parent=token)
        elif successor is None:
            # A client that missed the answer gets the direct successor again. An older token was used by two parties,
            # and neither can be trusted.
            await connection.execute(_END_SESSIONS["local"], {"session": session["id"]})
            await connection.commit()
            raise AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        return self._session(await _one(connection, _SELECT_USER, (session["user_id"],)), session, successor)

    # For a user

    async def get_user(self, request: Request, connection: Connection) -> Response:
        user, _ = await self._authenticate(request, connection)
        return JSONResponse(_as_json(user))

    async def update_user(self, request: Request, connection: Connection) -> Response:
        user, session = await self._authenticate(request, connection)
        body = await _Body.read(request)
        if body.app_metadata:
            raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
        if body.password:
            await connection.execute(_END_SESSIONS["others"], {"user": user["id"], "session": session})
        body.user_metadata = body.data
        body.email_confirm = body.email is not None
        return await _update_user(connection, user["id"], body)

    async def log_out(self, request: Request, connection: Connection) -> Response:
        user, session = await self._authenticate(request, connection)
        scope = request.query_params.get("scope", "global")
        if scope not in _END_SESSIONS:
            raise AuthError(400, "validation_failed", f'Unsupported logout scope "{scope}"')
        await connection.execute(_END_SESSIONS[scope], {"user": user["id"], "session": session})
        return Response(status_code=204)

    # For the service role

    async def list_users(self, request: Request, connection: Connection) -> Response:
        self._require_admin(request)
        page, size = _positive(request, "page", 1), _positive(request, "per_page", _USERS_PER_PAGE)
        found = await connection.execute(
            "select * from auth.users order by created_at desc, id limit %s offset %s", (size, (page - 1) * size)
        )
        return JSONResponse({"users": [_as_json(user) async for user in found], "aud": "authenticated"})

    async def create_user(self, request: Request, connection: Connection) -> Response:
        self._require_admin(request)
        body = await _Body.read(request)
        if not body.email:
            raise AuthError(400, "validation_failed", "Cannot create a user without either an email or phone")
        values = {
            "email": body.email,
            "password": await body.new_password(),
            "confirm": bool(body.email_confirm),
            "app_metadata": Jsonb({**_EMAIL_PROVIDER, **(body.app_metadata or {})}),
            "user_metadata": Jsonb(body.user_metadata or {}),
        }
        return JSONResponse(_as_json(await _one(connection, _ADD_USER, values)))

    async def find_user(self, request: Request, connection: Connection) -> Response:
        self._require_admin(request)
        return JSONResponse(_as_json(await _one(connection, _SELECT_USER, (request.path_params["id"],))))

    async def change_user(self, request: Request, connection: Connection) -> Response:
        self._require_admin(request)
        return await _update_user(connection, request.path_params["id"], await _Body.read(request))

    async def delete_user(self, request: Request, connection: Connection) -> Response:
        self._require_admin(request)
        if (await _Body.read(request)).should_soft_delete:
            raise AuthError(422, "feature_disabled", "A local stack has no soft deletion of users")
        await _one(connection, "delete from auth.users where id = %s returning id", (request.path_params["id"],))
        return JSONResponse({})

    # Tokens

    def _claims(self, request: Request) -> dict[str, Any]:
        try:
            return self._tokens.claims(request.headers["authorization"].partition(" ")[2])
        except TokenError as error:
            message = f"invalid JWT: unable to parse or verify signature, {error}"
            raise AuthError(403, "bad_jwt", message) from None

    def _require_admin(self, request: Request) -> None:
        if self._claims(request).get("role") != "service_role":
            raise AuthError(403, "not_admin", "User not allowed")

    async def _authenticate(self, request: Request, connection: Connection) -> tuple[DictRow, str | None]:
        claims = self._claims(request)
        if not claims.get("sub"):  # an API key
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        user = await _one_or_none(connection, _SELECT_USER, (claims["sub"],))
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        session: str | None = claims.get("session_id")
        select = "select from auth.sessions where id = %s"
        if session and await _one_or_none(connection, select, (session,)) is None:
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return user, session

    async def _begin_session(self, connection: Connection, user: DictRow, method: str) -> Response:
        session = await _one(connection, _ADD_SESSION, (uuid4(), user["id"], method))
        user = await _one(connection, _SIGN_IN, (user["id"],))
        return self._session(user, session, await _issue_refresh_token(connection, session, parent=None))

    def _session(self, user: DictRow, session: DictRow, refresh_token: str) -> Response:
        public = _as_json(user)
        fields = ("aud", "role", "email", "phone", "app_metadata", "user_metadata", "is_anonymous")
        access_token = self._tokens.issue(
            {
                "sub": public["id"],
                **{field: public[field] for field in fields},
                "session_id": str(session["id"]),
                "aal": session["aal"],
                "amr": [{"method": session["method"], "timestamp": int(session["created_at"].timestamp())}],
            }
        )
        return JSONResponse(
            {
                "access_token": access_token,
                "token_type": "bearer",
                "expires_in": ACCESS_TOKEN_LIFETIME_SECONDS,
                "expires_at": self._tokens.claims(access_token)["exp"],
                "refresh_token": refresh_token,
                "user": public,
            }
        )


async def _one_or_none(connection: Connection, query: str, values: Any) -> DictRow | None:
    return await (await connection.execute(query, values)).fetchone()


async def _one(connection: Connection, query: str, values: Any) -> DictRow:
    row = await _one_or_none(connection, query, values)
    if row is None:  # only users can be missing
        raise AuthError(404, "user_not_found", "User not found")
    return row


async def _issue_refresh_token(connection: Connection, session: DictRow, *, parent: str | None) -> str:
    token = secrets.token_urlsafe(16)
    await connection.execute(_ADD_REFRESH, (token, str(session["user_id"]), session["id"], parent))
    return token


async def _update_user(connection: Connection, user: UUID, body: _Body) -> Response:
    values = {
        "id": user,
        "email": body.email,
        "password": await body.new_password(),
        "confirm": bool(body.email_confirm),
        "app_metadata": Jsonb({**(_EMAIL_PROVIDER if body.email else {}), **(body.app_metadata or {})}),
        "user_metadata": Jsonb(body.user_metadata or {}),
    }
    return JSONResponse(_as_json(await _one(connection, _UPDATE_USER, values)))


def _as_json(user: DictRow) -> dict[str, Any]:
    """Return the public part of a row of `auth.users`, with times in ISO 8601 and unset ones left out."""
    times = ("created_at", "updated_at", "last_sign_in_at", "email_confirmed_at", "confirmed_at")
    return {
        "id": str(user["id"]),
        **{field: user[field] for field in ("aud", "role", "is_anonymous")},
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"],
        "user_metadata": user["raw_user_meta_data"],
        **{field: user[field].isoformat() for field in times if user[field] is not None},
    }


def _positive(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        message = f"Bad Pagination Parameters: {name} must be a positive number"
        raise AuthError(400, "validation_failed", message)
    return int(text)


async def _hash(password: str, salt: bytes) -> str:
    # In a thread: it is meant to take long.
    digest = await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, **_SCRYPT)
    return f"scrypt${salt.hex()}${digest.hex()}"


async def _is_password(password: str, user: DictRow) -> bool:
    expected: str | None = user["encrypted_password"]
    if expected is None:
        return False
    salt = bytes.fromhex(expected.split("$")[1])
    return hmac.compare_digest(await _hash(password, salt), expected)
