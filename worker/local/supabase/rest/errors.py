"""The response when a request fails: the error body of PostgREST, and the HTTP status of each SQLSTATE."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import psycopg_pool
from starlette.responses import Response

from worker.local.supabase.tokens import ANON

REFUSED = "LOCAL"
"""Code of requests that PostgREST answers, but the local stack does not."""

# https://docs.postgrest.org/en/v14/references/errors.html: the longest matching prefix decides.
_STATUS_OF_SQLSTATE = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "21000": 500, "23503": 409, "23505": 409, "25": 500,
    "25006": 405, "28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500, "42501": 403,
    "42883": 404, "42P01": 404, "42P17": 500, "53": 503, "53400": 500, "54": 500, "55": 500, "57": 500,
    "57P01": 503, "58": 500, "F0": 500, "HV": 500, "P0": 500, "P0001": 400, "XX": 500,
}  # fmt: skip


class RestError(Exception):
    """A request fails.

    Args:
        status: HTTP status.
        code: PostgREST's own code (`PGRST...`), or a SQLSTATE.
        message: What is wrong.
        details: More about it: a text, or a list of JSON objects.
        hint: What to try instead.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Any = None,
        hint: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self._status = status
        self._body = {"code": code, "details": details, "hint": hint, "message": message}
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Proxy-Status": f"PostgREST; error={code}",
            **(headers or {}),
        }

    @property
    def body(self) -> str:
        """The body of the response."""
        return json.dumps(self._body)

    def response(self) -> Response:
        """Return the HTTP response."""
        return Response(self.body, self._status, self._headers)


def unsupported(what: str) -> RestError:
    """Return the refusal of something that PostgREST supports, but the local stack does not."""
    hint = "docs/local-supabase.md lists what the local stack refuses."
    return RestError(400, REFUSED, f"the local stack does not know {what}", hint=hint)


def from_psycopg(error: psycopg.Error, *, role: str) -> RestError:
    """Return the error of a request of `role` in which Postgres, or the connection to it, raised `error`."""
    if (sqlstate := error.diag.sqlstate) is not None:
        return _from_postgres(sqlstate, error.diag, role)
    if isinstance(error, psycopg_pool.PoolTimeout):
        return RestError(504, "PGRST003", "Timed out acquiring connection from connection pool.")
    if isinstance(error, psycopg.DataError):  # psycopg refuses NUL in text before Postgres can
        return RestError(400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    if isinstance(error, psycopg_pool.PoolClosed):
        return RestError(503, "PGRST001", "Database client error. Retrying the connection.", details=str(error))
    # A pooled connection was closed without a message. PostgREST then answers with an empty error.
    return RestError(400, "", "")


def _from_postgres(sqlstate: str, diagnostic: psycopg.errors.Diagnostic, role: str) -> RestError:
    if sqlstate == "PGRST":
        return unsupported("answers that are raised with sqlstate 'PGRST'")
    message = diagnostic.message_primary or ""
    status = _status(sqlstate, message, role)
    if status is None:
        return unsupported(f"the status of sqlstate '{sqlstate}'")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None  # noqa: PLR2004 - Unauthorized
    details, hint = diagnostic.message_detail, diagnostic.message_hint
    return RestError(status, sqlstate, message, details=details, hint=hint, headers=headers)


def _status(sqlstate: str, message: str, role: str) -> int | None:
    if sqlstate.startswith("PT"):
        status = sqlstate.removeprefix("PT")
        if not status.isdecimal():
            return 500
        return int(status) if "200" <= status < "600" else None
    no_such_role = message.startswith("role") and message.endswith("does not exist")
    if (sqlstate == "42501" and role == ANON) or (sqlstate == "22023" and no_such_role):
        return 401
    if sqlstate == "21000" and message.endswith("requires a WHERE clause"):
        return 400
    return _STATUS_OF_SQLSTATE.get(sqlstate) or _STATUS_OF_SQLSTATE.get(sqlstate[:2], 400)
