"""Folds letters, and splits texts into words that are equal however a board writes them."""

from __future__ import annotations

import re
import unicodedata

LETTERS_WITHOUT_DECOMPOSITION = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t"}
    | {"\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)
"""Small letters that Unicode does not decompose, and what is written in their place without accents."""

_ACCENTS = re.compile(r"[\u0300-\u036f]")
_APOSTROPHES = re.compile("['`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}]")
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}")
# South and South-East Asian vowels are marks, not letters. `++` and `#` are part of a word: C, C++ and C# differ.
_WORD = re.compile(r"(?:[^\W_]|[\u0900-\u109f\u1780-\u17ff])+(?:\+\+|#)?")


def folded(text: str) -> str:
    """Return text in lower case without accents: `Ørsted` and `orsted` are equal.

    Other marks stay: they distinguish Japanese and Indic words.
    """
    text = text.casefold()
    if text.isascii():
        return text
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare).translate(LETTERS_WITHOUT_DECOMPOSITION)


def folded_words(text: str | None) -> list[str]:
    """Split text into words, ignoring case, accents, punctuation and the dots of initials."""
    spelled = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), folded(text or ""))
    return _WORD.findall(_APOSTROPHES.sub("", spelled).replace("&", " and "))
