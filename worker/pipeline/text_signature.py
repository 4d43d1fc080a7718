"""A signature of a text, small enough for the database to compare texts by the thousand."""

from __future__ import annotations

import re
from zlib import crc32

BITS = 1024
"""Bits of a signature, as in the columns `text_signature` of the database. The word pairs of 4,000 characters set less
than half of them."""

COMPARED_LENGTH = 4000
"""Characters of a text that count. What follows is mostly benefits and legal text."""

_PUNCTUATION = re.compile(r"[\u00a0-\u00bf\u2000-\u2bff\u3000-\u303f\uff00-\uff0f]+")
_NO_ASCII_PUNCTUATION = bytes(
    ord(" ") if byte < ord("\x80") and not chr(byte).isalnum() else byte for byte in range(256)
)


def text_signature(text: str | None) -> str | None:
    """Return a signature of a text: each pair of neighbouring words sets one of `BITS` bits.

    The share of the word pairs of a text that another text has can be estimated from their signatures, whatever the
    order of their paragraphs is, and if one is an excerpt. Case, punctuation and markup do not count.

    Returns:
        A bit string of PostgreSQL: `x` and hexadecimal digits. None for a text of less than two words.
    """
    start = (text or "")[:COMPARED_LENGTH].casefold()
    if not start.isascii():
        start = _PUNCTUATION.sub(" ", start)
    words = start.encode("utf-8", "replace").translate(_NO_ASCII_PUNCTUATION).split()
    if len(words) < 2:  # noqa: PLR2004
        return None
    bits = bytearray(b"0" * BITS)
    one = ord("1")
    for pair in map(crc32, words[1:], map(crc32, words)):
        bits[pair % BITS] = one
    return f"x{int(bits, 2):0{BITS // 4}x}"
