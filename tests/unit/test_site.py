"""The site of the documentation: its navigation, the pages that are made from the code, and its links."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site.built import broken_links, publish, stage
from tools.site.generated import generated_files
from tools.site.navigation import PROJECT, pages
from worker.settings import EnvironmentSettings
from worker.sources import Source
from worker.sources.jsearch import JSearchSettings
from worker.sources.registry import BUILTIN_SOURCES
from worker.sources.unipile import UnipileSettings
from worker.sources.youtube import YouTubeSettings

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
