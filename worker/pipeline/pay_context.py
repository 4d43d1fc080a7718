"""Finds the amounts of money in a text, each with the words around it that show what it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from worker.pipeline.pay_amounts import Amount, amounts
from worker.pipeline.pay_words import CLAUSE_END, GROSS, IS_BEFORE_RANGE, IS_LEAST, IS_MOST, IS_PAY
from worker.pipeline.text import words

_SPACES, _HYPHENS, _APOSTROPHES = "\u00a0\u2007\u2009\u202f", "\u2010\u2011\u2012\u2013\u2014\u2212", "\u2019\u02bc"
_PLAIN = str.maketrans(dict.fromkeys(_SPACES, " ") | dict.fromkeys(_HYPHENS, "-") | dict.fromkeys(_APOSTROPHES, "'"))

_IS_GROSS = re.compile(rf"\b(?:{GROSS})\b")
_SENTENCE_END = re.compile(r"[.!?;] ")
_ABBREVIATIONS = words("approx ca c est incl excl inkl exkl max min bzw z.b no o.b.v i.h.v p a u st brut rs fr")
_ENDS_SENTENCE = re.compile(r"(?:hour|year|week|day|[^\W\d_]{5,})\.$")
"""An amount whose interval is a whole word and a full stop. After a short word, the stop may be an abbreviation."""
_BULLETS = " -·•>#|:()\t"
_SEPARATORS = ("-", "|", "•", ",", ":")

# Lengths in characters, except for the title.
_BEFORE_LENGTH, _AFTER_LENGTH, _ABOVE_LENGTH = 120, 40, 250
_LABEL_LENGTH, _HEADING_LENGTH = 50, 70
_TITLE_WORDS = 4


class Context(NamedTuple):
    """The words around an amount.

    Attributes:
        before: Its sentence up to it, or from the amount before it. The line above comes first, if it is a heading.
        text: The amount itself.
        after: Its clause, from it on.
        starts_line: Whether nothing stands before it in its line, except for words such as `from`.
        starts_part: Whether it starts the line, or stands after a dash, a bar or the like.
        follows_title: Whether only a few words stand before it in its line.
    """

    before: str
    text: str
    after: str
    starts_line: bool
    starts_part: bool
    follows_title: bool

    @property
    def is_pay(self) -> bool:
        """Whether a word for pay stands around the amount."""
        return bool(IS_PAY.search(self.before) or IS_PAY.search(self.after) or _IS_GROSS.search(self.text))


def amounts_in_context(
    text: str, mark: re.Pattern[str], currency: str | None = None
) -> Iterator[tuple[Amount, Context]]:
    """Yield the amounts in the lines that have a mark, each with its context.

    Args:
        text: The text in lower case.
        mark: What a line must have.
        currency: The currency of amounts without one; None: they are left out.
    """
    position = 0
    while marked := mark.search(text, position):
        start = text.rfind("\n", 0, marked.start()) + 1
        end = text.find("\n", marked.start())
        position = len(text) if end < 0 else end
        line = _plain(text[start:position])
        above = text[max(0, start - _ABOVE_LENGTH) : start]
        last_end = 0
        for amount in amounts(line, currency):
            yield amount, _context(line, amount, last_end, above)
            last_end = amount.end


def _context(line: str, amount: Amount, last_end: int, above: str) -> Context:
    sentence = _last_sentence(line[max(last_end, amount.start - _BEFORE_LENGTH) : amount.start])
    label = sentence.strip(_BULLETS)
    is_labelled = len(sentence) == amount.start and len(label) <= _LABEL_LENGTH
    before = f"{_heading(above)}\n{sentence}" if is_labelled and not IS_PAY.search(label) else sentence
    starts_line = not IS_BEFORE_RANGE.sub("", IS_LEAST.sub("", IS_MOST.sub("", f"{label} "))).strip(_BULLETS)
    text = line[amount.start : amount.end]
    after = "" if _ENDS_SENTENCE.search(text) else line[amount.end : amount.end + _AFTER_LENGTH]
    return Context(
        before,
        text,
        CLAUSE_END.split(after, maxsplit=1)[0],
        starts_line,
        starts_line or sentence.rstrip().endswith(_SEPARATORS),
        last_end == 0 and len(line[: amount.start].split()) <= _TITLE_WORDS,
    )


def _last_sentence(text: str) -> str:
    for end in reversed(list(_SENTENCE_END.finditer(text))):
        if text[: end.start()].rpartition(" ")[2].lstrip("(") not in _ABBREVIATIONS:
            return text[end.end() :]
    return text


def _heading(above: str) -> str:
    """Return the last line of the text above if it is a heading, else an empty text."""
    line = above.strip().rpartition("\n")[2].strip()
    is_heading = line.endswith(":") or (len(line) <= _HEADING_LENGTH and not line.endswith((".", "!")))
    return _plain(line) if is_heading else ""


def _plain(line: str) -> str:
    """Return a line with plain spaces, hyphens and apostrophes, of equal length."""
    return line if line.isascii() else line.translate(_PLAIN)
