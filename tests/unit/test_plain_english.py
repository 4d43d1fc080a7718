"""Texts use the usual words: a reader whose second language is English understands them at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

TEXTS = [
    *(PROJECT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING")),
    *sorted((PROJECT / "docs").rglob("*.md")),
    *sorted((PROJECT / "supabase").glob("schemas/**/*.sql")),
    *sorted((PROJECT / "supabase").glob("tests/**/*.sql")),
    *sorted(
        path for room in ("app", "components", "lib") for path in (PROJECT / "examples/nextjs" / room).rglob("*.ts*")
    ),
    *(
        path
        for room in ("worker", "scripts", "tools")
        for path in sorted((PROJECT / room).rglob("*.py"))
        if path.name != "vocabulary.py"
    ),  # advertisements of played boards
]
"""The files that are checked."""

INSTEAD_OF = {
    "again changes nothing": "idempotent",
    "again it changes nothing": "idempotent",
    "amid": "during",
    "anew": "again",
    "as often as": "a number",
    "at once and for all": "for good",
    "but for": "except for",
    "but what": "except what",
    "for ever": "without a limit",
    "go on": "continue",
    "goes on": "continues",
    "going on": "continuing",
    "went on": "continued",
    "gone on": "continued",
    "hears": "is notified",
    "is no more": "has ended",
    "is over": "has ended, or has expired",
    "is seen to": "is handled",
    "sees to": "handles",
    "lest": "so that ... not",
    "make known": "register",
    "nobody's": "that has no owner",
    "pass over": "ignore",
    "passes over": "ignores",
    "put off": "deferred",
    "puts off": "defers",
    "tells": "says, or reports",
    "told": "reported, or notified",
    "what may pass": "a temporary error",
    "may pass": "is temporary",
    "in silence": "without an error",
    "whoever": "the user who",
    "whomever": "the user whom",
    "who waits": "a run that waits",
    "for who": "for those who",
    "whose turn": "which one is next",
    "worked off": "processed",
    "work off": "process",
    "thereof": "of it",
    "wherein": "in which",
    "whence": "from which",
    "henceforth": "from now on",
    "hitherto": "until now",
}
"""What is not written, and what is written instead. Case and line breaks do not matter."""

_PATTERN = re.compile(
    r"(?<![\w'])(?:{})(?![\w'])".format("|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in INSTEAD_OF)),
    re.IGNORECASE,
)


def findings(text: str) -> list[str]:
    """Each phrase of a text that is not written: its line, the phrase, and what is written instead."""
    found = []
    for match in _PATTERN.finditer(text):
        phrase = " ".join(match[0].lower().split())
        line = text.count("\n", 0, match.start()) + 1
        found.append(f"line {line}: {phrase!r}: say {INSTEAD_OF[phrase]!r}")
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_texts_are_in_plain_english(path: Path) -> None:
    assert findings(path.read_text()) == []


def test_a_phrase_is_found_whatever_its_case_and_over_a_line_break() -> None:
    assert findings("Read it. Again\nchanges nothing.") == ["line 1: 'again changes nothing': say 'idempotent'"]
    assert findings("told_quota, retold, 'anewer'") == []
