"""Whose an API key is, as far as it says so itself. Whether it is valid, Supabase alone can tell.

https://supabase.com/docs/guides/api/api-keys
"""

from __future__ import annotations

import base64
import json
from typing import Literal

Holder = Literal["service", "browser"]

_PREFIXES: dict[str, Holder] = {"sb_secret_": "service", "sb_publishable_": "browser"}
_ROLES: dict[str, Holder] = {"service_role": "service", "anon": "browser", "authenticated": "browser"}


def holder_of(key: str) -> Holder | None:
    """Return who is to have a key: what serves, or everybody's browser; None if it does not say."""
    for prefix, holder in _PREFIXES.items():
        if key.startswith(prefix):
            return holder
    payload = key.split(".")[1:2]
    try:
        claims = json.loads(base64.urlsafe_b64decode("".join(payload) + "=="))
        return _ROLES.get(claims["role"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
