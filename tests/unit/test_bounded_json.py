"""Parsing untrusted JSON: the limits, and the event loop that it must not block."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ErrorCode, SiteError
from worker.http.bodies import MAX_BODY_BYTES
from worker.http.response import Response
from worker.model import Json
from worker.processes.bounded_json import (
    MAX_DEPTH,
    MAX_INLINE_BYTES,
    MAX_VALUES,
    JsonError,
    read_json,
    read_json_in_thread,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
)


@given(value=values, is_ascii=st.booleans())
def test_reads_the_json_that_python_reads(value: Json, *, is_ascii: bool) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "replace")
    assert read_json(written) == json.loads(written)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b'"\\ud800"', "\ud800"),  # half of a character
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('["é"]'.encode("utf-16"), ["é"]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
    ],
)
def test_reads_json_that_pydantic_rejects(written: bytes, value: Json) -> None:
    assert read_json(written) == value


@pytest.mark.parametrize("written", [b"", b"{", b"<html>", b'"\xff"', b"[1] 2", b'"\x01"'])
def test_invalid_json_is_an_error(written: bytes) -> None:
    with pytest.raises(JsonError, match=r"^is not JSON: "):
        read_json(written)


def filled(piece: bytes) -> bytes:
    """An array as long as an answer may be, of these pieces."""
    return b"[" + piece * (MAX_BODY_BYTES // len(piece) - 1) + b"0]"


# Made when they are needed: together they take half a gigabyte.
BOMBS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: filled(b"{},"),
    "arrays": lambda: filled(b"[],"),
    "strings": lambda: filled(b'"",'),
    "numbers": lambda: filled(b"1,"),
    "numbers with spaces": lambda: filled(b"1, "),
    "keys": lambda: b"{" + b",".join(b'"%x":0' % number for number in range(2 * MAX_VALUES)) + b"}",
    "small objects": lambda: filled(b'{"a":{"b":[1]}},'),
    "behind a long string": lambda: b'["' + b"x" * 2**20 + b'",' + b"{}," * (2 * MAX_VALUES) + b"{}]",
    "behind strings with quotes": lambda: filled(b'"\\"[\\\\",{},'),
    "in UTF-16": lambda: filled(b"{},").decode()[: MAX_BODY_BYTES // 2 - 2].encode("utf-16"),
    "broken off": lambda: filled(b"{},")[:-1],
}


@pytest.mark.parametrize("name", BOMBS)
def test_too_many_values_are_refused(name: str) -> None:
    with pytest.raises(JsonError, match=r"^holds more than 1,000,000 values$"):
        read_json(BOMBS[name]())


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000, MAX_BODY_BYTES // 2])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"\\ud800":', b"}")], ids=["[", "{", "half"]
)
def test_too_deep_nesting_is_refused(opening: bytes, closing: bytes, levels: int) -> None:
    with pytest.raises(JsonError, match=r"nested deeper|holds more"):
        read_json(opening * levels + b"0" + closing * levels)


def test_values_in_strings_do_not_count() -> None:
    texts: Json = ["[{,:" * MAX_VALUES, '\\",[{' * MAX_VALUES]
    assert read_json(json.dumps(texts).encode()) == texts


def test_as_many_values_as_are_allowed() -> None:
    assert read_json(b"[" + b"1," * (MAX_VALUES - 2) + b'"[{,:"]') is not None
    with pytest.raises(JsonError):
        read_json(b"[" + b"1," * MAX_VALUES + b'"[{,:"]')


MEMORY = """
import resource, sys
from pathlib import Path
from worker.processes.bounded_json import JsonError, read_json

data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    value = read_json(data)
except JsonError:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""


def memory_of(data: bytes, folder: Path) -> int:
    """Bytes that reading takes at its peak, in a process of its own."""
    file = folder / "data"
    file.write_bytes(data)
    ran = subprocess.run([sys.executable, "-c", MEMORY, str(file)], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.parametrize(
    "make",
    [
        BOMBS["objects"],
        BOMBS["keys"],
        lambda: b"[" + '{"a😀":"😀😀"},'.encode() * (MAX_VALUES // 3 - 1) + b"0]",
        lambda: b"[" + b",".join(b'"%x"' % number for number in range(MAX_VALUES - 1)) + b"]",
        lambda: b'["' + "😀".encode() + b"x" * (MAX_BODY_BYTES - 8) + b'"]',
    ],
    ids=["objects", "keys", "most objects", "most strings", "wide characters"],
)
def test_memory_for_parsing_is_bounded(make: Callable[[], bytes], tmp_path: Path) -> None:
    assert memory_of(make(), tmp_path) < 200 * 2**20


def board() -> bytes:
    """30 MiB of 3,000 jobs, as a big company's board answers, with as much punctuation as HTML has."""
    content = '<p style="color: red; margin: 0, 1">We look for: an engineer, a [senior] one é 😀</p>\n' * 110
    jobs = [{"id": id_, "title": f"Engineer {id_}", "content": content, "tags": [*range(90)]} for id_ in range(3000)]
    return json.dumps({"jobs": jobs}, ensure_ascii=False).encode()


def test_a_large_board_passes() -> None:
    data = board()
    assert 29 * 2**20 < len(data) < MAX_BODY_BYTES
    assert read_json(data) == json.loads(data)


async def test_a_long_answer_is_read_in_a_thread_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[threading.Thread] = []

    def noted(data: bytes) -> Json:
        readers.append(threading.current_thread())
        return read_json(data)

    monkeypatch.setattr("worker.http.response.read_json", noted)
    long = Response(200, httpx.Headers(), b" [" + b'"x",' * MAX_INLINE_BYTES + b"1]", 0)
    response = await long.parsed_in_thread()
    assert response.json() == response.json()
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()


async def test_long_json_is_parsed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[threading.Thread] = []

    def noted(data: bytes) -> Json:
        readers.append(threading.current_thread())
        value: Json = json.loads(data)
        return value

    monkeypatch.setattr("worker.processes.bounded_json.from_json", noted)
    assert await read_json_in_thread(b"[1]") == [1]
    await asyncio.gather(read_json_in_thread(b'"%s"' % (b"x" * MAX_INLINE_BYTES)))
    assert [reader is threading.main_thread() for reader in readers] == [True, False]


@pytest.mark.parametrize("make", [lambda: b"[" * 500, BOMBS["objects"], lambda: b"{}," * MAX_VALUES])
async def test_an_answer_that_is_too_much_is_the_sites_failure(make: Callable[[], bytes]) -> None:
    response = Response(200, httpx.Headers({"content-type": "application/json"}), make(), 0)
    for answer in (response, await response.parsed_in_thread()):
        with pytest.raises(SiteError, match=r"^the answer \(status 200, application/json\) ") as raised:
            answer.json()
        assert raised.value.code is ErrorCode.UPSTREAM
