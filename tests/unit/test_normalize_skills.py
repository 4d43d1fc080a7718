"""Skills."""

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
        ("", set()),
    ],
)
def test_skills_in_text(text: str, skills: set[str]) -> None:
    assert set(find_skills(text)) == skills


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
