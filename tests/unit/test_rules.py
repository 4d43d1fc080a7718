"""The database's rules for parameters follow from the models of the sources."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from tests.example_source.hireboard import HireboardSource
from worker.model import Item, Json, Page
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters
from worker.sources.registry import BUILTIN_SOURCES, instances
from worker.sources.rules import ParameterRule, parameter_rules, rules_in_sql

EXAMPLE = Path(__file__).parents[1] / "example_source"


class FlatParameters(SearchParameters):
    """What a search for flats reads."""

    search_term: str = Field(min_length=1, max_length=200)
    max_rent: int | None = Field(None, ge=0, le=100_000)
    results_wanted: int = Field(50, ge=1, le=500)


class Flatboard(Source):
    """A source of a kind of its own."""

    name = "flatboard"
    kind = "flats"
    sites: Sequence[str] = ("flatboard",)
    parameters = FlatParameters

    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        raise NotImplementedError

    def records(self, site: str, page: Page) -> Sequence[Json]:
        raise NotImplementedError

    def parse(self, site: str, record: Json) -> Item:
        raise NotImplementedError


def flatboard(name: str = "flatboard", **parameters: Any) -> Source:
    """Return a source with more parameters: each is a type with a default."""
    source = Flatboard()
    source.name, source.sites = name, (name,)
    source.parameters = create_model("MoreParameters", __base__=FlatParameters, **parameters)
    return source


def rule_of(name: str, *sources: Source) -> ParameterRule:
    (rule,) = [rule for rule in parameter_rules(sources) if rule.name == name]
    return rule


def test_the_example_has_the_sql_of_its_source() -> None:
    builtin = instances(BUILTIN_SOURCES)
    assert rules_in_sql(HireboardSource(), builtin) == (EXAMPLE / "rules.sql").read_text()
    assert rules_in_sql(Flatboard(), builtin) == (EXAMPLE / "kind.sql").read_text()


@pytest.mark.parametrize(
    ("declared", "rule"),
    [
        ((bool, False), ("boolean", False, None, None, None, False)),
        ((bool | None, None), ("boolean", False, None, None, None, None)),
        ((str, Field(min_length=1, max_length=9)), ("text", True, 1, 9, None, None)),
        ((Literal["a", "b"], "a"), ("text", False, None, None, ("a", "b"), "a")),
        ((int | None, Field(None, ge=-1, le=9)), ("integer", False, -1, 9, None, None)),
        ((list[Literal[1, 2]] | None, Field(None, min_length=1, max_length=2)),
         ("integers", False, 1, 2, ("1", "2"), None)),
        ((list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=2)),
         ("texts", True, 1, 2, None, None)),
    ],
)  # fmt: skip
def test_a_rule_follows_from_the_model(declared: Any, rule: Sequence[Any]) -> None:
    found = rule_of("more", flatboard(more=declared))
    assert found == ParameterRule("flats", "more", *rule)


@pytest.mark.parametrize(
    "declared",
    [
        (str, Field()),
        (int, Field(ge=1)),
        (float, Field(ge=1, le=2)),
        (int | str, Field()),
        (dict[str, int], Field()),
        (list[Annotated[str, Field(min_length=1, max_length=101)]], Field(min_length=1, max_length=2)),
        (list[bool], Field(min_length=1, max_length=2)),
    ],
)
def test_what_the_database_cannot_check_is_refused(declared: Any) -> None:
    with pytest.raises(ValueError, match="flatboard: the database cannot check more: it"):
        parameter_rules([flatboard(more=declared)])


def test_the_sources_of_a_kind_agree_on_a_parameter_but_need_not_all_require_it() -> None:
    required = (Annotated[int, Field(ge=1, le=5)], ...)
    one, other = flatboard("one", rooms=required), flatboard("other", rooms=required)
    assert rule_of("rooms", one, other).is_required
    assert not rule_of("rooms", one, other, Flatboard()).is_required
    assert rule_of("sites", one, other).allowed == ("one", "other")
    differing = flatboard("differing", rooms=(Annotated[int, Field(ge=1, le=6)], ...))
    with pytest.raises(ValueError, match="one, differing declare rooms differently"):
        parameter_rules([one, differing])


def test_a_text_is_quoted() -> None:
    sql = rules_in_sql(flatboard(more=(Literal["it's", 'a "b", c'], "it's")), [])
    assert """'{"it''s","a \\"b\\", c"}', '"it''s"'""" in sql
