"""The pages that people read: what they link to, name and show exists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from worker.cli.main import main

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = [
    *(PROJECT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING")),
    *sorted(DOCS.rglob("*.md")),
]
OF_THE_EXAMPLE = {"HIREBOARD_API_KEY"}
"""Variables of the source that docs/adding-a-source.md adds."""

_PATH = re.compile(r"(?:\./)?((?:worker|supabase|scripts|tests|docs)/[\w./-]+)")
_ADDRESS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./~%-]*)?(\?[\w=&%.-]+)?(#[\w-]+)?")
_SQL = re.compile(r"[\w/]+\.sql")
_VARIABLE = re.compile(r"(?:WORKER|JOBSPY|SUPABASE|JSEARCH|UNIPILE|YOUTUBE|HIREBOARD)_[A-Z_]+")
_COMMAND = re.compile(r"python -m worker (?P<name>[a-z]+)(?P<arguments>[^|\n#]*)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


@cache
def tokens(page: Path) -> list[Token]:
    """The tokens of a page, those within lines included."""
    parsed = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [inner for token in parsed for inner in (token, *(token.children or ()))]


def links(page: Path) -> Iterator[str]:
    return (str(token.attrGet("href")) for token in tokens(page) if token.type == "link_open")


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found = tokens(page)
    headings = [after for before, after in pairwise(found) if before.type == "heading_open"]
    seen: Counter[str] = Counter()
    names = set()
    for heading in headings:
        text = "".join(part.content for part in heading.children or ())
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def code(page: Path) -> Iterator[str]:
    """What a page shows as code: within lines, and the commands that it has a reader type."""
    for token in tokens(page):
        if token.type == "code_inline":
            yield token.content
        elif token.type == "fence" and token.info == "console":
            typed = token.content.replace("\\\n", " ")
            yield from (line.removeprefix("$ ") for line in typed.splitlines() if line.startswith("$ "))


def words(page: Path) -> Iterator[str]:
    return (word for shown in code(page) for word in shown.split())


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def commands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    return set(re.findall(r"^    (\w+)\b", help_of(capsys), re.MULTILINE))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            assert _ADDRESS.fullmatch(link), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@every_page
def test_paths_exist(page: Path) -> None:
    for word in words(page):
        if match := _PATH.fullmatch(word):
            assert (PROJECT / match[1]).exists(), word
        elif _SQL.fullmatch(word):
            assert (PROJECT / "supabase" / "schemas" / word).exists(), word


@every_page
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = commands(capsys)
    for shown in code(page):
        for match in _COMMAND.finditer(shown):
            assert match["name"] in known, shown
            described = help_of(capsys, match["name"])
            action, *_ = match["arguments"].split() or [""]
            if re.search(rf"^    {action}\b", described, re.MULTILINE) and action.isalpha():
                described = help_of(capsys, match["name"], action)
            for option in re.findall(r"(?<!\S)--[a-z-]+", match["arguments"]):
                assert re.search(rf"{option}\b", described), shown


def test_every_command_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    table = re.findall(r"^\| `(\w+)[^`]*` \|", (DOCS / "commands.md").read_text(), re.MULTILINE)
    # A command with several actions has a line for each of them.
    assert set(table) == commands(capsys)


@every_page
def test_variables_exist(page: Path) -> None:
    settings = (PROJECT / ".env.example").read_text()
    for word in words(page):
        if _VARIABLE.fullmatch(word.partition("=")[0]) and word.partition("=")[0] not in OF_THE_EXAMPLE:
            assert re.search(rf"^(# )?{word.partition('=')[0]}=", settings, re.MULTILINE), word


def test_the_index_lists_every_page() -> None:
    indexes = (DOCS / "README.md", DOCS / "sources" / "README.md")
    listed = {(index.parent / link.partition("#")[0]).resolve() for index in indexes for link in links(index)}
    assert {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"} <= listed


def test_there_is_something_to_check() -> None:
    assert len(PAGES) > 15
    assert sum(1 for page in PAGES for _ in links(page)) > 100
    assert sum(1 for page in PAGES for word in words(page) if _PATH.fullmatch(word)) > 50
    assert sum(1 for page in PAGES for shown in code(page) if _COMMAND.search(shown)) > 15
