from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from worker.engine.worker import Worker
from worker.errors import BrokenSourceError, SettingsError
from worker.model import Item, Json, Page
from worker.settings import EnvironmentSettings, Settings
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters
from worker.sources.registry import BUILTIN_SOURCES

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


class FlatSettings(EnvironmentSettings):
    region: str = "eu"


class Flats(Board):
    settings = FlatSettings

    def __init__(self, settings: FlatSettings | None = None) -> None:
        super().__init__((settings or FlatSettings(region="default")).region, "flats", "flatboard")


async def names(worker: Worker) -> list[str]:
    """The names of a worker's sources."""
    with pytest.raises(ValueError, match="source must be one of ") as raised:
        await worker.reprocess(source="no such source")
    return str(raised.value).removeprefix("source must be one of ").split(", ")


BUILTIN = [source.name for source in BUILTIN_SOURCES]


async def test_sources_replace_all_and_extra_sources_add() -> None:
    assert await names(Worker(SETTINGS)) == BUILTIN
    assert await names(Worker(SETTINGS, extra_sources=[Flats])) == [*BUILTIN, "default"]
    assert await names(Worker(SETTINGS, sources=[Flats(FlatSettings(region="us"))])) == ["us"]
    both = Worker(SETTINGS, sources=[Board("one", "jobs", "indeed")], extra_sources=[Flats])
    assert await names(both) == ["one", "default"]


def test_an_extra_source_cannot_search_a_site_that_has_one() -> None:
    with pytest.raises(BrokenSourceError, match="the site 'indeed' for jobs: JobSpySource and Board"):
        Worker(SETTINGS, extra_sources=[Board("mine", "jobs", "indeed")])


def test_a_worker_needs_the_service_key() -> None:
    with pytest.raises(SettingsError, match=r"^SUPABASE_SERVICE_ROLE_KEY: is required\."):
        Worker(Settings(supabase_url="https://abcdefgh.supabase.co", supabase_service_role_key=None))
