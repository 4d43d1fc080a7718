"""Parses untrusted JSON with limits: a parsed value takes up to fifty times as many bytes in memory as its text."""

from __future__ import annotations

import json
import re
from functools import partial

from pydantic_core import from_json

from worker.model import Json
from worker.processes.daemon_thread import in_daemon_thread

MAX_VALUES = 1_000_000
"""Most values in one document: about 130 MB in memory. 3,000 jobs with a hundred fields each have a third of that."""

MAX_DEPTH = 200
"""Deepest nesting of arrays and objects; the limit of pydantic's parser."""

MAX_INLINE_BYTES = 2**18
"""Longest JSON that is parsed on the event loop, which takes some milliseconds. Longer JSON is parsed in a thread."""

# Each value follows one of these. Counting them is fast, but includes those within strings.
_VALUE_STARTS = (b"[", b"{", b",", b":")
# Skips strings. Possessive quantifiers keep the match linear.
_STARTS_OUTSIDE_STRINGS = rb'(?:(?:[^"\[{,:]++|"(?:[^"\\]++|\\.)*+")*+[\[{,:]){%d}+'


class JsonError(ValueError):
    """A document is not valid JSON or exceeds a limit. The message continues a sentence: `is not JSON: ...`."""


def read_json(data: bytes, *, max_values: int = MAX_VALUES) -> Json:
    """Parse JSON.

    Args:
        data: JSON in UTF-8, or in another encoding that `json.loads` accepts.
        max_values: Most values that it may contain, including keys.

    Raises:
        JsonError: `data` is not JSON, contains too many values, or is nested deeper than `MAX_DEPTH`.
    """
    if sum(map(data.count, _VALUE_STARTS)) > max_values and _has_more_values(data, max_values):
        raise JsonError(f"holds more than {max_values:,} values")
    try:
        value: Json = from_json(data)
    except ValueError:
        value = _read_leniently(data)
    return value


async def read_json_in_thread(data: bytes, *, max_values: int = MAX_VALUES) -> Json:
    """Parse JSON like `read_json`; in a thread if it is longer than `MAX_INLINE_BYTES`.

    Raises:
        JsonError: See `read_json`.
    """
    if len(data) <= MAX_INLINE_BYTES:
        return read_json(data, max_values=max_values)
    return await in_daemon_thread(partial(read_json, data, max_values=max_values))


def _has_more_values(data: bytes, max_values: int) -> bool:
    return re.match(_STARTS_OUTSIDE_STRINGS % (max_values + 1), data, re.DOTALL) is not None


def _read_leniently(data: bytes) -> Json:
    """Parse JSON that pydantic's parser rejects: lone surrogates, a byte order mark, UTF-16."""
    try:
        value: Json = json.loads(data)
    except RecursionError:
        raise JsonError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise JsonError(f"is not JSON: {error}") from None
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise JsonError(f"is nested deeper than {MAX_DEPTH} levels")


def _children(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []
