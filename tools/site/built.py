"""The folder that the site is built from, and the links of the built site."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.site.navigation import CONFIGURATION, PROJECT, pages, styles

_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def stage(folder: Path) -> None:
    """Copy the pages, the files that they link to, and the configuration.

    Args:
        folder: Gets `zensical.toml` and a folder `pages`, which is replaced.
    """
    staged = folder / "pages"
    shutil.rmtree(staged, ignore_errors=True)
    for file in dict.fromkeys([*pages(), *_linked_files(), *styles(), "llms.txt"]):
        (staged / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / file, staged / file)
    shutil.copy(CONFIGURATION, folder / CONFIGURATION.name)


def publish(folder: Path, site: Path) -> None:
    """Move the built site to its place, and put the text of each page beside it, for readers of `llms.txt`.

    Args:
        folder: The folder of `stage`, in which the site was built.
        site: Is replaced.
    """
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(folder / "site", site)
    for file in (path for path in (folder / "pages").rglob("*") if path.is_file()):
        target = site / file.relative_to(folder / "pages")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)


def broken_links(site: Path) -> list[str]:
    """Return the links of the pages of a site that lead to no file of it, each with its page."""
    return [
        f"{page.relative_to(site)}: {link}"
        for page in sorted(site.rglob("*.html"))
        if page.name != "404.html"  # its links are absolute, because it is shown at any address
        for link in sorted(_links(page))
        if not _leads_somewhere(site, page, link)
    ]


def _linked_files() -> Iterator[str]:
    """Yield what pages link to beside pages: images, settings, configurations."""
    for page in pages():
        for link in _LINK.findall((PROJECT / page).read_text()):
            target = (PROJECT / page).parent / link
            if "://" not in link and not link.endswith(".md") and target.is_file():
                yield str(target.resolve().relative_to(PROJECT))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.found.update(value for name, value in attrs if name in ("href", "src") and value)


def _links(page: Path) -> set[str]:
    parser = _Links()
    parser.feed(page.read_text())
    return parser.found


def _leads_somewhere(site: Path, page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return True
    path = unquote(parts.path)
    target = site / path.lstrip("/") if path.startswith("/") else page.parent / path
    return target.is_file() or (target / "index.html").is_file()
