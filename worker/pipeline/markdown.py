"""Converts descriptions to safe Markdown. The input may be HTML, escaped HTML, Markdown or plain text.

The result has no HTML, no images, and only `http`, `https` and `mailto` links, so that it is safe even for a renderer
that passes HTML through.
"""

from __future__ import annotations

import html
import re

from worker.pipeline.emphasis import repair_emphasis
from worker.pipeline.html_to_markdown import html_to_markdown
from worker.pipeline.text import BLOCK_TAGS, COMMENT, ENTITY, INLINE_TAGS, TAG, clean_lines, visible

DESCRIPTION_LENGTH = 50_000
"""Most characters of a description. Longer ones are truncated."""

RAW_LENGTH = 3 * DESCRIPTION_LENGTH
"""Most characters of a description, with its markup, that are read."""

# An even number of backslashes escapes nothing. Possessive, so that a run of them is matched in linear time.
_UNESCAPED = r"(?<!\\)((?:\\\\)*)"
_TAG = re.compile(_UNESCAPED + TAG.pattern)
_ESCAPED_TAG = re.compile(_UNESCAPED + r"&lt;/?([a-zA-Z][a-zA-Z0-9]*+)(?:[^<>&]|&(?!lt;|gt;))*+&gt;")
_COMMENT = re.compile(_UNESCAPED + COMMENT.pattern, re.DOTALL)
_ENTITY = re.compile(f"{_UNESCAPED}({ENTITY.pattern})")
_IMAGE = re.compile(_UNESCAPED + r"!\[[^\[\]\n]*+\]\([^()\n]*+\)")

# Renderers differ in what they accept as HTML or as a link, and in what a backslash escapes. The signs that begin
# either stay unescaped only where no renderer can misread them.
_ANGLE = re.compile(r"(\\*+)<(?![\s\d=]|\Z)")
_OPEN_IMAGE = re.compile(r"!\[")
_SAFE_TARGET = r"(?:https?|mailto):[^\s()<>\[\]\\\"'`]*+"
# Older renderers allow spaces between text and target.
_LINK = re.compile(rf"\]([ \t]*+)\((?!{_SAFE_TARGET}\))")
_DEFINITION = re.compile(rf"\]:(?![ \t]*+{_SAFE_TARGET}(?:\s|\Z))")
# Unsafe schemes that GFM turns into links automatically.
_AUTOLINK = re.compile(r"(?i)(ftp(?=://)|xmpp):")


def to_markdown(text: str | None) -> str | None:
    """Return a description as Markdown, or None if no text is left.

    HTML is converted. In Markdown and plain text, only whitespace, invisible characters, HTML entities and inline tags
    change. Images are removed. Anything that a renderer might read as HTML, or as a link with a scheme other than
    `http`, `https` and `mailto`, is escaped: `<` as `&lt;`, other signs with a backslash. At most `DESCRIPTION_LENGTH`
    characters are kept.
    """
    if text is None:
        return None
    text = raw = visible(text[:RAW_LENGTH])
    if not _is_html(text) and _is_escaped_html(text):
        text = html.unescape(text)
    text = html_to_markdown(text) if _is_html(text) else _without_inline_tags(text)
    if "![" in text:
        text = _IMAGE.sub(r"\1", text)
    if text != raw:
        text = visible(text)
    markdown = _escaped_unsafe(repair_emphasis(clean_lines(text)))
    while len(markdown) > DESCRIPTION_LENGTH:
        # Without its end, the last line may have emphasis that can be repaired, which may need a space.
        markdown = _escaped_unsafe(repair_emphasis(_truncated(markdown)))
    return markdown or None


def to_plain(markdown: str) -> str:
    """Return the text of Markdown, without escapes, emphasis and link targets."""
    text = markdown.replace("&lt;", "<")
    # The checks are many times faster than a substitution without matches.
    if "\\" in text:
        text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    if "](" in text:
        text = re.sub(r"\]\((?:https?|mailto):[^()\s]*+\)", "]", text)
    if "_" in text:
        text = re.sub(r"(?<!\w)_++|_++(?!\w)", "", text)
    return text.replace("*", "").replace("`", "")


def _is_html(text: str) -> bool:
    """Return whether text is HTML, rather than text with a few tags.

    A block element makes it HTML. In a text without line breaks, an inline element does, too.
    """
    html_tags = BLOCK_TAGS if "\n" in text.strip() else BLOCK_TAGS | INLINE_TAGS
    return any(tag[2].lower() in html_tags and not _is_escaped(text, tag.start()) for tag in TAG.finditer(text))


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
    # The second check, too, is many times faster than a substitution without matches.
    if "&" not in text or not ENTITY.search(text):
        return text
    return _ENTITY.sub(lambda entity: entity[1] + html.unescape(entity[2]), text)


def _escaped_unsafe(markdown: str) -> str:
    """Escape everything that a renderer might read as HTML, as an image or as an unsafe link."""
    if "&" in markdown and ENTITY.search(markdown):
        markdown = re.sub(f"{_UNESCAPED}(?={ENTITY.pattern})", r"\1\\", markdown)
    if "![" in markdown:
        markdown = _OPEN_IMAGE.sub(r"!\\[", markdown)
    if "]" in markdown:
        markdown = _DEFINITION.sub(r"]\\:", _LINK.sub(r"]\1\\(", markdown))
    if "://" in markdown or "xmpp:" in markdown.lower():
        markdown = _AUTOLINK.sub(r"\1\\:", markdown)
    return _ANGLE.sub(_escaped_angle, markdown) if "<" in markdown else markdown


def _escaped_angle(angle: re.Match[str]) -> str:
    # Showdown does not support a backslash before `<`. A backslash already there would escape the entity.
    backslashes = angle[1]
    return backslashes[: len(backslashes) // 2 * 2] + "&lt;"


def _truncated(markdown: str) -> str:
    kept = markdown[:DESCRIPTION_LENGTH]
    end = max(kept.rfind(" "), kept.rfind("\n"))
    return kept[: end if end > 0 else None].rstrip()
