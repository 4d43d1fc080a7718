"""Work modes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.work_mode import WORK_MODES, work_mode


def mode(
    word: str | None = None,
    is_remote: bool | None = None,
    title: str = "Engineer",
    location: str | None = None,
    text: str = "",
) -> str | None:
    return work_mode(word, is_remote, title, location, text)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("REMOTE", "remote"),
        ("remote", "remote"),
        ("Fully Remote", "remote"),
        ("Remote - US", "remote"),
        ("On-site", "onsite"),
        ("OnSite", "onsite"),
        ("on_site", "onsite"),
        ("In Office", "onsite"),
        ("Work from office", "onsite"),
        ("Hybrid", "hybrid"),
        ("Hybrid (3 days in the office)", "hybrid"),
        ("Télétravail", "remote"),
        ("Télétravail partiel", "hybrid"),
        ("Télétravail complet", "remote"),
        ("TELECOMMUTE", "remote"),
        ("Presencial", "onsite"),
        ("Híbrido", "hybrid"),
        ("Remoto", "remote"),
        ("Vor Ort", "onsite"),
        ("Not remote", None),
        ("unspecified", None),
        ("mars", None),
    ],
)
def test_word_of_the_site(word: str, expected: str | None) -> None:
    assert mode(word) == expected


def test_site_says_remote() -> None:
    assert mode(is_remote=True) == "remote"
    assert mode(is_remote=False) is None
    assert mode(is_remote=True, location="Hybrid - London") == "hybrid"
    assert mode(is_remote=True, text="Hybrid: two days a week in our office.") == "hybrid"
    assert mode(is_remote=True, location="Austin, TX (Non-remote)") is None


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Engineer (Remote)", "remote"),
        ("Engineer (Remote, US)", "remote"),
        ("Engineer (US Remote)", "remote"),
        ("Engineer - Remote", "remote"),
        ("Engineer, 100% Remote", "remote"),
        ("Engineer | Full Remote | Berlin", "remote"),
        ("Engineer (Remote within Canada)", "remote"),
        ("Remote - Data Entry Clerk", "remote"),
        ("Remote Customer Service Representative", "remote"),
        ("Data Entry Clerk Work From Home", "remote"),
        ("Entwickler (m/w/d) 100 % Homeoffice", "remote"),
        ("Développeur - Full remote", "remote"),
        ("Développeur (télétravail complet)", "remote"),
        ("Desarrollador Java (100% remoto)", "remote"),
        ("Analista - Remoto", "remote"),
        ("Programista (praca zdalna)", "remote"),
        ("Work-from-Home Customer Service Rep", "remote"),
        ("Customer Service Rep (Working-at-Home)", "remote"),
        ("Engineer [Hybrid]", "hybrid"),
        ("Engineer (Hybrid, London)", "hybrid"),
        ("Engineer - Hybrid - 2 days in office", "hybrid"),
        ("Engineer - Hybrid working", "hybrid"),
        ("Engineer (m/w/d) - hybrid", "hybrid"),
        ("Desarrollador (híbrido)", "hybrid"),
        ("Analista (Modelo Híbrido)", "hybrid"),
        ("Engineer (On-site)", "onsite"),
        ("Engineer - Onsite", "onsite"),
        ("Analista - Presencial", "onsite"),
        ("Engineer (Not Remote)", None),
        ("Engineer - no remote", None),
        ("Remote Sensing Scientist", None),
        ("Remote Pilot", None),
        ("Remote Support Technician", None),
        ("Engineer, Remote Sensing", None),
        ("Engineer (remote monitoring)", None),
        ("Engineer - Remote Patient Monitoring", None),
        ("Hybrid Cloud Architect", None),
        ("Architect - Hybrid Cloud", None),
        ("Architect (Hybrid Infrastructure)", None),
        ("Hybrid Vehicle Technician", None),
        ("Technician, Hybrid and Electric Vehicles", None),
        ("Hybrid Mobile App Developer", None),
        ("Hybrid Powertrain Calibration Lead", None),
        ("On-Site Nurse Supervisor", "onsite"),
        ("On-site Technician", "onsite"),
        ("Onsite Nurse", "onsite"),
        ("Tutor, in-person maths", "onsite"),
        ("In-person Tutor", "onsite"),
        ("On-site or Remote Tutor", None),
        ("Onsite SEO Specialist", None),
        ("In-person Events Manager", None),
        ("Engineer (remote or hybrid)", None),
        ("Engineer (Remote/Work from Home)", "remote"),
        ("Site Engineer", None),
        ("Home Office Coordinator", None),
        ("Site Manager", None),
        ("Office Manager", None),
    ],
)
def test_title(title: str, expected: str | None) -> None:
    assert mode(title=title) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("Remote", "remote"),
        ("Remote - US", "remote"),
        ("Anywhere in the US", "remote"),
        ("Homeoffice", "remote"),
        ("Home-Office, Deutschland", "remote"),
        ("En remoto", "remote"),
        ("Télétravail", "remote"),
        ("Praca zdalna", "remote"),
        ("Berlin or Remote", "remote"),
        ("Hybrid - London", "hybrid"),
        ("London (hybrid remote)", "hybrid"),
        ("Híbrido - Madrid", "hybrid"),
        ("Paris (télétravail partiel)", "hybrid"),
        ("Utrecht (hybride)", "hybrid"),
        ("Berlin (on-site)", "onsite"),
        ("São Paulo (presencial)", "onsite"),
        ("Austin, TX (Not Remote)", None),
        ("Non remote, Dallas", None),
        ("Home Office - Phoenix", None),
        ("Home Office, Dallas, TX", None),
        ("Berlin", None),
    ],
)
def test_location(location: str, expected: str | None) -> None:
    assert mode(location=location) == expected


REMOTE = [
    "Work Location: Remote",
    "Work location: fully remote, US only",
    "Location: Remote (anywhere in Europe)",
    "**Location**: Remote\n\nYou build things.",
    "Location\n\nRemote, Canada",
    "Workplace type: Remote",
    "Arbeitsort: remote",
    "Lieu : 100 % télétravail",
    "Modalidad: Remoto",
    "Modelo de trabalho: Home Office",
    "Tryb pracy: zdalna",
    "Remote: yes",
    "Fully remote",
    "This is a fully remote position.",
    "This position is 100% remote.",
    "This is a remote role",
    "This is a work-from-home position.",
    "This is a WFH job",
    "WFH job",
    "A work-from-home role",
    "The job is work-from-home.",
    "This is a full-time remote opportunity.",
    "The role is remote and open to candidates in the EU.",
    "The job can be done completely remotely.",
    "You will work remotely with a team in Berlin.",
    "You work from home, full-time.",
    "Work from anywhere in the world.",
    "We are a remote-first company.",
    "#LI-Remote",
    "Du arbeitest zu 100 % remote.",
    "Arbeiten Sie komplett aus dem Homeoffice.",
    "100 % Homeoffice möglich",
    "Poste en full remote",
    "Poste basé en télétravail complet.",
    "Je werkt volledig thuis.",
    "Functie: 100% remote",
    "Trabajo 100% en remoto",
    "Teletrabajo 100%",
    "Trabalho 100% remoto",
    "Lavoro completamente da remoto",
    "Praca w 100% zdalna",
    "Remote (India)",
    "Employment type: Remote",
    "Poste 100 % à distance",
    "The successful candidate will work remotely.",
    "Distansarbete på heltid: 100% distans",
]

HYBRID = [
    "Work Location: Hybrid remote in Austin, TX",
    "Work Location:\n\nHybrid",
    "**Work model**\n\nHybrid (Tue-Thu in office)",
    "Workplace: hybrid",
    "Hybrid - 3 days in office",
    "Hybrid (2 days a week on site)",
    "* Hybrid working",
    "We offer a hybrid work model.",
    "We have a hybrid working policy: at least two days at the office.",
    "This is a hybrid role based in Leeds.",
    "The position is hybrid.",
    "This role is hybrid, with time at home and in the office.",
    "You work in a hybrid setup.",
    "This hybrid position requires three days in Boston.",
    "#LI-Hybrid",
    "You are in the office three days a week.",
    "Three days a week in our office, the others at home.",
    "2 days WFH",
    "3 days WFO and 2 days WFH",
    "We work 2-3 days per week from the office.",
    "Up to two days a week from home.",
    "Work from home two days a week.",
    "Work from home up to 3 days per week",
    "50% remote",
    "Partially remote",
    "A mix of home and office working",
    "Split your time between home and our office.",
    "Hybrides Arbeiten",
    "Hybrides Arbeitsmodell mit zwei Tagen Homeoffice",
    "Du arbeitest hybrid.",
    "Wir bieten mobiles Arbeiten.",
    "Möglichkeit zum mobilen Arbeiten",
    "Homeoffice möglich",
    "Bis zu 60 % Homeoffice",
    "Zwei Tage Homeoffice pro Woche",
    "Home-Office nach Absprache (bis zu 3 Tage pro Woche)",
    "Teilweise Homeoffice",
    "2 jours de télétravail par semaine",
    "Télétravail : 2 jours/semaine",
    "Télétravail partiel possible",
    "Télétravail possible",
    "Travail hybride",
    "Mode de travail hybride",
    "Poste hybride (3 jours sur site)",
    "Thuiswerken is mogelijk.",
    "Mogelijkheid om deels thuis te werken",
    "Hybride werken",
    "Je werkt twee dagen per week thuis.",
    "Teletrabajo parcial",
    "2 días de teletrabajo a la semana",
    "Modalidad híbrida",
    "Modelo híbrido: 3 días en la oficina",
    "Trabajo híbrido",
    "Regime híbrido",
    "Modelo de trabalho: híbrido",
    "Modalità ibrida",
    "Smart working due giorni a settimana",
    "Praca hybrydowa",
    "2 dni pracy zdalnej w tygodniu",
    "Hybridarbete",
    "Working pattern: Hybrid",
    "We're hybrid: Tuesdays and Thursdays in the office.",
    "We come to the office twice a week.",
    "Télétravail : 3 j/semaine",
    "Praca w trybie hybrydowym",
]

ONSITE = [
    "Work Location: In person",
    "Work setting: In-person",
    "Work location: on-site",
    "Location type: Onsite",
    "Mode of work: Work from office",
    "This is an on-site role.",
    "This is a fully in-office position in Denver.",
    "The position is 100% on-site.",
    "This job is in person.",
    "#LI-Onsite",
    "Five days a week in the office.",
    "5 days work from office",
    "We work 5 days per week onsite.",
    "No remote work; this role is on-site.",
    "Arbeitsort: vor Ort",
    "100 % Präsenz vor Ort: keine Homeoffice-Option. Arbeitsmodell: vor Ort",
    "Modalidad: Presencial",
    "Trabajo 100% presencial",
    "Modalidade: presencial",
    "Praca stacjonarna",
    "Vaga presencial em Curitiba",
]

UNKNOWN = [
    # Negated.
    "This is not a remote position.",
    "This role is not fully remote",
    "This position is not remote.",
    "Please note: this is not a remote job.",
    "We don't offer remote work.",
    "No remote",
    "Remote: no",
    "Remote work: not possible",
    "100% remote work is not possible.",
    "Fully remote is not an option.",
    "Remote work is not available for this role.",
    "We are not a remote-first company.",
    "Non-remote",
    "This is not a hybrid role.",
    "There is no hybrid working.",
    "Homeoffice ist leider nicht möglich.",
    "A fully remote setup isn't possible for this role.",
    "Thuiswerken is bij deze functie niet mogelijk",
    "Kein Homeoffice",
    "Keine Möglichkeit zum mobilen Arbeiten",
    "Die Stelle ist nicht remote.",
    "Pas de télétravail",
    "Le télétravail n'est pas possible.",
    "Télétravail : non",
    "Thuiswerken is niet mogelijk.",
    "Geen thuiswerk",
    "No es posible el teletrabajo.",
    "Sin teletrabajo",
    "Não é remoto.",
    # About other things.
    "You maintain remote-control units and remote sensing equipment.",
    "You manage remote teams and support remote sites.",
    "Experience with remote desktop and remote monitoring",
    "Collaborate with remote colleagues in a hybrid cloud.",
    "You help remote communities.",
    "You build hybrid apps and hybrid models of finance.",
    "Knowledge of hybrid and electric vehicles",
    "Hybrid cloud: you run servers on AWS and on-premises.",
    "Hybrid and electric cars are our future.",
    "A hybrid role combining sales and support",
    "We pay a home office allowance.",
    "Benefits: remote work stipend, WFH budget",
    "Home office equipment provided",
    "Thuiswerkvergoeding",
    "Homeoffice-Zuschuss",
    "Experience of working in a remote role is a plus.",
    "The position is remote until March",
    "20 days of remote work abroad per year",
    "One day in the office per quarter",
    "Free on-site gym. Communicate in person. Maintain remote servers and hybrid vehicles.",
    "Report to the home office in Phoenix.",
    "Our head office is in Leeds. You visit sites.",
    "Interviews are conducted in person or by video.",
    "24 hour, 7 day per week on-site service",
    "Shifts start anywhere between 7pm and 9pm, Sunday to Friday",
    "Mobile developer",
    # Both.
    "This is a remote role. Work Location: In person",
    "Work location: Remote or on-site",
    "Work location: remote or hybrid",
    "This position can be remote or hybrid",
    "The role is remote or hybrid.",
    "The role is hybrid or fully remote.",
    "The position is fully remote or on-site.",
    "This is a remote or hybrid position.",
    "Work-from-home stipend",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, "remote") for text in REMOTE),
        *((text, "hybrid") for text in HYBRID),
        *((text, "onsite") for text in ONSITE),
        *((text, None) for text in UNKNOWN),
    ],
)
def test_description(text: str, expected: str | None) -> None:
    assert mode(text=text) == expected
    assert mode(text=f"We are a team of ten.\n\n{text}\n\nYou have a degree.") == expected


TEXTS = st.lists(
    st.sampled_from([
        "remote", "Hybrid", "on-site", "this is a ", "not a ", " role", "(", ")", " - ", "\n", "Location: ", "2 days ",
        "100% ", "télétravail", "Homeoffice",
    ])
    | st.text(max_size=4)
).map("".join)  # fmt: skip


@given(st.none() | TEXTS, st.none() | st.booleans(), TEXTS, st.none() | TEXTS, TEXTS)
def test_mode_is_of_the_vocabulary(
    word: str | None, is_remote: bool | None, title: str, location: str | None, text: str
) -> None:
    found = work_mode(word, is_remote, title, location, text)
    assert found is None or found in WORK_MODES
    assert found is None or work_mode(found, found == "remote", title, location, text) == found


@pytest.mark.parametrize("part", ["remote ", "not ", "hybrid ", "2 days ", "location:", "a - ", "home\n", "100% ", "é"])
def test_long_texts_are_read_in_linear_time(part: str) -> None:
    text = part * (50_000 // len(part))
    started = time.process_time()
    mode(text=text)
    mode(title=text[:500], location=text[:500], word=text[:500])
    assert time.process_time() - started < 1


# In quadratic time, pytest's timeout ends these tests.


def test_a_title_of_dashes_is_read_in_linear_time() -> None:
    assert mode(title="Engineer" + "-" * 500_000 + "x - Remote") == "remote"


def test_a_line_with_many_words_for_the_place_of_work_is_read_in_linear_time() -> None:
    assert mode(text="office " * 1_000_000 + "x" * 60 + "\nEvery day is new.\nThis is a remote position.") == "remote"
