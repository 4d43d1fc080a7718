"""The answer to a request that Auth refuses."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

_API_VERSION = "2024-01-01"

REFUSED = "LOCAL"
"""Code of requests that Auth answers, but the local stack does not."""


class AuthError(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        code: Error code of Auth.
        message: What is wrong.
        details: Further members of the body.
    """

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self._status = status
        self._body = {"code": code, "message": message, **details}

    @classmethod
    def unsupported(cls, what: str) -> AuthError:
        """Return the refusal of something that Auth supports, but the local stack does not."""
        return cls(400, REFUSED, f"the local stack does not know {what}")

    @classmethod
    def unsent(cls, mail: str) -> AuthError:
        """Return the error that a mail cannot be sent, which is Auth's when no mail server answers."""
        message = f"Error sending {mail} email: the local stack sends no mail"
        return cls(500, "unexpected_failure", message)

    def response(self) -> Response:
        """Return the HTTP response."""
        headers = {"X-Supabase-Api-Version": _API_VERSION, "X-Sb-Error-Code": self._body["code"]}
        return JSONResponse(self._body, self._status, headers)
