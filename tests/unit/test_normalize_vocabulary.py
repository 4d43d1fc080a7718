"""Job types and work modes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.vocabulary import JOB_TYPES, WORK_MODES, job_types, work_mode


@pytest.mark.parametrize(
    ("named", "types"),
    [
        (["Full-time"], ("fulltime",)),
        (["full time"], ("fulltime",)),
        (["Full-time permanent"], ("fulltime",)),
        (["FULL_TIME"], ("fulltime",)),
        (["Vollzeit", "Teilzeit"], ("fulltime", "parttime")),
        (["CDI"], ("fulltime",)),
        (["CDD"], ("temporary",)),
        (["parttime", "fulltime"], ("fulltime", "parttime")),
        (["Full-time, Contract"], ("fulltime", "contract")),
        (["Full time / Part time"], ("fulltime", "parttime")),
        (["Per diem"], ("perdiem",)),
        (["PRN"], ("perdiem",)),
        (["Internship"], ("internship",)),
        (["CONTRACTOR"], ("contract",)),
        (["Freelance"], ("contract",)),
        (["Seasonal"], ("temporary",)),
        (["Volunteer"], ("volunteer",)),
        (["<b>Full-time</b>"], ("fulltime",)),
        (["Gig"], ("other",)),
        (["Gig", "Part-time"], ("parttime",)),
        ([""], ()),
        ([], ()),
    ],
)
def test_job_types(named: list[str], types: tuple[str, ...]) -> None:
    assert job_types(named) == types


@given(st.lists(st.sampled_from(["Full-time", "CDI, Stage", "other", "x"]) | st.text(), max_size=8))
def test_job_types_are_of_the_vocabulary(named: list[str]) -> None:
    types = job_types(named)
    assert job_types(types) == types
    assert list(types) == [job_type for job_type in JOB_TYPES if job_type in types]


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
        ("On-site", "onsite"),
        ("Hybrid", "hybrid"),
        ("Télétravail", "remote"),
        ("TELECOMMUTE", "remote"),
        ("mars", None),
    ],
)
def test_word_of_the_site(word: str, expected: str | None) -> None:
    assert mode(word) == expected


def test_site_says_remote() -> None:
    assert mode(is_remote=True) == "remote"
    assert mode(is_remote=False) is None
    assert mode(is_remote=True, location="Hybrid - London") == "hybrid"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Engineer (Remote)", "remote"),
        ("Engineer - Remote", "remote"),
        ("Engineer, 100% Remote", "remote"),
        ("Remote - Data Entry Clerk", "remote"),
        ("Data Entry Clerk Work From Home", "remote"),
        ("Engineer [Hybrid]", "hybrid"),
        ("Engineer (On-site)", "onsite"),
        ("Remote Sensing Scientist", None),
        ("Remote Pilot", None),
        ("Hybrid Cloud Architect", None),
        ("On-Site Nurse Supervisor", None),
    ],
)
def test_title(title: str, expected: str | None) -> None:
    assert mode(title=title) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("Remote", "remote"),
        ("Remote - US", "remote"),
        ("Hybrid - London", "hybrid"),
        ("Berlin (on-site)", "onsite"),
        ("Berlin", None),
    ],
)
def test_location(location: str, expected: str | None) -> None:
    assert mode(location=location) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Work Location: In person", "onsite"),
        ("Work Location: Remote", "remote"),
        ("Work Location: Hybrid remote in Austin, TX", "hybrid"),
        ("This is a fully remote position.", "remote"),
        ("This position is 100% remote.", "remote"),
        ("This is a remote role", "remote"),
        ("We offer a hybrid work model.", "hybrid"),
        ("This is an on-site role.", "onsite"),
        ("This is not a remote position.", "onsite"),
        ("This role is not fully remote", None),
        ("#LI-Remote", "remote"),
        ("This is a remote role. Work Location: In person", None),
        ("Free on-site gym. Communicate in person. Maintain remote servers and hybrid vehicles.", None),
        ("The position is remote until March", None),
    ],
)
def test_description(text: str, expected: str | None) -> None:
    assert mode(text=text) == expected


TEXTS = st.lists(
    st.sampled_from(["remote", "Hybrid", "on-site", "this is a ", "not a ", " role", "(", ")", " - ", "\n"])
    | st.text(max_size=4)
).map("".join)


@given(st.none() | TEXTS, st.none() | st.booleans(), TEXTS, st.none() | TEXTS, TEXTS)
def test_mode_is_of_the_vocabulary(
    word: str | None, is_remote: bool | None, title: str, location: str | None, text: str
) -> None:
    found = work_mode(word, is_remote, title, location, text)
    assert found is None or found in WORK_MODES
    assert found is None or work_mode(found, found == "remote", title, location, text) == found
