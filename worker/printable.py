"""Makes text safe to print on a terminal.

Text of a site or of a user may contain control characters that move the cursor, forge lines or inject input, and marks
that change the reading direction (https://www.unicode.org/reports/tr9/).
"""

from __future__ import annotations

import json
import re
import sys

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_C0, _DELETE_AND_C1 = r"\x00-\x08\x0b-\x1f", r"\x7f-\x9f"
_DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_SEPARATORS_AND_MARKS = r"\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_SURROGATES = r"\ud800-\udfff"
_REFUSED = re.compile(f"[{_C0}{_DELETE_AND_C1}{_DIRECTIONS}{_SEPARATORS_AND_MARKS}{_SURROGATES}]")


def printable_lines(text: str) -> str:
    """Return text that is safe to print. Line breaks are kept."""
    return _REFUSED.sub(REPLACEMENT, text.expandtabs())


def printable(text: str) -> str:
    """Return text that is safe to print, on one line."""
    return printable_lines(" ".join(text.split()))


def printable_json(value: object, *, indent: int | None = None) -> str:
    """Return a value as equivalent JSON that is safe to print. Values that are not JSON become strings."""
    written = json.dumps(value, ensure_ascii=False, default=str, indent=indent)
    return _REFUSED.sub(lambda found: json.dumps(found[0])[1:-1], written).replace("\x7f", "\\u007f")


def say(text: str) -> None:
    """Write lines to standard output and flush it."""
    sys.stdout.write(f"{printable_lines(text)}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write lines to standard error."""
    sys.stderr.write(f"{printable_lines(text)}\n")


MESSAGE_LENGTH = 300


def one_line(text: str) -> str:
    """Return text that PostgreSQL can store and a table can show.

    Messages may contain text of a site. NUL, lone surrogates and control characters are removed or replaced, line
    breaks become spaces, and the text is cut at 300 characters.
    """
    storable = text.replace("\0", "").encode("utf-8", "replace").decode()
    line = printable(storable)
    return line if len(line) <= MESSAGE_LENGTH else f"{line[: MESSAGE_LENGTH - 1]}…"
