"""Converts HTML to Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from worker.pipeline.emphasis import needs_space_after, needs_space_before
from worker.pipeline.text import BLOCK_TAGS, words

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*+:", re.IGNORECASE)
_SAFE_SCHEMES = frozenset({"http:", "https:", "mailto:"})
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu", "dir"})
_SKIPPED = words(
    "applet audio canvas embed frameset head iframe map math noscript object script select style svg template textarea "
    "title video"
)
_STRONG = frozenset({"b", "strong"})
_EMPHASIS = frozenset({"em", "i"})
_MAX_NESTED = 6

# Characters that Markdown would interpret, and those at the start of a line that begin headings, quotes and rules.
# Hyphens and numbers at the start of a line stay: they are meant as a list.
_SPECIAL = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|\\(?=[!-/:-@\[-`{-~])")
_LINE_START = re.compile(r"(?=#{1,6}(?:\s|\Z)|>|(?:-++|=++)\Z)")


def html_to_markdown(text: str) -> str:
    """Convert HTML to Markdown.

    Links with other schemes than `http`, `https` and `mailto` become plain text. Scripts, styles, media and form fields
    are removed. Signs that Markdown would interpret are escaped.
    """
    from lxml import etree  # noqa: PLC0415 (7 MB of memory, used only for HTML)

    # `huge_tree` lifts libxml2's limit of 256 nested elements. No tree is built.
    parser = etree.HTMLParser(target=_MarkdownWriter(), huge_tree=True, remove_comments=True, remove_pis=True)
    parser.feed(f"<html><body>{text}")
    markdown: str = parser.close()
    return markdown


class _Style(NamedTuple):
    """The style of text: the target of its link and its emphasis."""

    link: str | None = None
    is_strong: bool = False
    is_emphasised: bool = False

    @property
    def marks(self) -> list[tuple[str, str]]:
        """Pairs of opening and closing marks, outermost first."""
        marks = [("**", "**")] if self.is_strong else []
        marks += [("*", "*")] if self.is_emphasised else []
        return [("[", f"]({self.link})"), *marks] if self.link else marks


@dataclass(slots=True)
class _List:
    """A list that is open.

    Attributes:
        is_ordered: Whether its items are numbered.
        indent: Spaces before its items.
        count: Number of items so far.
        marker: Marker of the current item.
    """

    is_ordered: bool
    indent: int
    count: int = 0
    marker: str = "- "


class _Block(NamedTuple):
    kind: str
    text: str


class _MarkdownWriter:
    """Parser target for lxml: collects styled text, and writes a block of Markdown at the end of each HTML block."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._words: list[tuple[str, _Style]] = []
        self._lists: list[_List] = []
        self._links: list[str | None] = []
        self._marker = ""
        self._heading = ""
        self._is_new_cell = False
        self._strong = self._emphasis = self._skipped = self._preformatted = self._quotes = self._rows = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        if tag in _SKIPPED:
            self._skipped += 1
        elif self._skipped:
            pass
        elif tag in _STRONG:
            self._strong += 1
        elif tag in _EMPHASIS:
            self._emphasis += 1
        elif tag == "a":
            self._links.append(_link_target(attributes.get("href")))
        elif tag == "br":
            self._words.append(("\n", _Style()))
        elif tag in ("td", "th"):
            self._is_new_cell = True
        elif tag in BLOCK_TAGS:
            self._end_block()
            self._start_block(tag)

    def end(self, tag: str) -> None:
        """Handle the end of an element. The parser closes all elements, properly nested."""
        if tag in _SKIPPED:
            self._skipped -= 1
        elif self._skipped:
            pass
        elif tag in _STRONG:
            self._strong -= 1
        elif tag in _EMPHASIS:
            self._emphasis -= 1
        elif tag == "a":
            self._links.pop()
        elif tag in BLOCK_TAGS and tag not in ("td", "th"):
            self._end_block()
            self._leave_block(tag)

    def data(self, text: str) -> None:
        """Handle text."""
        if self._is_new_cell and not self._skipped and not text.isspace():
            if self._words:
                self._words.append((" | ", _Style()))
            self._is_new_cell = False
        if not self._skipped and (self._words or not text.isspace()):
            self._add(text if self._preformatted else text.replace("\n", " "))

    def close(self) -> str:
        """Return the Markdown of all blocks."""
        self._end_block()
        lines: list[str] = []
        for index, block in enumerate(self._blocks):
            if index:
                is_tight = block.kind != "text" and block.kind == self._blocks[index - 1].kind
                lines.append({"item": "\n", "row": "  \n"}[block.kind] if is_tight else "\n\n")
            lines.append(block.text)
        return "".join(lines)

    def _start_block(self, tag: str) -> None:
        if tag in _LISTS:
            parent = self._lists[-1] if self._lists else None
            indent = parent.indent + len(parent.marker) if parent else 0
            if len(self._lists) >= _MAX_NESTED:
                indent = self._lists[-1].indent
            self._lists.append(_List(tag == "ol", indent))
        elif tag == "li":
            self._marker = self._next_marker()
        elif tag == "hr":
            self._blocks.append(_Block("text", "---"))
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "blockquote":
            self._quotes += 1
        elif tag == "tr":
            self._rows += 1
        elif tag in _HEADINGS:
            self._heading = _HEADINGS[tag]

    def _leave_block(self, tag: str) -> None:
        if tag in _LISTS:
            self._lists.pop()
        elif tag == "li":
            self._marker = ""
        elif tag == "pre":
            self._preformatted -= 1
        elif tag == "blockquote":
            self._quotes -= 1
        elif tag == "tr":
            self._rows -= 1
        elif tag in _HEADINGS:
            self._heading = ""

    def _next_marker(self) -> str:
        if not self._lists:
            return "- "
        current = self._lists[-1]
        current.count += 1
        current.marker = f"{current.count}. " if current.is_ordered else "- "
        return current.marker

    def _add(self, text: str) -> None:
        style = _Style(self._links[-1] if self._links else None, self._strong > 0, self._emphasis > 0)
        if self._heading:
            style = style._replace(is_strong=False)
        if "\n" not in text:
            self._words.append((text, style))
            return
        for index, line in enumerate(text.split("\n")):
            if index:
                self._words.append(("\n", _Style()))
            if line:
                self._words.append((line, style))

    def _end_block(self) -> None:
        self._is_new_cell = False
        if not self._words:
            return
        paragraphs = _paragraphs(self._words)
        self._words = []
        for lines in paragraphs:
            kind = "item" if self._marker else "row" if self._rows else "text"
            first = rest = "> " if self._quotes else ""
            if self._lists:
                first = rest = first + " " * self._lists[-1].indent
                first += self._marker or " " * len(self._lists[-1].marker)
                rest += " " * len(self._lists[-1].marker)
            else:
                first += self._marker
            separator = f" {self._heading}" if self._heading else f"  \n{rest}"
            self._blocks.append(_Block(kind, first + self._heading + separator.join(lines)))
            self._marker = ""


def _link_target(address: str | None) -> str | None:
    if address is None:
        return None
    address = re.sub(r"[\x00-\x1f\x7f]", "", address).strip()
    scheme = _SCHEME.match(address)
    if scheme is None or scheme[0].lower() not in _SAFE_SCHEMES:
        return None
    return re.sub(
        r"[\s()<>\\\[\]\"'`]", lambda character: f"%{ord(character[0]):02X}" if character[0].isascii() else "", address
    )


def _paragraphs(styled: list[tuple[str, _Style]]) -> list[list[str]]:
    """Return paragraphs, each a list of lines of Markdown. An empty line ends a paragraph."""
    paragraphs: list[list[str]] = [[]]
    line: list[tuple[str, _Style]] = []
    for text, style in [*styled, ("\n", _Style())]:
        if text != "\n":
            if line and line[-1][1] == style:
                line[-1] = (line[-1][0] + text, style)
            else:
                line.append((text, style))
        elif markdown := _line(line):
            paragraphs[-1].append(markdown)
            line = []
        else:
            paragraphs.append([])
            line = []
    return [lines for lines in paragraphs if lines]


def _escaped(text: str) -> str:
    if any(sign in text for sign in "*_`\\"):  # faster than a substitution without matches
        return _SPECIAL.sub(r"\\\g<0>", text)
    return text


def _line(styled: list[tuple[str, _Style]]) -> str:
    """Return one line of Markdown. As Markdown requires, marks close before a space and open after it."""
    written: list[str] = []
    opened: list[tuple[str, str]] = []
    is_spaced = False
    last = ""
    for text, style in styled:
        core = text.strip()
        is_spaced = is_spaced or text[:1].isspace()
        if not core:
            continue
        marks = style.marks
        kept = next((i for i, pair in enumerate(zip(opened, marks, strict=False)) if pair[0] != pair[1]), None)
        kept = min(len(opened), len(marks)) if kept is None else kept
        written += [closing for _, closing in reversed(opened[kept:])]
        is_spaced = is_spaced or (
            last != "" and _needs_space(last, core, opened[kept:], marks[kept:], is_nested=kept > 0)
        )
        if is_spaced and written:
            written.append(" ")
        written += [opening for opening, _ in marks[kept:]]
        escaped = _escaped(" ".join(core.split()))
        if style.link:
            escaped = re.sub(r"[\[\]]", r"\\\g<0>", escaped)
        written.append(escaped)
        opened = marks
        last = core[-1]
        is_spaced = text[-1:].isspace()
    written += [closing for _, closing in reversed(opened)]
    line = "".join(written)
    return _LINE_START.sub(r"\\", line, count=1) if _LINE_START.match(line) else line


def _needs_space(
    last: str, text: str, closed: list[tuple[str, str]], opened: list[tuple[str, str]], *, is_nested: bool
) -> bool:
    """Return whether text with other marks than the text before it needs a space before it."""
    if closed and opened:
        return True  # marks that touch each other would be read as one mark
    if any(opening == "[" for opening, _ in (*closed, *opened)):
        return False
    if opened:
        # One asterisk within a word is no emphasis (`Entwickler*in`), and within strong text it may end emphasis.
        is_ambiguous = opened[-1][0] == "*" and (is_nested or last.isalnum())
        return is_ambiguous or needs_space_before(last, text)
    return bool(closed) and needs_space_after(last, text)
