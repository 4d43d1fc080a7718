"""Links that sign a user in. An admin asks for one, and it can be used once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any
from urllib.parse import urlencode

from psycopg.rows import DictRow

from worker.local.supabase.auth.errors import AuthError
from worker.local.supabase.auth.request_body import RequestBody
from worker.local.supabase.auth.users import Connection, find_user_by_email, public_user, required

_SITE_URL = "http://localhost:3000"
"""Where the links of a new project lead. A project allows no other address before it is configured."""

_CODE_DIGITS = 6

# The platform's default lifetime of a link is an hour.
_KEEP = "update auth.users set recovery_token = %s, recovery_sent_at = now() where id = %s returning *"
_USE = """
update auth.users set recovery_token = '', email_confirmed_at = coalesce(email_confirmed_at, now()), updated_at = now()
where recovery_token = %s and recovery_sent_at > now() - interval '1 hour'
returning *
"""

_OF_LINKS = frozenset({"email", "magiclink", "recovery"})
_OTHER_TYPES = frozenset({"signup", "invite", "email_change"})


async def generate_link(connection: Connection, body: RequestBody, url: str) -> dict[str, Any]:
    """Make the link that a mail would have. It replaces an earlier one.

    Args:
        connection: Connection to the database.
        body: Type and e-mail address.
        url: Address of Auth.

    Returns:
        The fields of the user, and those of the link.

    Raises:
        AuthError: The link is of another type, or the address has no account.
    """
    if body.type != "magiclink":
        raise AuthError.unsupported(f"links of the type {body.type}")
    user = await find_user_by_email(connection, body.email)
    if user is None:
        raise AuthError.unsupported("links for addresses without an account")
    code = "".join(secrets.choice("0123456789") for _ in range(_CODE_DIGITS))
    token = hashlib.sha224(f"{user['email']}{code}".encode()).hexdigest()
    user = required(await (await connection.execute(_KEEP, (token, user["id"]))).fetchone())
    query = urlencode({"token": token, "type": "magiclink", "redirect_to": _SITE_URL})
    return public_user(user) | {
        "action_link": f"{url}/verify?{query}",
        "email_otp": code,
        "hashed_token": token,
        "verification_type": "magiclink",
        "redirect_to": _SITE_URL,
    }


async def use_link(connection: Connection, body: RequestBody) -> DictRow:
    """Return the user of a link, and forget the link.

    Args:
        connection: Connection to the database.
        body: Type and hash of the token.

    Raises:
        AuthError: The link is invalid, used or expired, or the request is not for a link.
    """
    if not body.type:
        raise AuthError(400, "validation_failed", "Verify requires a verification type")
    if body.token:
        raise AuthError.unsupported("codes that are typed in")
    if not body.token_hash:
        raise AuthError(400, "validation_failed", "Verify requires a token or a token hash")
    if body.email or body.phone:
        raise AuthError(400, "validation_failed", "Only the token_hash and type should be provided")
    if body.type not in _OF_LINKS | _OTHER_TYPES:
        raise AuthError(400, "validation_failed", "Invalid email verification type")
    user = None
    if body.type in _OF_LINKS:
        user = await (await connection.execute(_USE, (body.token_hash,))).fetchone()
    if user is None:
        raise AuthError(403, "otp_expired", "Email link is invalid or has expired")
    return user
