"""Finds the skills of the list in `skills.txt` in a description."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import accumulate, compress, pairwise
from typing import NamedTuple

from worker.pipeline.lines import lines_with
from worker.pipeline.notices import Notices
from worker.pipeline.text import clean_line

MAX_SKILLS = 50
SKILL_LENGTH = 100
_NEAR = 20

# Words include the signs in `C++`, `C#`, `.NET`, `Node.js` and `driver's`. Other signs separate words.
_WORD = re.compile(
    r"([^\W_]++(?:[.'\u2019][^\W_]++)*+(?:\+\+|#(?!\w))?"
    r"|(?<!\w)\.[A-Za-z][^\W_]*+(?:[.'\u2019][^\W_]++)*+(?:\+\+|#(?!\w))?)"
)
_ONLY_WORDS = bytes(byte if byte < ord("\x80") and chr(byte).isalnum() else ord(" ") for byte in range(256))
_WITHIN = re.compile(r" ?[-/&]? ?")
_AFTER_AMBIGUOUS = re.compile(
    r"(?! ?& ?[^\W_](?![^\W_+#]))\s*(?:$|[\n,;.:/|&()\[\]!?*\u2022\u2013\u2014\"+]|-(?!\w)"
    r"|[- ]?(?i:and|or|und|oder|et|ou|y|e|o|en|plus|programming|developers?|development|languages?|frameworks?"
    r"|librar\w+|ecosystem|stack|engineers?|engineering|code|coding|scripts?|scripting|apps?|applications?|apis?|services?"
    r"|certifi\w+|experience|knowledge|skills?|proficiency|based|is|are|preferred|required|desired|kenntniss\w*"
    r"|entwickl\w*|programmier\w*|basiert\w*|sind|ist)\b)"
)
_INITIAL = re.compile(r"(?<![^\W_])[^\W_] ?& ?$")
_BEFORE_LETTER = re.compile(
    r"(?:^|[\n,;.:/|&()\[\]*\u2022\u2013\u2014\"+]|(?<!\w)-|\b(?i:and|or|und|oder|et|ou|y|e|o|en|in|with|of|using|like"
    r"|as|mit|von|avec|con|including|either|both|via|languages?|programming|skills?|experience|knowledge))\s*$"
)
_BESIDE = re.compile(r" ?[,/|&()] ?(?:and |or |& )?| (?:and|or|und|oder|et|ou) ")


class _Spelling(NamedTuple):
    """One spelling of a skill.

    Attributes:
        skill: Name of the skill.
        words: Its words in lower case.
        exact: Its words in the required case; None: the case does not matter.
        is_ambiguous: Whether the word has other meanings. It then counts only next to another skill.
    """

    skill: str
    words: tuple[str, ...]
    exact: tuple[str, ...] | None
    is_ambiguous: bool


class _Mention(NamedTuple):
    skill: str
    start: int
    end: int
    is_ambiguous: bool


def find_skills(description: str, named: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the skills that a site names, then those in a description, each once, at most `MAX_SKILLS`.

    Args:
        description: Plain text. Only listed skills are found in it, as whole words.
        named: Skills that the site names. Skills that are not listed are kept as they are.
    """
    lines = (line for word in named if (line := clean_line(word)) and len(line) <= SKILL_LENGTH)
    skills = dict.fromkeys(_listed_name(line) or line for line in lines)
    mentions = [mention for mention in _mentions(description) if _stands_alone(mention, description)]
    certain = [not mention.is_ambiguous for mention in mentions]
    beside = [_BESIDE.fullmatch(description, a.end, b.start) for a, b in pairwise(mentions)]
    for index, is_beside in enumerate(beside):
        certain[index + 1] |= certain[index] and is_beside is not None
    for index, is_beside in reversed(list(enumerate(beside))):
        certain[index] |= certain[index + 1] and is_beside is not None
    certain_mentions = list(compress(mentions, certain))
    notices = Notices(description) if certain_mentions else None
    skills |= dict.fromkeys(mention.skill for mention in certain_mentions if notices and not notices.has(mention.start))
    return tuple(skills)[:MAX_SKILLS]


def _listed_name(line: str) -> str | None:
    words = tuple(match[0].lower() for match in _WORD.finditer(line))
    spellings = _spellings().get(words[0], ()) if words else ()
    return next((spelling.skill for spelling in spellings if spelling.words == words), None)


def _mentions(text: str) -> Iterator[_Mention]:
    for start, end in _lines_to_search(text):
        yield from _mentions_of_line(text[start:end], start)


def _lines_to_search(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each line in which a skill may be: none is written across two lines.

    Most lines have none, and splitting a line into words takes much longer than finding that out.
    """
    lower = text.lower()
    if len(lower) != len(text):
        yield 0, len(text)
        return
    words = {"", *_ascii_words(lower)}
    by_word = _written_words()
    present = {first for word in by_word.keys() & words for first, others in by_word[word] if others <= words}

    def is_word(word: str, index: int) -> bool:
        end = index + len(word)
        return not lower[index - 1 : index].isalnum() and not lower[end : end + 1].isalnum()

    yield from lines_with(lower, present, is_word)


def _mentions_of_line(text: str, offset: int) -> Iterator[_Mention]:
    # The text as separator, word, separator, ...: a fifth faster than a match object for each word.
    pieces = _WORD.split(text)
    words, separators = pieces[1::2], pieces[::2]
    lowered = [word.lower() for word in words]
    spellings = _spellings()
    starts = list(accumulate(map(len, pieces), initial=offset))[1::2]
    end = 0
    for index, word in enumerate(lowered):
        if word not in spellings or index < end:
            continue
        for spelling in spellings[word]:
            after = index + len(spelling.words)
            if (
                (len(spelling.words) == 1 or tuple(lowered[index:after]) == spelling.words)
                and (spelling.exact is None or tuple(words[index:after]) == spelling.exact)
                and all(map(_WITHIN.fullmatch, separators[index + 1 : after]))
            ):
                end = after
                last = after - 1
                yield _Mention(spelling.skill, starts[index], starts[last] + len(words[last]), spelling.is_ambiguous)
                break


def _stands_alone(mention: _Mention, text: str) -> bool:
    """Return whether an ambiguous word stands for itself: `C` in `C, Java` does, in `C-level` and `Vitamin C` not."""
    if not mention.is_ambiguous:
        return True
    if not _AFTER_AMBIGUOUS.match(text, mention.end):
        return False
    if mention.end - mention.start > 1:
        return True
    before = text[max(0, mention.start - _NEAR) : mention.start]
    return _BEFORE_LETTER.search(before) is not None and not _INITIAL.search(before)


def _ascii_words(text: str) -> list[str]:
    """Return the sequences of ASCII letters and digits of a text."""
    return text.encode("ascii", "replace").translate(_ONLY_WORDS).decode("ascii").split()


@cache
def _written_words() -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Of each spelling, by its longest ASCII word: its first word, `node` of `Node.js`, and its ASCII words."""
    written: defaultdict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    for spellings in _spellings().values():
        for spelling in spellings:
            words = frozenset(_ascii_words(" ".join(spelling.words)))
            first = re.findall(r"[^\W_]+", spelling.words[0])[0]
            written[max(words, key=len, default="")].append((first, words))
    return written


@cache
def _spellings() -> dict[str, tuple[_Spelling, ...]]:
    """The spellings of skills by their first word in lower case, longest first."""
    spellings: dict[str, list[_Spelling]] = {}
    for line in files(__package__).joinpath("skills.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, *others = line.split(", ")
        is_restricted = any(other.lstrip("~=").lower() == name.lower() for other in others)
        for written in others if is_restricted else [name, *others]:
            spelling = _parse_spelling(name, written)
            spellings.setdefault(spelling.words[0], []).append(spelling)
    return {word: tuple(sorted(found, key=lambda one: -len(one.words))) for word, found in spellings.items()}


def _parse_spelling(skill: str, written: str) -> _Spelling:
    is_ambiguous = written.startswith("~")
    is_exact = written.removeprefix("~").startswith("=")
    words = tuple(_WORD.findall(written.lstrip("~=")))
    return _Spelling(skill, tuple(word.lower() for word in words), words if is_exact else None, is_ambiguous)
