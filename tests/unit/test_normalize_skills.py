"""Skills."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.skills import MAX_SKILLS, find_skills


@pytest.mark.parametrize(
    ("text", "skills"),
    [
        ("C++, C# and .NET; Node.js.", {"C++", "C#", ".NET", "Node.js"}),
        ("C/C++", {"C", "C++"}),
        ("Python, R and Go", {"Python", "R", "Go"}),
        ("Experience in R or SAS", {"R", "SAS"}),
        ("Golang", {"Go"}),
        ("R programming", {"R"}),
        ("Go to our site. R you ready? Vitamin C helps.", set()),
        ("You excel in sales. React to alarms. Rest breaks. Swift answers.", set()),
        ("Word, Excel and PowerPoint", {"Microsoft Word", "Microsoft Excel", "Microsoft PowerPoint"}),
        ("MS Excel", {"Microsoft Excel"}),
        ("JavaScript", {"JavaScript"}),
        ("Javanese", set()),
        ("CI/CD with Docker/Kubernetes (K8s)", {"CI/CD", "Docker", "Kubernetes"}),
        ("machine-learning, Power-BI", {"Machine learning", "Power BI"}),
        ("Valid CDL, forklift certified", {"Commercial driver's license", "Forklift operation"}),
        ("CNA or LPN with CPR", {"Certified nursing assistant", "Licensed practical nurse", "CPR"}),
        ("R&D department, HR, CAD 20", set()),
        ("a postgres database", {"PostgreSQL"}),
        ("\u201cPython\u201d\u2022Docker\u2013SQL\xa0(Kubernetes)", {"Python", "Docker", "SQL", "Kubernetes"}),
        ("Straße\nPython\r\nÉquipe\n_SQL_ İstanbul Docker", {"Python", "SQL", "Docker"}),
        ("", set()),
    ],
)
def test_skills_in_text(text: str, skills: set[str]) -> None:
    assert set(find_skills(text)) == skills


@pytest.mark.parametrize(
    ("text", "skills"),
    [
        # Letters that are not a language.
        ("Sales, Procurement, R&D and HR", {"Procurement"}),
        ("Procurement / R&D", {"Procurement"}),
        ("Python, R & D, Excel", {"Python"}),
        ("Accounting, C-level communication", {"Accounting"}),
        ("Presentations to the C-Suite, CRM", {"CRM"}),
        ("CRM and C-level", {"CRM"}),
        ("SQL, Vitamin C", {"SQL"}),
        ("CDL, Class C license", {"Commercial driver's license"}),
        ("Forecasting, Series C funding", {"Forecasting"}),
        ("Payroll, Schedule C", {"Payroll"}),
        ("H&M, R&B and SQL", {"SQL"}),
        ("Python or R", {"Python", "R"}),
        ("Python & R", {"Python", "R"}),
        ("Python (R, Stata)", {"Python", "R", "Stata"}),
        ("Statistics in R, Python", {"Statistics", "R", "Python"}),
        ("SQL, R programming and SAS", {"SQL", "R", "SAS"}),
        ("Skills: C, C++", {"C", "C++"}),
        ("- Python\n- R, SQL\n", {"Python", "R", "SQL"}),
        ("Kenntnisse in Python oder R sind von Vorteil", {"Python", "R"}),
        # Words that are not a product.
        ("Customer service, Go above and beyond", {"Customer service"}),
        ("Excel, Go the extra mile", set()),
        ("First aid, Swift response to incidents", {"First aid"}),
        ("Landscaping, Spring season cleanups", {"Landscaping"}),
        ("Cooking, React quickly", {"Cooking"}),
        ("CCTV, Access control, Word of mouth", {"CCTV", "Access control"}),
        ("Food safety, Chef de partie", {"Food safety"}),
        ("SQL, Spark curiosity in the team", {"SQL"}),
        ("Java, Spring, Kafka", {"Java", "Spring Framework"}),
        ("Java and Spring developers", {"Java", "Spring Framework"}),
        ("Swift/Kotlin", {"Swift", "Kotlin"}),
        ("TypeScript, React (or Vue.js)", {"TypeScript", "React", "Vue.js"}),
        ("JavaScript, React", {"JavaScript", "React"}),
        ("Docker, Helm and Go services", {"Docker", "Helm", "Go"}),
        ("PowerPoint, Word und Excel", {"Microsoft PowerPoint", "Microsoft Word", "Microsoft Excel"}),
        ("PowerPoint- und Excel-Kenntnisse", {"Microsoft PowerPoint"}),
    ],
)
def test_short_and_common_words_count_in_lists_only(text: str, skills: set[str]) -> None:
    assert set(find_skills(text)) & {*skills, "R", "C", "Go", "Swift", "Spring Framework", "React"} == skills


@pytest.mark.parametrize(
    "text",
    [
        "We may use artificial intelligence and machine learning to screen applications.",
        "Your resume may be reviewed with the help of machine learning.",
        "Our recruitment process uses machine learning; you may opt out.",
        "As part of the hiring process we use AI tools (machine learning, natural language processing).",
        "Candidates are assessed by automated tools, including machine learning.",
        "Machine learning may support the selection of candidates, but a human decides.",
        "Some recruiting tools use machine learning to match candidates with roles.",
        "All applications are read by people, but ranked by machine learning.",
        "Natural language processing tools may rank resumes.",
        "Bewerbungen werden mit KI (Machine Learning) vorausgewählt.",
        "Les candidatures peuvent être analysées par IA (machine learning).",
        "We do not accept generative AI in your application: GenAI answers are rejected.",
        "Interviews take place via Microsoft Teams.",
        "Your interview will be held on Microsoft Teams.",
        "Beware of scams: our recruiters never contact you through Slack, Microsoft Teams or WhatsApp.",
        "We are an equal opportunity employer and value mental health services for all.",
        "Qualified applicants are considered without regard to first aid needs or physical therapy.",
        "Reasonable accommodations, such as speech therapy, are offered to applicants.",
        "Benefits include mental health services and physical therapy.",
        "Benefits\n\n- Mental health services\n- Photography club\n- Free cooking classes",
        "What we offer:\n- Mental health services\n- Learning budget for AWS",
        "Wir bieten\n\n- Physical therapy im Haus\n- Jira-freie Freitage",
        "A wellness program with physical therapy",
        "Medical, dental, vision, mental health services",
        "Tuition reimbursement for Project Management Professional",
    ],
)
def test_notices_and_benefits_name_no_skill(text: str) -> None:
    assert find_skills(text) == ()
    assert find_skills(f"You know Python.\n\n{text}\n\nRequirements\n\nSQL is a must.") == ("Python", "SQL")


@pytest.mark.parametrize(
    ("text", "skill"),
    [
        ("You build applications with machine learning.", "Machine learning"),
        ("Experience in machine learning and a good process", "Machine learning"),
        ("You support our applications with machine learning.", "Machine learning"),
        ("Analyse data and accept no limits: machine learning applications at scale", "Machine learning"),
        ("The ideal candidate knows machine learning.", "Machine learning"),
        ("Candidates with Python experience are preferred.", "Python"),
        ("You screen resumes and manage the ATS in Workday HCM.", "Workday"),
        ("You design machine learning systems that rank products.", "Machine learning"),
        ("We offer a modern stack: Python and AWS.", "Python"),
        ("You process insurance claims: medical billing.", "Medical billing"),
        ("Benefits administration and payroll processing", "Payroll"),
        ("You detect fraud with SQL.", "SQL"),
        ("Benefits\n\n- Health\n\nRequirements\n\n- Python", "Python"),
    ],
)
def test_duties_and_requirements_name_skills(text: str, skill: str) -> None:
    assert skill in find_skills(text)


@pytest.mark.parametrize(
    "part", ["R&", "C ", "Python, R ", "machine learning ", "Benefits\n", "machine learning; ", "&"]
)
def test_long_texts_are_read_in_linear_time(part: str) -> None:
    text = part * (50_000 // len(part))
    started = time.process_time()
    find_skills(text)
    assert time.process_time() - started < 1


def test_named_skills_come_first_in_the_words_of_the_list() -> None:
    assert find_skills("Docker and Python", ["postgres", "<b>Juggling</b>", "python", ""]) == (
        "PostgreSQL",
        "Juggling",
        "Python",
        "Docker",
    )


def test_skills_are_limited() -> None:
    assert len(find_skills("", [f"skill {number}" for number in range(2 * MAX_SKILLS)])) == MAX_SKILLS


WORDS = st.lists(
    st.sampled_from(["Go", "R", "C", "C++", "Python", ", ", "/", " and ", ".", "#", "+", "MS ", "Excel", "CI/CD", "\n"])
    | st.text(max_size=3)
).map("".join)


@given(WORDS, st.lists(WORDS, max_size=4))
def test_skills_are_stable(text: str, named: list[str]) -> None:
    skills = find_skills(text, named)
    assert find_skills(text, skills) == skills
    assert len(set(skills)) == len(skills) <= MAX_SKILLS
