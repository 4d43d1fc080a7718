from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from worker.engine.worker import Worker
from worker.errors import BrokenSourceError
from worker.model import Item, Json, Page
from worker.settings import Settings
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

SETTINGS = Settings.model_validate(
    {"SUPABASE_URL": "https://abcdefgh.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "a-key"}
)


class Board(Source):
    parameters = SearchParameters

    def __init__(self, name: str, kind: str, *sites: str) -> None:
        self.name, self.kind, self.sites = name, kind, sites

    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        raise NotImplementedError

    def records(self, site: str, page: Page) -> Sequence[Json]:
        raise NotImplementedError

    def parse(self, site: str, record: Json) -> Item:
        raise NotImplementedError


def test_a_site_may_be_searched_for_several_kinds() -> None:
    Worker(SETTINGS, sources=[Board("posts", "jobs", "linkedin"), Board("profiles", "people", "linkedin")])


def test_two_sources_for_one_site_are_both_named() -> None:
    with pytest.raises(BrokenSourceError, match="the site 'indeed' for jobs: Board and Board"):
        Worker(SETTINGS, sources=[Board("one", "jobs", "linkedin", "indeed"), Board("other", "jobs", "indeed")])


def test_two_sources_need_two_names() -> None:
    with pytest.raises(BrokenSourceError, match="Two sources are named 'one': Board and Board"):
        Worker(SETTINGS, sources=[Board("one", "jobs", "linkedin"), Board("one", "people", "linkedin")])
