"""Files of collections: what is read from them, and the errors of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.cli.collection_file import DEFAULT_OWNER, read_collection_file
from worker.cli.usage import WrongUseError

RIGHT = """
namespace = "uk"

[[collection]]
name = "care"
terms = ["nurse", "carer"]
times = "08:00,16:45"
"""

FULL = """
namespace = "uk"
user = "Searches@Acme.org"

[[collection]]
name = "care"
kind = "jobs"
terms = ["nurse", "carer"]
places = ["Leeds, UK", "York"]
sites = ["indeed", "linkedin"]
times = "8:00, 16:45"
weekdays = "mon-fri"
zone = "Europe/London"
parameters = { results_wanted = 50, is_remote = true }

[[collection]]
name = "creators"
kind = "creators"
terms = ["cooking"]
times = "03:00"
"""


NUL = "must not have the character U+0000"
FIELDS = "name, kind, terms, places, sites, times, weekdays, zone, parameters"


def write(folder: Path, text: str) -> Path:
    path = folder / "uk.toml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    read = read_collection_file(write(tmp_path, FULL))
    assert (read.namespace, read.user) == ("uk", "Searches@Acme.org")
    care, creators = read.as_rows()
    assert care == {
        "name": "care", "kind": "jobs", "terms": ["nurse", "carer"], "places": ["Leeds, UK", "York"],
        "sites": ["indeed", "linkedin"], "times": ["08:00", "16:45"], "weekdays": [1, 2, 3, 4, 5],
        "time_zone": "Europe/London", "parameters": {"results_wanted": 50, "is_remote": True},
    }  # fmt: skip
    assert (creators["kind"], creators["places"], creators["sites"]) == ("creators", [], None)


def test_what_a_file_may_leave_out(tmp_path: Path) -> None:
    read = read_collection_file(write(tmp_path, RIGHT))
    assert read.user == DEFAULT_OWNER
    (care,) = read.as_rows()
    assert care == {
        "name": "care", "kind": "jobs", "terms": ["nurse", "carer"], "places": [], "sites": None,
        "times": ["08:00", "16:45"], "weekdays": [1, 2, 3, 4, 5, 6, 7], "time_zone": "UTC", "parameters": {},
    }  # fmt: skip


def test_a_file_without_collections_is_read(tmp_path: Path) -> None:
    assert read_collection_file(write(tmp_path, 'namespace = "uk"')).as_rows() == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('namespace = "uk"', "", "namespace: is required"),
        ('namespace = "uk"', 'namespace = "UK/1"', "namespace: must be 1 to 50 small letters, digits and hyphens"),
        ('namespace = "uk"', "namespace = 1", "namespace: must be a text"),
        ('namespace = "uk"', 'namespace = "uk"\nuser = "ada"', "user: must be an e-mail address"),
        ('namespace = "uk"', 'namespace = "uk"\nx = 1', "x: is not known; allowed: namespace, user, collection"),
        ("[[collection]]", "[collection]", "collection: must be a list: write [[collection]]"),
        ('name = "care"', "", "collection 1: name: is required"),
        ('name = "care"', 'name = "A"', "collection 1 (A): name: must be 1 to 50 small letters, digits and hyphens"),
        ('times = "08:00,16:45"', "", "collection 1 (care): times: is required"),
        ("16:45", "24:00", "collection 1 (care): times: '24:00' is not a time of day; write times as 08:00,16:45"),
        ('times = "08:00,16:45"', 'times = ["08:00"]', "collection 1 (care): times: must be a text"),
        (
            "times =", 'weekdays = "monday"\ntimes =',
            "collection 1 (care): weekdays: 'monday' is not a weekday; write days as mon-fri or mon,wed,fri",
        ),
        ("times =", 'day = "mon"\ntimes =', f"collection 1 (care): day: is not known; allowed: {FIELDS}"),
        ('["nurse", "carer"]', "[]", "collection 1 (care): terms: must be a list of one or more texts"),
        ('["nurse", "carer"]', '"nurse"', "collection 1 (care): terms: must be a list"),
        ('["nurse", "carer"]', '["nurse", 2]', "collection 1 (care): terms 2: must be a text"),
        ('["nurse", "carer"]', '["nurse", " "]', "collection 1 (care): terms 2: must be a text of 1 to 200 characters"),
        ('["nurse", "carer"]', '["nurse", "Nurse "]', "collection 1 (care): terms: 'Nurse ' is there twice"),
        ("times =", "parameters = { sites = ['x'] }\ntimes =",
         "collection 1 (care): parameters: 'sites' is not allowed here; write it as sites"),
        ("times =", "parameters = { search_term = 'x' }\ntimes =",
         "collection 1 (care): parameters: 'search_term' is not allowed here; write it as terms"),
        ("times =", "parameters = { since = 2026-11-29 }\ntimes =",
         "collection 1 (care): parameters.since: must be a text, a number, true, false or a list of them"),
        ("times =", "parameters = { results_wanted = nan }\ntimes =",
         "collection 1 (care): parameters.results_wanted: must be a text, a number, true, false or a list of them"),
        ('"nurse",', r'"nu\u0000rse",', f"collection 1 (care): terms 1: {NUL}"),
        ("times =", 'kind = "\\u0000"\ntimes =', f"collection 1 (care): kind: {NUL}"),
        ("times =", "kind = 1\ntimes =", "collection 1 (care): kind: must be a text"),
        ("times =", 'zone = "\\u0000"\ntimes =', f"collection 1 (care): zone: {NUL}"),
        ("times =", 'sites = ["\\u0000x"]\ntimes =', f"collection 1 (care): sites 1: {NUL}"),
        ("times =", 'parameters = { country = "\\u0000" }\ntimes =', f"collection 1 (care): parameters.country: {NUL}"),
        ("times =", 'parameters = { x = [{ y = "\\u0000" }] }\ntimes =', f"collection 1 (care): parameters.x: {NUL}"),
        ("times =", 'parameters = { "\\u0000" = 1 }\ntimes =', f"collection 1 (care): parameters: {NUL}"),
        ('namespace = "uk"', 'namespace = "uk"\nuser = "a\\u0000@b"', "user: must be an e-mail address"),
        ("[[coll", 'zone = "UTC"\n[[coll', "zone: is not known; allowed: namespace, user, collection"),
        ("times =", "times", "is no TOML: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_the_field_and_what_is_allowed(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in RIGHT
    path = write(tmp_path, RIGHT.replace(old, new))
    with pytest.raises(WrongUseError) as raised:
        read_collection_file(path)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{path}: {problem}")
    if not problem.endswith(": "):
        assert line == f"{path}: {problem}"


def test_each_problem_has_a_line(tmp_path: Path) -> None:
    text = RIGHT.replace("16:45", "25:00") + '[[collection]]\nname = "care"\nterms = []\ntimes = "08:00"\n'
    with pytest.raises(WrongUseError) as raised:
        read_collection_file(write(tmp_path, text))
    assert [line.partition("uk.toml: ")[2] for line in str(raised.value).splitlines()] == [
        "collection 1 (care): times: '25:00' is not a time of day; write times as 08:00,16:45",
        "collection 2 (care): terms: must be a list of one or more texts",
    ]


def test_two_collections_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"collection 2 \(care\): name: is the name of collection 1 as well"):
        read_collection_file(write(tmp_path, RIGHT + RIGHT.replace('namespace = "uk"', "")))


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "uk.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongUseError, match=r"uk\.toml( cannot be read: No such file|: is no TOML: .*utf-8)"):
        read_collection_file(path)
