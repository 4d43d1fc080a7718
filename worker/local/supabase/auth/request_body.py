"""The body of a request."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from worker.local.supabase.auth.errors import AuthError
from worker.local.supabase.auth.passwords import hash_password

_MIN_PASSWORD_LENGTH = 6
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class RequestBody(BaseModel):
    """The members of all requests' JSON objects."""

    email: str | None = None
    phone: str | None = None
    channel: str | None = None
    create_user: bool = True
    password: str | None = None
    refresh_token: str | None = None
    type: str | None = None
    token: str | None = None
    token_hash: str | None = None
    data: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None
    user_metadata: dict[str, Any] | None = None
    email_confirm: bool | None = None
    should_soft_delete: bool | None = None

    @classmethod
    async def read(cls, request: Request) -> RequestBody:
        """Read the body. An empty one is an object without members.

        Raises:
            AuthError: It is not valid (`bad_json`), or its e-mail address is not (`validation_failed`).
        """
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

    async def password_hash(self) -> str | None:
        """Return the hash of the new password. `None` without one.

        Raises:
            AuthError: The password is too short (`weak_password`).
        """
        if not self.password:
            return None
        if len(self.password) < _MIN_PASSWORD_LENGTH:
            message = f"Password should be at least {_MIN_PASSWORD_LENGTH} characters."
            raise AuthError(422, "weak_password", message, weak_password={"reasons": ["length"]})
        return await hash_password(self.password)
