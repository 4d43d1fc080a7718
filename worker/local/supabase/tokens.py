"""The JSON Web Tokens of a local stack: its two API keys, and the access tokens of its users."""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache
from typing import Any

import jwt

ANON, SERVICE_ROLE = "anon", "service_role"
"""The roles of the two API keys."""

ALGORITHM = "HS256"
ISSUER = "supabase-local"
ACCESS_TOKEN_LIFETIME_SECONDS = 3600

MAX_CACHED_TOKENS = 64

# Fixed, so that the keys of a stack are the same at each start: developers keep them in `.env` files.
_KEY_ISSUED_AT = 1_767_225_600  # 2026-01-01
_KEY_EXPIRES_AT = 2_398_377_600  # 2046-01-01


class TokenError(Exception):
    """A token is malformed, forged or expired."""


class ExpiredTokenError(TokenError):
    """A token expired at `expired_at`, a Unix time in seconds."""

    def __init__(self, expired_at: int) -> None:
        super().__init__("JWT expired")
        self.expired_at = expired_at


class ForgedTokenError(TokenError):
    """The signature of a token was not made with the secret of this stack."""


class Tokens:
    """Issues and verifies tokens with one secret.

    Args:
        secret: The HMAC secret of this stack, at least 32 bytes.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        # The times in a token are whole seconds (PyJWT rounds them), so the result holds for the current second.
        self._claims_at = lru_cache(MAX_CACHED_TOKENS)(self._decode)

    def api_key(self, role: str) -> str:
        """Return the legacy API key of `role` (`anon` or `service_role`): a long-lived JWT without a subject."""
        return self._encode({"role": role, "iss": ISSUER, "iat": _KEY_ISSUED_AT, "exp": _KEY_EXPIRES_AT})

    def issue(self, claims: dict[str, Any], *, lifetime_seconds: int = ACCESS_TOKEN_LIFETIME_SECONDS) -> str:
        """Sign `claims`, with `iss`, `iat` and `exp` added."""
        now = int(time.time())
        return self._encode({"iss": ISSUER, "iat": now, "exp": now + lifetime_seconds, **claims})

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid token.

        Raises:
            ExpiredTokenError: It has expired. The message is that of the platform: `JWT expired`.
            ForgedTokenError: The signature is wrong.
            TokenError: Anything else is wrong.
        """
        return self._claims_at(token, int(time.time()))

    def is_signature(self, signature: bytes, signed: bytes) -> bool:
        """Return whether `signature` is the signature of these bytes."""
        return hmac.compare_digest(signature, hmac.digest(self._secret.encode(), signed, hashlib.sha256))

    def _decode(self, token: str, _second: int) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], options={"verify_aud": False}
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredTokenError(jwt.decode(token, options={"verify_signature": False})["exp"]) from None
        except jwt.InvalidSignatureError as error:
            raise ForgedTokenError(str(error)) from None
        except jwt.InvalidTokenError as error:
            raise TokenError(str(error)) from None
        return claims

    def _encode(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)
