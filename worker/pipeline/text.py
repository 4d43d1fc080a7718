"""Cleans text: removes markup and invisible characters, and normalizes whitespace and Unicode."""

from __future__ import annotations

import html
import re
import unicodedata

LINE_LENGTH = 500
"""Most characters of a title, an organization or a location. Longer texts are truncated."""

_RAW_LINE_LENGTH = 4 * LINE_LENGTH


def words(text: str) -> frozenset[str]:
    """Return the whitespace-separated words of a text."""
    return frozenset(text.split())


def any_of(patterns: str) -> str:
    """Return a regular expression for any of the whitespace-separated patterns. `~` stands for a space in them."""
    return f"(?:{'|'.join(patterns.split())})".replace("~", " ")


INLINE_TAGS = words(
    "a abbr acronym b bdi bdo big br cite code data del dfn em font i img ins kbd label mark nobr q rp rt ruby s samp "
    "small span strike strong sub sup time tt u var wbr"
)
BLOCK_TAGS = words(
    "address applet area article aside audio base blockquote body button canvas caption center col colgroup dd details "
    "dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header "
    "hgroup hr html iframe input legend li link main map marquee math menu meta nav noscript object ol optgroup option "
    "p param picture pre progress script search section select slot source style summary svg table tbody td template "
    "textarea tfoot th thead title tr track ul video"
)
"""HTML elements, including obsolete ones: https://html.spec.whatwg.org/multipage/indices.html. Any other word in angle
brackets, such as `List<String>`, is text."""

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)(?=[\s/>])[^<>]*+>")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

# Control characters except tabs and line ends, soft hyphens, zero-width spaces, directional marks, byte order marks,
# and surrogates, which UTF-8 cannot encode.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)
# Zero-width joiners have a meaning in Persian, Indic scripts and emoji only.
_STRAY_JOINERS = re.compile(
    "(?<![\u0600-\u200b\u200e-\U0010ffff\u200c\u200d])[\u200c\u200d]++"
    "|[\u200c\u200d]++(?![\u0600-\u200b\u200e-\U0010ffff])"
)
_PRINTABLE_JOINER = "\u034f"
"""The only invisible character that Python calls printable."""
_JOINERS = frozenset("\u200c\u200d")
_MARKS = re.compile(r"[^\w\s\x00-\x7f]{31,}+")
_MAX_MARKS = 30
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def clean_line(text: str | None) -> str | None:
    """Return text as one line without markup, or None if no readable text is left.

    HTML entities are decoded, even if encoded twice. HTML tags and invisible characters are removed. Whitespace becomes
    single spaces, and letters are composed (Unicode NFC). At most `LINE_LENGTH` characters are kept.
    """
    if text is None:
        return None
    line = text[:_RAW_LINE_LENGTH]
    while (cleaned := _without_markup(line)) != line:
        line = cleaned
    return line[:LINE_LENGTH].strip() or None


def _without_markup(line: str) -> str:
    line = ENTITY.sub(lambda entity: html.unescape(entity[0]), line)
    return " ".join(visible(without_tags(line, " ")).split())


def without_tags(text: str, line_break: str) -> str:
    """Return text without comments and HTML tags. Inline tags may be within a word, so that nothing takes their place.

    Args:
        text: Text without entities.
        line_break: What takes the place of block tags and `<br>`.
    """

    def in_place_of(tag: re.Match[str]) -> str:
        name = tag[2].lower()
        if name in BLOCK_TAGS or name == "br":
            return line_break
        return "" if name in INLINE_TAGS else tag[0]

    return TAG.sub(in_place_of, COMMENT.sub(" ", text))


def visible(text: str) -> str:
    """Return text in Unicode NFC, without invisible characters, with newlines as line ends.

    Sequences of combining marks are cut at 30, the limit of Unicode's stream-safe format (UAX 15), because the time of
    normalization grows with the square of their length.
    """
    if not _is_plain(text):
        text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", _MARKS.sub(_stream_safe, text))
    while not _JOINERS.isdisjoint(text) and (joined := _without_stray_joiners(text)) != text:
        text = joined
    return text


def _is_plain(text: str) -> bool:
    """Return whether a text has nothing that is invisible; many times faster than a substitution without matches."""
    plain = text.replace("\n", "").replace("\t", "").replace("\xa0", "")
    return plain.isprintable() and _PRINTABLE_JOINER not in plain


def _without_stray_joiners(text: str) -> str:
    return unicodedata.normalize("NFC", _STRAY_JOINERS.sub("", text))


def _stream_safe(symbols: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in symbols[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def clean_lines(text: str) -> str:
    """Normalize the whitespace of Markdown.

    Words are separated by one space, and paragraphs by one blank line. Indentation (nested lists) and two spaces before
    a line end (a line break) are kept.
    """
    lines = []
    for line in text.expandtabs(4).split("\n"):
        if line.isprintable() and "  " not in line and line[:1] != " " and line[-1:] != " ":
            lines.append(line)  # the only space that is printable is this one
            continue
        words = " ".join(line.split())
        indent = len(line) - len(line.lstrip()) if words else 0
        lines.append(" " * indent + words + ("  " if words and line[-2:].isspace() else ""))
    paragraphs = re.sub(r"\n{3,}+", "\n\n", "\n".join(lines))
    return paragraphs.replace("  \n\n", "\n\n").strip()
