"""Maps the words of different sites for job types and work modes to one vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterable

from worker.pipeline.text import clean_line, words

JOB_TYPES = ("fulltime", "parttime", "contract", "temporary", "internship", "perdiem", "volunteer", "other")
WORK_MODES = ("remote", "hybrid", "onsite")
_MAX_WORDS = 50

_JOB_TYPES = {
    "fulltime": "fulltime full fulltimejob vollzeit tempsplein tempscomplet tempopieno jornadacompleta "
    "tiempocompleto tempointegral voltijd fulltid permanent permanentfulltime fulltimepermanent regular "
    "festanstellung unbefristet cdi indefinido",
    "parttime": "parttime part teilzeit tempspartiel mitemps parttijd deltijd deltid tempoparziale mediajornada "
    "tiempoparcial jornadaparcial meioperiodo minijob permanentparttime parttimepermanent",
    "contract": "contract contractor contracttohire contractual freelance freelancer freelanceindependent independent "
    "independentcontractor selfemployed b2b c2c 1099 werkvertrag freieremitarbeit freierberuf",
    "temporary": "temporary temp temptohire temporaryfulltime temporaryparttime fixedterm fixedtermcontract "
    "limitedterm seasonal seasonaljob befristet zeitarbeit cdd interim intérim intérimaire temporal tempodeterminato "
    "tijdelijk",
    "internship": "internship intern interns trainee traineeship apprenticeship apprentice praktikum praktikant stage "
    "stagiaire alternance apprentissage ausbildung werkstudent workingstudent prácticas pasantía estágio tirocinio",
    "perdiem": "perdiem prn asneeded oncall",
    "volunteer": "volunteer volunteering voluntary ehrenamt bénévolat bénévole",
    "other": "other others",
}  # fmt: skip
_JOB_TYPE_OF = {word: job_type for job_type, listed in _JOB_TYPES.items() for word in words(listed)}

_WORK_MODE_OF = {
    "remote": "remote", "fullyremote": "remote", "telecommute": "remote", "workfromhome": "remote", "wfh": "remote",
    "homeoffice": "remote", "télétravail": "remote", "télétravailcomplet": "remote", "anywhere": "remote",
    "hybrid": "hybrid", "hybridremote": "hybrid", "hybridwork": "hybrid", "télétravailpartiel": "hybrid",
    "temporarilyremote": "hybrid", "flexible": "hybrid",
    "onsite": "onsite", "inperson": "onsite", "inoffice": "onsite", "office": "onsite", "workfromoffice": "onsite",
    "présentiel": "onsite",
}  # fmt: skip

_REMOTE = r"(?:(?:100 ?% |fully |full )?remote|work(?:ing)? from home|wfh)"
_TITLE_MODES = (
    (
        "hybrid",
        re.compile(
            r"(?i)[(\[]\s*hybrid\b|(?:[-\u2013\u2014|,/:]|^)\s*hybrid\b(?!\s*-?(?:cloud|vehicle|car|app))|\bhybrid\W*$"
        ),
    ),
    (
        "onsite",
        re.compile(
            r"(?i)[(\[]\s*(?:on-?site|in[- ]person)\b|[-\u2013\u2014|,/]\s*(?:on-?site|in[- ]person)\b|\bon-?site\W*$"
        ),
    ),
    (
        "remote",
        re.compile(
            rf"(?i)[(\[]\s*{_REMOTE}\b|[-\u2013\u2014|,/:]\s*{_REMOTE}(?=\W*$|\s*[-\u2013\u2014|,/:()])|^\s*{_REMOTE}(?=\s*[-\u2013\u2014|,/:()])"
            rf"|\b{_REMOTE}\W*$|\b(?:fully|100 ?%) remote\b|\bwork from home\b|\bwfh\b"
        ),
    ),
)
_LOCATION_MODES = (
    ("hybrid", re.compile(r"(?i)\bhybrid\b|\bpartially remote\b")),
    ("onsite", re.compile(r"(?i)\bon-?site\b|\bin[- ]person\b|\bin[- ]office\b")),
    (
        "remote",
        re.compile(r"(?i)\bremote\b|\bwork from home\b|\bwfh\b|\bt[ée]l[ée]travail\b|\banywhere\b|\bhome[- ]?office\b"),
    ),
)
_NOT = r"(?<!not )(?<!not a )(?<!no )(?<!cannot be )"
_JOB = r"(?:position|role|job|opportunity|vacancy|opening)"
_DESCRIPTION_MODES = (
    (
        "hybrid",
        re.compile(
            rf"(?i)\bhybrid(?: work| working)? (?:{_JOB}|schedule|model|arrangement|setup|setting|environment|policy)\b"
            r"|\bwork(?:place)? (?:location|setting|model|type|arrangement|mode): ?hybrid\b|#li-hybrid\b"
        ),
    ),
    (
        "onsite",
        re.compile(
            r"(?i)\b(?:this is an?|this|an?) (?:fully |100 ?% |strictly )?(?:on-?site|in[- ]person|in[- ]office) "
            rf"{_JOB}\b"
            r"|\bwork(?:place)? (?:location|setting|model|type|arrangement|mode): ?"
            r"(?:on-?site|in[- ](?:person|office))\b"
            rf"|#li-onsite\b|\b(?:not a|no|cannot be a) remote {_JOB}\b|\bremote work is not (?:available|possible)\b"
            rf"|\b{_JOB} is (?:fully |100 ?% |strictly )?(?:on-?site|in[- ](?:person|office))\b"
        ),
    ),
    (
        "remote",
        re.compile(
            rf"(?i){_NOT}\b(?:fully|100 ?%|completely|permanently|entirely)[- ]remote\b"
            rf"|{_NOT}\b(?:this is an?|this|an?) (?:full-time |part-time |permanent )?remote {_JOB}\b"
            rf"|\b{_JOB} is (?:fully |100 ?% |completely )?remote\b(?! (?:for|until|once|on|up|at|during|only))"
            r"|\bwork(?:place)? (?:location|setting|model|type|arrangement|mode): ?(?:fully )?remote\b|#li-remote\b"
            r"|\bwork from home in any\b|\bwork remotely from (?:anywhere|home)\b"
        ),
    ),
)


def job_types(named: Iterable[str]) -> tuple[str, ...]:
    """Return the job types that a site's words stand for, each once, in the order of `JOB_TYPES`.

    Args:
        named: The site's words. One text may name several types (`Full-time, Contract`).

    Returns:
        The known types; `("other",)` if the site names only unknown ones; `()` if it names none.
    """
    lines = [line for word in named if (line := clean_line(word))][:_MAX_WORDS]
    found = {job_type for line in lines for job_type in _job_types_of(line)}
    if not found and lines:
        return ("other",)
    return tuple(job_type for job_type in JOB_TYPES if job_type in found)


def _job_types_of(line: str) -> set[str]:
    if whole := _JOB_TYPE_OF.get(_letters(line)):
        return {whole}
    parts = re.split(r"[,/;|&+()]|\b(?:and|or|und|oder|et|ou)\b", line)
    return {job_type for part in parts if (job_type := _JOB_TYPE_OF.get(_letters(part)))}


def work_mode(
    word: str | None, is_remote: bool | None, title: str, location: str | None, description: str
) -> str | None:
    """Return the work mode: `remote`, `hybrid`, `onsite`, or None if it is unknown.

    The site's own word takes precedence, then the title, the location, and the description if it is unambiguous. A
    site's `is_remote` counts last, and only if it is True: many sites send False as a default.

    Args:
        word: The site's word for the work mode.
        is_remote: Whether the site marks the job as remote.
        title: One line of text.
        location: One line of text, as the site gives it.
        description: Plain text.
    """
    line = clean_line(word)
    if line and (mode := _WORK_MODE_OF.get(_letters(line))):
        return mode
    for mode, pattern in _TITLE_MODES:
        if pattern.search(title):
            return mode
    for mode, pattern in _LOCATION_MODES:
        if location and pattern.search(location):
            return mode
    lines = [line for line in description.split("\n") if _may_name_mode(line.lower())]
    described = {mode for mode, pattern in _DESCRIPTION_MODES if any(map(pattern.search, lines))}
    if len(described) == 1:
        return described.pop()
    return "remote" if is_remote and not described else None


def _may_name_mode(line: str) -> bool:
    return any(cue in line for cue in ("remote", "hybrid", "site", "person", "office", "work from home"))


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
