"""Reads and decompresses response bodies with limits on size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

import httpx

from worker.errors import ErrorCode, SiteError

MAX_BODY_BYTES = 32 * 2**20
"""Largest body in bytes, both compressed and decompressed."""

ACCEPT_ENCODING = "gzip"
"""Content encodings that `read_body` decompresses."""

_CHUNK_SIZE = 2**20


async def read_body(answer: httpx.Response) -> bytes:
    """Read and decompress a response body.

    httpx does not limit the decompressed size: each encoding that a response lists may expand it a thousandfold.

    Raises:
        SiteError: `upstream`: the body is larger than `MAX_BODY_BYTES`, incomplete, or cannot be decompressed.
    """
    encoding = answer.headers.get("content-encoding", "").lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise SiteError(ErrorCode.UPSTREAM, f"the answer has the unsupported encoding {encoding}")
    gzip = _Gunzip() if encoding.endswith("gzip") else None
    body, length = bytearray(), 0
    try:
        async for sent in answer.aiter_raw():
            length += len(sent)
            _check_length(length)
            for part in (sent,) if gzip is None else gzip.decompress(sent):
                body += part
                _check_length(len(body))
                # A small chunk may expand to many: let other tasks run between them.
                await asyncio.sleep(0)
    except zlib.error:
        raise SiteError(ErrorCode.UPSTREAM, "the answer cannot be decompressed") from None
    if length > 0 and gzip is not None and not gzip.is_complete:
        raise SiteError(ErrorCode.UPSTREAM, "the answer is incomplete")
    return bytes(body)


def _check_length(length: int) -> None:
    if length > MAX_BODY_BYTES:
        raise SiteError(ErrorCode.UPSTREAM, f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")


class _Gunzip:
    """Decompresses gzip (RFC 1952) in chunks of at most `_CHUNK_SIZE` bytes."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def is_complete(self) -> bool:
        return self._member.eof

    def decompress(self, compressed: bytes) -> Iterator[bytes]:
        # Bytes after the first member are ignored: API servers send no second member.
        has_more = not self._member.eof
        while has_more:
            chunk = self._member.decompress(compressed, _CHUNK_SIZE)
            yield chunk
            compressed = self._member.unconsumed_tail
            has_more = not self._member.eof and (bool(compressed) or len(chunk) == _CHUNK_SIZE)
