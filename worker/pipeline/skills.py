"""Skills that a description names, of the list in `skills.txt`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import compress, pairwise
from typing import NamedTuple

from worker.pipeline.text import clean_line

MOST_SKILLS = 50
SKILL_LENGTH = 100

# A word with what belongs to it: `C++`, `C#`, `.NET`, `Node.js`, `driver's`. Other signs part words.
_WORD = re.compile(r"(?:(?<!\w)\.(?=[A-Za-z]))?[^\W_]+(?:[.'\u2019][^\W_]+)*(?:\+\+|#(?!\w))?")
_WITHIN = re.compile(r" ?[-/&]? ?")
_BESIDE = re.compile(r" ?[,/|&()] ?(?:and |or |& )?| (?:and|or|und|oder|et|ou) ")


class _Way(NamedTuple):
    """One way to write a skill.

    Attributes:
        words: Its words, in lower case.
        exact: Its words as they must be written; None: in any case.
        is_ambiguous: Whether it is also a word of another meaning, so that it counts only beside another skill.
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
    """Return the skills that a site names and those that a description does, each once, `MOST_SKILLS` at most.

    Args:
        description: Plain text. Only skills of the list are found in it, as whole words.
        named: Skills in the site's words. Those that are not of the list stay as they are.
    """
    lines = (line for word in named if (line := clean_line(word)) and len(line) <= SKILL_LENGTH)
    skills = dict.fromkeys(_listed(line) or line for line in lines)
    mentions = list(_mentions(description))
    certain = [not mention.is_ambiguous for mention in mentions]
    beside = [_BESIDE.fullmatch(description, a.end, b.start) for a, b in pairwise(mentions)]
    for index, is_beside in enumerate(beside):
        certain[index + 1] |= certain[index] and is_beside is not None
    for index, is_beside in reversed(list(enumerate(beside))):
        certain[index] |= certain[index + 1] and is_beside is not None
    skills |= dict.fromkeys(mention.skill for mention in compress(mentions, certain))
    return tuple(skills)[:MOST_SKILLS]


def _listed(line: str) -> str | None:
    words = tuple(match[0].lower() for match in _WORD.finditer(line))
    ways = _ways().get(words[0], ()) if words else ()
    return next((way.skill for way in ways if way.words == words), None)


def _mentions(text: str) -> Iterator[_Mention]:
    words = list(_WORD.finditer(text))
    ways = _ways()
    index = 0
    while index < len(words):
        end = index + 1
        for way in ways.get(words[index][0].lower(), ()):
            if _is_at(way, text, words, index):
                end = index + len(way.words)
                yield _Mention(way.skill, words[index].start(), words[end - 1].end(), way.is_ambiguous)
                break
        index = end


def _is_at(way: _Way, text: str, words: list[re.Match[str]], index: int) -> bool:
    found = words[index : index + len(way.words)]
    if way.exact is not None and tuple(word[0] for word in found) != way.exact:
        return False
    return tuple(word[0].lower() for word in found) == way.words and all(
        _WITHIN.fullmatch(text, first.end(), second.start()) for first, second in pairwise(found)
    )


@cache
def _ways() -> dict[str, tuple[_Way, ...]]:
    """The ways to write skills by their first word in lower case, the longest first."""
    ways: dict[str, list[_Way]] = {}
    for line in files(__package__).joinpath("skills.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, *others = line.split(", ")
        is_restricted = any(other.lstrip("~=").lower() == name.lower() for other in others)
        for written in others if is_restricted else [name, *others]:
            way = _way(name, written)
            ways.setdefault(way.words[0], []).append(way)
    return {word: tuple(sorted(found, key=lambda way: -len(way.words))) for word, found in ways.items()}


def _way(skill: str, written: str) -> _Way:
    is_ambiguous = written.startswith("~")
    is_exact = written.removeprefix("~").startswith("=")
    words = tuple(_WORD.findall(written.lstrip("~=")))
    return _Way(skill, tuple(word.lower() for word in words), words if is_exact else None, is_ambiguous)
