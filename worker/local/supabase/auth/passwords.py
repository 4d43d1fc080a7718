"""Hashes passwords with scrypt, and verifies them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

# The parameters that RFC 7914 names for interactive logins.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_SALT_BYTES = 16


async def hash_password(password: str) -> str:
    """Return the hash of a new password, with its salt."""
    return await _hash(password, secrets.token_bytes(_SALT_BYTES))


async def verify_password(password: str, expected: str | None) -> bool:
    """Return whether a password has this hash. `None` is the hash of no password."""
    if expected is None:
        return False
    salt = bytes.fromhex(expected.split("$")[1])
    return hmac.compare_digest(await _hash(password, salt), expected)


async def _hash(password: str, salt: bytes) -> str:
    # In a thread, because it is slow by design.
    digest = await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, **_SCRYPT)
    return f"scrypt${salt.hex()}${digest.hex()}"
