"""Finds the parts of a description that are not about the job: legal notices, notices about applying, and benefits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from worker.pipeline.lines import has_any, lines_with

_NEAR = 300
_MAX_HEADING = 50
_MAX_SECTIONS = 20

_APPLICANTS = (
    r"(?:applicants?|candidates?|candidacy|(?:job|your|each|all|incoming) applications?"
    r"|applications? (?:may|might|can|will|are)|r[eé]sum[eé]s?|cvs?|bewerb\w+|candidatures?|candidats?"
    r"|sollicita\w+|candidaturas?|candidat[oi]s?)"
)
_SELECTION = (
    r"(?:screen|review|assess|evaluat|rank|shortlist|select|scor|filter|analys|reject|accept|match|support|vorausgew"
    r"|bewert)\w*"
)
_AUTOMATED = re.compile(
    r"\b(?:ai|ki|ia|artificial intelligence|machine[- ]learning|natural language|automat\w+|algorithm\w*|genai"
    r"|generative)\b"
)
_APPLYING = re.compile(
    rf"\b{_APPLICANTS}\b[^.;]{{0,60}}?\b{_SELECTION}|\b{_SELECTION}[^.;]{{0,60}}?\b{_APPLICANTS}\b"
    r"|\b(?:screen|review|rank|shortlist)\w*[^.;]{0,30}?\bapplications?\b"
    r"|\b(?:hiring|recruitment|recruiting|selection|application|interview) (?:process|decision|procedure|purpose)"
    r"|\byour (?:application|interview)\b"
)
_NOTICE = re.compile(
    r"\binterviews?\b[^.;]{0,40}?\b(?:via|on|over|through|by|using)\b|\bnever (?:ask|contact|request|interview)"
    r"|\bscams?\b|\bphishing\b|\bfraudulent (?:job|recruit|offer)"
    r"|\bequal (?:employment )?opportunit|\bregardless of\b|\bwithout regard to\b|\bprotected (?:veteran|class|charact)"
    r"|\bnot discriminate\b|\breasonable accommodations?\b|\baffirmative action\b|\bchancengleichheit"
    r"|\b[eé]galit[eé] des chances\b"
    r"|\bbenefits? (?:include|package|such as|like)\b|\bperks\b|\ballowance\b|\bstipend\b|\bpaid time off\b"
    r"|\bemployee assistance\b|\btuition (?:assistance|reimbursement)|\bwellness (?:program|benefit|budget|day)"
    r"|\b(?:medical|health|dental),? (?:and )?(?:dental|vision)\b|\b(?:learning|training) budget\b"
    r"|\bweiterbildungsbudget"
    r"|\b(?:employee|staff) discount|\bopleidingsbudget\b|\bmutuelle\b"
)
_APPLYING_CUES = (
    "applica", "candida", "resum", "résum", "cv", "bewerb", "sollicit", "hiring", "recruit", "selection", "interview",
)  # fmt: skip
_NOTICE_CUES = (
    "interview", "never", "scam", "phish", "fraudulent", "opportunit", "regard", "protected", "discriminat",
    "accommodation", "affirmative", "chancen", "chances", "benefit", "perks", "allowance", "stipend", "time off",
    "employee assist", "tuition", "wellness", "dental", "vision", "budget", "discount", "mutuelle",
)  # fmt: skip
"""Parts of words of which each match has at least one: most sentences have none, and this is faster to find out."""

_HEADING = re.compile(
    r"(?:our |the |your |employee |company )?(?:benefits?(?: (?:and|&) perks| package)?|perks(?: (?:and|&) benefits)?"
    r"|what we offer(?: you)?|we offer|compensation (?:and|&) benefits|equal opportunity(?: employer| statement)?"
    r"|eeo statement|legal notice|wir bieten(?: ihnen| dir)?|das bieten wir(?: ihnen| dir)?|unser angebot"
    r"|(?:deine|ihre) (?:benefits|vorteile)|(?:ce que )?nous offrons|avantages|wij bieden(?: jou)?"
    r"|wat bieden wij(?: jou)?|arbeidsvoorwaarden|ofrecemos|beneficios|que ofrecemos|cosa offriamo|benefit"
    r"|oferujemy|co oferujemy|benefity"
    r"|vi erbjuder|vi tilbyder)[:?!]?"
)
_HEADING_CUES = (
    "benefi", "perks", "offer", "equal opp", "eeo", "legal notice", "bieten", "angebot", "vorteile", "nous offrons",
    "avantages", "arbeidsvoorwaarden", "ofrecemos", "offriamo", "oferujemy", "erbjuder", "tilbyder",
)  # fmt: skip
_LIST = re.compile(r"(?:\s*\n[ \t]*(?:[-*+\u2022\u00b7]|\d{1,3}[.)])[^\n]*+)++")
_PARAGRAPH = re.compile(r"\s*\n(?:[^\n]*[^\s][^\n]*+\n?)++")
_SENTENCE_END = re.compile(r"[.;!?](?=\s)|\n")


class Notices:
    """The notices of a text.

    Args:
        text: Plain text.
    """

    def __init__(self, text: str) -> None:
        lower = text.lower()
        self._text = lower if len(lower) == len(text) else "".join(map(_lower, text))
        self._sections = list(islice(self._notice_sections(), _MAX_SECTIONS))
        self._sentence = (0, 0)
        self._is_notice = False

    def has(self, index: int) -> bool:
        """Return whether the section or the sentence at an index of the text is a notice."""
        if any(start <= index < end for start, end in self._sections):
            return True
        if not self._sentence[0] <= index < self._sentence[1]:
            self._sentence = start, end = self._sentence_at(index)
            sentence = self._text[start:end]
            self._is_notice = _is_notice(sentence)
        return self._is_notice

    def _sentence_at(self, index: int) -> tuple[int, int]:
        start = max(0, index - _NEAR)
        for boundary in _SENTENCE_END.finditer(self._text, start, index):
            start = boundary.end()
        end = _SENTENCE_END.search(self._text, index, index + _NEAR)
        return start, end.start() if end else index + _NEAR

    def _notice_sections(self) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of what is below each heading of a notice: a list or a paragraph."""
        for start, end in lines_with(self._text, _HEADING_CUES):
            if end - start <= _MAX_HEADING and _HEADING.fullmatch(self._text[start:end].strip("#>*-: ")):
                section = _LIST.match(self._text, end) or _PARAGRAPH.match(self._text, end)
                if section:
                    yield section.span()


def _is_notice(sentence: str) -> bool:
    if has_any(sentence, _APPLYING_CUES) and _AUTOMATED.search(sentence) and _APPLYING.search(sentence):
        return True
    return has_any(sentence, _NOTICE_CUES) and _NOTICE.search(sentence) is not None


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character
