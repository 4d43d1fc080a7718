"""JSON of others, read within bounds: a value in memory takes up to fifty times as many bytes as it is written with."""

from __future__ import annotations

import json
import re
from functools import partial

from pydantic_core import from_json

from worker.model import Json
from worker.processes.daemon_thread import in_daemon_thread

MOST_VALUES = 1_000_000
"""Of one answer. 3,000 jobs with a hundred fields each are a third of it; in memory it is some 130 MB at the worst."""

DEEPEST = 200
"""Levels of arrays and objects in one another; the parser's own bound."""

READ_AT_ONCE = 2**18
"""Bytes that are read within some milliseconds. Longer ones are read in a thread."""

_BEFORE_A_VALUE = (b"[", b"{", b",", b":")
# What is in a string does not count. Each part is taken once and for all: no piece is looked at a second time.
_OUTSIDE_OF_STRINGS = rb'(?:(?:[^"\[{,:]++|"(?:[^"\\]++|\\.)*+")*+[\[{,:]){%d}+'


class JsonError(ValueError):
    """This is no JSON, or too much of it. The message says which."""


def read_json(data: bytes, *, most_values: int = MOST_VALUES) -> Json:
    """Read JSON, unless it would take too much memory, or is too deep for what works on it.

    Args:
        data: In UTF-8; or in another encoding that `json.loads` takes.
        most_values: How many values, keys and all, it may hold at most.

    Raises:
        JsonError: It is no JSON, holds more values, or is nested deeper than `DEEPEST`.
    """
    if sum(map(data.count, _BEFORE_A_VALUE)) > most_values and _holds_more(data, most_values):
        raise JsonError(f"holds more than {most_values:,} values")
    try:
        value: Json = from_json(data)
    except ValueError:
        value = _read_with_halves_of_characters(data)
    return value


async def read_json_aside(data: bytes, *, most_values: int = MOST_VALUES) -> Json:
    """Read JSON as `read_json` does; in a thread, where it takes long.

    Raises:
        JsonError: As `read_json`.
    """
    if len(data) <= READ_AT_ONCE:
        return read_json(data, most_values=most_values)
    return await in_daemon_thread(partial(read_json, data, most_values=most_values))


def _holds_more(data: bytes, most_values: int) -> bool:
    return re.match(_OUTSIDE_OF_STRINGS % (most_values + 1), data, re.DOTALL) is not None


def _read_with_halves_of_characters(data: bytes) -> Json:
    """Read what the quick parser does not: lone surrogates, a byte order mark, UTF-16."""
    try:
        value: Json = json.loads(data)
    except RecursionError:
        raise JsonError(f"is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise JsonError(f"is not JSON: {error}") from None
    level: list[Json] = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise JsonError(f"is nested deeper than {DEEPEST} levels")


def _inside(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []
