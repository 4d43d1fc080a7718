"""The navigation of the site, and `llms.txt`, which is made from it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
CONFIGURATION = PROJECT / "docs" / "zensical.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation.

    Attributes:
        path: Its path in the repository.
        title: Its title there; None: that of the page.
    """

    path: str
    title: str | None = None


def sections() -> Iterator[tuple[str, Sequence[Entry]]]:
    """Yield the sections of the navigation: their titles and pages."""
    for section in _configuration()["nav"]:
        for title, listed in section.items():
            yield title, [_entry(page) for page in (listed if isinstance(listed, list) else [listed])]


def styles() -> list[str]:
    """Return the paths of the style sheets of the site."""
    return list(_configuration()["extra_css"])


def _configuration() -> dict[str, Any]:
    return dict(tomllib.loads(CONFIGURATION.read_text())["project"])


def _entry(page: str | dict[str, str]) -> Entry:
    if isinstance(page, str):
        return Entry(page)
    ((title, path),) = page.items()
    return Entry(path, title)


def pages() -> list[str]:
    """Return the paths of all pages of the site, in order."""
    return [entry.path for _, listed in sections() for entry in listed]


def llms_txt(made: Mapping[str, str]) -> str:
    """Return the list of pages for language models, in the form of https://llmstxt.org.

    Args:
        made: Text of generated pages by path, which may differ from that of the files.
    """
    (_, (home,)), *others = sections()
    described = _described()
    lines = [f"# {_title(home.path, made)}", "", f"> {_first_sentence(home.path, made)}"]
    for section, listed in others:
        lines += ["", f"## {section}", ""]
        for entry in listed:
            title = entry.title or _title(entry.path, made)
            lines.append(f"- [{title}]({entry.path}): {described.get(entry.path) or _first_sentence(entry.path, made)}")
    return "\n".join(lines) + "\n"


def _described() -> dict[str, str]:
    """Return what the index says about each page, by its path."""
    index = PROJECT / "docs" / "README.md"
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+)\): (.*?)(?=^- |^$)", index.read_text(), re.DOTALL | re.MULTILINE)
    return {
        str((index.parent / link).resolve().relative_to(PROJECT)): _plain(description) for link, description in listed
    }


def _text(page: str, made: Mapping[str, str]) -> str:
    return made.get(page) or (PROJECT / page).read_text()


def _title(page: str, made: Mapping[str, str]) -> str:
    return _text(page, made).partition("\n")[0].removeprefix("# ")


def _first_sentence(page: str, made: Mapping[str, str]) -> str:
    """Return the first sentence of the first paragraph of a page."""
    blocks = re.split(r"\n{2,}", _text(page, made).strip())
    text = _plain(next(block for block in blocks[1:] if re.match(r"[\w`*\[]", block)))
    sentence = re.match(r".*?\.(?=\s|$)", text)
    return sentence[0] if sentence else text


def _plain(markdown: str) -> str:
    """Return a text on one line and without links."""
    return " ".join(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown).split())
