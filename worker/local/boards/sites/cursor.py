"""The cursors of sites whose cursor is base64 of JSON with the place of the next result."""

from __future__ import annotations

import base64
import json


def encode_cursor(start: int) -> str:
    """Return the cursor of the results from `start`, counted from 0."""
    return base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()


def decode_cursor(cursor: str | None) -> int:
    """Return the place where the results of a cursor start. 0 without a cursor."""
    return int(json.loads(base64.urlsafe_b64decode(cursor))["start"]) if cursor else 0
