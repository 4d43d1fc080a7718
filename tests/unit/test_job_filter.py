"""Filtering and ranking the jobs of boards without a search of their own."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Item, Json
from worker.sources.job_filter import JobFilter, Match, published_since
from worker.sources.parameters import JobParameters
from worker.sources.search_query import JobTexts, SearchQuery

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def job(title: str = "Software Engineer", **fields: Any) -> Item:
    return Item(external_id="1", title=title, url="https://example.com/1", **fields)


def match(item: Item, oldest: datetime | None = None, **parameters: Any) -> Match | None:
    wanted = JobParameters.read({"search_term": "engineer", **parameters})
    return JobFilter(wanted, oldest).match(item)


FOUND = [
    # Compounds: closed, hyphenated and open.
    ("full-stack", "Full Stack Developer"),
    ("full stack", "full-stack"),
    ("fullstack", "Full  Stack Developer"),
    ("full stack engineer", "Fullstack-Engineer"),
    ("frontend developer", "Developer (Front-End)"),
    ("front end", "Frontend"),
    ("e-commerce", "E-Commerce Manager"),
    ("ecommerce", "E Commerce Manager"),
    ("e commerce", "Ecommerce Lead"),
    ("email marketing", "E-Mail-Marketing"),
    ("health care assistant", "Healthcare Assistant"),
    ("healthcare", "Health-Care Aide"),
    ("data base administrator", "Database Administrator"),
    ("fire fighter", "Firefighter"),
    ("truckdriver", "Truck Driver"),
    ("softwareentwickler", "Software-Entwickler (m/w/d)"),
    ("software entwickler", "Softwareentwickler"),
    ("nodejs", "Node.js"),
    ("node js", "Node.JS"),
    ("node.js", "NodeJS"),
    ("cicd", "CI/CD"),
    ("hr/payroll", "Payroll and HR"),
    ('"Jr. Developer"', "Jr. Developer"),
    ('"Jr. Developer"', "Jr.Developer"),
    ("verkauf leiter", "Verkaufsleiter"),
    ('"senior data bases engineer wanted"', "Senior Database-Engineers wanted"),
    ('"senior front end developer wanted"', "Senior Frontend Developers wanted"),
    ('"St. Louis"', "Nurse in St.  Louis"),
    ("24/7", "24/7"),
    ("ci/cd", "CICD pipelines"),
    ("ux/ui", "UX-UI"),
    ("part-time", "parttime"),
    ('"front end"', "Frontend"),
    ('"frontend developer"', "Front-End-Developer"),
    ("on-site", "Onsite Technician"),
    ("t-shirt", "Tshirt printer"),
    ("tele\u00admarketing", "Tele\u2011marketing"),
    ("multi-skilled", "Multi\u2013Skilled Engineer"),
    # Quotation marks.
    ("\u201cdata engineer\u201d", "Data Engineer"),
    ("\u201edata engineer\u201c", "Senior Data-Engineers"),
    ("\u00abdata engineer\u00bb", "Data Engineer"),
    ("\u00bbdata engineer\u00ab", "Data Engineer"),
    ("\u2018data engineer\u2019", "Data Engineer"),
    ("\u201adata engineer\u2018", "Data Engineer"),
    ("\u300cデータ\u300d", "データ"),
    ("\"data engineer\u201d", "Data Engineer"),
    ('"data engineer', "Engineer, Data"),
    ("engineer -\u201cteam lead\u201d", "Engineer in a team"),
    # Punctuation.
    ("engineer!", "Engineer"),
    ("engineer?", "Engineer"),
    ("engineer: python", "Python Engineer"),
    ("engineer, python; sql.", "SQL and Python for an Engineer"),
    ("[engineer] {python}", "Python Engineer"),
    ("#engineer @acme\u2026", "Acme Engineer"),
    ("engineer \u2013 berlin", "Engineer in Berlin"),
    ("engineer & analyst", "Analyst/Engineer"),
    ("sales&marketing", "Sales & Marketing Lead"),
    ('"sales & marketing"', "Sales and Marketing Lead"),
    ("driver's license", "Drivers License"),
    ("drivers license", "Driver\u2019s license"),
    ("nurse", "Nurse's aide"),
    ("ingénieur", "Poste d\u2019ingénieur"),
    ("(engineer)", "Engineer"),
    ("softwareentwickler (m/w/d)", "Softwareentwickler (w/m/x)"),
    ("entwickler (m|w|d)", "Entwickler"),
    ("entwickler*in", "Entwickler (all genders)"),
    ("entwickler", "Entwickler:innen"),
    ("vendeur h/f", "Vendeur (F/H)"),
    # Signs that belong to a word.
    ("c++", "modern C++, please"),
    ("c++", "C/C++ developer"),
    ("c", "C, C++"),
    ("c#", "C#-Entwickler"),
    ("c#/.net", "C# / .NET Developer"),
    ("f#", "F# (functional)"),
    (".net", "ASP.NET or .NET"),
    ("asp.net", "ASP.NET Core"),
    (".net core", ".NET Core"),
    ("r&d", "R&D Engineer"),
    ("r&d", "R & D Manager"),
    ("r & d", "R&D Manager"),
    ("r", "R, Python"),
    ("r", "Statistician (R)"),
    ("at&t", "AT&T Store"),
    ("it", "IT & HR"),
    # Plural forms.
    ("software engineer", "software engineers"),
    ("engineers", "One engineer"),
    ("companies", "A company"),
    ("company", "Companies House"),
    ("nurses", "Nurse"),
    ("nurse", "Nurses"),
    ("analyses", "Analysis"),
    ("analysis", "Analyses"),
    ("box", "Boxes"),
    ("boxes", "One box"),
    ("coach", "Coaches"),
    ("coaches", "Coach"),
    ("process", "Processes"),
    ("processes", "Process Engineer"),
    ("business", "Business"),
    ("businesses", "Business"),
    ("bonus", "Bonuses"),
    ("movies", "Movie"),
    ("secretaries", "Secretary"),
    ("sales", "Sales"),
    ("vendedor", "Vendedores"),
    ("vendedores", "Vendedor"),
    ("apis", "API"),
    # Letters.
    ("développeur", "Developpeur H/F"),
    ("developpeur", "DÉVELOPPEUR"),
    ("straße", "STRASSE"),
    ("strasse", "Straße"),
    ("bäcker", "Baecker"),
    ("baecker", "Bäcker"),
    ("backer", "Bäcker"),
    ("sœur", "Soeur"),
    ("chef de chœur", "Chef de choeur"),
    ("office", "O\ufb03ce"),
    ("engineer", "\uff25\uff4e\uff47\uff49\uff4e\uff45\uff45\uff52"),
    ("\uff25ngineer", "Engineer"),
    ("inżynier", "Inzynier"),
    ("łukasz", "Lukasz"),
    ("разработчик", "Разработчик"),
    ("データ", "データ エンジニア"),
    ("エンジニア", "シニアエンジニア募集"),
    ("ｴﾝｼﾞﾆｱ", "エンジニア"),
    ("データエンジニア", "データ エンジニア"),
    ("工程师", "高级软件工程师"),
    ("ai", "AIエンジニア"),
    ("개발자", "백엔드개발자를"),
    ("วิศวกร", "รับสมัครวิศวกรโยธา"),
    ("इंजीनियर", "वरिष्ठ इंजीनियर"),
    # Operators.
    ('"data engineer"', "Senior Data-Engineers"),
    ('engineer -"team lead"', "Engineer in a team"),
    ("(java OR python OR c++) developer", "Python Developer"),
    ("java | python", "Python"),
    ("nurse AND night", "Night nurse"),
    ("engineer -(senior OR lead)", "Junior Engineer"),
    ("OR", "anything"),
    ("-senior", "Junior"),
    ('""', "anything"),
    ("!?", "anything"),
]  # fmt: skip

NOT_FOUND = [
    ("engineer", "Engineering Manager"),
    ("java", "JavaScript"),
    ("script", "JavaScript"),
    ("go", "Going places"),
    ("go", "Django"),
    ("react", "Reactor Operator"),
    ("art", "Part-time"),
    ("end", "Frontend"),
    ("front", "Frontend"),
    ("front end", "Front Office"),
    ("frontend", "Front of the end"),
    ("frontend", "Upfront endings"),
    ("iam", "I am an engineer"),
    ("asis", "as is"),
    ("15", "1.5"),
    ("247", "24 7"),
    ("entwickler", "Softwareentwickler"),
    ("c", "C++ and C#"),
    ("c++", "C# and C"),
    ("c#", "C++"),
    (".net", "Net salary"),
    ("notepad", "Notepad++"),
    ("r", "R&D"),
    ("d", "R & D"),
    ("r&d", "R, D"),
    ("it", "Its manager"),
    ("news", "New Manager"),
    ("new", "News Editor"),
    ("canvas", "Canva"),
    ("car", "Care"),
    ("car", "Cares"),
    ("\u201cdata engineer\u201d", "Data Platform Engineer"),
    ("\u00abdata engineer\u00bb", "Engineer, Data"),
    ("\u2018data engineer\u2019", "Engineer for data"),
    ('"data engineer"', "Big data. Engineer wanted"),
    ("engineer -senior", "Senior Engineer"),
    ("engineer \u2013senior", "Senior Engineer"),
    ("engineer NOT senior", "Senior Engineer"),
    ("engineer -frontend", "Front-End Engineer"),
    ("engineer -(senior OR lead)", "Lead Engineer"),
    ('engineer -"team lead"', "Engineer and Team Lead"),
    ("engineer -\u201cteam lead\u201d", "Engineer and Team Lead"),
    ("(java OR python OR c++) developer", "Ruby Developer"),
    ("ai", "Aikido"),
    ("ड", "डेटा"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("search_term", "text", "is_match"),
    [(*pair, True) for pair in FOUND] + [(*pair, False) for pair in NOT_FOUND],
)
def test_words(search_term: str, text: str, is_match: bool) -> None:
    assert (match(job(text), search_term=search_term) is not None) is is_match
    assert (match(job("Job", description=text), search_term=search_term) is not None) is is_match


PARTS = st.text(alphabet="bcdfghklmnprtv", min_size=3, max_size=9)


@given(PARTS, PARTS, st.sampled_from(["", " ", "-", "\u2011", "/"]), st.sampled_from(["", " ", "-", "\u2013"]))
def test_closed_hyphenated_and_open_spellings_are_equal(first: str, second: str, written: str, searched: str) -> None:
    assert match(job(f"Senior {first}{written}{second}, Berlin".title()), search_term=first + searched + second)


@given(PARTS, PARTS, PARTS)
def test_a_term_is_not_found_within_another_word(before: str, term: str, after: str) -> None:
    query = SearchQuery(term)
    assert not query.matches(JobTexts(job(before + term + after)))
    assert not query.matches(JobTexts(job(f"{before}{term}, {term}x{after}")))
    assert query.matches(JobTexts(job(f"{before}, {term} {after}")))


@pytest.mark.parametrize("part", ["a ", "a-", "a", "aa ", "\u0430.", "\u5de5", "-", " & ", "++"])
def test_long_texts_are_searched_in_linear_time(part: str) -> None:
    query = SearchQuery("a" * 100 + ' "a a a" a&a -(aa OR a++)')
    text = job("Job", description=part * (50_000 // len(part)))
    started = time.process_time()
    query.matches(JobTexts(text))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["a"] * 98, "a."),
        (["a"] * 98, "a. "),
        (["ses"] * 48, "ses"),
    ],
)
def test_a_long_phrase_is_compared_with_a_text_in_one_way(words: list[str], part: str) -> None:
    # With two ways to match each word, pytest's timeout ends the search.
    query = SearchQuery(f'"{" ".join([*words, "b"])}"')
    assert not query.matches(JobTexts(job("Job", description=part * 200 + "c")))
    assert query.matches(JobTexts(job("Job", description=f"{part * len(words)}b")))


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "<p>You are a&nbsp;<b>nurse</b></p>"},
        {"description": "&lt;p&gt;nurse&lt;/p&gt;"},
        {"description": "<p>Head <b>N</b>ur<em>se</em></p>"},
        {"description": "Job<br>nurse<!-- of a <b>ward</b> -->"},
        {"description": "<ul><li>cook<li>nurse</ul>cleaner"},
        {"organization": "Nurse & Co"},
        {"skills": ("nurse",)},
        {"data": {"departments": [{"name": "Nurses"}], "tags": None}},
    ],
)
def test_words_are_looked_up_in_all_that_describes_a_job(fields: dict[str, Any]) -> None:
    assert match(job("Job", **fields), search_term="nurse") is not None


def test_words_are_not_looked_up_in_tags_and_addresses() -> None:
    item = job("Job", description='<p class="nurse">Cook</p>', data={"page": "https://example.com/nurse"})
    assert match(item, search_term="nurse") is None


def test_a_part_of_a_word_in_a_tag_is_no_word() -> None:
    assert match(job("Job", description="<p>de<b>sign</b></p>"), search_term="sign") is None
    assert match(job("Job", description="<p>de<b>sign</b></p>"), search_term="design") is not None


def test_texts_are_read_as_far_as_they_are_stored() -> None:
    assert match(job("x " * 200 + "engineer")) is not None
    assert match(job("x " * 300 + "engineer")) is None
    assert match(job("Job", description="x " * 20_000 + "engineer")) is not None
    assert match(job("Job", description="x " * 100_000 + "engineer")) is None


@pytest.mark.parametrize(
    ("wanted", "location", "is_match"),
    [
        ({"location": "Berlin"}, "Berlin, Germany", True),
        ({"location": "Berlin"}, "Munich", False),
        ({"location": "Berlin"}, None, True),
        ({"location": "Berlin, Germany"}, "Remote - Germany", True),
        ({"location": "Berlin, Germany"}, "Remote - Spain", False),
        ({"location": "Berlin"}, "Madrid, Spain; Berlin, Germany", True),
        ({"location": "Berlin"}, "Madrid, Spain; Paris, France", False),
        ({"location": "San Francisco, CA"}, "San Francisco, California, United States", True),
        ({"location": "San Francisco, CA"}, "San Francisco", True),
        ({"location": "San Francisco, CA"}, "Los Angeles, CA", False),
        ({"location": "California"}, "Los Angeles, CA", True),
        ({"location": "California"}, "Austin, TX", False),
        ({"location": "New York"}, "New York City, NY", True),
        ({"location": "Texas", "country": "usa"}, "Remote, US", True),
        ({"country": "germany"}, "Berlin, Germany", True),
        ({"country": "germany"}, "London, United Kingdom", False),
        ({"country": "germany"}, "Berlin", True),
        ({"country": "uk", "location": "London, United Kingdom"}, "London, England, United Kingdom", True),
        ({"location": "Europe"}, "Remote - Europe", True),
        ({"location": "Europe"}, "Lisbon", True),
        ({"location": "Europe"}, "Austin, TX", False),
        ({"location": "Europe"}, "Austin, TX; Berlin, Germany", True),
        ({"location": "LATAM"}, "São Paulo, Brazil", True),
        ({"location": "EMEA"}, "Remote - Americas", False),
        ({"location": "DACH"}, "Remote - Europe", True),
        ({"location": "Berlin, Germany"}, "Remote - Europe", True),
        ({"location": "Berlin, Germany"}, "Remote - Americas", False),
        ({"country": "germany"}, "EMEA", True),
        ({"country": "usa"}, "EMEA", False),
        ({"location": "Munich"}, "München, BY, DE", True),
        ({"location": "The Hague, Netherlands"}, "Den Haag", True),
        ({"location": "Bavaria, Germany"}, "Nürnberg, BY, DE", True),
        ({"location": "Bavaria, Germany"}, "Köln, NW, DE", False),
        ({"location": "Bavaria, Germany"}, "Bayern", True),
        ({"location": "Kent, England, United Kingdom"}, "Maidstone, England", True),
        ({"location": "Kent, England, United Kingdom"}, "Glasgow, Scotland", False),
        ({"location": "Toronto", "country": "canada"}, "Toronto, ON, CA", True),
        ({"location": "Portland, Oregon"}, "Portland, ME", False),
        ({"location": "Berlin or Hamburg"}, "Hamburg, Germany", True),
        ({"location": "Ontario, Canada"}, "Toronto, Canada", True),
    ],
)
def test_places(wanted: dict[str, Any], location: str | None, is_match: bool) -> None:
    assert (match(job(location=location), **wanted) is not None) is is_match


@pytest.mark.parametrize(
    ("location", "distance", "job_location", "unknown"),
    [
        ("Berlin, Germany", 25, "Potsdam, Germany", 0),
        ("Berlin, Germany", 10, "Potsdam, Germany", None),
        ("Berlin, Germany", 0, "Berlin", 0),
        ("Strasbourg, France", 20, "Kehl, Germany", 0),
        ("New York, NY", 20, "Jersey City, NJ", 0),
        ("Berlin, Germany", 25, "Munich", None),
        ("Berlin, Germany", 25, "Kleinkleckersdorf, Germany", 1),
        ("Berlin, Germany", 25, "Kleinkleckersdorf, France", None),
        ("Berlin, Germany", 25, "Germany", 1),
        ("Berlin, Germany", 25, None, 1),
        ("Germany", 25, "Munich", 0),
        ("Kleinkleckersdorf, Germany", 25, "Munich", None),
    ],
)
def test_distance(location: str, distance: int, job_location: str | None, unknown: int | None) -> None:
    found = match(job(location=job_location), location=location, distance_miles=distance)
    assert (found and found.unknown) == unknown


def test_a_site_of_a_country() -> None:
    item = replace(job(location="Cambridge"), url="https://uk.indeed.com/viewjob?jk=1")
    assert match(item, country="uk") is not None
    assert match(item, country="usa") is None


def test_places_in_fields_of_their_own() -> None:
    item = job(location="HQ", city="Berlin", country="Germany")
    assert match(item, location="Berlin, Germany") is not None
    assert match(item, country="france") is None


@pytest.mark.parametrize(
    ("fields", "is_match"),
    [
        ({"is_remote": True}, True),
        ({"work_mode": "Remote"}, True),
        ({"location": "Remote - US"}, True),
        ({"title": "Engineer (Remote)"}, True),
        ({"location": "Berlin", "description": "<p>This is a fully remote position.</p>"}, True),
        ({"is_remote": True, "work_mode": "Hybrid"}, False),
        ({"work_mode": "OnSite"}, False),
        ({"location": "Berlin", "description": "<p>This is <strong>not</strong> a remote position.</p>"}, False),
        ({"location": "Berlin, Germany"}, False),
        ({"location": "Germany"}, True),
        ({}, True),
    ],
)
def test_remote(fields: dict[str, Any], is_match: bool) -> None:
    item = job(fields.pop("title", "Engineer"), **fields)
    assert (match(item, is_remote=True) is not None) is is_match


def test_remote_as_a_location() -> None:
    assert match(job(location="Berlin, Germany"), location="Remote") is None
    assert match(job(location="Remote"), location="Remote") is not None
    assert match(job(location="Remote, Spain"), location="Remote, Germany") is None


@pytest.mark.parametrize(
    ("fields", "is_match"),
    [
        ({"job_types": ("Full-time",)}, False),
        ({"job_types": ("Part-time",)}, True),
        ({"job_types": ("FullTime", "Part time")}, True),
        ({"job_types": ("Crew",)}, False),
        ({"job_types": ("Crew",), "description": "<p>Job type: Part-time</p>"}, True),
        ({"job_types": ("Employee",)}, True),
        ({}, True),
        ({"title": "Engineer (full time)"}, False),
        ({"title": "Engineer (part time)"}, True),
        ({"description": "<p>This is a full-time position.</p>"}, False),
    ],
)
def test_job_type(fields: dict[str, Any], is_match: bool) -> None:
    item = job(fields.pop("title", "Engineer"), **fields)
    assert (match(item, job_type="parttime") is not None) is is_match


def test_a_job_of_an_unknown_type_is_worse_than_one_of_the_wanted_type() -> None:
    wanted = match(job(job_types=("Part-time",)), job_type="parttime")
    unknown = match(job(), job_type="parttime")
    assert wanted is not None
    assert unknown is not None
    assert wanted < unknown


@pytest.mark.parametrize(
    ("posted_at", "is_match"),
    [
        ("2026-11-20T11:59:00+00:00", False),
        ("2026-11-20T13:30:00+01:00", True),
        ("2026-11-20", True),
        ("2026-11-19", False),
        ("1795176000000", True),
        ("soon", True),
        (None, True),
    ],
)
def test_age(posted_at: str | None, is_match: bool) -> None:
    assert (match(job(posted_at=posted_at), NOW) is not None) is is_match


def test_published_since() -> None:
    two_hours = JobParameters.read({"search_term": "x", "hours_old": 2})
    any_age = JobParameters.read({"search_term": "x"})
    assert published_since(any_age, None, NOW) is None
    assert published_since(any_age, NOW, NOW) == NOW
    assert published_since(two_hours, None, NOW) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert published_since(two_hours, datetime(2026, 11, 20, 11, tzinfo=UTC), NOW) == datetime(
        2026, 11, 20, 11, tzinfo=UTC
    )
    assert published_since(two_hours, datetime(2026, 11, 1, tzinfo=UTC), NOW) == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_the_best_come_first() -> None:
    jobs = [
        job("Recruiter", description="hires engineers", location="Berlin", posted_at="2026-11-20"),
        job("Engineer, undated", location="Berlin"),
        job("Engineer, somewhere", posted_at="2026-11-20"),
        job("Engineer, old", location="Berlin", posted_at="2026-11-01"),
        job("Engineer, new", location="Berlin", posted_at="2026-11-19"),
    ]
    answers = {item.title: match(item, location="Berlin") for item in jobs}
    assert sorted(answers, key=lambda title: answers[title] or pytest.fail(title)) == [
        "Engineer, new", "Engineer, old", "Engineer, undated", "Engineer, somewhere", "Recruiter",
    ]  # fmt: skip


def test_texts_within_texts_are_read_down_to_some_level() -> None:
    deep: Json = ["plumber"]
    for _ in range(5000):
        deep = [deep]
    data = {"tags": [{"name": "nurse"}], "deep": deep}
    assert match(job(data=data), search_term="nurse")
    assert match(job(data=data), search_term="plumber") is None


@given(st.text(min_size=1, max_size=200).filter(str.strip), st.text(), st.text(), st.text(), st.text())
def test_any_text_will_do(search_term: str, title: str, location: str, description: str, word: str) -> None:
    item = job(title, location=location, description=description, work_mode=word, job_types=(word,), posted_at=word)
    wanted = {"search_term": search_term, "location": word.strip() or None, "is_remote": True, "job_type": "contract"}
    match(item, NOW, **wanted)


def test_inline_tags_are_nothing_and_others_end_a_word() -> None:
    item = job(description="<p>We write <b>Py</b>thon</p><p>daily, &lt;i&gt;Tru&lt;/i&gt;st us</p>")
    assert JobTexts(item).description.split() == ["We", "write", "Python", "daily,", "Trust", "us"]
