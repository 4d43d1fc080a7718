"""The words around the names in a location: work modes, surroundings of cities, postcodes and separators."""

from __future__ import annotations

import re

from worker.pipeline.gazetteer import key
from worker.pipeline.text import words

NO_PLACES = frozenset(map(key, (
    "all", "any", "anywhere", "asap", "bay area", "branch", "city", "client site", "company", "distributed", "district",
    "east coast", "entire", "field", "field based", "flexible", "global", "globally", "headquarters", "home",
    "home based", "hq", "international", "job", "job location", "local", "location", "locations", "main office",
    "metro", "midwest", "mobile", "multiple cities", "multiple locations", "nationwide", "not specified", "office",
    "offices", "only", "onsite", "other", "pan", "region", "area", "see description", "several locations", "site",
    "sales", "sales territory", "statewide", "tbd", "territories", "territory", "time zone", "timezone", "timezones",
    "travel", "travel required", "tri-state area", "unknown", "unspecified", "us timezones", "various",
    "various locations", "virtual", "west coast", "whole", "whole country", "work", "world", "worldwide",
    "bundesweit", "deutschlandweit", "fernarbeit", "ganz", "mehrere Standorte", "Standort", "verschiedene Standorte",
    "diverse locaties", "heel", "kantoor", "thuis",
    "France entière", "plusieurs lieux", "siège",
    "sede", "toda", "toda España", "varias ubicaciones", "varie sedi", "tutta", "várias localidades",
    "cała Polska", "różne lokalizacje", "flera orter",
)))  # fmt: skip
"""Keys of texts in place of a location. One that is a city, too, such as Mobile, is meant only in its region."""

DIRECTIONS = words(
    "north northeast northwest south southeast southwest east west sud est ost ouest norte sur este oeste"
)
"""Keys of names that are regions of some countries. Alone, they are the area of a sales team."""

CONJUNCTION_WORDS = frozenset({"and", "e", "en", "et", "i", "lub", "o", "oder", "of", "or", "ou", "och", "und", "y"})
"""Words that are left over between parts. In capitals, `OR` is a code."""

NO_CITY = re.compile(
    r"(?i)\b(?:locations?|offices?|sites?|remote|jobs?|various|multiple|several|standorte?|teams?|departments?|customers?"
    r"|clients?|headquarters|hq|campus|warehouse|stores?|description|territor(?:y|ies))\b"
)
"""Words that names of cities do not have."""

NOT_AVAILABLE = frozenset({"na", "n/a"})
"""Texts in place of a location that mean a country or a region within one: Namibia, Naples."""

_WORK_MODES = (
    # English
    r"remote(?:ly)?|hybrid|on-?site|in[- ](?:the )?office|in[- ]person|(?:work(?:ing)?|based)[- ](?:from|at)[- ]home",
    r"from home|wfh|home[- ]?office|telecommut(?:e|ing)|telework(?:ing)?|anywhere|virtual",
    # German, Dutch
    r"mobiles arbeiten|vor ort|ortsunabh[äa]ngig|hybride|von zu ?hause(?: aus)?",
    r"(?:werk(?:en)? )?van(?:uit)? thuis|thuis ?werk(?:en)?|op locatie|op afstand",
    # French, Spanish, Portuguese, Italian
    r"t[ée]l[ée]travail(?: complet| partiel)?|(?:à|a) distance|sur site|hybrides",
    r"teletrabajo|trabajo remoto|(?:desde|en|da) casa|(?:da|en|em) remoto|remot[oa]|h[íi]brid[oa]|presencial(?:mente)?",
    r"teletrabalho|trabalho remoto|telelavoro|smart ?working|ibrid[oa]|in sede",
    # Polish, Swedish, Norwegian, Danish, Finnish
    r"prac[ay] zdaln[ae]|zdaln(?:a|ie|y)|hybrydow[aoy]|stacjonarn(?:a|ie|y)",
    r"distansarbete|p[åa] distans|p[åa] plats|fj[äe]rnarbete|hjemmekontor|et[äa]ty[öo]",
)
WORK_MODE = re.compile(
    r"(?i)(?<!\w)"
    r"(?:(?:100 ?%|fully|full|temporarily|partially|mostly|primarily|permanent(?:ly)?|completely|home[- ]based"
    r"|arbeit(?:en)?|werken|travail|trabajo|trabalho|lavoro|praca)[- ])?"
    rf"(?:{'|'.join(_WORK_MODES)})(?!\w)"
    r"(?:[- ](?:work|jobs?|positions?|role|only|first|friendly|eligible|possible|ok|option(?:al)?|opportunity|worker"
    r"|praca|anywhere|available|m[öo]glich)){0,3}"
    r"(?: (?:in|from|within|based in|work in|aus|en|em|w|i|à|au|aux|dans|op|vanuit|da|of|or|und|and)"
    r"(?! [A-Z]{2}$)(?= ))?"
)
"""How the work is done, with the words that lead to a place: `Remote work in`. `in IN` ends with a code."""

TIME_ZONES = words(
    """
    UTC GMT CET CEST EET EEST BST MSK EST EDT CST CDT MST MDT PST PDT AKST AKDT HST AST ADT NST NDT BRT GST IST PKT SGT
    HKT JST KST AWST ACST ACDT AEST AEDT NZST NZDT SAST
    """
)
"""Time zones. Some are codes of a country or region, too: EST is Estonia beside a city of it."""

TIME_ZONE = re.compile(
    r"(?:\b(?i:between|from|within|to|and) )?\b"
    rf"(?:(?P<zone>{'|'.join(sorted(TIME_ZONES))})(?!-?[^\W\d])"
    r"(?P<offset>(?: ?(?:\+/-|[+\-±\N{EN DASH}\N{MINUS SIGN}]) ?\d{1,2}(?::?\d\d)?)?)"
    r"|(?i:(?:eastern|central|mountain|pacific|atlantic)(?: standard| daylight)? time))"
    r"(?P<after>(?i: ?time)?(?i: ?zones?)?(?i: hours?)?)(?!\w)"
)
"""A time zone, perhaps with its distance from another one."""

NEEDLESS = re.compile(
    r"(?i)[ -](?:only|based|residents?|preferred|time ?zones?|wide)$"
    r"|^(?:in|based|located|onsite|office|anywhere|across|within|all of|throughout|flexible|or|and)"
    r" (?:in |within |across )?(?=\S)"
    r"| (?:or|and|oder|und|ou|et|o|y|e|en)$"
)
"""Words before or after a name that do not belong to it."""

EDGES_OF_NAMES = ' ,;:-\N{EN DASH}\N{EM DASH}/|\N{MIDDLE DOT}\N{BULLET}+*"'
EDGES = f"{EDGES_OF_NAMES}()[]"
LISTS = re.compile("[;|\N{BULLET}\N{FULLWIDTH COMMA}\N{IDEOGRAPHIC COMMA}]| / ")
"""What separates places."""

PARTS = re.compile("[,:\N{EN DASH}\N{EM DASH}]| [-\N{EN DASH}\N{EM DASH}\N{MIDDLE DOT}>/] ?| -(?=[A-Z])")
"""What separates the parts of a place, and sometimes places."""

BRACKETS = re.compile(r"[()\[\]]")
CONJUNCTIONS = re.compile(r"(?i)/|\+|&| (?:and|or|und|oder|et|ou|y|o|e|en|och|eller|og|i|lub|oraz) ")
DUTCH_OR = " of "

CODE_FIRST = re.compile(r"([A-Z]{2,3})\s?[-_.]\s?(?=[^\W\d_])")
"""The codes in `US-CA-San Francisco` and `USA.VA.Reston`."""

POSTCODE = re.compile(
    r"(?<![\w-])(?:[A-Z]{1,2}-)?(?:\d{4} ?[A-Z]{2}(?= |$)|\d{4,6}(?:-\d{3,4})?|\d{2}-\d{3}|\d{3}[ -]\d{2,4}|\d{5}-\d{3}"
    r"|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d{2} [A-Z\d]{4}|[A-Z]{1,2}\d{1,2}[A-Z]?"
    r"|(?:CEDEX|Cedex)(?: \d+)?)(?![\w-])"
)
DISTRICT_NUMBER = re.compile(r"(?i) (?:\d{1,2} ?(?:er|e|è|ème|eme|st|nd|rd|th)?(?: arrondissement)?|\(\d{1,2}\))$")
DANISH_DISTRICT = re.compile(r" (?:[CKMNSVØ]|[NS][VØ])$")
"""The letters of a district of a Danish city: København K."""
REGION_NUMBER = re.compile(r"\d{1,2}")

SURROUNDINGS = re.compile(
    r"(?i)^(?:greater |metro |central )?(?P<core>\S.{0,50}?)(?: city)?(?: (?:metropolitan|metro|bay|urban))?"
    r" (?:area|region|metroplex|metropolis)$"
)
"""An area that is named after a city."""

BEFORE_CITY = re.compile(
    r"(?i)^(?:greater|metro|central|downtown|inner|city of|metropolregion|gro(?:ß|ss)raum|raum|stadt|r[ée]gion de"
    r"|ville de|grand|comune di|gemeente|regio|metropolitan (?:area|region) of"
    r"|(?:área|area) metropolitana d[ei]|citt[àa] metropolitana di|metropolia"
    r"|regi[ãa]o de|grande) (?P<core>\S.{0,50})$"
)
PART_OF = re.compile(
    r"(?i)^(?:(?:continental|contiguous|mainland|upstate"
    r"|(?:(?:north|south)?(?:east|west)|north|south)(?:ern)?)[ -]){1,2}"
    r"(?P<core>\S.{0,50})$"
)
"""A part of a region or country."""

NEAR = re.compile(
    r"(?i)^(?:(?:within )?(?:a |about )?\d+[ -]?(?:miles?|mi|kms?|minutes?|mins?)(?: radius)?(?: of| from| around)? )?"
    r"(?:just )?(?:(?:(?:north|south)?[ -]?(?:east|west)|north|south)(?: side)? of |outside (?:of )?|close to |near )?"
)
"""Words that lead to a place near to the job, or around it."""
_OFFICE = r"(?:(?:head|main|regional|corporate|branch)[ -])?(?:office|headquarters?|hq|hub|campus|büro|kantoor|kontor)"
OFFICE_IN = re.compile(
    r"(?i)^(?:b[uü]ro|standort|niederlassung|kantoor|vestiging|bureaux?|agence|siège|oficinas?|sede|ufficio|escritório"
    r"|biuro|oddział|kontor(?:et)?) (?:(?:d[eio]|à|in|en|em|w|i|te) |d')?(?P<core>\S.{0,50})$"
)
AFTER_CITY = re.compile(
    r"(?i)^(?:our )?(?P<core>\S.{0,50}?) (?:en omgeving|et p[ée]riph[ée]rie|und umgebung|y alrededores"
    r"|e dintorni|e regi[ãa]o|i okolice|med omnejd|og omegn|et alentours|and surrounding areas?|city ?cent(?:er|re)"
    r"|downtown|(?:and|&) vicinity|kommune|kommun|city"
    rf"|(?:(?:sales|field) )?territory|{_OFFICE})$"
)
COUNTY = re.compile(
    r"(?i)\b(?:county|parish|borough|district|township|co\.)$"
    r"|^(?:county|(?-i:Co\b)\.?|landkreis|kreis|gemeente|arrondissement|municipio) "
)

KIND_OF_REGION = re.compile(
    r"(?i)^(?:autonomous )?(?:province|region|state|canton|community|prefecture|voivodeship|county|department"
    r"|governorate|kanton|bundesland|estado|provincia|provincie|regione|r[ée]gion|departamento|comunidad|land|(?-i:Co)\.?)"
    r"(?: of| de| di| da| do)? "
    r"|[ -](?:province|region|state|canton|prefecture|voivodeship|county|oblast|governorate|department|provincie"
    r"|provincia|l[äa]n|ken|to|fu)$"
)
"""What a region is, before or after its name."""
