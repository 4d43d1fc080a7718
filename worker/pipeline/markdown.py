"""Descriptions as Markdown, whatever a site gave: HTML, escaped HTML, Markdown or plain text.

The result is safe to render, also by a renderer that passes HTML on: no HTML, no images, and no links but `http`,
`https` and `mailto`.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import NamedTuple

from worker.pipeline.text import BLOCK_TAGS, COMMENT, ENTITY, INLINE_TAGS, TAG, clean_lines, visible, words

DESCRIPTION_LENGTH = 50_000
"""Most characters of a description. Longer ones are cut."""

_RAW_LENGTH = 3 * DESCRIPTION_LENGTH

# Possessive, so that a run of backslashes is read once: an even number of them escapes nothing.
_UNESCAPED = r"(?<!\\)((?:\\\\)*)"
_TAG = re.compile(_UNESCAPED + TAG.pattern)
_ESCAPED_TAG = re.compile(_UNESCAPED + r"&lt;/?([a-zA-Z][a-zA-Z0-9]*+)(?:[^<>&]|&(?!lt;|gt;))*+&gt;")
_COMMENT = re.compile(_UNESCAPED + COMMENT.pattern, re.DOTALL)
_ENTITY = re.compile(f"{_UNESCAPED}({ENTITY.pattern})")
_IMAGE = re.compile(_UNESCAPED + r"!\[[^\[\]\n]*+\]\([^()\n]*+\)")

# Renderers differ in what they read as HTML or as a link, and in what a backslash escapes. So the signs that begin
# either are left only where no renderer can take them for it.
_ANGLE = re.compile(r"(\\*+)<(?![\s\d=<]|\Z)")
_OPEN_IMAGE = re.compile(r"!\[")
_SAFE_TARGET = r"(?:https?|mailto):[^\s()<>\[\]\\\"'`]*+"
# Older renderers allow blanks between text and target.
_LINK = re.compile(rf"\]([ \t]*+)\((?!{_SAFE_TARGET}\))")
_DEFINITION = re.compile(rf"\]:(?![ \t]*+{_SAFE_TARGET}(?:\s|\Z))")
# What GFM makes a link of although it is none, but for the safe schemes.
_AUTOLINK = re.compile(r"(?i)(ftp(?=://)|xmpp):")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*+:", re.IGNORECASE)
_SAFE_SCHEMES = frozenset({"http:", "https:", "mailto:"})


def to_markdown(text: str | None) -> str | None:
    """Return a description as Markdown, or None if nothing is left.

    HTML is converted. Markdown and plain text stay as they are, but for whitespace, invisible characters, HTML entities
    and the few inline tags that they may hold. Images are dropped. What a renderer might take for HTML, or for a link
    to anything but `http`, `https` and `mailto`, is escaped: `<` as `&lt;`, all else with a backslash. At most
    `DESCRIPTION_LENGTH` characters are kept.
    """
    if text is None:
        return None
    text = visible(text[:_RAW_LENGTH])
    if not _is_html(text) and _is_escaped_html(text):
        text = html.unescape(text)
    text = _from_html(text) if _is_html(text) else _without_inline_tags(text)
    if "![" in text:
        text = _IMAGE.sub(r"\1", text)
    return _cut(_inert(clean_lines(visible(text)))) or None


def to_plain(markdown: str) -> str:
    """Return Markdown without escapes, emphasis and link targets: its words, for looking things up in them."""
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown.replace("&lt;", "<"))
    text = re.sub(r"\]\((?:https?|mailto):[^()\s]*+\)", "]", text)
    return re.sub(r"[*`]++|(?<!\w)_++|_++(?!\w)", "", text)


def _is_html(text: str) -> bool:
    """Tell HTML from text that holds a few tags: by a block element, or because its lines are not broken otherwise."""
    telling = BLOCK_TAGS if "\n" in text.strip() else BLOCK_TAGS | INLINE_TAGS
    return any(tag[2].lower() in telling and not _is_escaped(text, tag.start()) for tag in TAG.finditer(text))


def _is_escaped(text: str, index: int) -> bool:
    start = index
    while start and text[start - 1] == "\\":
        start -= 1
    return (index - start) % 2 == 1


def _is_escaped_html(text: str) -> bool:
    return "&lt;" in text and any(tag[2].lower() in BLOCK_TAGS for tag in _ESCAPED_TAG.finditer(text))


def _without_inline_tags(text: str) -> str:
    if "<" in text:
        text = _COMMENT.sub(r"\1", text)
        text = re.sub(rf"(?i){_UNESCAPED}<br\s*+/?+>\n?", r"\1\n", text)
        text = _TAG.sub(lambda tag: tag[1] if tag[3].lower() in INLINE_TAGS else tag[0], text)
    return _ENTITY.sub(lambda entity: entity[1] + html.unescape(entity[2]), text) if "&" in text else text


def _inert(markdown: str) -> str:
    """Escape what a renderer might pass on as HTML, load as an image, or make a link that runs something."""
    if "&" in markdown:
        markdown = re.sub(f"{_UNESCAPED}(?={ENTITY.pattern})", r"\1\\", markdown)
    if "![" in markdown:
        markdown = _OPEN_IMAGE.sub(r"!\\[", markdown)
    if "]" in markdown:
        markdown = _DEFINITION.sub(r"]\\:", _LINK.sub(r"]\1\\(", markdown))
    if ":" in markdown:
        markdown = _AUTOLINK.sub(r"\1\\:", markdown)
    return _ANGLE.sub(_escaped_angle, markdown) if "<" in markdown else markdown


def _escaped_angle(angle: re.Match[str]) -> str:
    # Not by a backslash, which showdown does not know before this sign. One that is there would escape the entity.
    backslashes = angle[1]
    return backslashes[: len(backslashes) // 2 * 2] + "&lt;"


def _cut(markdown: str) -> str:
    if len(markdown) <= DESCRIPTION_LENGTH:
        return markdown
    kept = markdown[:DESCRIPTION_LENGTH]
    end = max(kept.rfind(" "), kept.rfind("\n"))
    return kept[: end if end > 0 else None].rstrip()


def _from_html(text: str) -> str:
    from lxml import etree  # noqa: PLC0415 (7 MB that a worker without HTML need not load)

    # `huge_tree` only lifts libxml2's limit of 256 nested elements: no tree is built.
    parser = etree.HTMLParser(target=_MarkdownWriter(), huge_tree=True, remove_comments=True, remove_pis=True)
    parser.feed(f"<html><body>{text}")
    markdown: str = parser.close()
    return markdown


_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu", "dir"})
_SKIPPED = words(
    "applet audio canvas embed frameset head iframe map math noscript object script select style svg template textarea "
    "title video"
)
_STRONG = frozenset({"b", "strong"})
_EMPHASIS = frozenset({"em", "i"})
_MOST_NESTED = 6

# Characters that would be read as Markdown, and, at the start of a line, such of headings, quotes and rulers. Hyphens
# and numbers there are left: where a text has them, a list is meant.
_SPECIAL = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|\\(?=[!-/:-@\[-`{-~])")
_LINE_START = re.compile(r"(?=#{1,6}(?:\s|\Z)|>|(?:-++|=++)\Z)")


class _Style(NamedTuple):
    """How words look: the target of the link that they are in, and their emphasis."""

    link: str | None = None
    is_strong: bool = False
    is_emphasised: bool = False

    @property
    def marks(self) -> list[tuple[str, str]]:
        """Opening and closing marks, outermost first."""
        marks = [("**", "**")] if self.is_strong else []
        marks += [("*", "*")] if self.is_emphasised else []
        return [("[", f"]({self.link})"), *marks] if self.link else marks


@dataclass(slots=True)
class _List:
    """A list that the parser is in.

    Attributes:
        indent: Spaces before its items.
        marker: Marker of its current item.
    """

    is_ordered: bool
    indent: int
    count: int = 0
    marker: str = "- "


class _Block(NamedTuple):
    kind: str
    text: str


class _MarkdownWriter:
    """Target of lxml's parser: gathers styled words and writes a block of Markdown wherever HTML ends one."""

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
        """Begin an element."""
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
        """End an element. The parser ends each that it began, in order."""
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
        """Take text."""
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
            if len(self._lists) >= _MOST_NESTED:
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
    """Write styled words as lines of Markdown, and the lines between blank ones as paragraphs."""
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
    if any(sign in text for sign in "*_`\\"):  # searching is faster than substituting nothing
        return _SPECIAL.sub(r"\\\g<0>", text)
    return text


def _line(styled: list[tuple[str, _Style]]) -> str:
    """Write one line. Marks are closed before a space and opened after it, as Markdown demands."""
    written: list[str] = []
    opened: list[tuple[str, str]] = []
    is_spaced = False
    for text, style in styled:
        core = text.strip()
        is_spaced = is_spaced or text[:1].isspace()
        if not core:
            continue
        marks = style.marks
        kept = next((i for i, pair in enumerate(zip(opened, marks, strict=False)) if pair[0] != pair[1]), None)
        kept = min(len(opened), len(marks)) if kept is None else kept
        written += [closing for _, closing in reversed(opened[kept:])]
        if is_spaced and written:
            written.append(" ")
        written += [opening for opening, _ in marks[kept:]]
        escaped = _escaped(" ".join(core.split()))
        if style.link:
            escaped = re.sub(r"[\[\]]", r"\\\g<0>", escaped)
        written.append(escaped)
        opened = marks
        is_spaced = text[-1:].isspace()
    written += [closing for _, closing in reversed(opened)]
    line = "".join(written)
    return _LINE_START.sub(r"\\", line, count=1) if _LINE_START.match(line) else line
