"""The claims of a request, read from its token as PostgREST does, with its message for each error."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from functools import lru_cache
from typing import Any

from worker.local.supabase.rest.errors import RestError
from worker.local.supabase.tokens import ALGORITHM, ANON, MAX_CACHED_TOKENS, Tokens

_PARTS = 3
_LEEWAY_SECONDS = 30
_MAX_INTEGER = 2**63 - 1
_BASE64 = re.compile(rb"[A-Za-z0-9_-]*")
_ALGORITHMS = frozenset(
    ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
)  # fmt: skip
_NUMBERS = {"exp": "JWT expired", "nbf": "JWT not yet valid", "iat": "JWT issued at future"}


class Claims:
    """Reads the claims of requests.

    Args:
        tokens: Verifies the signatures.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._signed = lru_cache(MAX_CACHED_TOKENS)(self._verified)

    def of_header(self, authorization: str | None) -> dict[str, Any]:
        """Return the claims of the header `Authorization`. They always have a role.

        Raises:
            RestError: The token is malformed or forged (PGRST301), or its claims are not valid now (PGRST303).
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return {"role": ANON}
        claims = json.loads(self._signed(token.strip()))
        _check(claims, int(time.time()))
        role = claims.get("role", ANON)
        return {**claims, "role": role if isinstance(role, str) else json.dumps(role)}

    def _verified(self, token: str) -> str:
        """Return the claims of a token as JSON, after checking its signature."""
        if not token:
            raise _refused("PGRST301", "Empty JWT is sent in Authorization header")
        encoded = token.encode().split(b".")
        if len(encoded) != _PARTS:
            raise _refused("PGRST301", f"Expected 3 parts in JWT; got {len(encoded)}")
        header = _decoded_header(encoded[0])
        payload, signature = _decoded(encoded[1]), None
        if header["alg"] == "none":
            details = "JWT is unsecured but expected 'alg' was not 'none'"
            raise _refused("PGRST301", "Wrong or unsupported encoding algorithm", details)
        if header["alg"] not in _ALGORITHMS:
            raise _malformed()
        signature = _decoded(encoded[2])
        message = "No suitable key or wrong key type"
        if header["alg"] != ALGORITHM or header.get("kid") is not None:
            raise _refused("PGRST301", message, "No suitable key was found to decode the JWT")
        if not self._tokens.is_signature(signature, b".".join(encoded[:2])):
            raise _refused("PGRST301", message, "None of the keys was able to decode the JWT")
        try:
            claims = json.loads(payload)
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise _refused("PGRST303", "Parsing claims failed")
        return payload.decode()


def _check(claims: dict[str, Any], now: int) -> None:
    for name, message in _NUMBERS.items():
        value = claims.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refused("PGRST303", f"The JWT '{name}' claim must be a number")
        is_whole = abs(value) <= _MAX_INTEGER and value == int(value)
        at = int(value) if is_whole else 0
        if (at < now - _LEEWAY_SECONDS) if name == "exp" else (at > now + _LEEWAY_SECONDS):
            raise _refused("PGRST303", message)
    audience = claims.get("aud")
    names = audience if isinstance(audience, list) else [audience]
    if audience is not None and not all(isinstance(name, str) for name in names):
        raise _refused("PGRST303", "The JWT 'aud' claim must be a string or an array of strings")


def _decoded_header(encoded: bytes) -> dict[str, Any]:
    try:
        header = json.loads(_decoded(encoded))
    except ValueError:
        raise _malformed() from None
    # A token with `enc` is encrypted, and has five parts.
    if not isinstance(header, dict) or not isinstance(header.get("alg"), str) or "enc" in header:
        raise _malformed()
    return header


def _decoded(encoded: bytes) -> bytes:
    if not _BASE64.fullmatch(encoded):
        raise _malformed()
    try:
        return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        raise _malformed() from None


def _malformed() -> RestError:
    return _refused("PGRST301", "JWT cryptographic operation failed")


def _refused(code: str, message: str, details: str | None = None) -> RestError:
    challenge = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{message}"'}
    return RestError(401, code, message, details=details, headers=challenge)
