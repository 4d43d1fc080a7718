"""Whom a Realtime channel reads as, and how a token that says so is refused."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from worker.local.supabase.tokens import ExpiredTokenError, ForgedTokenError, TokenError, Tokens


class RefusedError(Exception):
    """A token, a join or a subscription is refused, with the platform's message."""


class TokenRefusedError(RefusedError):
    """A token is refused. The platform says so in other words at each place.

    Attributes:
        at_handshake: When the WebSocket is opened.
        at_join: When a channel is joined.
        at_refresh: In the channel's last message, when its token is replaced.
    """

    def __init__(
        self, code: str, message: str, *, at_handshake: str | None = None, at_refresh: str | None = None
    ) -> None:
        super().__init__(message)
        self.at_handshake = at_handshake or message
        self.at_join = f"{code}: {message}"
        self.at_refresh = at_refresh or message


class Identity(NamedTuple):
    """Whom a channel reads as: a role, a token's claims as JSON, and the Unix time at which both end."""

    role: str
    claims: str
    expires_at: int

    @classmethod
    def of(cls, token: str, tokens: Tokens) -> Identity:
        """Return whom a token speaks for.

        Raises:
            TokenRefusedError: It is malformed, forged or expired, or lacks a claim.
        """
        try:
            claims = tokens.claims(token)
        except ExpiredTokenError as error:
            message = f"Token has expired {int(time.time()) - error.expired_at} seconds ago"
            raise TokenRefusedError("InvalidJWTToken", message, at_handshake="Token has expired") from None
        except ForgedTokenError:
            message = "Failed to validate JWT signature"
            raise TokenRefusedError("JwtSignatureError", message, at_refresh=":signature_error") from None
        except TokenError:
            raise TokenRefusedError("MalformedJWT", "The token provided is not a valid JWT") from None
        if "role" not in claims or "exp" not in claims:
            raise TokenRefusedError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
        return cls(str(claims["role"]), json.dumps(claims), claims["exp"])
