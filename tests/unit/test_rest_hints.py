"""What comes closest to a name, as PostgREST's documentation and tests have it."""

from __future__ import annotations

import pytest

from worker.local.supabase.rest.not_found import closest

SIGNATURES = ["(name, param, val)", "(attr, id)"]


@pytest.mark.parametrize(
    ("text", "known", "found"),
    [
        ("testt", ["test", "another"], ["test"]),
        ("TEST", ["test", "tests"], ["test"]),
        ("noclosealternative", ["test", "another"], []),
        ("film", ["films"], ["films"]),
        ("role", ["directors", "roles", "actors"], ["roles"]),
        ("(nam, pqaram, vall)", SIGNATURES, ["(name, param, val)"]),
        ("(attrs, id)", SIGNATURES, ["(attr, id)"]),
        ("(id)", SIGNATURES, ["(attr, id)"]),
        ("(noclosealternative)", SIGNATURES, []),
        ("", [""], [""]),
        ("a", [], []),
    ],
)
def test_what_is_closest(text: str, known: list[str], found: list[str]) -> None:
    assert closest(text, known) == found


def test_names_have_to_be_closer() -> None:
    assert closest("other", ["another"]) == ["another"]
    assert closest("other", ["another"], min_score=0.75) == []
    assert closest("projecxx", ["projects"], min_score=0.75) == ["projects"]
