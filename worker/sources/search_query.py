"""Matches a search query against the texts of a job."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from html import unescape

from worker.model import Item, Json
from worker.pipeline.text import TAG

_MARKS = re.compile("[\u0300-\u036f]+")
_BETWEEN_WORDS = re.compile("[\\s_/\u2010-\u2015-]+")
_TOKEN = re.compile(r'(?P<minus>-(?=["\w])|\bNOT\s+)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"()|,;]+))|(?P<bar>\|)')
_MIN_PLURAL_LENGTH = 4
_MAX_LEVELS = 20


class JobTexts:
    """The texts of a job, folded (`folded`) for the search of words. Each is computed on first use."""

    def __init__(self, item: Item) -> None:
        self._item = item

    @cached_property
    def title(self) -> str:
        """The folded title."""
        return folded(self._item.title)

    @cached_property
    def description(self) -> str:
        """The description as plain text, not folded."""
        return TAG.sub("\n", unescape(self._item.description or ""))

    @cached_property
    def everything(self) -> str:
        """All folded texts: title, organization, skills, `data` and description."""
        item = self._item
        texts = (item.title, item.organization or "", *item.skills, *_strings(item.data), self.description)
        return folded("\n".join(texts))


class _Term:
    """A word or a phrase of a query."""

    def __init__(self, text: str) -> None:
        words = folded(text).split()
        self._needles = [_singular(word) for word in words]
        pattern = " ".join(re.escape(needle) + ("s?" if needle.isalpha() else "") for needle in self._needles)
        word_start = r"(?<!\w)" if pattern[:1].isalnum() else ""
        self._pattern = re.compile(rf"{word_start}{pattern}(?![\w+#])")

    def __bool__(self) -> bool:
        return bool(self._needles)

    def is_in(self, text: str) -> bool:
        # Most texts do not contain the word, and a substring search is many times faster than the pattern.
        return all(needle in text for needle in self._needles) and self._pattern.search(text) is not None


class SearchQuery:
    """A query: groups of alternative terms, of which each needs a match, and excluded terms.

    Args:
        text: The query: words, `"phrases"`, `-excluded` or `NOT excluded`, `this OR that` or `this | that`.
    """

    def __init__(self, text: str) -> None:
        self._groups: list[list[_Term]] = []
        self._excluded: list[_Term] = []
        joins = False
        for token in _TOKEN.finditer(text):
            if token["bar"] or token["word"] == "OR":
                joins = True
                continue
            term = _Term(token["phrase"] or token["word"] or "")
            if not term or token["word"] == "AND":
                continue
            if token["minus"]:
                self._excluded.append(term)
            elif joins and self._groups:
                self._groups[-1].append(term)
            else:
                self._groups.append([term])
            joins = False

    def matches(self, job: JobTexts) -> bool:
        """Return whether a job's texts have a term of each group and no excluded term."""
        if self.missing(job.title) and self.missing(job.everything):
            return False
        return not any(term.is_in(job.everything) for term in self._excluded)

    def missing(self, text: str) -> int:
        """Return the number of groups without a term in a folded text."""
        return sum(not any(term.is_in(text) for term in group) for group in self._groups)


def folded(text: str) -> str:
    """Return text in lower case, without accents, with single spaces between words and in place of hyphens."""
    text = text.casefold()
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _BETWEEN_WORDS.sub(" ", text)


def _singular(word: str) -> str:
    is_plural = word.isalpha() and len(word) >= _MIN_PLURAL_LENGTH and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if is_plural else word


def _strings(value: Json, levels: int = _MAX_LEVELS) -> Iterator[str]:
    """Yield the strings of a JSON value, except URLs, down to a depth of `levels`."""
    match value:
        case str() if "://" not in value:
            yield value
        case list() | dict() if levels > 0:
            for element in value if isinstance(value, list) else value.values():
                yield from _strings(element, levels - 1)
