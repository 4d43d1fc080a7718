from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.read import MAX_ID_LENGTH, MAX_LEVELS, RAW_LENGTH, storable, transform
from worker.errors import InvalidItemError
from worker.model import Item, Json, Page
from worker.pipeline.text_signature import text_signature
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=10,
)


class Listings(Source):
    """A source whose pages are lists of records, which hold an item's fields by their names."""

    name = "listings"
    kind = "jobs"
    sites: Sequence[str] = ("board",)
    version = 7
    parameters = SearchParameters

    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        raise NotImplementedError

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        if not isinstance(page.payload, list):
            raise InvalidItemError("must be a list", "payload")
        return page.payload

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        return Item(**record)  # type: ignore[arg-type]  # whatever it holds: that is what is tested


def listing(number: int, **others: Json) -> dict[str, Json]:
    return {"external_id": str(number), "title": f"Nurse {number}", "url": f"https://example.com/{number}", **others}


def test_an_invalid_record_is_reported_and_the_others_are_kept() -> None:
    records: list[Json] = [listing(1), listing(2, title=" "), "not a record", listing(4, location="Berlin, Germany")]
    transformed = transform(Listings(), "board", Page(1, records, 5))
    assert [item.external_id for item in transformed.items] == ["1", "4"]
    assert [(error.index, error.type, error.field, error.raw) for error in transformed.errors] == [
        (1, "InvalidItemError", "title", records[1]),
        (2, "TypeError", None, "not a record"),
    ]
    assert transformed.version == 7
    assert transformed.completeness == {"organization": 0, "location": 0.5, "posted_at": 0, "description": 0}


def test_items_are_normalised_and_have_their_keys() -> None:
    record = listing(1, organization="  Charité&nbsp;GmbH ", location="Berlin, Germany", description="<p>Care</p>")
    (item,) = transform(Listings(), "board", Page(1, [record], 5)).items
    assert (item.organization, item.city, item.country) == ("Charité GmbH", "Berlin", "DE")
    assert item.description == "Care"
    assert item.match_key is not None
    assert (item.organization_key, item.place_key) == ("charite", "berlin|DE-BE|DE")


def test_a_job_has_the_signature_of_its_text() -> None:
    record = listing(1, description="<p>You care for <b>four</b> patients.</p>")
    (item,) = transform(Listings(), "board", Page(1, [record], 5)).items
    assert item.text_signature == text_signature("You care for four patients")


class People(Listings):
    kind = "people"


def test_other_kinds_have_no_keys() -> None:
    record = listing(
        1,
        organization="Charité",
        location="Berlin, Germany",
        apply_url="https://jobs.lever.co/a/b",
        description="A doctor",
    )
    (item,) = transform(People(), "board", Page(1, [record], 5)).items
    assert (item.organization, item.location) == ("Charité", "Berlin, Germany")
    keys = (item.apply_key, item.match_key, item.organization_key, item.place_key, item.text_signature)
    assert (item.city, *keys) == (None,) * 6


@pytest.mark.parametrize("payload", [None, {}, "<html>"])
def test_an_invalid_page_is_reported_as_a_whole(payload: Json) -> None:
    transformed = transform(Listings(), "board", Page(1, payload, 5))
    assert transformed.items == ()
    (error,) = transformed.errors
    assert (error.index, error.field, error.message) == (None, "payload", "must be a list")


def test_a_huge_record_is_cut() -> None:
    (error,) = transform(Listings(), "board", Page(1, [{"x": "y" * 2 * RAW_LENGTH}], 5)).errors
    assert isinstance(error.raw, str)
    assert len(error.raw) == RAW_LENGTH


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", "x" * (MAX_ID_LENGTH + 1)),
        ("external_id", "\0"),
        ("external_id", 5),
        ("data", []),
        ("is_remote", ""),
        ("is_remote", []),
    ],
)
def test_a_value_that_the_database_refuses_invalidates_only_its_record(field: str, value: Json) -> None:
    transformed = transform(Listings(), "board", Page(1, [listing(1, **{field: value}), listing(2)], 5))
    assert [item.external_id for item in transformed.items] == ["2"]
    assert [(error.type, error.field) for error in transformed.errors] == [("InvalidItemError", field)]


def test_an_id_is_stored_as_it_can_be() -> None:
    record = listing(1) | {"external_id": "a\0b" + "x" * (MAX_ID_LENGTH - 2)}
    (item,) = transform(Listings(), "board", Page(1, [record], 5)).items
    assert item.external_id == "ab" + "x" * (MAX_ID_LENGTH - 2)


class Broken(Listings):
    """A source that reads its pages as they are asked for, and gives what is no JSON."""

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        def reading() -> Iterator[object]:
            yield date(2026, 11, 1)
            if page.number == 2:
                raise KeyError("rows")

        return reading()  # type: ignore[return-value]  # that is what is tested


def test_a_source_that_breaks_its_word_fails_the_page() -> None:
    (unreadable,) = transform(Broken(), "board", Page(1, {}, 5)).errors
    assert (unreadable.index, unreadable.raw) == (0, None)
    (unreadable,) = transform(Broken(), "board", Page(2, {}, 5)).errors
    assert (unreadable.index, unreadable.type) == (None, "KeyError")


def test_too_deep_nesting_is_left_out() -> None:
    deep: Json = "the bottom"
    for _ in range(5000):
        deep = [{"inner": deep}]
    (item,) = transform(Listings(), "board", Page(1, [listing(1, data={"deep": deep})], 5)).items
    assert json.dumps(item.data).count("{") == MAX_LEVELS / 2
    (error,) = transform(Listings(), "board", Page(1, [{"deep": deep}], 5)).errors
    assert error.type == "TypeError"


@given(json_values)
def test_any_record_is_an_item_or_an_error(payload: Json) -> None:
    transformed = transform(Listings(), "board", Page(1, payload, 5))
    if isinstance(payload, list):
        assert len(transformed.items) + len(transformed.errors) == len(payload)


@given(st.lists(st.dictionaries(st.sampled_from([*Item.__slots__]), json_values)))
def test_any_field_value_gives_an_item_or_an_error(records: list[Json]) -> None:
    transformed = transform(Listings(), "board", Page(1, [*records], 5))
    assert len(transformed.items) + len(transformed.errors) == len(records)


@given(json_values)
def test_storable_values_are_strict_json_without_nul(value: Json) -> None:
    text = json.dumps(storable(value), allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert storable(storable(value)) == storable(value)
