"""Finds the job types that the words of a site, a title or a description name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from worker.pipeline.lines import SENTENCE_END, has_any, line_before, lines_with, plain_line
from worker.pipeline.text import clean_line, words

JOB_TYPES = ("fulltime", "parttime", "contract", "temporary", "internship", "perdiem", "volunteer", "other")

_MAX_WORDS = 50
_MAX_LABEL = 40
_MAX_VALUE = 80
_FULL_WEEK = 35
"""Hours of the shortest full-time week of the countries whose sites are read: France."""
_SHORTEST_WEEK, _LONGEST_WEEK = 10, 60

# Phrases are in lower case, without accents. The words of a phrase may be open, hyphenated or closed.
_PERMANENT = "permanent"
_PHRASES = {
    "fulltime": "full_time full fulltime_job voll temps_plein temps_complet tempo_pieno jornada_completa "
    "tiempo_completo tempo_integral tempo_inteiro periodo_integral fulltijd pelny_etat",
    _PERMANENT: "permanent regular permanent_contract regular_employment indefinite unlimited fest feste_anstellung "
    "fest_angestellt cdi indefinido indefinida indeterminato tempo_indeterminato "
    "tempo_indeterminado efetivo clt vast vaste vast_contract onbepaalde_tijd umowa_o_prace czas_nieokreslony "
    "tills_vidare tillsvidare fast_stilling",
    "parttime": "part_time part temps_partiel partiel mi_temps parttijd tempo_parziale media_jornada "
    "tiempo_parcial jornada_parcial tempo_parcial meio_periodo mini_job geringfugig nebenjob bijbaan flexijob "
    "niepelny_etat pol_etatu working_student",
    "contract": "contract contractor contractors contract_to_hire contractual freelance freelancer self_employed "
    "independent independent_contractor b2b c2c corp_to_corp 1099 werkvertrag freie_mitarbeit freier_mitarbeiter "
    "freiberuflich freiberufler freierberuf independant autonomo autonoma libero_professionista partita_iva zzp zzper "
    "umowa_zlecenie umowa_o_dzielo pj egenforetagare",
    "temporary": "temporary temp temp_to_hire temp_to_perm temporary_contract fixed_term fixed_term_contract ftc "
    "limited_term limited_contract seasonal maternity_cover parental_leave_cover secondment "
    "zeitarbeit leiharbeit arbeitnehmeruberlassung saisonarbeit aushilfe cdd interim interimaire "
    "saisonnier temporal eventual tiempo_determinado duracion_determinada determinato tempo_determinato stagionale "
    "somministrazione tijdelijk_contract bepaalde_tijd uitzendkracht temporario temporaria "
    "prazo_determinado termo_certo czas_okreslony vikariat visstid tidsbegransad midlertidig",
    "internship": "internship intern interns trainee traineeship apprenticeship apprentice co_op "
    "pflichtpraktikum azubi duales_studium volontariat stage "
    "stagiaire alternance alternant apprentissage apprenti practicas becario becaria pasantia tirocinio stagista "
    "apprendistato estagio estagiario jovem_aprendiz afstudeerstage staz praktyki larling",
    "perdiem": "per_diem prn as_needed on_call casual zero_hours zero_hours_contract zero_hour_contract abrufarbeit "
    "oproepkracht nulurencontract",
    "volunteer": "volunteer volunteering voluntary ehrenamt ehrenamtlich benevolat benevole voluntariado volontariato "
    "vrijwilliger vrijwilligerswerk wolontariat",
    "other": "other others sonstige autre otro altro overig",
    # These name no type: `contract` alone would be one.
    "": "contract_type type_of_contract employment_contract contract_of_employment full_stack",
}
_TYPE_OF = {phrase.replace("_", ""): job_type for job_type, listed in _PHRASES.items() for phrase in words(listed)}
_TYPE_OF_STEM = {
    "vollzeit": "fulltime", "voltijd": "fulltime", "heltid": "fulltime",
    "festanstell": _PERMANENT, "fastanstall": _PERMANENT, "unbefristet": _PERMANENT,
    "teilzeit": "parttime", "deeltijd": "parttime", "deltid": "parttime", "werkstudent": "parttime",
    "befristet": "temporary", "tijdelijk": "temporary",
    "praktik": "internship", "ausbildung": "internship", "auszubildende": "internship", "stageplaats": "internship",
    "stageplek": "internship",
}  # fmt: skip
"""Words that other words or endings may follow: `Praktikantenstelle`, `Heltidsanställning`."""

_LETTER = r"[^\W_]"
_SPELLINGS = [
    *(
        phrase.replace("_", "[\\W_]{0,2}")
        for phrase in sorted(
            (phrase for listed in _PHRASES.values() for phrase in words(listed)), key=len, reverse=True
        )
    ),
    *(f"{stem}\\w*" for stem in _TYPE_OF_STEM),
]
_PHRASE = re.compile(rf"(?<!{_LETTER})(?:{'|'.join(_SPELLINGS)})(?!{_LETTER})")
_NO_TYPE = words(
    "all any employee employees employment staff standard salaried hourly exempt non nonexempt w2 a n na none not "
    "specified unspecified unknown mitarbeiter angestellt angestellter employe salarie empleado medewerker loondienst "
    "dienstverband"
)
"""Words of sites that say nothing about the type."""

_NUMBER = r"(?<![\d.,])(?P<least>\d{1,3}(?:[.,]\d)?)(?: ?(?:-|\u2013|/|to|bis|a|tot) ?(?P<most>\d{1,3}(?:[.,]\d)?))?"
_HOURS = re.compile(
    _NUMBER + r"[ -]?(?:h|hrs?|hours?|std|stunden|heures|uur|uren|horas|ore|godzin\w*|timmar)(?![^\W_])(?![ -]shifts?)"
)
_WEEKLY_HOURS = re.compile(rf"{_HOURS.pattern}(?:(?<=uur)|(?<=uren)| ?(?:/|per|pro|par|a|al|por) ?(?:la )?(?:w|s))")
_SHARE = re.compile(_NUMBER + r" ?(?:%|(?P<fte>fte)\b)(?! (?:remote|home|tele|mobil|travel|on-?site))")


def job_types(named: Iterable[str]) -> tuple[str, ...]:
    """Return the job types that a site's words stand for, each once, in the order of `JOB_TYPES`.

    Args:
        named: The site's words. One text may name several types (`Full-time, Contract`).

    Returns:
        The known types; `("other",)` if the site names only unknown ones; `()` if it names none.
    """
    lines = [plain_line(line) for word in named if (line := clean_line(word))][:_MAX_WORDS]
    found = _types_of(", ".join(lines))
    if not found and any(set(re.findall(r"[^\W_]+", line)) - _NO_TYPE for line in lines):
        return ("other",)
    return _in_order(found)


def described_job_types(title: str, description: str) -> tuple[str, ...]:
    """Return the job types that the texts of a job state, each once, in the order of `JOB_TYPES`.

    Args:
        title: One line of text.
        description: Plain text.

    Returns:
        The types; `()` if the texts do not state any.
    """
    found = _types_of_title(plain_line(title))
    for sentence in islice(_sentences_about_type(description), _MAX_SENTENCES):
        found |= _types_of_sentence(sentence)
    return _in_order(found - {"other"})


def job_types_of(named: Iterable[str], title: str, description: str) -> tuple[str, ...]:
    """Return the job types that a site's words stand for, or those that the texts state if the words name no known one.

    Args:
        named: The site's words.
        title: One line of text.
        description: Plain text.

    Returns:
        As `job_types`.
    """
    types = job_types(named)
    return types if set(types) - {"other"} else described_job_types(title, description) or types


def _in_order(found: set[str]) -> tuple[str, ...]:
    return tuple(job_type for job_type in JOB_TYPES if job_type in found)


# Words ----------------------------------------------------------------------------------------------------------------


def _types_of(line: str) -> set[str]:
    """Return the types that a line in lower case and without accents names."""
    found = {_type_of(phrase[0]) for phrase in _PHRASE.finditer(line)} - {""}
    if not found & {"fulltime", "parttime"}:
        found |= _types_by_hours(line, _HOURS)
    if _PERMANENT in found:
        found.remove(_PERMANENT)
        # `Permanent` alone means full time. Besides hours it only means that the contract has no end.
        if not found & {"fulltime", "parttime", "internship"}:
            found.add("fulltime")
    return found - {"other"} or found


def _type_of(phrase: str) -> str:
    letters = "".join(character for character in phrase if character.isalnum())
    if letters in _TYPE_OF:
        return _TYPE_OF[letters]
    return next(job_type for stem, job_type in _TYPE_OF_STEM.items() if letters.startswith(stem))


def _types_by_hours(line: str, hours_of_week: re.Pattern[str]) -> set[str]:
    found = set()
    for match in hours_of_week.finditer(line):
        for hours in _numbers(match):
            if _SHORTEST_WEEK <= hours <= _LONGEST_WEEK:
                found.add("fulltime" if hours >= _FULL_WEEK else "parttime")
    for match in _SHARE.finditer(line):
        whole = 1 if match["fte"] else 100
        found |= {"fulltime" if share == whole else "parttime" for share in _numbers(match) if 0 < share <= whole}
    return found


def _numbers(match: re.Match[str]) -> Iterator[float]:
    for number in (match["least"], match["most"]):
        if number:
            yield float(number.replace(",", "."))


# Titles ---------------------------------------------------------------------------------------------------------------

_SEGMENTS = re.compile(r"[()\[\]{}|,;:\u2022\u00b7]+|\s[-\u2013\u2014]+\s?|(?<![-\u2013\u2014])[-\u2013\u2014]+\s")
_ANYWHERE_IN_TITLE = re.compile(
    r"\b(?:full[- ]?time|part[- ]?time|vollzeit|teilzeit|(?:voll|teil)-? ?(?:/|und|oder) ?(?:voll|teil)zeit"
    r"|temps (?:plein|partiel)|jornada completa|tempo pieno|werkstudent\w*|working student|minijob|freelancer?|prn"
    r"|per diem|fixed[- ]term|\d{1,2}[- ]months? contract|(?:pflicht)?praktik(?:um|ant)\w*|stagiaire|alternance"
    r"|becari[oa]|estagi(?:o|ario)|cdi|cdd)\b(?! (?:works|manager|coordinator|recruiter))"
)
_END_OF_SEGMENT = re.compile(r"\b(?:intern|internship|apprentice|apprenticeship)$")


def _types_of_title(title: str) -> set[str]:
    found = {job_type for match in _ANYWHERE_IN_TITLE.finditer(title) for job_type in _types_of(match[0])}
    segments = [segment.strip() for segment in _SEGMENTS.split(title)]
    for segment in segments:
        if match := _END_OF_SEGMENT.search(segment):
            found |= _types_of(match[0])
        elif len(segments) > 1 and _is_only_type(segment):
            found |= _types_of(segment)
    if not found & {"fulltime", "parttime"}:
        found |= _types_by_hours(title, _WEEKLY_HOURS)
    return found


def _is_only_type(segment: str) -> bool:
    return not re.search(r"[^\W\d_]", _PHRASE.sub("", segment)) and _PHRASE.search(segment) is not None


# Descriptions ---------------------------------------------------------------------------------------------------------

_LABEL_NAME = (
    r"(?:(?:job|employment|position|contract|work|engagement|role|assignment|vacancy) (?:type|status|category|basis)"
    r"s?|type of (?:employment|contract|job|position)|commitment|contract|(?:working |weekly )?hours|anstellungsart"
    r"|anstellung|beschaftigungsart|beschaftigung|arbeitszeit(?:modell)?|vertragsart|arbeitsverhaltnis|einstellungsart"
    r"|pensum|umfang|types? (?:de contrat|d'emploi|de poste)|contrat(?: de travail)?|temps de travail|dienstverband"
    r"|contractvorm|soort dienstverband|type contract|(?:aantal )?uren|tipo de (?:contrato|empleo|trabajo|jornada|vaga"
    r"|emprego)|jornada(?: laboral)?|contrato|tipo di (?:contratto|impiego)|contratto|orario(?: di lavoro)?"
    r"|regime(?: de contratacao)?|modalidade de contratacao|vinculo|rodzaj umowy|wymiar (?:etatu|pracy)|typ umowy"
    r"|anstallningsform|omfattning|ansattelsesform)"
)
_LABEL_ALONE = re.compile(_LABEL_NAME)
_LABEL = re.compile(rf"(?P<label>{_LABEL_NAME}) ?(?::| - |=) ?(?P<value>[^.;]{{1,{_MAX_VALUE}}})")
_STATEMENT = re.compile(
    r"\b(?:this|it) is an? (?P<kind>(?:[\w/-]+,? ){0,5}?(?:position|role|job|contract|internship|assignment"
    r"|apprenticeship))\b"
    r"|\b(?:position|role|job) is (?:an? )?(?P<state>(?:full|part)[- ]time|temporary|seasonal|permanent|per diem)\b"
    r"|\bin (?P<zeit>(?:voll(?:zeit)?|teilzeit)-?(?: ?(?:/|und|oder|bzw\.?) ?(?:in )?(?:voll|teil)zeit)?)\b"
    r"|\b(?:en|contrat) (?P<contrat>cdi|cdd)\b"
    r"|\b(?P<phrase>jornada (?:completa|parcial)|contrato (?:indefinido|temporal)|tempo (?:in)?determinato"
    r"|tempo (?:pieno|parziale)|temps (?:plein|partiel|complet)|\d{2}(?: ?[-/] ?\d{2})? uur per week)\b"
)
_CUES = (
    "full-time", "full time", "fulltime", "part-time", "part time", "parttime", "contra", "tempora", "seasonal",
    "permanent", "per diem", "internship", "freelance", "fixed", "regular", "hours:", "zeit", "festanst", "befrist",
    "minijob", "praktik", " cdi", " cdd", "temps", "alternance", "jornada", "indefinid", "prácticas", "tempo ",
    "tirocinio", "estágio", " clt", "voltijd", "deeltijd", " uur", "bepaalde tijd", "etat", "umow", "heltid", "deltid",
    "vikariat",
)  # fmt: skip
_MAX_SENTENCES = 100


def _sentences_about_type(description: str) -> Iterator[str]:
    """Yield the sentences that may state a type. What is below a label, as `Employment type`, begins with it."""
    text = description.lower()
    cues = [cue for cue in _CUES if cue in text]
    for start, end in lines_with(text, cues):
        line = text[start:end].strip()
        label = plain_line(before).strip("#>: ") if len(before := line_before(text, start)) <= _MAX_LABEL else ""
        if _LABEL_ALONE.fullmatch(label):
            yield f"{label}: {plain_line(line[:_MAX_VALUE])}"
        for sentence in SENTENCE_END.split(line):
            if has_any(f" {sentence}", cues):
                yield plain_line(sentence).lstrip("-\u2022\u00b7>#+ ")


def _types_of_sentence(sentence: str) -> set[str]:
    found: set[str] = set()
    if match := _LABEL.match(sentence):
        value = match["value"].strip()
        is_jornada = match["label"].startswith("jornada")
        is_hours = "hours" in match["label"] or "uren" in match["label"]
        value = re.sub(r"^\d{2}(?: ?- ?\d{2})?\b(?! ?(?:h|uur|uren))", r"\g<0> h", value) if is_hours else value
        found |= _types_of(f"jornada {value}" if is_jornada else value)
    for match in _STATEMENT.finditer(sentence):
        found |= _types_of(next(filter(None, match.groups())))
    return found
