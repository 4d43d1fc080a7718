"""The columns of a view, read from the text of its query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.local.supabase.rest.view_columns import ViewColumn, view_columns


def entry(number: int, table: int, column: int, *, expression: str = "{VAR :varno 1}") -> str:
    return (
        f"{{TARGETENTRY :expr {expression} :resno {number} :resname x :ressortgroupref 0"
        f" :resorigtbl {table} :resorigcol {column} :resjunk false}}"
    )


def query(*entries: str, before: str = "<>") -> str:
    return f"({{QUERY :commandType 1 :rtable {before} :targetList ({' '.join(entries)}) :returningList <>}})"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (query(entry(1, 16384, 2), entry(2, 16390, 1)), [(1, 16384, 2), (2, 16390, 1)]),
        (query(entry(1, 0, 0), entry(2, 16384, 3)), [(2, 16384, 3)]),
        ("({QUERY :targetList <>})", []),
        # Subqueries have target lists of their own.
        (query(entry(1, 5, 1), before=f"({{RANGETBLENTRY :subquery {query(entry(1, 7, 7))[1:-1]}}})"), [(1, 5, 1)]),
        (query(entry(1, 5, 1, expression=f"{{SUBLINK :subselect {query(entry(9, 9, 9))[1:-1]}}}")), [(1, 5, 1)]),
        # Names are escaped.
        (query(entry(1, 5, 1), before=r'({ALIAS :colnames ("a\)\}\ b" "\{:targetList\ \(")})'), [(1, 5, 1)]),
        (query(entry(1, 5, 1)) + query(entry(2, 6, 6)), [(1, 5, 1)]),
        ("", []),
    ],
)
def test_view_columns(definition: str, expected: list[tuple[int, int, int]]) -> None:
    assert list(view_columns(definition)) == [ViewColumn(*column) for column in expected]


@given(st.text(alphabet='(){}\\ :"targetListresno0123', max_size=200))
def test_any_text(definition: str) -> None:
    assert isinstance(view_columns(definition), tuple)
