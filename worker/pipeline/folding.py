"""Splits texts into words that are equal however a board writes them."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile("['`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}]")
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}")
# South and South-East Asian vowels are marks, not letters. `++` and `#` are part of a word: C, C++ and C# differ.
_WORD = re.compile(r"(?:[^\W_]|[\u0900-\u109f\u1780-\u17ff])+(?:\+\+|#)?")


def folded(text: str) -> str:
    """Return text in lower case without accents. Other marks stay: they distinguish Japanese and Indic words."""
    bare = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", bare)


def folded_words(text: str | None) -> list[str]:
    """Split text into words, ignoring case, accents, punctuation and the dots of initials."""
    spelled = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), folded(text or ""))
    return _WORD.findall(_APOSTROPHES.sub("", spelled).replace("&", " and "))
