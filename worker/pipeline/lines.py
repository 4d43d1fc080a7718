"""Finds the lines of a text that have one of some words, and the lines next to them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from worker.pipeline.folding import LETTERS_WITHOUT_DECOMPOSITION

SENTENCE_END = re.compile(r"(?<=[.;!?])\s")
"""The space after a sentence. A text in which abbreviations are frequent needs another one."""

_LETTERS = LETTERS_WITHOUT_DECOMPOSITION | str.maketrans("\u2010\u2011\u2019", "--'")
"""Also hyphens and apostrophes of typography."""


def plain_line(line: str) -> str:
    """Return a line in lower case, without accents, asterisks and underscores, with single spaces."""
    line = line.casefold()
    if not line.isascii():
        decomposed = unicodedata.normalize("NFKD", line)
        line = "".join(character for character in decomposed if not unicodedata.combining(character))
        line = line.translate(_LETTERS)
    return " ".join(line.replace("*", " ").replace("_", " ").split())


def has_any(text: str, parts: Iterable[str]) -> bool:
    """Return whether a text has at least one of some parts of words."""
    return any(map(text.__contains__, parts))


def lines_with(
    text: str, cues: Iterable[str], is_relevant: Callable[[str, int], bool] | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each line with one of some parts of words, in order.

    Args:
        text: The text.
        cues: The parts of words.
        is_relevant: Returns whether a cue counts, from the cue and its index in the text; None: each counts.
    """
    lines = set()
    for cue in cues:
        index = text.find(cue)
        while index >= 0:
            if is_relevant is None or is_relevant(cue, index):
                start, end = text.rfind("\n", 0, index) + 1, text.find("\n", index)
                end = end if end >= 0 else len(text)
                lines.add((start, end))
                index = text.find(cue, end)
            else:
                index = text.find(cue, index + 1)
    yield from sorted(lines)


def line_before(text: str, start: int) -> str:
    """Return the line with text before the line at `start`; empty if there is none."""
    end = start - 1
    while end > 0:
        begin = text.rfind("\n", 0, end) + 1
        if line := text[begin:end].strip():
            return line
        end = begin - 1
    return ""


def line_after(text: str, end: int) -> str:
    """Return the line with text after the line that ends at `end`; empty if there is none."""
    while 0 <= end < len(text):
        start, end = end + 1, text.find("\n", end + 1)
        if line := text[start : end if end >= 0 else None].strip():
            return line
    return ""
