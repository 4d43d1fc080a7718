"""Hostile input: any JSON, and descriptions made of fragments; and how many examples of it the tests try.

`scripts/fuzz` runs the tests that are marked `hostile` with many times the examples.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from worker.model import Json

_Test = TypeVar("_Test", bound=Callable[..., Any])

TIMES = int(os.environ.get("HOSTILE_TIMES", "1"))
"""Multiplies the number of examples."""


def hostile(max_examples: int, **options: Any) -> Callable[[_Test], _Test]:
    """Mark a property test of hostile input, with its number of examples in the suite."""

    def mark(test: _Test) -> _Test:
        configured: _Test = settings(max_examples=max_examples * TIMES, **options)(test)
        marked: _Test = pytest.mark.hostile(configured)
        return marked

    return mark


json_scalars: st.SearchStrategy[Json] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from((10**400, "1e400", "\ud800"))
)
json_values: st.SearchStrategy[Json] = st.recursive(
    json_scalars,
    lambda value: st.lists(value, max_size=4) | st.dictionaries(st.text(), value, max_size=4),
    max_leaves=12,
)
"""Everything that `json.loads` returns, with NaN, infinities, integers beyond any float, and lone surrogates."""


FRAGMENTS = [
    "<p>", "</p>", "<b>", "</b>", "<br>", "<ul>", "<li>", "</ul>", "<td>", "<tr>", "<pre>", "<a href='javascript:x'>",
    '<a href="https://a.b/">', "</a>", "<script>", "<!--", "-->", "<img src=x onerror=y>", "&lt;", "&gt;", "&amp;",
    "&lt;p&gt;", "&#x200b;", "<", ">", "&", "\\", "[", "]", "(", ")", "![", "](", "]:", "javascript:", "data:",
    "https://a.b", "*", "_", "`", "#", "-", "1.", " ", "  ", "\n", "\n\n", "\t", "word", "é", "e\u0301", "\u200d",
    "\ud800", "\x00", "<x y=z>", "<o:p>", "=", ":", "&copy", ";", "<h2>", "<blockquote>", "</blockquote>", "<hr>",
    "<foo>", "<plaintext>", "<xmp>", "<noembed>", "<noframes>", "&lt;img src=x onerror=alert(1)&gt;",
    "javascript:alert(1)", "[x]", "[x]: ", "> ", "\\[", "\\<", "ftp://a.b", "xmpp:a@b", "www.a.b", "mailto:a@b.c",
    "//a.b", "<https://a.b>", "```\n", "~~", "| a |\n| - |\n", "'", '"', "{", "}", "&#60;", "&#x3c;", "&Tab;",
    "&NewLine;", "!", "<!", "<?", "]]>", "<![CDATA[", "1) ", "    ", "onerror=x", "src=x",
]  # fmt: skip


def hostile_texts(count: int, seed: int) -> Iterator[str]:
    """Yield `count` texts; equal seeds yield equal texts."""
    chosen = random.Random(seed)
    for _ in range(count):
        yield "".join(chosen.choices(FRAGMENTS, k=chosen.randint(1, 25)))
