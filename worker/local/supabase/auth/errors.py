"""The answer to a request that Auth refuses."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

_API_VERSION = "2024-01-01"


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

    def response(self) -> Response:
        """Return the HTTP response."""
        headers = {"X-Supabase-Api-Version": _API_VERSION, "X-Sb-Error-Code": self._body["code"]}
        return JSONResponse(self._body, self._status, headers)
