"""A page in the form in which the database takes it and a disk keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.database import codec
from worker.model import FoundPage, Item, ItemError, Organization, Page, Progress, Transformed

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
found_items = st.builds(
    Item,
    external_id=st.text(),
    title=st.text(),
    url=st.text(),
    is_remote=st.none() | st.booleans(),
    salary_min=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    job_types=st.lists(st.text(), max_size=2).map(tuple),
    skills=st.lists(st.text(), max_size=2).map(tuple),
    employer=st.none() | st.builds(Organization, url=st.none() | st.text(), rating=st.none() | st.floats(0, 5)),
    data=st.dictionaries(st.text(), json_values),
)
item_errors = st.builds(
    ItemError, index=st.none() | st.integers(0, 99), type=st.text(), message=st.text(), raw=json_values
)
transforms = st.builds(
    Transformed,
    version=st.integers(1),
    items=st.lists(found_items, max_size=3).map(tuple),
    errors=st.lists(item_errors, max_size=3).map(tuple),
    completeness=st.dictionaries(st.text(), st.floats(0, 1)),
    transform_ms=st.integers(0),
)
found_pages = st.builds(
    FoundPage,
    site=st.text(min_size=1, max_size=20),
    attempt=st.integers(1, 20),
    account=st.none() | st.text(),
    source=st.text(),
    page=st.builds(
        Page,
        number=st.integers(1, 10_000),
        payload=json_values,
        response_ms=st.integers(0),
        cursor=json_values,
        is_last=st.booleans(),
    ),
    transformed=transforms,
    progress=st.builds(
        Progress, step=st.text(), current=st.none() | st.integers(), details=st.dictionaries(st.text(), json_values)
    ),
)


PAGE = FoundPage(
    site="indeed",
    attempt=1,
    account="mine",
    source="jobspy",
    page=Page(3, {"jobs": [1]}, 5, cursor={"offset": 30}),
    transformed=Transformed(
        version=1,
        items=(
            Item("1", "Nurse", "https://example.com/1", skills=("care",), employer=Organization(industry="Health")),
        ),
        errors=(ItemError(1, "InvalidItemError", "is missing", "title", {"id": 2}),),
        completeness={"location": 0.5},
        transform_ms=2,
    ),
    progress=Progress("searching", 30, 50, {"page": 3}),
)


def on_disk(found: FoundPage) -> Any:
    return json.loads(json.dumps(codec.page(found)))


def objects(form: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a page's form."""
    employers = [item["employer"] for item in form["items"]]
    return [form, form["raw"], form["progress"], *form["items"], *employers, *form["errors"]]


def changed(change: Callable[[dict[str, Any], str], object]) -> Iterator[dict[str, Any]]:
    """Yield the form of the page with one change, at each name of it in turn."""
    for place, names in enumerate([[*inner] for inner in objects(on_disk(PAGE))]):
        for name in names:
            form = on_disk(PAGE)
            change(objects(form)[place], name)
            yield form


@given(found_pages)
def test_a_page_comes_back_as_it_was(found: FoundPage) -> None:
    assert codec.read_page(on_disk(found)) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda form, name: form.pop(name),
        lambda form, name: form.update({f"{name}_of_tomorrow": form[name]}),
    ],
    ids=["without a field", "with a field more"],
)
def test_a_page_with_other_fields_is_refused(change: Callable[[dict[str, Any], str], object]) -> None:
    forms = [*changed(change)]
    assert len(forms) == 7 + 10 + 5 + (len(fields(Item)) + 1) + len(fields(Organization)) + len(fields(ItemError))
    for form in forms:
        with pytest.raises(ValueError, match="is not a page of this version"):
            codec.read_page(form)


def test_a_page_with_a_value_of_another_type_is_refused() -> None:
    taken = []

    def change(form: dict[str, Any], name: str) -> None:
        form[name] = [[form[name]]]
        taken.append(name)

    accepted = []
    for form in changed(change):
        try:
            codec.read_page(form)
        except ValueError:
            continue
        accepted.append(taken[-1])
    # Any JSON is a value of these; `raw` is what an invalid record was.
    assert accepted == ["payload", "cursor", "raw"]


@pytest.mark.parametrize("value", [None, [], 1, "", {}, {"site": []}])
def test_what_is_no_page_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a page of this version"):
        codec.read_page(value)
