"""Bodies of answers, read and unpacked within bounds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

import httpx

from worker.errors import ErrorCode, SiteError

LONGEST_BODY = 32 * 2**20
"""Of an answer, in bytes, both as it is sent and unpacked."""

UNPACKED = "gzip"
"""What can be unpacked, in the form of `Accept-Encoding`."""

_UNPACKED_AT_ONCE = 2**20


async def read_body(answer: httpx.Response) -> bytes:
    """Read an answer, as much as is allowed.

    By hand: httpx unpacks whatever arrived at once, a thousandfold for each of the encodings that an answer names.
    """
    encoding = answer.headers.get("content-encoding", "").lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise SiteError(ErrorCode.UPSTREAM, f"the answer is packed as {encoding}, which was not asked for")
    gzip = _Gunzip() if encoding.endswith("gzip") else None
    body, length = bytearray(), 0
    try:
        async for sent in answer.aiter_raw():
            length += len(sent)
            _check_length(length)
            for part in (sent,) if gzip is None else gzip.unpack(sent):
                body += part
                _check_length(len(body))
                # A small piece may unpack to much: others have their turn between.
                await asyncio.sleep(0)
    except zlib.error:
        raise SiteError(ErrorCode.UPSTREAM, "the answer cannot be unpacked") from None
    if length > 0 and gzip is not None and not gzip.is_complete:
        raise SiteError(ErrorCode.UPSTREAM, "the answer is cut off")
    return bytes(body)


def _check_length(length: int) -> None:
    if length > LONGEST_BODY:
        raise SiteError(ErrorCode.UPSTREAM, f"the answer is larger than {LONGEST_BODY // 2**20} MiB")


class _Gunzip:
    """Unpacks what was packed with gzip (RFC 1952), a bounded piece at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def is_complete(self) -> bool:
        return self._member.eof

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        # What follows the end is padding: a server of an API sends no second member.
        is_more = not self._member.eof
        while is_more:
            part = self._member.decompress(packed, _UNPACKED_AT_ONCE)
            yield part
            packed = self._member.unconsumed_tail
            is_more = not self._member.eof and (bool(packed) or len(part) == _UNPACKED_AT_ONCE)
