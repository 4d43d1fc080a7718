"""Builds JSON from parts that are JSON already."""

from __future__ import annotations

import json
from collections.abc import Mapping


def json_object(members: Mapping[str, str]) -> str:
    """Return an object whose values are JSON already."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"
