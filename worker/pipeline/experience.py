"""Extracts the years of experience that a job description requires."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from worker.pipeline.text import any_of

MAX_YEARS = 20
"""Larger numbers are a company's own age or experience."""

_COMPANY_YEARS = 10
_CLAUSE_LENGTH = 120
_LENGTH_BEFORE_UNIT = 48
_MAX_MENTIONS = 100
_HEADING_LENGTH = 60
_MAX_LINES_ABOVE = 60

# In lower case: English, German, Dutch, French, Spanish, Portuguese, Italian, Swedish, Danish, Norwegian, Polish.
_WORDS = (
    "one ein eine einem einen een één un une uno una um uma en ett et",
    "two zwei twee deux dos dois due två to dwa",
    "three drei drie trois tres três tre trzy",
    "four vier quatre cuatro quatro quattro fyra fire cztery",
    "five fünf vijf cinq cinco cinque fem pięć",
    "six sechs zes seis sei sex seks sześć",
    "seven sieben zeven sept siete sete sette sju syv siedem",
    "eight acht huit ocho oito otto åtta otte åtte osiem",
    "nine neun negen neuf nueve nove nio ni dziewięć",
    "ten zehn tien dix diez dez dieci tio ti dziesięć",
)
_NUMBERS = {word: number for number, listed in enumerate(_WORDS, 1) for word in listed.split()}
_OR_MORE = frozenset(("more", "mehr", "meer", "plus", "más", "più", "mais", "full", "volle"))
_NUMBER = rf"(?:\d{{1,2}}|{any_of(' '.join(_NUMBERS))})"
_IN_DIGITS = r"(?: ?\(\d{1,2}\))?"
_TO = any_of("- / to and or bis und tot en à et a y o e till til do i")

# A search starts fast from one set of characters: the first letters of the words for years.
_UNIT = re.compile(
    r"[yjaålr](?<![^\W\d_].)(?:(?<=y)(?:ea)?rs?|(?<=j)(?:ahre?n?|ährige[mnrs]?|aar|aren)|(?<=[0-9] a)n"
    r"|(?<=a)(?:ns|nnées?|ños?|nos?|nn[io])|(?<=å)rs?|(?<=l)(?:ata?|etni\w{0,3})|(?<=r)oku?)\b"
)
_YEARS = re.compile(
    rf"(?<![\w.,$€£/“-])(?P<least>{_NUMBER}){_IN_DIGITS}(?: ?\+)?(?: ?{_TO} ?{_NUMBER}{_IN_DIGITS})?"
    r"(?: ?\+|(?: or| oder| of| ou| o)? (?:more|mehr|meer|más|più|mais)|[ -]plus)?[ -]?(?:full |volle )?$"
)
_COUNT_AFTER = re.compile(r"years? of (?:\w+ )?experience(?: required)? ?[:=-] ?(\d{1,2})(?!\d| ?%)")
_OF_SOMETHING_ELSE = re.compile(
    r"'?[ -]"
    + any_of(
        """
        old\\b of~age or~older and~older alt\\b oud\\b college university degree associate bachelor diploma contract
        commitment program warranty lease term fixed vertrag ausbildung
        """
    )
)
_EXPERIENCE = any_of(
    r"""
    experience \bexp\b erfahrung ervaring expérience experiencia experiência esperienza erfarenhet erfaring doświadczeni
    """
)
_EXPERIENCE_AFTER = re.compile(rf"^[^.;:!?\n]{{0,90}}?{_EXPERIENCE}")
_EXPERIENCE_BEFORE = re.compile(rf"{_EXPERIENCE}\w*[^.;!?\n]{{0,30}}$")
_REQUIRED = re.compile(
    rf"^ ?\({any_of('required erforderlich vereist requis obligatoire obligatorio obrigatório richiesto')}\)"
)
_DEMAND = re.compile(
    r"\b"
    + any_of(
        r"""
        minimum(?:~of)? min\.? at~least requires? required must~have experience over more~than mindestens mind\.
        minimaal minstens ten~minste au~moins al~menos mínimo~de pelo~menos almeno minst mindst co~najmniej
        """
    )
    + "(?: an?| the)?[ :]*$"
)
_WORK = any_of(
    r"""
    work practice develop\w* program\w* coding design\w* engineering manage(?:ment|rial) managing leadership leading
    sales selling marketing consult\w+ account(?:ing|ancy) nursing teaching testing building administration
    customer~service analysis analytics operations research recruit\w+ manufacturing (?:hands-on|professional|industry)
    """
)
_FIELD_OF_WORK = re.compile(
    r"^'? "
    + any_of(
        """
        in as with within recent (?!going|missing|remaining|running)\\w{3,}ing hands-on
        post[~-]qualif\\w+ proven als im dans comme en como nel jako
        """
    )
    + rf"\b|^'? of (?:[\w/&.,+#-]+ ){{0,4}}?{_WORK}\b|^[.,;)]? ?$"
)
_PREFERENCE = re.compile(
    any_of(
        r"""
        \bpreferred\b \bpreferabl[ey]~\d \ba~plus\b \bnice[~-]to[~-]haves?\b \bdesir \bideal \badvantage
        \bmay~be~substituted\b \bin~lieu\b \bcombined~(?:with|exp) wünschenswert von~vorteil \bbevorzugt bij~voorkeur
        \been~pré\b \bun~plus\b \batout\b \bsouhait \bserait\b \bidéal \bdeseable \bvalor(?:ará|able) \bdesejáve
        \bdiferencial \bpreferibil \bgradit meriterande önskvärt \bfordel\b mile~widzian \batutem\b
        """
    )
)
_PERIOD = any_of(
    r"""
    past last next first within(?:~the)? after every for~the seit(?:~über)? letzten nächsten nach sinds afgelopen
    depuis(?:~plus~de)? dernières il~y~a últimos desde~hace ultimi da~oltre senaste ostatnich od~ponad
    """
)
_MAXIMUM = any_of(
    r"""
    up~?to (?:no|not)~more~than less~than fewer~than under max(?:imum|imal|imaal)?(?:~of)?\.? bis~zu höchstens
    weniger~als tot minder~dan jusqu'à moins~de hasta máximo(?:~de)? menos~de fino~a massimo meno~di até högst maks\.?
    do
    """
)
_PERSON = any_of(
    r"age[sd]? child(?:ren)? kids kinder\w* \w{0,12}alter leeftijd enfants niñ[oa]s bambini crianças barn dzieci"
)
_DURATION = any_of(
    r"""
    contract duration warranty apprenticeship \w{0,12}ausbildung \w{0,12}vertrag\w* laufzeit opleiding formation
    contrat(?:to|o)?
    """
)
_BEFORE_SOMETHING_ELSE = re.compile(
    rf"\b(?:{_PERIOD}\s*|{_MAXIMUM}\s*|{_PERSON}\b[^.;]{{0,20}}|{_DURATION}\b[^.;,]{{0,15}})$"
)
_HELD = any_of("for held since over of depuis desde da dal sinds seit")
_DRIVING_LICENCE = any_of(
    r"""
    driv(?:ing|er'?s?)~licen[cs]e führerschein rijbewijs permis~de~conduire permiso~de~conducir carnet~de~conducir
    patente~di~guida prawo~jazdy körkort
    """
)
_NOT_WORKED = re.compile(
    rf"\b(?:{_DRIVING_LICENCE}|(?:licen[cs]e|visa|passport|permit)\b[^.;,()&+]{{0,25}}\b{_HELD}"
    r"|(?:liv(?:ed?|ing)|resid(?:ed?|ing|ent)|(?:permanent )?residen(?:ce|cy)) (?:in|of|at|for)|right to work"
    r"|vest(?:ing|s|ed)?|commit(?:ment|ted|ting|s)?|stay(?:ing)?|remain(?:ing)?)\b"
    r"(?:(?! - |\b(?:and|with|plus|und|mit|et|avec|y|con|en|met)\b)[^.;,()&+]){0,40}$"
)
"""What takes years, but is no work: holding a licence, living in a country, staying with an employer."""
_COMPANY_BEFORE = re.compile(
    r"\b"
    + any_of(
        r"""
        over nearly almost more~than celebrat\w+ (?:we|us|our~\w+|company|team)~(?:have|has|bring|brings) wir unser\w*
        wij ons onze nous notre nos nuestr\w+ noss\w+ nostr\w+ vår\w* vores nasz\w*
        """
    )
    + r"\b[^.;]{0,25}$"
)
_COMPANY_AFTER = re.compile(rf"\b{any_of('our unser[a-z]* ons onze notre nuestra nossa nostra vår nasza')}\b")
_ALTERNATIVE_BEFORE = re.compile(r"\b(?:or|oder|ou)(?: an?)?(?: minimum of| at least)?\s*$")
_OR = re.compile(r"\b(?:or|oder|ou)\b|/")
_DEGREE = re.compile(
    r"\b"
    + any_of(
        r"""
        bachelor master ph\.?~?d doctora associate diploma degree high~school bsc?\b msc?\b ba\b ma\b mba\b b\.s m\.s
        licen[cs] laurea studium hbo\b mbo\b wo\b
        """
    )
)
_CLAUSE_END = re.compile(r"[;!?]|\.\s|,? (?:ideally|preferably|idealerweise|idéalement|idealmente)(?= \d)")
_ABBREVIATION = re.compile(r"\b(?:min|mind|max|exp|ca|approx|incl|inkl)$")
_PREFERRED_SECTION = re.compile(
    r"^\W*(?:preferred|desired|nice[- ]to[- ]haves?|bonus)\b.{0,25}?"
    r"(?:qualifications?|skills?|experience|requirements?|points?)?\W*$"
)
_REQUIREMENTS_SECTION = re.compile(
    any_of(
        """
        requirement qualification experience must~have what~you(?:.ll)?~need you~have anforderung profil erfahrung
        voraussetzung eisen ervaring requis expérience experiencia experiência requisit esperienza kvalifikation
        erfarenhet wymagania doświadczenie
        """
    )
)
_PLAIN = str.maketrans("\u2013\u2014\u2011\u2019", "---'")


class _Mention(NamedTuple):
    """A number of years in a line.

    Attributes:
        years: The number, or the lower one of a range.
        start: Where it starts in the line.
        end: Where it ends.
        is_open: Whether it is a range or has a plus sign (`3-5 years`, `5+ years`).
    """

    years: int
    start: int
    end: int
    is_open: bool


def experience_years(description: str) -> int | None:
    """Return the least number of years of experience that a description requires, or None.

    Each line is a requirement, and the greatest one counts. If a line offers an alternative (`3 years with a degree or
    5 years`), its least number counts. Preferences, maxima, ages and the company's own years are not requirements.

    Args:
        description: Plain text.
    """
    requirements = []
    lines: list[str] = []
    text = description.lower()
    for number, line, mentions in islice(_lines(text), _MAX_MENTIONS):
        lines = lines or description.split("\n")
        heading = _heading(lines, number)
        if not _is_preferred(heading) and (years := _years_of_line(line, mentions, heading)) is not None:
            requirements.append(years)
    return max(requirements, default=None)


def _lines(text: str) -> Iterator[tuple[int, str, list[_Mention]]]:
    """Yield each line of a text that mentions years: its number, itself, and what it mentions."""
    number = end = 0
    for unit in _UNIT.finditer(text):
        if unit.start() < end:
            continue
        start = text.rfind("\n", end, unit.start()) + 1 or end
        number += text.count("\n", end, start)
        end = text.find("\n", unit.start())
        end = len(text) if end < 0 else end
        line = text[start:end]
        line = line if line.isascii() else line.translate(_PLAIN)
        mentions = list(islice(_mentions(line), _MAX_MENTIONS))
        if mentions:
            yield number, line, mentions


def _mentions(line: str) -> Iterator[_Mention]:
    for unit in _UNIT.finditer(line):
        if counted := _COUNT_AFTER.match(line, unit.start()):
            yield _Mention(int(counted[1]), counted.start(1), counted.end(), is_open=True)
        offset = max(0, unit.start() - _LENGTH_BEFORE_UNIT)
        before = line[offset : unit.start()]
        if not _may_end_with_number(before) or _OF_SOMETHING_ELSE.match(line, unit.end()):
            continue
        if found := _YEARS.search(before):
            word = found["least"]
            years = int(word) if word.isdecimal() else _NUMBERS[word]
            is_open = len(found[0].rstrip()) > len(word)
            yield _Mention(years, offset + found.start(), unit.end(), is_open)


def _may_end_with_number(text: str) -> bool:
    """Return whether `_YEARS` may match at the end of a text. Most words for years follow none."""
    last = text.rstrip(" -+)").rpartition(" ")[2]
    return last[-1:].isdecimal() or last in _NUMBERS or last in _OR_MORE or "-" in last


def _heading(lines: list[str], number: int) -> str:
    """Return the last heading above a line, in lower case, or an empty text."""
    for index in range(number - 1, max(-1, number - _MAX_LINES_ABOVE), -1):
        line = lines[index].strip()
        if 0 < len(line) <= _HEADING_LENGTH and (
            line.endswith(":") or line.startswith("#") or line.isupper() or _PREFERRED_SECTION.match(line.lower())
        ):
            return line.lower()
    return ""


def _is_preferred(heading: str) -> bool:
    return bool(_PREFERENCE.search(heading) or _PREFERRED_SECTION.match(heading))


def _years_of_line(line: str, mentions: list[_Mention], heading: str) -> int | None:
    if len(mentions) == 1 and _is_whole(line, mentions[0]) and _REQUIREMENTS_SECTION.search(heading):
        return mentions[0].years if mentions[0].years <= MAX_YEARS else None
    required: int | None = None
    end = 0
    for mention in mentions:
        before, after = _clauses(line, mention)
        between = line[max(end, mention.start - _CLAUSE_LENGTH) : mention.start]
        if not _is_requirement(before, after, mention):
            continue
        is_alternative = _ALTERNATIVE_BEFORE.search(before) or (end and _OR.search(between) and _DEGREE.search(between))
        if end and not is_alternative:
            is_alternative = _DEGREE.search(between) and _DEGREE.search(line[:end])
        if not is_alternative:
            required = max(mention.years, required or 0)
        elif required is not None:
            required = min(mention.years, required)
        end = mention.end
    return required


def _is_whole(line: str, mention: _Mention) -> bool:
    return not re.search(r"\w", line[: mention.start] + line[mention.end :])


def _clauses(line: str, mention: _Mention) -> tuple[str, str]:
    before = line[max(0, mention.start - _CLAUSE_LENGTH) : mention.start]
    for end in reversed(list(_CLAUSE_END.finditer(before))):
        if not _ABBREVIATION.search(before[: end.start()]):
            before = before[end.end() :]
            break
    return before, _CLAUSE_END.split(line[mention.end : mention.end + _CLAUSE_LENGTH], maxsplit=1)[0]


def _is_requirement(before: str, after: str, mention: _Mention) -> bool:
    if mention.years > MAX_YEARS or _BEFORE_SOMETHING_ELSE.search(before):
        return False
    if _PREFERENCE.search(before.rpartition(")")[2]):
        return False
    if (preference := _PREFERENCE.search(after)) and not re.search(r"\brequired\b", after[: preference.start()]):
        return False
    if mention.years >= _COMPANY_YEARS and (_COMPANY_BEFORE.search(before) or _COMPANY_AFTER.search(after)):
        return False
    starts_line = mention.years < _COMPANY_YEARS and not re.search(r"\w", before)
    is_demanded = starts_line or mention.is_open or _DEMAND.search(before)
    is_bracketed = before.endswith("(") and (after.startswith("+)") or (mention.is_open and after.startswith(")")))
    return bool(
        _REQUIRED.match(after)
        or (is_demanded and _FIELD_OF_WORK.match(after) and not _NOT_WORKED.search(before))
        or is_bracketed
        or _EXPERIENCE_AFTER.match(after)
        or _EXPERIENCE_BEFORE.search(before)
    )
