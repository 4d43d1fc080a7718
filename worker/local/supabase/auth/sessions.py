"""Sessions: rows of `auth.sessions`, each with a chain of refresh tokens, and the access tokens that they issue."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import DictRow

from worker.local.supabase.auth.errors import AuthError
from worker.local.supabase.auth.users import Connection, find_user, public_user, required
from worker.local.supabase.tokens import ACCESS_TOKEN_LIFETIME_SECONDS, Tokens

_SIGN_IN = "update auth.users set last_sign_in_at = now() where id = %s returning *"
_INSERT_SESSION = """
insert into auth.sessions (id, user_id, created_at, updated_at, method) values (%s, %s, now(), now(), %s) returning *
"""
_SELECT_SESSION = "select * from auth.sessions where id = %s"
_INSERT_REFRESH = """
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
_CLAIMS_OF_THE_USER = ("aud", "role", "email", "phone", "app_metadata", "user_metadata", "is_anonymous")


class Sessions:
    """Begins and refreshes sessions.

    Args:
        tokens: Signs access tokens.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def begin(self, connection: Connection, user: DictRow, method: str) -> dict[str, Any]:
        """Begin a session, and return it as clients see it.

        Args:
            connection: Connection to the database.
            user: The user who signed in.
            method: How the user signed in: `password`, `otp` or `anonymous`.
        """
        session = required(await (await connection.execute(_INSERT_SESSION, (uuid4(), user["id"], method))).fetchone())
        user = required(await (await connection.execute(_SIGN_IN, (user["id"],))).fetchone())
        return self._public(user, session, await _issue_refresh_token(connection, session, parent=None))

    async def refresh(self, connection: Connection, token: str | None) -> dict[str, Any]:
        """Exchange a refresh token for the next one, and return the session.

        Raises:
            AuthError: There is no such token, or it was used already and its successor was, too.
        """
        found = await (await connection.execute(_SELECT_REFRESH, (token,))).fetchone()
        if found is None:
            raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        session = required(await (await connection.execute(_SELECT_SESSION, (found["session_id"],))).fetchone())
        successor = found["successor"]
        if not found["revoked"]:
            await connection.execute(_REVOKE_REFRESH, (token,))
            successor = await _issue_refresh_token(connection, session, parent=token)
        elif successor is None:
            # A client that missed the answer gets the direct successor once more. If an older token is used, two
            # parties have it, and neither can be trusted.
            await connection.execute(_END_SESSIONS["local"], {"session": session["id"]})
            await connection.commit()
            raise AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        return self._public(required(await find_user(connection, session["user_id"])), session, successor)

    def _public(self, user: DictRow, session: DictRow, refresh_token: str) -> dict[str, Any]:
        public = public_user(user)
        access_token = self._tokens.issue(
            {
                "sub": public["id"],
                **{field: public[field] for field in _CLAIMS_OF_THE_USER},
                "session_id": str(session["id"]),
                "aal": session["aal"],
                "amr": [{"method": session["method"], "timestamp": int(session["created_at"].timestamp())}],
            }
        )
        return {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_LIFETIME_SECONDS,
            "expires_at": self._tokens.claims(access_token)["exp"],
            "refresh_token": refresh_token,
            "user": public,
        }


async def session_exists(connection: Connection, session: str) -> bool:
    """Return whether a session has not ended."""
    return await (await connection.execute(_SELECT_SESSION, (session,))).fetchone() is not None


async def end_sessions(connection: Connection, user_id: UUID, session: str | None, *, scope: str) -> None:
    """End sessions of a user.

    Args:
        connection: Connection to the database.
        user_id: The user.
        session: The session of the request.
        scope: `global` for all sessions, `local` for that of the request, `others` for all but that.

    Raises:
        AuthError: There is no such scope.
    """
    if scope not in _END_SESSIONS:
        raise AuthError(400, "validation_failed", f'Unsupported logout scope "{scope}"')
    await connection.execute(_END_SESSIONS[scope], {"user": user_id, "session": session})


async def _issue_refresh_token(connection: Connection, session: DictRow, *, parent: str | None) -> str:
    token = secrets.token_urlsafe(16)
    await connection.execute(_INSERT_REFRESH, (token, str(session["user_id"]), session["id"], parent))
    return token
