from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import Field

from worker.cli.settings import example
from worker.errors import BrokenSourceError, SettingsError
from worker.model import Item, Json, Page, SiteLimits
from worker.settings import EnvironmentSettings
from worker.sources import Search, Source
from worker.sources.parameters import JobParameters, SearchParameters
from worker.sources.registry import (
    BUILTIN_SOURCES,
    by_site,
    instances,
    load_sources,
    problem_of_source,
    settings_classes,
)


class Board(Source):
    name = "board"
    kind = "jobs"
    sites: Sequence[str] = ("board",)
    parameters: type[SearchParameters] = JobParameters
    limits: Mapping[str, SiteLimits] = {"board": SiteLimits(), "board:details": SiteLimits()}

    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        raise NotImplementedError

    def records(self, site: str, page: Page) -> Sequence[Json]:
        raise NotImplementedError

    def parse(self, site: str, record: Json) -> Item:
        raise NotImplementedError


class Indeed(Board):
    name = "my_indeed"
    sites = ("indeed",)
    limits: Mapping[str, SiteLimits] = {}


class NoSource:
    pass


class Fails(Board):
    def __init__(self) -> None:
        raise RuntimeError("no licence")


class KeyedSettings(EnvironmentSettings):
    """Settings of a source that a package adds."""

    api_key: str = Field(default="none", validation_alias="KEYED_API_KEY", max_length=10, description="Key of Keyed.")


class Keyed(Board):
    name = "keyed"
    sites: Sequence[str] = ("keyed",)
    limits: Mapping[str, SiteLimits] = {}
    settings = KeyedSettings

    def __init__(self, settings: KeyedSettings | None = None) -> None:
        self.key = (settings or KeyedSettings()).api_key


@pytest.fixture(autouse=True)
def no_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution that adds the source `value`, as an installer does."""

    def installed(distribution: str, value: str) -> None:
        information = tmp_path / distribution / f"{distribution}-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[supabase_search_worker.sources]\nadded = {value}\n")
        monkeypatch.syspath_prepend(tmp_path / distribution)

    return installed


def test_the_workers_own_sources_keep_to_the_protocol() -> None:
    sources = instances(BUILTIN_SOURCES)
    assert [problem_of_source(source) for source in sources] == [None] * len(sources)
    assert {kind for kind, _ in by_site(sources)} == {"jobs", "people", "creators"}


def test_credentials_are_present_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"JSEARCH_API_KEY": "a", "UNIPILE_DSN": "api8.unipile.com:13851", "YOUTUBE_API_KEY": "b"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    credentials: dict[str, bool] = {}
    for source in instances(BUILTIN_SOURCES):
        credentials |= source.credentials
    assert credentials == {
        "JSEARCH_API_KEY": True, "UNIPILE_DSN": True, "UNIPILE_API_KEY": False, "YOUTUBE_API_KEY": True,
    }  # fmt: skip


def test_a_package_adds_a_source(install: Callable[[str, str], None]) -> None:
    install("boards", f"{__name__}:Board")
    assert load_sources()[-1].name == "board"


def test_an_added_source_has_settings_as_a_built_in_one(
    monkeypatch: pytest.MonkeyPatch, install: Callable[[str, str], None]
) -> None:
    install("boards", f"{__name__}:Keyed")
    monkeypatch.setenv("KEYED_API_KEY", "secret")
    assert settings_classes()[-1] is KeyedSettings
    keyed = load_sources()[-1]
    assert isinstance(keyed, Keyed)
    assert keyed.key == "secret"
    assert example().endswith("\n\n# Key of Keyed.\n# KEYED_API_KEY=none\n")


def test_all_wrong_settings_of_sources_are_named(
    monkeypatch: pytest.MonkeyPatch, install: Callable[[str, str], None]
) -> None:
    install("boards", f"{__name__}:Keyed")
    monkeypatch.setenv("KEYED_API_KEY", "much too long")
    monkeypatch.setenv("JOBSPY_PAGE_DELAY_SECONDS", "5")
    with pytest.raises(SettingsError) as raised:
        load_sources()
    assert not isinstance(raised.value, BrokenSourceError)
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "JOBSPY_PAGE_DELAY_SECONDS",
        "KEYED_API_KEY",
    ]


def test_a_broken_source_hides_no_settings_of_others(install: Callable[[str, str], None]) -> None:
    before = settings_classes()
    install("boards", "no.such.module:Board")
    assert settings_classes() == before


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no.such.module:Board", "cannot be loaded: ModuleNotFoundError: No module named 'no'"),
        (f"{__name__}:Nothing", "cannot be loaded: AttributeError"),
        (f"{__name__}:Fails", "cannot be loaded: RuntimeError: no licence"),
        (f"{__name__}:install", "cannot be used: it must be a class"),
        (f"{__name__}:NoSource", "cannot be used: name must be a name of small letters, digits, - and _"),
    ],
)
def test_a_source_that_is_broken_is_named_with_its_package(
    install: Callable[[str, str], None], value: str, message: str
) -> None:
    install("boards", value)
    with pytest.raises(BrokenSourceError) as raised:
        load_sources()
    assert str(raised.value).startswith(f"The source added ({value}) of boards 1.0 {message}")
    assert isinstance(raised.value, SettingsError)


def test_two_sources_of_one_site_are_both_named(install: Callable[[str, str], None]) -> None:
    install("boards", f"{__name__}:Indeed")
    with pytest.raises(BrokenSourceError) as raised:
        load_sources()
    assert str(raised.value) == (
        "Two sources search the site 'indeed' for jobs: jobspy of this worker and "
        f"added ({__name__}:Indeed) of boards 1.0"
    )
    with pytest.raises(BrokenSourceError, match="Two sources are named 'board': Board and Board"):
        by_site([Board(), Board()])


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("name", "", "name must be a name of small letters, digits, - and _"),
        ("name", None, "name must be a name of small letters, digits, - and _"),
        ("kind", "Jobs", "kind must be a name of small letters, digits, - and _"),
        ("sites", "board", "sites must be a list of names"),
        ("sites", [], "sites must be a list of names"),
        ("sites", ["a:b"], "sites must be a list of names"),
        ("version", 0, "version must be an integer from 1 on"),
        ("version", "1", "version must be an integer from 1 on"),
        ("parameters", dict, "parameters must be a class derived from SearchParameters"),
        ("settings", dict, "settings must be a class derived from EnvironmentSettings, or None"),
        ("limits", {"board": 3}, "limits must be SiteLimits by bucket"),
        ("limits", {"other:x": SiteLimits()}, "limits has the bucket 'other:x'; allowed: SITE or SITE:NAME, of board"),
        ("credentials", {"KEY": "value"}, "credentials must be environment variables, each with whether it is there"),
        ("needs_account", None, "needs_account must be true or false"),
        ("ends_without_news", "no", "ends_without_news must be true or false"),
        ("fetch", None, "it lacks fetch"),
    ],
)
def test_missing_parts_of_a_source_are_reported(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: object, problem: str
) -> None:
    source = Board()
    assert problem_of_source(source) is None
    monkeypatch.setattr(source, attribute, value, raising=False)
    assert (problem_of_source(source) or "").startswith(problem)
    with pytest.raises(BrokenSourceError, match=r"^The source Board cannot be used: "):
        by_site([source])


def test_a_worker_that_knows_all_sources_stays_lean() -> None:
    code = (
        "import sys, worker.cli.main, worker.engine.worker\n"
        "from worker.sources.registry import load_sources\n"
        "load_sources()\n"
        "print(*sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = answer.stdout.split()
    heavy = {
        "pandas", "numpy", "jobspy", "requests", "bs4", "curl_cffi", "lxml", "rapidfuzz", "respx", "psycopg",
        "starlette",
    }  # fmt: skip
    assert "pydantic" in modules
    assert not heavy & {module.partition(".")[0] for module in modules}
    assert not [module for module in modules if module.startswith("worker.local")]
