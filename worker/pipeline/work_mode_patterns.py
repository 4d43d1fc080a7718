"""Patterns of the words for work modes, in text in lower case and without accents (`lines.plain_line`)."""

from __future__ import annotations

import re

REMOTE = (
    r"(?:remote(?:ly)?|telecommut(?:e|ing)|telework(?:ing)?|wfh|work(?:ing)?[- ](?:from|at)[- ]home|home-?office"
    r"|remot[oa]|teletravail|teletrabajo|teletrabalho|telelavoro|thuiswerk(?:en)?|zdaln\w+|distans(?:arbete)?"
    r"|hjemmekontor|hjemmearbejde|fjernarbejde|anywhere)"
)
_HYBRID = r"(?:hybrid(?:e[nrs]?|t)?|hibrid[oa]|ibrid[oa]|hybrydow\w+)"
_ON_SITE = (
    r"(?:on[- ]?site|in[- ]person|in[- ]?office|work(?:ing)?[- ](?:from|in|at)[- ](?:the[- ])?office|wfo|presencial"
    r"|presentiel|sur site|vor ort|op (?:locatie|kantoor)|in (?:sede|presenza)|stacjonarn\w+|pa plats)"
)
_FULLY = (
    r"(?:fully|full|100 ?%|completely|entirely|permanently|exclusively|strictly|vollstandig|komplett|volledig"
    r"|totalmente|completamente|totalement|entierement|integralement|calkowicie)"
)
_PARTLY = (
    r"(?:partial(?:ly)?|partly|teilweise|partiel\w*|occasionnel\w*|parcial(?:mente)?|deels|gedeeltelijk|parzial\w+"
    r"|czesciowo|delvis)"
)
_JOB = (
    r"(?:position|role|job|opportunity|vacancy|opening|stelle|poste|functie|baan|puesto|posicion|vaga|posizione"
    r"|stanowisko|praca)"
)
_IS = r"(?:is|will be|can be|ist|est|es|e|jest)"
_OTHER_REMOTE = (
    r"(?![- ]?(?:control|sens|monitor|desktop|access|support|server|team|sites?\b|location|area|communit|colleague"
    r"|employee|staff|worker|user|client|patient|diagnos|operat|pilot|assistance|management|start|island|village"
    r"|region|camp|procedure|device|hands|learning|viewing|banking|connect|repositor|inspection|execution|branch"
    r"|meeting|service|handling|deposit|work (?:stipend|budget|allowance)|first\b(?! (?:company|team))))"
)
"""What makes `remote` a word about something other than the place of work."""

_OR = r"(?:,? (?:or|oder|ou|of|o|lub|eller) | ?/ ?)(?:an? )?"
CHOICE = re.compile(
    "|".join(
        rf"\b(?:{_FULLY} )?{mode}{_OR}(?:{_FULLY} )?(?:{other}|{another})\b"
        for mode, other, another in (
            (REMOTE, _HYBRID, _ON_SITE),
            (_HYBRID, REMOTE, _ON_SITE),
            (_ON_SITE, REMOTE, _HYBRID),
        )
    )
)
"""Two modes, of which it is open which one a job has."""
CHOICE_CUES = (" or ", "/", " oder ", " ou ", " of ", " o ", " lub ", " eller ")

NOT_BEFORE = re.compile(
    r"(?:\b(?:not?(?! only| just)|non|never|cannot|without|nicht|ohne|kein\w{0,2}|aucun|pas|sans|niet|geen|zonder|sin"
    r"|nao|sem|nie|bez|inte|ikke|ingen)|n['\u2019]t)\b[\s-]+(?:[\w'%-]+\s+){0,4}$"
)
NOT_AFTER = re.compile(
    r"[- ]?(?:[\w'-]+ ){0,5}?(?:: ?(?:no|none|nein|non|nee|nao|n/a|not)\b|(?:not|\w+n['\u2019]t|nicht|pas|niet|nao)"
    r" (?:\w+ )?(?:possible|available|offered|an option|permitted|allowed|supported|provided|moglich|mogelijk)\b"
    r"(?! (?:in|to)\b))"
)
BOUNDARY = re.compile(r"[.;:!?()|\u2022]\s")

# Days a week ---------------------------------------------------------------------------------------------------------

_NUMBERS = {
    1: "once one ein eine einen un une een uno una um uma en jeden",
    2: "twice two zwei deux twee dos due dois duas dwa to tva couple",
    3: "three drei trois drie tres tre trzy",
    4: "four vier quatre cuatro quattro quatro cztery fyra fire",
    5: "five funf cinq vijf cinco cinque piec fem",
}
NUMBER_OF = {word: number for number, listed in _NUMBERS.items() for word in listed.split()}
_DAYS = (
    rf"(?<![\w.,-])(?P<days>\d{{1,2}}|{'|'.join(NUMBER_OF)})"
    rf"(?:(?: ?[-\u2013/] ?| to | or | bis | a | oder | ou | tot )(?P<most>\d|{'|'.join(NUMBER_OF)}))?[)+]?"
    r"(?: ?(?:full )?(?:working )?(?:days?|tagen?|tage?|jours?|j(?=\.? ?/ ?sem)|dagen?|dias?|giorn[io]|dni|dzien|dagar"
    r"|dage?)\b|(?<=ce) (?:a|per) week\b)"
)
_A_WEEK = (
    r"(?:(?: ?/ ?| (?:a|per|each|every|of the|in the|pro|par|por|a la|alla|al|na|w|i|om|in der|in de) ?)"
    r"(?:week|wk|woche|semaine|semana|settimana|tygodniu|tydzien|vecka|veckan|uge|uken))?"
)
_AT_HOME = (
    rf"(?:from home|at home|{REMOTE}|home office|smart[- ]working|thuis|zu ?hause|da casa|a casa|de casa|desde casa"
    r"|mobile[ns]? arbeiten)"
)
_AT_WORK = (
    rf"(?:{_ON_SITE}|(?:in|at|from|to|into|im|au|op|en|na|no|w|pa) (?:the |our |your |la |het |de |unserem )?"
    r"(?:\w+ )?(?:office|buro|bureau|kantoor|oficina|ufficio|escritorio|biurze|kontoret|site))"
)
DAYS_SOMEWHERE = re.compile(
    rf"{_DAYS}{_A_WEEK}[^.;]{{0,15}}?\b(?:(?P<home>{_AT_HOME})|{_AT_WORK})\b{_A_WEEK}"
    r"(?! (?:training|orientation|workshop|onboarding|service|support|coverage))"
)
SOMEWHERE_SOME_DAYS = re.compile(rf"\b(?:(?P<home>{_AT_HOME})|{_AT_WORK})\b[^.;]{{0,30}}?{_DAYS}{_A_WEEK}")
OTHER_PERIOD = re.compile(
    r"\W{0,3}(?:[\w-]+\W){0,3}?(?:month|quarter|year|monat|jahr|mois|trimestre|maand|jaar|mes|ano)"
)
SHARE = re.compile(rf"(?<!\d)(?P<share>\d{{2}}) ?% (?:of (?:the|your) time )?{_AT_HOME}\b")

# Statements of a description ------------------------------------------------------------------------------------------

FULLY_REMOTE = re.compile(
    rf"\b{_FULLY}[- ]+(?:(?:en|in|im|aus dem|from|da|a|w|de|em|um|of) )?(?:{REMOTE}|home office|thuis"
    rf"|distance)\b(?! cloud)"
    rf"|\b{REMOTE} (?:a |al |zu |w )?(?:100 ?%|complet\w*|integral\w*|total\w*|only)|\bremote-only\b"
    r"|\b(?:deutschland|bundes|europa|eu-?)weit(?:es|e)? (?:remote|home-?office)\b"
)
STATEMENTS = {
    "hybrid": re.compile(
        rf"\b{_HYBRID}[- ](?:work(?:ing|place|week|style)?|arbeit\w*|arbete\w*|role|position|job|schedule|model"
        r"|arrangement|set-?up|setting|polic(?:y|ies)|rule|remote|office|opportunity|week|pattern|werken|basis|mode"
        r"|homeoffice)\b(?! (?:combin|that combin|between|of (?!work)))"
        rf"|\bhybrid(?:arbeit|arbete|werken)|\b{_PARTLY} {_AT_HOME}|\b{REMOTE} {_PARTLY}"
        r"|\b(?:modalidade?|modelo|esquema|formato|regime|modello|modalita|mode|modele|travail|trabajo|trabalho|lavoro"
        r"|jornada|praca|pracy|trybie|rythme|organisation|werken|arbeiten|arbeitest|arbeitet|poste|puesto|vaga)"
        rf" (?:de (?:trabajo|travail|trabalho) |di lavoro |es |est |e )?{_HYBRID}\b"
        rf"|\b(?:{_JOB}|location|work) {_IS} (?:an? )?{_HYBRID}\b(?! (?:of|between|combin))"
        rf"|\bwe(?:'re| are) {_HYBRID}(?=[:.,;]|$)"
        r"|\bin (?:the|our) (?:\w+ )?office (?:on )?(?:mon|tues|wednes|thurs|fri)days?\b(?! (?:to|through|-|until) fri)"
        rf"|^{_HYBRID}(?: remote)?(?:$| ?[:(|]| - )|#li-hybrid\b"
        r"|\bmobil(?:e[mnrs]?)?[- ]arbeit(?:en)?s?\b|\bmobil(?:e[mnrs]?)? office\b"
        r"|\bhome[- ]?office[- ](?:(?:ist |sind |nach )?moglich|option|anteil|tag|regelung|nach )"
        r"|\bmoglichkeit\w* (?:\w+ )?(?:zu[rm]?|auf|von|des|fur|im) (?:\w+ )?home[- ]?office"
        r"|\b(?:possibilite de |jours? de )teletravail\b|\bteletravail (?:\w+ )?(?:possible|ponctuel|regulier|flexible)"
        r"|\bthuis ?(?:te )?werken\b|\bthuiswerk(?:dag|dagen)?\b"
        r"|\b(?:posibilidad|possibilidade) de (?:teletrabajo|teletrabalho|home office)\b"
        r"|\bteletrabajo (?:flexible|hibrido)|\bsmart[- ]working\b"
        r"|\b(?:mix|combination|blend|balance|split)\b[^.;]{0,25}?\b(?:home|remote)\b[^.;]{0,15}?\b(?:office|on-?site)"
        r"|\b(?:mix|combination|blend|balance|split)\b[^.;]{0,25}?\b(?:office|on-?site)\b[^.;]{0,15}?\b(?:home|remote)"
    ),
    "onsite": re.compile(
        rf"\b(?:this is an?|this|an?) (?:{_FULLY} )?{_ON_SITE} {_JOB}\b"
        rf"|\b{_JOB} {_IS} (?:{_FULLY} )?(?:based )?{_ON_SITE}\b(?! (?:interview|for|until))"
        rf"|\b{_FULLY} {_ON_SITE}\b|^{_ON_SITE}(?: only)?$|#li-onsite\b"
        r"|\b(?:trabajo|puesto|trabalho|vaga|modalidade?|modelo|regime) presencial\b|\bpraca stacjonarna\b"
    ),
    "remote": re.compile(
        rf"(?<!in )\b(?:this is an?|this|an?) (?!\w+ hybrid)(?!hybrid)(?:[\w-]+ ){{0,2}}{REMOTE} {_JOB}\b(?! until)"
        rf"|^{REMOTE} {_JOB}\b|^remote(?:$| ?\()"
        rf"|\b{_JOB} {_IS} (?:(?:done|based|performed|worked) )?(?:(?:in|en|da|im|a) )?{REMOTE}\b"
        r"(?! (?:for|until|once|on|up|at|during|bis|jusqu|hasta|\w+ en dias))"
        r"|\bremote-first (?:company|team|culture|organi[sz]ation|startup|start-up|business|employer|workplace|role)\b"
        r"|\bwork(?:ing)? (?:remotely )?from anywhere\b(?![^.;]{0,25}(?:\d|week))"
        r"|\bwork remotely from home\b|\bwork from home in any\b|#li-remote\b|\bremote moglich"
        r"|\b(?:you|candidate|employee|person)(?: will|'ll| can| may)? (?:be )?work(?:ing)? (?:remotely|from home)\b"
        r"(?!,? (?:on|for|up|one|two|three|some|part|when|if|once|twice|\d|occasionally|at|a few|several|or|and))"
        r"|\b(?:puesto|trabajo|posicion|empleo|trabalho|vaga|lavoro|posizione|poste|praca) (?:en |da |a |em )?"
        r"(?:remot[oa]|en teletravail|zdaln[aey])\b(?! (?:parcial|partiel|hybrid|hibrid|possible|\d))"
    ),
}
STATEMENT_CUES = {
    "hybrid": (
        "hybri", "hibri", "ibrid", "hybryd", "partly", "partial", "partiel", "occasion", "teilweise", "parcial",
        "deels", "gedeelte", "parzial", "czesc", "delvis", "mobil", "home office", "homeoffice", "home-office",
        "teletrav", "teletrab", "thuis", "smart", "mix ", "days", "day ", "combination", "blend", "balance", "split",
    ),
    "onsite": ("site", "person", "office", "wfo", "presen", "vor ort", "locatie", "kantoor", "sede", "stacj", "plats"),
    "remote": (
        "remot", "telecomm", "telework", "wfh", "work from", "work-from", "working from", "from-home", "at home",
        "at-home", "home-office", "homeoffice", "teletrav", "teletrab", "telelavoro", "thuis", "zdaln", "distans",
        "distanc", "hjemme", "fjernarb", "anywhere",
    ),
}  # fmt: skip
"""Parts of words of which a statement has at least one: most sentences have none, and this is faster to find out."""

_LABEL_NAME = (
    r"(?:the )?(?:(?:(?:job|employment|work(?:ing|place)?|office|role|position|primary) )?(?:location"
    r"|arrangement|model|mode"
    r"|setting|set-?up|style|type|policy|site|place|environment|format|pattern)s?(?: type| of work)?|workplace|where"
    r"|standorte?|arbeitsort|arbeitsmodell|arbeitsweise|einsatzort|dienstort|lieu(?: de travail| du poste)?"
    r"|localisation|(?:mode|type|modalites?) de travail|werklocatie|locatie|werkplek|standplaats|ubicacion"
    r"|lugar(?: de trabajo)?"
    r"|modalidade?(?: de trabajo| de trabalho)?|modelo(?: de trabajo| de trabalho)?|regime(?: de trabalho)?|formato"
    r"|localizacao|local(?: de trabalho)?|sede(?: di lavoro)?|luogo(?: di lavoro)?|modalita(?: di lavoro)?|tryb pracy"
    r"|miejsce pracy|lokalizacja|arbetsplats|arbejdssted|arbeidssted|functie)"
)
LABEL_ALONE = re.compile(rf"{_LABEL_NAME}|(?:work )?{REMOTE}(?: work)?|{_HYBRID}")
LABEL = re.compile(rf"{_LABEL_NAME} ?(?::| - |=) ?(?P<value>[^.;]{{1,80}})")
YES_OR_NO = re.compile(
    rf"(?:{_FULLY} |work )?(?:(?P<remote>{REMOTE}|home office)|{_HYBRID})(?: work(?:ing)?)?"
    r"(?: (?:option|eligible|possible|ok))? ?[:?] ?(?:(?P<yes>yes|ja|oui|si|sim|full|tak)|no|none|nein|non|nee|nao)\b"
)
CUES = (
    "remot", "telet", "télét", "telework", "telecommut", "wfh", "from home", "from-home", "at home", "at-home",
    "home office", "home-office", "homeoffice", "home and", "thuis", "zdaln", "distans", "distanc", "hjemme",
    "anywhere", "brid", "hybryd", "mobil", "smart", "on-site", "onsite", "on site", "in person", "in-person",
    "in-office", "in office", "from office", "from-office", "wfo", "presencial", "présentiel", "presentiel",
    "sur site", "vor ort", "op locatie", "op kantoor", "in sede", "in presenza", "stacjonarn", "på plats",
)  # fmt: skip
DAY_CUES = ("day", "ce a week", "ce per week", "/sem", "tag", "jour", "dag", "día", "dia", "giorn", "dni")
WORK_PLACE_CUES = (
    "office", "home", "büro", "bureau", "kantoor", "oficina", "ufficio", "escritório", "escritorio", "biur", "kontor",
    "hause", "casa",
)  # fmt: skip
ANSWER = re.compile(r"[-*\u2022\u00b7\s]*(?:yes|no|ja|nein|oui|non|si|nee|sim)\W*")

# Titles and short values ----------------------------------------------------------------------------------------------

SEGMENTS = re.compile(r"[()\[\]{}|,/;:\u2022\u00b7]+|\s[-\u2013\u2014]+\s?|(?<![-\u2013\u2014])[-\u2013\u2014]+\s")
_OTHER_ON_SITE = (
    rf"(?!(?:.* )?(?:{REMOTE}|{_HYBRID}|home)\b)(?!(?:or|and|to|und|oder|ou|y|o|e|seo|search|optimi\w+|conversion|power"
    r"|analytics|merchandising|personali\w+|advertising|marketing|sales|events?|experiences?|energy|generation|storage"
    r"|renewables|retail|promotions?)\b)"
)
"""What makes `on-site` a word about something other than the place of work."""
_WORK = r"(?:work\w*|role|position|job|option\w*|only|possible|moglich|model\w*|schedule|remote|first|friendly)"
SEGMENT_MODES = {
    "hybrid": re.compile(
        rf"{_HYBRID}(?: (?:{_WORK}|in|from|within|\d)\b.*)?|.* {_HYBRID}|{_PARTLY} {_AT_HOME}.*|{_AT_HOME} {_PARTLY}"
        r"|home-? ?office moglich.*"
    ),
    "onsite": re.compile(
        rf"(?:{_FULLY} )?{_ON_SITE}(?: (?:{_WORK}|in|\d).*)?|.* (?:on-?site|in-person)"
        rf"|(?:on[- ]?site|in-person|in-office) {_OTHER_ON_SITE}[a-z].*"
    ),
    "remote": re.compile(
        rf"(?:{_FULLY} )?{REMOTE}{_OTHER_REMOTE}(?: .*)?|.* {REMOTE}|.*\b{_FULLY} (?:{REMOTE}|home office)\b.*"
        r"|.*\b(?:work(?:ing)?[- ]from[- ]home|wfh)\b.*"
    ),
}
VALUE_MODES = {
    "hybrid": re.compile(rf"\b(?:{_HYBRID}|{_PARTLY} {_AT_HOME}|{_AT_HOME} (?:possible )?{_PARTLY})\b"),
    "onsite": re.compile(rf"\b{_ON_SITE}\b|^office$"),
    "remote": re.compile(rf"\b{REMOTE}\b{_OTHER_REMOTE}|^(?:{_FULLY} )?home office$"),
}
