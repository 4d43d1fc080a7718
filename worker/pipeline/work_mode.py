"""Finds out from the texts of a job whether it is remote, hybrid or on-site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from worker.pipeline import work_mode_patterns as patterns
from worker.pipeline.lines import SENTENCE_END, has_any, line_after, line_before, lines_with, plain_line
from worker.pipeline.text import clean_line

WORK_MODES = ("remote", "hybrid", "onsite")

_NOT_REMOTE = "not remote"
"""The reading of a text that denies remote work. It may be hybrid or on-site, and a flag of the site does not count."""

_MAX_SENTENCES = 100
_MAX_LABEL = 40
_NEAR = 60
_MAX_DAYS = 6
_WORKING_WEEK = 5


def work_mode(
    word: str | None, is_remote: bool | None, title: str, location: str | None, description: str
) -> str | None:
    """Return the work mode: `remote`, `hybrid`, `onsite`, or None if it is unknown.

    The site's own word takes precedence, then the title, the location, and the description if it is unambiguous. A
    site's `is_remote` counts last, and only if it is True and no text denies it: many sites send False as a default.

    Args:
        word: The site's word for the work mode.
        is_remote: Whether the site marks the job as remote.
        title: One line of text.
        location: One line of text, as the site gives it.
        description: Plain text.
    """
    line = clean_line(word)
    if line and (mode := _mode_of_value(plain_line(line))) in WORK_MODES:
        return mode
    found = _mode_of_title(plain_line(title)) or (_mode_of_value(plain_line(location)) if location else None)
    if found in WORK_MODES:
        return found
    described = _modes_of_description(description)
    modes = described - {_NOT_REMOTE}
    if len(modes) == 1:
        return modes.pop()
    return "remote" if is_remote and not described and not found else None


def _is_denied(text: str, match: re.Match[str]) -> bool:
    """Return whether words around a match deny it: `not`, `is not possible`."""
    clause = patterns.BOUNDARY.split(text[max(0, match.start() - _NEAR) : match.start()])[-1]
    return bool(patterns.NOT_BEFORE.search(clause) or patterns.NOT_AFTER.match(text[match.end() : match.end() + _NEAR]))


def _mode_of_title(title: str) -> str | None:
    segments = [segment.strip(" .!*#+~") for segment in patterns.SEGMENTS.split(_without_choices(title))]
    found: set[str] = set()
    for segment in segments:
        for mode, pattern in patterns.SEGMENT_MODES.items():
            if pattern.fullmatch(segment) and not (mode == "hybrid" and segment == title and " " in segment):
                found.add(_NOT_REMOTE if mode == "remote" and _denies(segment) else mode)
    return _only(found)


def _without_choices(text: str) -> str:
    """Return a text without modes that it offers to choose from: `remote or hybrid`."""
    if not has_any(text, patterns.CHOICE_CUES):
        return text
    return patterns.CHOICE.sub(lambda match: match[0] if _is_denied(text, match) else " ", text)


def _denies(text: str) -> bool:
    return (
        re.search(
            rf"\b(?:not?|non|kein\w*|nicht|pas|geen|niet|sin|sem|nao|bez)\b[ -](?:\w+ ){{0,2}}{patterns.REMOTE}\b", text
        )
        is not None
    )


def _mode_of_value(value: str) -> str | None:
    """Return the mode that a short value names: a location, the site's own word, or what follows a label."""
    found: set[str] = set()
    value = _without_choices(value)
    for mode, pattern in patterns.VALUE_MODES.items():
        if match := pattern.search(value):
            found.add(mode if not _is_denied(value, match) else _NOT_REMOTE if mode == "remote" else "")
    return _only(found - {""})


def _only(found: set[str]) -> str | None:
    """Return the one mode that was found. `Hybrid remote` and `hybrid, partly on site` are hybrid."""
    if "hybrid" in found:
        return "hybrid"
    modes = found - {_NOT_REMOTE} or found
    return modes.pop() if len(modes) == 1 else None


def _modes_of_description(description: str) -> set[str]:
    found: set[str] = set()
    for sentence in islice(_sentences_about_work(description), _MAX_SENTENCES):
        found.update(_modes_of_sentence(sentence))
    return found


def _sentences_about_work(description: str) -> Iterator[str]:
    """Yield the sentences that may name a mode. What is below a label, as `Work location`, begins with it."""
    text = description.lower()
    cues = (*patterns.CUES, *patterns.WORK_PLACE_CUES) if has_any(text, patterns.DAY_CUES) else patterns.CUES

    def is_relevant(cue: str, index: int) -> bool:
        return cue not in patterns.WORK_PLACE_CUES or has_any(
            text[max(0, index - _NEAR) : index + _NEAR], patterns.DAY_CUES
        )

    for start, end in lines_with(text, cues, is_relevant):
        line = text[start:end].strip()
        label = _label(line_before(text, start))
        for sentence in SENTENCE_END.split(line) if len(line) > _MAX_LABEL else [line]:
            plain = plain_line(sentence).lstrip("-\u2022\u00b7>+ ")
            yield f"{label}: {plain}" if label else plain
            label = ""
        if (label := _label(line)) and patterns.ANSWER.fullmatch(answer := line_after(text, end)):
            yield f"{label}: {answer.strip()}"


def _label(line: str) -> str:
    """Return a line as a label of the next line; empty if it is none."""
    if len(line) > _MAX_LABEL:
        return ""
    label = plain_line(line).strip("#>: ")
    return label if patterns.LABEL_ALONE.fullmatch(label) else ""


def _modes_of_sentence(sentence: str) -> Iterator[str]:
    if has_any(sentence, (":", " - ", "?")):
        yield from _labelled_modes(sentence)
    sentence = _without_choices(sentence)
    for match in patterns.FULLY_REMOTE.finditer(sentence):
        yield _NOT_REMOTE if _is_denied(sentence, match) else "remote"
    rest = patterns.FULLY_REMOTE.sub(" ", sentence)
    if has_any(rest, patterns.DAY_CUES):
        for pattern in (patterns.DAYS_SOMEWHERE, patterns.SOMEWHERE_SOME_DAYS):
            for match in pattern.finditer(rest):
                yield from _mode_by_days(rest, match)
            rest = pattern.sub(" ", rest)
    if "%" in rest and patterns.SHARE.search(rest):
        yield "hybrid"
    yield from _stated_modes(rest)


def _labelled_modes(sentence: str) -> Iterator[str]:
    if (match := patterns.LABEL.match(sentence)) and (mode := _mode_of_value(match["value"].strip())):
        yield mode
    if match := patterns.YES_OR_NO.match(sentence):
        yield ("remote" if match["remote"] else "hybrid") if match["yes"] else _NOT_REMOTE


def _stated_modes(sentence: str) -> Iterator[str]:
    for mode, pattern in patterns.STATEMENTS.items():
        if has_any(sentence, patterns.STATEMENT_CUES[mode]):
            for match in pattern.finditer(sentence):
                if not _is_denied(sentence, match):
                    yield mode
                elif mode == "remote":
                    yield _NOT_REMOTE


def _mode_by_days(line: str, match: re.Match[str]) -> Iterator[str]:
    written = match["most"] or match["days"]
    days = int(written) if written.isdigit() else patterns.NUMBER_OF[written]
    if not 0 < days <= _MAX_DAYS or patterns.OTHER_PERIOD.match(line[match.end() : match.end() + 30]):
        return
    if _is_denied(line, match):
        return
    if days < _WORKING_WEEK:
        yield "hybrid"
    else:
        yield "remote" if match["home"] else "onsite"
