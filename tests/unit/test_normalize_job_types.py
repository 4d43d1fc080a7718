"""Job types."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.job_types import JOB_TYPES, described_job_types, job_types


@pytest.mark.parametrize(
    ("named", "types"),
    [
        ("Full-time", "fulltime"),
        ("full time", "fulltime"),
        ("FULL_TIME", "fulltime"),
        ("FullTime", "fulltime"),
        ("<b>Full-time</b>", "fulltime"),
        ("Full-time permanent", "fulltime"),
        ("Full Time Employment", "fulltime"),
        ("Regular Full-Time", "fulltime"),
        ("Employee (Full-Time)", "fulltime"),
        ("Salaried: full time", "fulltime"),
        ("Permanent", "fulltime"),
        ("Permanent contract", "fulltime"),
        ("Permanent part-time", "parttime"),
        ("Regular, Part Time", "parttime"),
        ("Part time (20h/week)", "parttime"),
        ("40 hours", "fulltime"),
        ("40h", "fulltime"),
        ("12 hour shifts", "other"),
        ("38 uur per week", "fulltime"),
        ("20 h / Woche", "parttime"),
        ("32-40 uur", "fulltime parttime"),
        ("0.5 FTE", "parttime"),
        ("1.0 FTE", "fulltime"),
        ("60-80 %", "parttime"),
        ("80-100%", "fulltime parttime"),
        ("Vollzeit", "fulltime"),
        ("Vollzeit / Teilzeit", "fulltime parttime"),
        ("Voll- oder Teilzeit", "fulltime parttime"),
        ("Festanstellung, Vollzeit", "fulltime"),
        ("Festanstellung (Teilzeit)", "parttime"),
        ("Unbefristeter Vertrag", "fulltime"),
        ("Befristet auf zwei Jahre", "temporary"),
        ("Vollzeit, befristet", "fulltime temporary"),
        ("Minijob", "parttime"),
        ("Werkstudententätigkeit", "parttime"),
        ("Working Student", "parttime"),
        ("Praktikum", "internship"),
        ("Pflichtpraktikum (Vollzeit)", "fulltime internship"),
        ("Ausbildung", "internship"),
        ("Freie Mitarbeit", "contract"),
        ("Arbeitnehmerüberlassung", "temporary"),
        ("CDI", "fulltime"),
        ("CDI temps partiel", "parttime"),
        ("CDI - Temps plein", "fulltime"),
        ("CDD", "temporary"),
        ("CDD, temps complet", "fulltime temporary"),
        ("Contrat de travail : CDD", "temporary"),
        ("Contrat en alternance", "internship"),
        ("Stage", "internship"),
        ("Intérim", "temporary"),
        ("Mi-temps", "parttime"),
        ("Indépendant", "contract"),
        ("Contrato indefinido, jornada completa", "fulltime"),
        ("Jornada completa", "fulltime"),
        ("Media jornada", "parttime"),
        ("Contrato temporal", "temporary"),
        ("Prácticas", "internship"),
        ("Autónomo", "contract"),
        ("Tempo indeterminato", "fulltime"),
        ("Contratto a tempo determinato", "temporary"),
        ("Tempo pieno", "fulltime"),
        ("Part time orizzontale", "parttime"),
        ("Tirocinio", "internship"),
        ("Tempo integral", "fulltime"),
        ("Efetivo \u2013 CLT", "fulltime"),
        ("Estágio", "internship"),
        ("Vast dienstverband, voltijd", "fulltime"),
        ("Deeltijd", "parttime"),
        ("Tijdelijk contract", "temporary"),
        ("Onbepaalde tijd", "fulltime"),
        ("ZZP", "contract"),
        ("Umowa o pracę, pełny etat", "fulltime"),
        ("Kontrakt B2B", "contract"),
        ("Heltid, tills vidare", "fulltime"),
        ("Vikariat", "temporary"),
        ("Deltid", "parttime"),
        ("parttime, fulltime", "fulltime parttime"),
        ("Full-time, Contract", "fulltime contract"),
        ("Full time / Part time", "fulltime parttime"),
        ("Full- or part-time", "fulltime parttime"),
        ("Contract", "contract"),
        ("CONTRACTOR", "contract"),
        ("Contract to hire", "contract"),
        ("Contract W2", "contract"),
        ("Independent contractor (1099)", "contract"),
        ("Freelance", "contract"),
        ("Fixed-term contract", "temporary"),
        ("Fixed term (12 months)", "temporary"),
        ("12 month FTC", "temporary"),
        ("Maternity cover", "temporary"),
        ("Temp to perm", "temporary"),
        ("Seasonal", "temporary"),
        ("Internship", "internship"),
        ("Intern (Paid)", "internship"),
        ("Internship, full time", "fulltime internship"),
        ("Apprenticeship", "internship"),
        ("Co-op", "internship"),
        ("Per diem", "perdiem"),
        ("PRN", "perdiem"),
        ("Zero hours contract", "perdiem"),
        ("Volunteer", "volunteer"),
        ("Ehrenamt", "volunteer"),
        ("Gig", "other"),
        ("Member of the crew", "other"),
        ("Other", "other"),
        ("Employee", ""),
        ("Not specified", ""),
        ("N/A", ""),
        ("Hourly, non-exempt", ""),
        ("", ""),
    ],
)
def test_words_of_the_site(named: str, types: str) -> None:
    assert job_types([named]) == tuple(types.split())


def test_several_words_of_the_site() -> None:
    assert job_types(["Vollzeit", "Teilzeit"]) == ("fulltime", "parttime")
    assert job_types(["Gig", "Part-time"]) == ("parttime",)
    assert job_types(["CDI", "Temps partiel"]) == ("parttime",)
    assert job_types([]) == ()


@pytest.mark.parametrize(
    ("title", "types"),
    [
        ("Engineer (Full-time)", "fulltime"),
        ("Part Time Cashier", "parttime"),
        ("Cashier - Part-Time", "parttime"),
        ("Nurse, full time or part time", "fulltime parttime"),
        ("Pflegefachkraft (m/w/d) in Voll- oder Teilzeit", "fulltime parttime"),
        ("Bürokaufmann Vollzeit", "fulltime"),
        ("Werkstudent Marketing (m/w/d)", "parttime"),
        ("Praktikum im Controlling", "internship"),
        ("Développeur - CDI", "fulltime"),
        ("Développeur (CDD 6 mois)", "temporary"),
        ("Stage - Assistant marketing", "internship"),
        ("Alternance - Chargé de projet", "internship"),
        ("Verpleegkundige 24-32 uur", "parttime"),
        ("Pflegefachperson 80-100%", "fulltime parttime"),
        ("Marketing Intern", "internship"),
        ("Software Engineer Internship (Summer)", "internship"),
        ("Data Analyst (Contract)", "contract"),
        ("Data Analyst - 6 month contract", "contract"),
        ("Freelance Writer", "contract"),
        ("Registered Nurse PRN", "perdiem"),
        ("Teacher (Fixed Term)", "temporary"),
        ("Contract Manager", ""),
        ("Contracts Administrator", ""),
        ("Stage Manager", ""),
        ("Management Trainee", ""),
        ("Caregiver, 12 Hour Shift", ""),
        ("Packer - 12hr nights", ""),
        ("Technologist: 40 Hours Per Week", "fulltime"),
        ("Internship Coordinator", ""),
        ("Volunteer Coordinator", ""),
        ("Temporary Works Engineer", ""),
        ("Interne Revision", ""),
        ("Internal Auditor", ""),
        ("Engineer, Internal Tools", ""),
        ("Full Stack Engineer", ""),
        ("Parts Advisor", ""),
        ("Engineer (100% remote)", ""),
        ("Engineer", ""),
    ],
)
def test_title(title: str, types: str) -> None:
    assert described_job_types(title, "") == tuple(types.split())


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("Job Type: Full-time", "fulltime"),
        ("Job Types: Full-time, Part-time", "fulltime parttime"),
        ("**Job Type**: Contract", "contract"),
        ("Employment type\n\nFull time", "fulltime"),
        ("Employment Type: Regular, Part Time", "parttime"),
        ("Contract type: Permanent", "fulltime"),
        ("Type of employment - Internship", "internship"),
        ("Hours: 40 per week", "fulltime"),
        ("Anstellungsart: Vollzeit", "fulltime"),
        ("Arbeitszeit: Teilzeit (20 Stunden)", "parttime"),
        ("Vertragsart: Befristet", "temporary"),
        ("Type de contrat : CDI", "fulltime"),
        ("Type d'emploi : Temps plein, CDI", "fulltime"),
        ("Contrat : CDD de 6 mois", "temporary"),
        ("Dienstverband: Fulltime", "fulltime"),
        ("Uren: 24-32 uur per week", "parttime"),
        ("Tipo de contrato: Indefinido", "fulltime"),
        ("Jornada: Completa", "fulltime"),
        ("Tipo di contratto: tempo indeterminato", "fulltime"),
        ("Regime de contratação: CLT", "fulltime"),
        ("Rodzaj umowy: umowa o pracę", "fulltime"),
        ("This is a full-time position.", "fulltime"),
        ("This is a full-time, permanent role based in Leeds.", "fulltime"),
        ("This is a part-time internship.", "parttime internship"),
        ("This is a 12-month fixed-term contract.", "temporary"),
        ("The position is full-time.", "fulltime"),
        ("Zum 1.1. suchen wir Sie in Vollzeit oder Teilzeit.", "fulltime parttime"),
        ("Poste en CDI", "fulltime"),
        ("Contrato indefinido y jornada completa.", "fulltime"),
        ("Een baan voor 32-40 uur per week", "fulltime parttime"),
        ("Benefits for full-time employees", ""),
        ("You manage part-time staff and volunteers.", ""),
        ("Full-time employees receive 40 hours of leave.", ""),
        ("Our contract partners ...", ""),
        ("You draft contracts: temporary and permanent ones", ""),
        ("This is a great opportunity for interns and contractors to meet.", ""),
        ("A full-time degree is required.", ""),
        ("Schedule: Monday to Friday", ""),
        ("You will be part of the team, full of ideas.", ""),
        ("", ""),
    ],
)
def test_description(text: str, types: str) -> None:
    assert described_job_types("Engineer", text) == tuple(types.split())
    assert described_job_types("Engineer", f"We are ten.\n\n{text}\n\nYou work.") == tuple(types.split())


@given(st.lists(st.sampled_from(["Full-time", "CDI, Stage", "other", "x", "40h", "Employee"]) | st.text(), max_size=8))
def test_job_types_are_of_the_vocabulary(named: list[str]) -> None:
    types = job_types(named)
    assert job_types(types) == types
    assert list(types) == [job_type for job_type in JOB_TYPES if job_type in types]


@pytest.mark.parametrize(
    "part", ["full ", "full-time ", "this is a ", "12 ", "12-", "type: ", "in voll", "x\n", "é", "% "]
)
def test_long_texts_are_read_in_linear_time(part: str) -> None:
    text = part * (50_000 // len(part))
    started = time.process_time()
    described_job_types(text[:500], text)
    job_types([text])
    assert time.process_time() - started < 1


def test_a_title_of_dashes_is_read_in_linear_time() -> None:
    # In quadratic time, pytest's timeout ends the test.
    assert described_job_types("Engineer" + "-" * 500_000 + "x - Part-time", "") == ("parttime",)
