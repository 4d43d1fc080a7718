"""The identity that a channel reads with: the role and the claims of its token."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from worker.local.supabase.realtime.errors import TokenRefusedError
from worker.local.supabase.tokens import ExpiredTokenError, ForgedTokenError, TokenError, Tokens


class Identity(NamedTuple):
    """A role, the claims of a token as JSON, and the Unix time in seconds at which the token expires."""

    role: str
    claims: str
    expires_at: int

    @classmethod
    def of_token(cls, token: str, tokens: Tokens) -> Identity:
        """Return the identity of a token.

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
