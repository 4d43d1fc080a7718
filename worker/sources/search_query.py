"""Matches a search query against the texts of a job."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from html import unescape
from itertools import pairwise

from worker.model import Item, Json
from worker.pipeline.folding import LETTERS_WITHOUT_DECOMPOSITION
from worker.pipeline.markdown import RAW_LENGTH
from worker.pipeline.text import without_tags

_MAX_LEVELS = 20

# Accents and vowel points, soft hyphens and zero-width characters. In a query the dots of an umlaut are kept, because
# `ä` may be written `ae`.
_UMLAUT = "\u0308"
_OTHER_MARKS = "\u00ad\u0300-\u0307\u0309-\u036f\u0591-\u05c7\u064b-\u065f\u200b-\u200f\u2060\ufeff"
_MARKS = re.compile(f"[{_UMLAUT}{_OTHER_MARKS}]+")
_MARKS_EXCEPT_UMLAUTS = re.compile(f"[{_OTHER_MARKS}]+|(?<![aou]){_UMLAUT}")
_BETWEEN_WORDS = re.compile("[\\s_/\u2010-\u2015-]+")

# Scripts without spaces between words, or with endings at the words: Thai to Burmese, Khmer, Kana, Han and Hangul.
_UNSPACED = (
    "\u0e00-\u109f\u1780-\u17ff\u3005-\u3007\u3031-\u3035\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_SPACED_LETTER = f"(?:[^\\W_{_UNSPACED}]|[\u0900-\u0dff])"  # the vowel signs of Indic scripts are no letters for `re`
_LETTER = f"(?:[^\\W_]|[{_UMLAUT}\u0900-\u109f\u1780-\u17ff])"

_JOINERS = "-\u2010-\u2015\u2212_/.:*'\u2019\u00b7\u30fb"
"""Signs within words: `front-end`, `CI/CD`, `node.js`, `driver's`, `Entwickler*in`."""

_SPACE = "[-\u2010-\u2015\u2212_/\\s]{1,3}"
_SIGN = "[.:*'\u2019\u00b7\u30fb]"
_GAP = f"(?:{_SPACE}|{_SIGN})"
_GAP_AFTER_ABBREVIATION = rf"(?:\.?{_SPACE}|{_SIGN})"
"""What may be between two words. No text has two ways to match it: with two, the time doubles with each word."""
_AND = r"(?:\s?[&+]\s?|\s(?:and|und|et|y|e|en)\s)"

# A word of a query: `.NET`, `C++`, `C#`, `R&D` and `AT&T` are one word, `node.js` and `front-end` are two.
_WORD = re.compile(rf"(?:(?<!{_LETTER})\.)?{_LETTER}+(?:&{_LETTER}+)*(?:\+\+|#(?!{_LETTER}))?")
_UNIT = re.compile(rf"[aou]{_UMLAUT}|{_LETTER}|[.&+#]")
_TRANSCRIBED_UNIT = re.compile(rf"[aou](?:{_UMLAUT}|e)|{_LETTER}|[.&+#]")
_TOKEN = re.compile(
    '(?P<minus>[-\u2010-\u2015\u2212](?=["(\\w.])|\\bNOT\\s+)?'
    r"(?:\"(?P<phrase>[^\"]*)\"|(?P<word>[^\s\"()|,;]+)|(?P<opening>\())|(?P<closing>\))|(?P<bar>\|)"
)
_QUOTES = re.compile("[\u201c-\u201f\u00ab\u00bb\u2039\u203a\u300c-\u300f\u301d-\u301f\u2033\uff02]")
_SINGLE_QUOTED = re.compile('(?<!\\w)[\u2018\u201a\u201b]([^"\u2018\u201a]*?)[\u2018\u2019](?!\\w)')
_INITIALS = re.compile(r"(?<!\w)(\w)\s*&\s*(?=\w(?!\w))")
_GENDERS = re.compile(
    r"(?i)\(?(?<!\w)(?:[dxi][/|*])?(?:m[/|*][wf]|[wf][/|*]m|h[/|*]f|f[/|*]h)(?:[/|*][dxi*])?(?!\w)\)?"
)
_GENDER_ENDING = re.compile(r"(?<=\w{4})(?:[:*_]|/-?|\(-?)in(?:nen)?\b\)?")

_MAX_LENGTH_OF_ABBREVIATION = 3
_MAX_WORDS_OF_COMPOUND = 3
"""Most words that may be closed with other endings than their own: `Verkaufsleiter` for `verkauf leiter`."""
_MIN_LENGTH_WITH_PLURAL = 3
_MIN_LENGTH_WITH_TRANSCRIPTION = 6
_MIN_LENGTH_WITH_ROMANCE_PLURAL = 6
_NO_PLURALS = frozenset({"canvas", "canva", "lens", "new", "news"})
"""Words whose plural or singular by the rules would be a different word."""


class JobTexts:
    """The texts of a job, prepared for `SearchQuery`. Each is computed on first use."""

    def __init__(self, item: Item) -> None:
        self._item = item

    @cached_property
    def title(self) -> str:
        """The title, without case and accents."""
        return _plain_letters(self._item.title)

    @cached_property
    def description(self) -> str:
        """The description as plain text, with case and accents, as far as `to_markdown` reads it."""
        return without_tags(unescape((self._item.description or "")[:RAW_LENGTH]), "\n")

    @cached_property
    def everything(self) -> str:
        """All texts without case and accents: title, organization, skills, `data` and description."""
        item = self._item
        texts = (item.title, item.organization or "", *item.skills, *_strings(item.data), self.description)
        return _plain_letters("\n".join(texts))


class SearchQuery:
    """A query: groups of alternative terms, of which each needs a match, and excluded terms.

    A term matches whole words. Case, accents, plural forms, and whether a compound is written open, hyphenated or
    closed (`front end`, `front-end`, `frontend`) do not matter.

    Args:
        text: The query: words, `"phrases"`, `-excluded` or `NOT excluded`, `this OR that` or `this | that`.
    """

    def __init__(self, text: str) -> None:
        groups, excluded = _parse(text)
        self._excluded = [_Term(words) for words in excluded]
        self._groups = [[_Term(words) for words in group] for group in groups]
        for index, pair in enumerate(pairwise(groups)):
            match pair:
                case [[[first]], [[second]]] if _may_be_split(len(first), len(first + second)):
                    compound = _Term([first, second])
                    self._groups[index].append(compound)
                    self._groups[index + 1].append(compound)

    def matches(self, job: JobTexts) -> bool:
        """Return whether a job's texts have a term of each group and no excluded term."""
        if self.missing(job.title) and self.missing(job.everything):
            return False
        return not any(term.is_in(job.everything) for term in self._excluded)

    def missing(self, text: str) -> int:
        """Return the number of groups without a term in a text of `JobTexts`."""
        return sum(not any(term.is_in(text) for term in group) for group in self._groups)


class _Term:
    """A word, or words that follow each other: a phrase or a compound."""

    def __init__(self, words: Sequence[str]) -> None:
        pattern = ""
        for before, word in pairwise(words):
            are_numbers = before[-1].isdigit() and word[0].isdigit()
            # `Jr. Developer`, but not `Big data. Engineer wanted`.
            gap = _GAP_AFTER_ABBREVIATION if len(before) <= _MAX_LENGTH_OF_ABBREVIATION else _GAP
            if are_numbers:
                pattern += _spellings(before) + gap
            elif len(words) <= _MAX_WORDS_OF_COMPOUND:
                pattern += _spellings(before) + gap + "?"
            else:
                pattern += _spellings_in_phrase(before, gap)
        pattern += _spellings(words[-1])
        first = re.escape(words[0][0])
        # `re` searches for the first letter fast if the assertion about what precedes it comes after it.
        self._search = re.compile(first + _start(words[0]) + pattern.removeprefix(first) + _end(words[-1])).search

    def is_in(self, text: str) -> bool:
        """Return whether a text of `JobTexts` has the term."""
        return self._search(text) is not None


def _parse(query: str) -> tuple[list[list[list[str]]], list[list[str]]]:
    """Return the groups of alternative terms and the excluded terms of a query, each term as its words."""
    groups: list[list[list[str]]] = []
    excluded: list[list[str]] = []
    joins = excludes_group = False
    for token in _TOKEN.finditer(_INITIALS.sub(r"\1&", _GENDERS.sub(" ", _with_plain_quotes(query)))):
        words = [] if token["word"] in ("AND", "OR") else _words_of(token["phrase"] or token["word"] or "")
        if token["opening"] or token["closing"]:
            excludes_group = bool(token["opening"] and token["minus"])
        elif token["bar"] or token["word"] == "OR":
            joins = True
        elif words:
            if token["minus"] or excludes_group:
                excluded.append(words)
            elif joins and groups:
                groups[-1].append(words)
            else:
                groups += [[part, words] for part in _parts(token["word"])] or [[words]]
            joins = False
    return groups, excluded


def _parts(word: str | None) -> list[list[str]]:
    """Return the words of each part of `sales/marketing`, which a text may name in any order; of `24/7` nothing."""
    parts = [_words_of(part) for part in (word or "").split("/")]
    return parts if len(parts) > 1 and all(any(map(str.isalpha, words)) for words in parts) else []


def _words_of(text: str) -> list[str]:
    """Return the words of a part of a query, in lower case and without accents except umlauts."""
    text = _MARKS_EXCEPT_UMLAUTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    text = _UMLAUT.join(unicodedata.normalize("NFKC", part) for part in text.split(_UMLAUT))
    return _WORD.findall(re.sub(r"\s+&\s+", "&", _GENDER_ENDING.sub("", text.translate(LETTERS_WITHOUT_DECOMPOSITION))))


# Patterns of words --------------------------------------------------------------------------------------------------


def _start(word: str) -> str:
    """Return an assertion, to follow the first letter of a word: it is not within another word."""
    first = word[0]
    if first == "." or _IS_UNSPACED.match(first):
        return ""
    within = rf"(?<!{_SPACED_LETTER}{re.escape(first)})"
    return within + (rf"(?<!\w&{first})(?<!\w & {first})" if len(word) == 1 else "")


def _end(word: str) -> str:
    last = word[-1]
    if _IS_UNSPACED.match(last):
        return ""
    signs = "" if last in "+#" else rf"(?!\+\+|#(?!{_LETTER}))"
    initials = r"(?! ?& ?[^\W_](?![^\W_+#]))" if len(word) == 1 else ""
    return rf"(?!{_SPACED_LETTER})" + signs + initials


def _spellings(word: str) -> str:
    """Return a pattern of all spellings of a word: closed, hyphenated and open, singular and plural, `ä` and `ae`."""
    stem, endings = _inflected(word)
    return _spellings_of_stem(word, stem) + (f"(?:{'|'.join(endings)})" if endings else "")


def _spellings_in_phrase(word: str, gap: str) -> str:
    """Return a pattern of all spellings of a word and the gap behind it. Without a gap, the word has its own ending.

    Of `ses`, both `ses` and `se` are forms, so that with any ending, `sesesses` could be read as such words in several
    ways, and in twice as many with each word more.
    """
    stem, endings = _inflected(word)
    if not endings:
        return _spellings(word) + gap + "?"
    return _spellings_of_stem(word, stem) + f"(?:(?:{'|'.join(endings)}){gap}|{word[len(stem) :]})"


def _spellings_of_stem(word: str, stem: str) -> str:
    unit = _TRANSCRIBED_UNIT if len(word) >= _MIN_LENGTH_WITH_TRANSCRIPTION else _UNIT
    units = unit.findall(stem)
    pattern = _spelling(units[0]) if units else ""
    for index, (before, after) in enumerate(pairwise(units), 1):
        pattern += _joint(before, after, index, len(units)) + _spelling(after)
    return pattern


def _spelling(unit: str) -> str:
    if unit == "&":
        return _AND
    return unit[0] + "e?" if len(unit) > 1 else re.escape(unit)


def _joint(before: str, after: str, index: int, length: int) -> str:
    """Return a pattern of what a text may have between two letters of a word that a query has closed."""
    if not (before[0].isalnum() and after[0].isalnum()) or (before.isdigit() and after.isdigit()):
        return ""
    return rf"(?:[{_JOINERS}]|\s{{1,3}})?" if _may_be_split(index, length) else f"[{_JOINERS}]?"


def _may_be_split(index: int, length: int) -> bool:
    """Return whether two words of `index` and `length - index` letters may be a compound.

    Two short words are more often only neighbors (`I am`, `is it`) than parts of a compound.
    """
    shorter, longer = sorted((index, length - index))
    return longer >= (3 if shorter > 1 else 5)


def _inflected(word: str) -> tuple[str, tuple[str, ...]]:
    """Return the common stem of a word's singular and plural forms, and the endings, if there are several forms."""
    if not (word.isascii() and word.isalpha()) or len(word) < _MIN_LENGTH_WITH_PLURAL or word in _NO_PLURALS:
        return word, ()
    forms = {word}
    for singular in _singulars(word):
        forms |= {singular, *_plurals(singular)}
    stem = word
    while not all(form.startswith(stem) for form in forms):
        stem = stem[:-1]
    return stem, tuple(sorted((form[len(stem) :] for form in forms), key=len, reverse=True))


def _singulars(word: str) -> tuple[str, ...]:
    """Return what a word may be the plural of, by its ending; the word itself if it is no plural."""
    if word.endswith("ies"):
        return word[:-3] + "y", word[:-1]
    if word.endswith("ses"):
        return word[:-1], word[:-2], word[:-2] + "is"
    if word.endswith(("xes", "zes", "ches", "shes")):
        return word[:-2], word[:-1]
    if len(word) <= _MIN_LENGTH_WITH_PLURAL or not re.search("(?<![su])(?<!...i)s$", word):
        return (word,)
    is_romance = word.endswith(("des", "les", "nes", "res")) and len(word) >= _MIN_LENGTH_WITH_ROMANCE_PLURAL + 2
    return (word[:-1], word[:-2]) if is_romance else (word[:-1],)


def _plurals(word: str) -> tuple[str, ...]:
    if re.search("[^aeiou]y$", word):
        return (word[:-1] + "ies",)
    if word.endswith("is"):
        return (word[:-2] + "es",)
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (word + "es",)
    is_romance = word.endswith(("d", "l", "n", "r")) and len(word) >= _MIN_LENGTH_WITH_ROMANCE_PLURAL
    return (word + "s", word + "es") if is_romance else (word + "s",)


# Letters ------------------------------------------------------------------------------------------------------------


def folded(text: str) -> str:
    """Return text in lower case, without accents, with single spaces between words and in place of hyphens."""
    return _BETWEEN_WORDS.sub(" ", _plain_letters(text))


def _plain_letters(text: str) -> str:
    """Return text in lower case, without accents, and with compatible characters (full-width letters) as usual ones."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", _MARKS.sub("", text)).translate(LETTERS_WITHOUT_DECOMPOSITION)


def _with_plain_quotes(query: str) -> str:
    return _SINGLE_QUOTED.sub(r'"\1"', _QUOTES.sub('"', query))


def _strings(value: Json, levels: int = _MAX_LEVELS) -> Iterator[str]:
    """Yield the strings of a JSON value, except URLs, down to a depth of `levels`."""
    match value:
        case str() if "://" not in value:
            yield value
        case list() | dict() if levels > 0:
            for element in value if isinstance(value, list) else value.values():
                yield from _strings(element, levels - 1)
