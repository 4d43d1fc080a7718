"""Extracts the years of experience that a job description requires."""

from __future__ import annotations

import re
from itertools import islice

MAX_YEARS = 20
"""Larger numbers are a company's own age or experience."""

_COMPANY_YEARS = 10
_CLAUSE_LENGTH = 120
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(_NUMBERS)})"
_IN_DIGITS = r"(?: ?\(\d{1,2}\))?"
_YEARS = re.compile(
    rf"(?i)(?<![\w.,$€£/\u2013-])(?P<least>{_NUMBER}){_IN_DIGITS}"
    rf"(?: ?\+)?(?: ?(?:-|\u2013|\u2014|to) ?{_NUMBER}{_IN_DIGITS})?"
    r"(?: ?\+| or more| plus)?[ -]?(?:years?|yrs?)\b['\u2019]?"
    r"(?![ -](?:old|of age|or older|and older|(?:college|university|degree|associate|bachelor|diploma|contract"
    r"|commitment|program|warranty|lease|term)))"
)
_EXPERIENCE = re.compile(r"(?i)^[^.;:!?\n]{0,90}?\b(?:experience|exp)\b")
_REQUIRED = re.compile(r"(?i)^ ?\(required\)")
_DEMAND = re.compile(
    r"(?i)\b(?:minimum(?: of)?|min\.?|at least|experience(?: required)?|requires?|required|must have)"
    r"(?: an?| the)?[ :]*$"
)
_FIELD_OF_WORK = re.compile(r"(?i)^ (?:in|as|working|with|recent|hands-on)\b|^[.,;]? ?$")
_PREFERENCE = re.compile(
    r"(?i)\bpreferred\b|\ba plus\b|\bnice to have\b|\bdesir|\bideally\b|\bmay be substituted\b|\bin lieu\b"
    r"|\bcombined (?:with|exp)"
)
_PERIOD_BEFORE = re.compile(r"(?i)\b(?:past|last|next|first|within(?: the)?|after|every|for the)\s*$")
_COMPANY_BEFORE = re.compile(
    r"(?i)\b(?:over|nearly|almost|more than|celebrating|(?:we|us|our \w+|company|team) (?:have|has|bring|brings))\s*$"
)
_ALTERNATIVE_BEFORE = re.compile(r"(?i)\bor(?: a)?(?: minimum of| at least)?\s*$")
_CLAUSE_END = re.compile(r"[;!?]|\.\s")
_MAX_HEADING_LENGTH = 60
_MAX_MENTIONS = 50


def experience_years(description: str) -> int | None:
    """Return the least number of years of experience that a description requires, or None.

    Each line is a requirement, and the greatest one counts. If a line offers an alternative (`3 years with a degree or
    5 years`), its least number counts. Preferences, ages and the company's own years are not requirements.

    Args:
        description: Plain text.
    """
    requirements = []
    is_preferred_section = False
    for line in description.split("\n"):
        if _is_heading(line):
            is_preferred_section = bool(_PREFERENCE.search(line))
        if not is_preferred_section and (years := _years_of_line(line)) is not None:
            requirements.append(years)
    return max(requirements, default=None)


def _is_heading(line: str) -> bool:
    line = line.strip()
    return 0 < len(line) <= _MAX_HEADING_LENGTH and (line.endswith(":") or line.startswith("#") or line.isupper())


def _years_of_line(line: str) -> int | None:
    required: int | None = None
    for mention in islice(_YEARS.finditer(line), _MAX_MENTIONS):
        before = _CLAUSE_END.split(line[max(0, mention.start() - _CLAUSE_LENGTH) : mention.start()])[-1]
        after = _CLAUSE_END.split(line[mention.end() : mention.end() + _CLAUSE_LENGTH], maxsplit=1)[0]
        years = _to_number(mention["least"])
        if not _is_requirement(before, after, years):
            continue
        if not _ALTERNATIVE_BEFORE.search(before):
            required = max(years, required or 0)
        elif required is not None:
            required = min(years, required)
    return required


def _to_number(word: str) -> int:
    return int(word) if word.isdecimal() else _NUMBERS.index(word.lower()) + 1


def _is_requirement(before: str, after: str, years: int) -> bool:
    if years > MAX_YEARS or _PERIOD_BEFORE.search(before) or _PREFERENCE.search(before):
        return False
    if (preference := _PREFERENCE.search(after)) and not re.search(r"(?i)\brequired\b", after[: preference.start()]):
        return False
    if years >= _COMPANY_YEARS and _COMPANY_BEFORE.search(before):
        return False
    is_listed = _REQUIRED.match(after) or (_DEMAND.search(before) and _FIELD_OF_WORK.match(after))
    return bool(is_listed or _EXPERIENCE.match(after))
