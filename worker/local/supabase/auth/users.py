"""The users: rows of `auth.users`, and how clients see them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from worker.local.supabase.auth.errors import AuthError
from worker.local.supabase.auth.request_body import RequestBody

Connection = AsyncConnection[DictRow]

_EMAIL_PROVIDER = {"provider": "email", "providers": ["email"]}

_SELECT_BY_ID = "select * from auth.users where id = %s"
_SELECT_BY_EMAIL = "select * from auth.users where email = %s"
_SELECT_PAGE = "select * from auth.users order by created_at desc, id limit %s offset %s"
_INSERT = """
insert into auth.users (
    id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
    created_at, updated_at, is_anonymous
) values (
    gen_random_uuid(), 'authenticated', 'authenticated', %(email)s::text, %(password)s,
    case when %(confirm)s then now() end, %(app_metadata)s, %(user_metadata)s, now(), now(), %(email)s::text is null
)
returning *
"""
_UPDATE = """
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
_DELETE = "delete from auth.users where id = %s returning *"


async def find_user(connection: Connection, user_id: UUID | str) -> DictRow | None:
    """Return a user. `None` if there is none with this id."""
    return await (await connection.execute(_SELECT_BY_ID, (user_id,))).fetchone()


async def find_user_by_email(connection: Connection, email: str | None) -> DictRow | None:
    """Return a user. `None` if there is none with this address."""
    return await (await connection.execute(_SELECT_BY_EMAIL, (email,))).fetchone()


async def list_users(connection: Connection, *, page: int, per_page: int) -> list[DictRow]:
    """Return a page of the users, newest first. Pages count from 1."""
    return await (await connection.execute(_SELECT_PAGE, (per_page, (page - 1) * per_page))).fetchall()


async def insert_user(
    connection: Connection,
    body: RequestBody,
    *,
    confirm: bool,
    app_metadata: dict[str, Any] | None,
    user_metadata: dict[str, Any] | None,
) -> DictRow:
    """Insert a user.

    Args:
        connection: Connection to the database.
        body: E-mail address and password. Without an address the user is anonymous.
        confirm: Whether the address is confirmed.
        app_metadata: Metadata that only the service role may set.
        user_metadata: Metadata that the user may change.

    Raises:
        psycopg.errors.UniqueViolation: Another user has the address.
    """
    values = {
        "email": body.email,
        "password": await body.password_hash(),
        "confirm": confirm,
        "app_metadata": _app_metadata(body.email, app_metadata),
        "user_metadata": Jsonb(user_metadata or {}),
    }
    return required(await (await connection.execute(_INSERT, values)).fetchone())


async def update_user(connection: Connection, user_id: UUID, body: RequestBody) -> DictRow:
    """Change what the body has of a user, and return the user.

    Raises:
        AuthError: There is no such user.
        psycopg.errors.UniqueViolation: Another user has the new address.
    """
    values = {
        "id": user_id,
        "email": body.email,
        "password": await body.password_hash(),
        "confirm": bool(body.email_confirm),
        "app_metadata": _app_metadata(body.email, body.app_metadata),
        "user_metadata": Jsonb(body.user_metadata or {}),
    }
    return required(await (await connection.execute(_UPDATE, values)).fetchone())


async def delete_user(connection: Connection, user_id: UUID) -> None:
    """Delete a user.

    Raises:
        AuthError: There is no such user.
    """
    required(await (await connection.execute(_DELETE, (user_id,))).fetchone())


def _app_metadata(email: str | None, app_metadata: dict[str, Any] | None) -> Jsonb:
    return Jsonb({**(_EMAIL_PROVIDER if email else {}), **(app_metadata or {})})


def required(user: DictRow | None) -> DictRow:
    """Return a user that has to exist.

    Raises:
        AuthError: It does not.
    """
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user


def public_user(user: DictRow) -> dict[str, Any]:
    """Return the fields of a user that clients see, with times in ISO 8601. Times that are not set are left out."""
    times = (
        "created_at",
        "updated_at",
        "last_sign_in_at",
        "email_confirmed_at",
        "confirmed_at",
        "recovery_sent_at",
    )
    return {
        "id": str(user["id"]),
        **{field: user[field] for field in ("aud", "role", "is_anonymous")},
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"],
        "user_metadata": user["raw_user_meta_data"],
        **{field: user[field].isoformat() for field in times if user[field] is not None},
    }
