from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from worker.errors import BrokenSourceError, SettingsError
from worker.model import Item, Json, Page, SiteLimits
from worker.settings import SourceSettings, load_source_settings
from worker.sources import Search, Source
from worker.sources.parameters import JobParameters, SearchParameters
from worker.sources.registry import builtin_sources, by_site, load_sources, problem_of_source


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


def no_source() -> object:
    return object()


def fails() -> Source:
    raise RuntimeError("no licence")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SourceSettings:
    monkeypatch.chdir(tmp_path)
    return load_source_settings()


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


def test_the_workers_own_sources_keep_to_the_protocol(settings: SourceSettings) -> None:
    sources = builtin_sources(settings)
    assert [problem_of_source(source) for source in sources] == [None] * len(sources)
    assert {kind for kind, _ in by_site(sources)} == {"jobs", "people", "creators"}


def test_credentials_are_present_or_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"JSEARCH_API_KEY": "a", "UNIPILE_DSN": "api8.unipile.com:13851", "YOUTUBE_API_KEY": "b"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    credentials: dict[str, bool] = {}
    for source in builtin_sources(load_source_settings()):
        credentials |= source.credentials
    assert credentials == {
        "JSEARCH_API_KEY": True, "UNIPILE_DSN": True, "UNIPILE_API_KEY": False, "YOUTUBE_API_KEY": True,
    }  # fmt: skip


def test_another_package_adds_a_source(settings: SourceSettings, install: Callable[[str, str], None]) -> None:
    install("boards", f"{__name__}:Board")
    assert load_sources(settings)[-1].name == "board"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no.such.module:Board", "cannot be loaded: ModuleNotFoundError: No module named 'no'"),
        (f"{__name__}:Nothing", "cannot be loaded: AttributeError"),
        (f"{__name__}:fails", "cannot be loaded: RuntimeError: no licence"),
        (f"{__name__}:no_source", "cannot be used: name must be a name of small letters, digits, - and _"),
    ],
)
def test_a_source_that_is_broken_is_named_with_its_package(
    settings: SourceSettings, install: Callable[[str, str], None], value: str, message: str
) -> None:
    install("boards", value)
    with pytest.raises(BrokenSourceError) as raised:
        load_sources(settings)
    assert str(raised.value).startswith(f"The source added ({value}) of boards 1.0 {message}")
    assert isinstance(raised.value, SettingsError)


def test_two_sources_of_one_site_are_both_named(settings: SourceSettings, install: Callable[[str, str], None]) -> None:
    install("boards", f"{__name__}:Indeed")
    with pytest.raises(BrokenSourceError) as raised:
        load_sources(settings)
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
        ("limits", {"board": 3}, "limits must be SiteLimits by bucket"),
        ("limits", {"other:x": SiteLimits()}, "limits has the bucket 'other:x'; allowed: SITE or SITE:NAME, of board"),
        ("credentials", {"KEY": "value"}, "credentials must be environment variables, each with whether it is there"),
        ("needs_account", None, "needs_account must be true or false"),
        ("ends_without_news", "no", "ends_without_news must be true or false"),
        ("fetch", None, "it lacks fetch"),
    ],
)
def test_what_a_source_lacks_is_told(
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
        "from worker.settings import load_source_settings\n"
        "from worker.sources.registry import load_sources\n"
        "load_sources(load_source_settings())\n"
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
