"""Who an API key is for, as far as its form shows. Only Supabase can check whether it is valid.

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
    """Return who a key is for, a service or browsers; None if its form does not show it."""
    for prefix, holder in _PREFIXES.items():
        if key.startswith(prefix):
            return holder
    payload = key.split(".")[1:2]
    try:
        claims = json.loads(base64.urlsafe_b64decode("".join(payload) + "=="))
        return _ROLES.get(claims["role"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
