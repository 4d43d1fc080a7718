"""Repairs the emphasis of Markdown where words have been joined: `**Place:**Berlin`, `**sales****, marketing**`.

Renderers show such asterisks as text, by the rules of CommonMark: https://spec.commonmark.org/0.31.2/#emphasis-and-strong-emphasis
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_TO_REPAIR = re.compile(r"[^\s*]\*+[^\s*]|\s\*\*")
_LINE_OF_SIGNS = re.compile(r"[\s*]*")
_RUN = re.compile(r"\\.|\]\([^()\s]*+\)|(?P<run>\*+)")
_EMPHASIS, _STRONG, _BOTH, _STRONG_TWICE = 1, 2, 3, 4
"""Lengths of runs of asterisks. Four of them end one strong text and begin the next one."""


class _Edit(NamedTuple):
    """What replaces a part of a line."""

    start: int
    end: int
    text: str


def repair_emphasis(markdown: str) -> str:
    """Return Markdown whose emphasis is valid, and separated from the words beside it.

    A line stays as it is if it has code, or asterisks that do not form pairs.
    """
    if "*" not in markdown:
        return markdown
    return "\n".join(_repaired(line) if line.count("*") > 1 else line for line in markdown.split("\n"))


def needs_space_before(before: str, text: str) -> bool:
    """Return whether emphasised text needs a space between it and the character before it."""
    return (_is_sign(text[0]) and not _is_punctuation(before)) or _is_word_break(before, text)


def needs_space_after(last: str, after: str) -> bool:
    """Return whether emphasised text with a last character needs a space between it and the text after it."""
    return (_is_sign(last) and not _is_punctuation(after[0])) or _is_word_break(last, after)


def _repaired(line: str) -> str:
    if not _TO_REPAIR.search(line) or "`" in line or _LINE_OF_SIGNS.fullmatch(line):
        return line
    edits = _edits(line)
    if not edits:
        return line
    parts: list[str] = []
    end = 0
    for edit in edits:
        parts += line[end : edit.start], edit.text
        end = edit.end
    return "".join([*parts, line[end:]])


class _Run(NamedTuple):
    """Asterisks in a line.

    Attributes:
        start: Index of the first one.
        end: Index after the last one.
        before: The character before them; empty at the start of the line.
        after: The two characters after them, if there are as many.
    """

    start: int
    end: int
    before: str
    after: str

    @property
    def length(self) -> int:
        return self.end - self.start


def _edits(line: str) -> list[_Edit]:
    """Return what is to be replaced; nothing if the asterisks do not form pairs."""
    edits: list[_Edit] = []
    opened: list[int] = []
    is_unclear = False
    for run in _runs(line):
        still_opened = _after_closing(opened, run)
        if run.length == _STRONG_TWICE and opened[-1:] == [_STRONG]:
            edits.append(_Edit(run.start, run.end, " " if _is_word_end(run.before, run.after) else ""))
        elif still_opened is not None:
            opened = still_opened
            edits += _edits_of_closing(line, run)
        elif run.length == _BOTH and opened in ([_STRONG], [_EMPHASIS]) and not is_unclear:
            closing, opened = opened[0], [_BOTH - opened[0]]
            edits.append(_Edit(run.start, run.end, "*" * closing + " " + "*" * (_BOTH - closing)))
        elif _may_open(run):
            opened.append(run.length)
            if not _is_space(run.before) and needs_space_before(run.before, run.after):
                edits.append(_Edit(run.start, run.start, " "))
        elif _is_sign_of_its_own(run):
            is_unclear = is_unclear or bool(opened)
        else:
            return []
    return [] if opened else edits


def _runs(line: str) -> Iterator[_Run]:
    for match in _RUN.finditer(line):
        if match["run"]:
            start, end = match.span()
            yield _Run(start, end, line[max(0, start - 1) : start], line[end : end + 2])


def _after_closing(opened: list[int], run: _Run) -> list[int] | None:
    """Return what is open after a run that closes emphasis; None if the run does not close any."""
    if run.length == _EMPHASIS and _is_space(run.before):
        return None
    if run.length == _BOTH and opened[-2:] in ([_STRONG, _EMPHASIS], [_EMPHASIS, _STRONG]):
        return opened[:-2]
    if opened[-1:] == [run.length]:
        return opened[:-1]
    return [*opened[:-1], _BOTH - run.length] if opened[-1:] == [_BOTH] and run.length < _BOTH else None


def _edits_of_closing(line: str, run: _Run) -> Iterator[_Edit]:
    """Yield what removes the space before a run that closes emphasis, and adds the space after it."""
    end = run.start
    while line[end - 1].isspace():
        end -= 1
    if line[end - 1] == "\\":
        return
    if end < run.start:
        yield _Edit(end, run.start, "")
    if not _is_space(run.after[:1]) and (end < run.start or needs_space_after(line[end - 1], run.after)):
        yield _Edit(run.end, run.end, " ")


def _may_open(run: _Run) -> bool:
    if run.length > _BOTH or _is_space(run.after[:1]) or _is_power(run):
        return False
    return run.length > _EMPHASIS or not run.before.isalnum()


def _is_sign_of_its_own(run: _Run) -> bool:
    """Return whether asterisks are no emphasis, but a gender star, a note, a product or a power."""
    return run.length == _EMPHASIS or (_is_space(run.before) and _is_space(run.after[:1])) or _is_power(run)


def _is_power(run: _Run) -> bool:
    return run.before.isdigit() and run.after[:1].isdigit()


def _is_word_end(before: str, after: str) -> bool:
    """Return whether a word ends between two characters that strong texts without a space between them have joined."""
    is_after_sign = before in ":;,!?)" and after[:1].isalnum()
    return is_after_sign or (before == "." and after[:1].isupper()) or _is_word_break(before, after)


def _is_word_break(before: str, after: str) -> bool:
    """Return whether letters show that two words have been joined: `idBerlin`, `id4711`, `EUBerlin`."""
    first, second = after[:1], after[1:2]
    if first.isdigit():
        return before.isalpha()
    return first.isupper() and (before.islower() or before.isdigit() or (before.isupper() and second.islower()))


def _is_space(character: str) -> bool:
    """Return whether a character is a space, or there is none: a line begins or ends."""
    return not character or character.isspace()


def _is_sign(character: str) -> bool:
    """Return whether a character is punctuation or a symbol. Renderers differ in whether symbols are punctuation."""
    return unicodedata.category(character)[0] in "PS"


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"
