"""The site of the documentation: its navigation, the pages that are made from the code, and its links."""

from __future__ import annotations

import json
import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from tools.site.built import broken_links, publish, stage
from tools.site.generated import generated_files
from tools.site.navigation import PROJECT, pages
from worker.settings import EnvironmentSettings
from worker.sources import Source
from worker.sources.creator_score import WEIGHTS
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_sites import SITES
from worker.sources.jsearch import JSearchSettings
from worker.sources.registry import BUILTIN_SOURCES
from worker.sources.unipile import MAX_RESULTS, PAGE_SIZES, UnipileSettings, UnipileSource
from worker.sources.youtube import YouTubeSettings, YouTubeSource

DOCS = PROJECT / "docs"
KEYS: dict[str, type[EnvironmentSettings]] = {
    "jsearch": JSearchSettings,
    "unipile": UnipileSettings,
    "youtube": YouTubeSettings,
}
"""The settings of the sources that need credentials."""
ASPECTS = (
    "What it searches", "What it needs", "Limits", "Parameters", "Resume", "When it fails", "Terms",
)  # fmt: skip

every_source = pytest.mark.parametrize("source", BUILTIN_SOURCES, ids=lambda source: source.name)


def page_of(source: type[Source]) -> str:
    return (DOCS / "sources" / f"{source.name}.md").read_text()


@pytest.mark.parametrize("file", generated_files())
def test_generated_pages_say_what_the_code_says(file: str) -> None:
    assert (PROJECT / file).read_text() == generated_files()[file], f"{file} is out of date: run ./scripts/docs"


def test_every_page_is_in_the_navigation_once() -> None:
    written = {str(page.relative_to(PROJECT)) for page in DOCS.rglob("*.md")}
    listed = pages()
    assert len(listed) == len(set(listed))
    assert written <= set(listed)
    assert [page for page in listed if not (PROJECT / page).is_file()] == []


@every_source
def test_the_page_of_a_source_has_every_aspect(source: type[Source]) -> None:
    headings = [line.removeprefix("## ") for line in page_of(source).splitlines() if line.startswith("## ")]
    assert tuple(headings) == ASPECTS


@every_source
def test_the_page_of_a_source_names_its_sites_parameters_and_credentials(source: type[Source]) -> None:
    settings = KEYS.get(source.name)
    credentials = [settings.environment_name(name) for name in settings.model_fields] if settings else []
    page = page_of(source)
    sites = [site for site in source.sites if site != source.name]
    wanted = [*sites, *source.parameters.model_fields, *credentials]
    assert [name for name in wanted if f"`{name}`" not in page] == []


def test_figures_of_sources_are_those_of_the_code() -> None:
    jobspy = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", page_of(JobSpySource), re.MULTILINE))
    assert jobspy == {name: str(site.page_jobs) for name, site in SITES.items()}
    people = re.findall(r"^\| `(\w+)` \| .* \| ([\d,]+) \| (\d+) \|$", page_of(UnipileSource), re.MULTILINE)
    assert people == [(api, f"{most:,}", str(PAGE_SIZES[api])) for api, most in MAX_RESULTS.items()]
    weights = re.findall(r"^\| .* \| (\d+) \|$", page_of(YouTubeSource), re.MULTILINE)
    assert weights == [str(weight) for weight in WEIGHTS.values()]


def test_pages_say_where_jobspy_resumes() -> None:
    resume = page_of(JobSpySource).partition("## Resume")[2].partition("## ")[0]
    sliced, whole = resume.split("A search continues")
    labels = {"zip_recruiter": "ziprecruiter"}
    for name, site in SITES.items():
        assert labels.get(name, name) in (whole if site.slice_pages is None else sliced).lower(), name


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_platforms_wait_longer_than_the_worker_needs_to_stop() -> None:
    (fly,), (railway,), (unit,) = (blocks("deploy.md", language) for language in ("toml", "json", "ini"))
    stopped = tomllib.loads(fly)
    assert stopped["kill_timeout"] > int(stopped["env"]["WORKER_GRACE_SECONDS"])
    (grace,) = re.findall(r"`WORKER_GRACE_SECONDS=(\d+)` as variables", (DOCS / "deploy.md").read_text())
    assert json.loads(railway)["deploy"]["drainingSeconds"] > int(grace)
    given = ConfigParser(interpolation=None)
    given.optionxform = str  # type: ignore[assignment,method-assign]
    given.read_string(unit)
    service = given["Service"]
    (grace,) = re.findall(r"WORKER_GRACE_SECONDS=(\d+)", service["Environment"])
    assert int(service["TimeoutStopSec"]) > int(grace)


def test_the_container_has_what_the_worker_is_made_of() -> None:
    (container,) = blocks("deploy.md", "dockerfile")
    copied = re.findall(r"^COPY (\S+) ", container, re.MULTILINE)
    assert copied == ["requirements.txt", "worker"]
    assert all((PROJECT / name).exists() for name in copied)
    (command,) = re.findall(r"^CMD (.*)$", container, re.MULTILINE)
    assert json.loads(command) == ["python", "-m", "worker", "run"]


def test_links_of_a_built_site_are_checked(tmp_path: Path) -> None:
    folder, site = tmp_path / "folder", tmp_path / "site"
    stage(folder)
    built = folder / "site" / "docs"
    built.mkdir(parents=True)
    (built / "index.html").write_text(
        '<a href="queue/">a page</a> <a href="nowhere/">none</a> <a href="../render.yaml">a file</a>'
        '<a href="#anchor">here</a> <a href="https://example.com/x">elsewhere</a> <img src="images/none.png">'
    )
    (built / "queue").mkdir()
    (built / "queue" / "index.html").touch()
    publish(folder, site)
    assert (site / "docs" / "queue.md").read_text() == (DOCS / "queue.md").read_text()
    assert broken_links(site) == ["docs/index.html: images/none.png", "docs/index.html: nowhere/"]
