"""Reads the value of a parameter from left to right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from worker.local.supabase.rest.errors import RestError, unsupported

_T = TypeVar("_T")

INTEGER = re.compile(r"-?[0-9]{1,18}")
"""An integer that surely fits into 64 bits."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rf"[ \t]*({_QUOTED}|(?:[\w$ ]|-(?!>))+)", re.DOTALL)
_KEY = re.compile(rf"{_QUOTED}|(?!\")[^-(:.,>)]+(?:-(?!>)[^-(:.,>)]+)*", re.DOTALL)
_VALUE = re.compile(rf"(?:({_QUOTED})|\{{[^{{}}]*\}})(?=[,)]|\Z)|[^,)]*", re.DOTALL)


class Scanner:
    """Reads one text.

    Args:
        text: The text to read.
        what: Name of the text in messages.
        shown: The text in messages. By default `text`.
    """

    def __init__(self, text: str, what: str, shown: str | None = None) -> None:
        self._text = text
        self._what = f"{what} ({text if shown is None else shown})"
        self._position = 0

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read a match of `pattern`, if there is one here."""
        found = pattern.match(self._text, self._position)
        if found:
            self._position = found.end()
        return found

    def take(self, literal: str) -> bool:
        """Read `literal` and the spaces before it, if it is here. Return whether it is."""
        return self.match(re.compile(rf"[ \t]*{re.escape(literal)}")) is not None

    def sees(self, literal: str) -> bool:
        """Return whether `literal` comes next."""
        return self._text.startswith(literal, self._position)

    def expect(self, literal: str) -> None:
        """Read `literal`, which has to be here."""
        if not self.take(literal):
            self.fail(f'"{literal}"')

    def rest(self) -> str:
        """Read the rest of the text."""
        start, self._position = self._position, len(self._text)
        return self._text[start:]

    def is_at_end(self) -> bool:
        """Return whether only spaces are left."""
        return not self._text[self._position :].strip()

    def end(self) -> None:
        """Check that only spaces are left. PostgREST ignores the rest."""
        if not self.is_at_end():
            raise unsupported(f"what '{self._text[self._position :]}' says at the end of {self._what}")

    def separated(self, item: Callable[[], _T]) -> list[_T]:
        """Read items with commas between them."""
        items = [item()]
        while self.take(","):
            items.append(item())
        return items

    def name(self) -> str:
        """Read a name, in quotes or not."""
        found = self.match(_NAME)
        if found is None or not found[1].strip():
            self.fail("field name (* or [a..z0..9_$])")
        return _unquoted(found[1].strip())

    def key(self) -> str:
        """Read a key of a JSON object, in quotes or not."""
        found = self.match(_KEY)
        if found is None:
            self.fail("any non reserved character different from: .,>()")
        if found[0].startswith('"'):
            return _unquoted(found[0])
        return "-".join(part.strip() for part in found[0].split("-"))

    def value(self) -> str:
        """Read a value in a list: in quotes, in braces, or up to the end of the item."""
        found = self.match(_VALUE)
        assert found is not None, "it matches the empty string"
        return found[0] if found[1] is None else _unquoted(found[1])

    def fail(self, expected: str) -> NoReturn:
        """Raise the error that the text does not follow the grammar (PGRST100)."""
        message = f'"failed to parse {self._what}" (line 1, column {self._position + 1})'
        found = f'"{self._text[self._position]}"' if self._position < len(self._text) else "end of input"
        raise RestError(400, "PGRST100", message, details=f"unexpected {found} expecting {expected}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text.startswith('"') else text
