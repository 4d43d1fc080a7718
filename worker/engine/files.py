"""Pages as files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def page_name(site: str, attempt: int, number: int) -> str:
    """Return the name of a page's file within its run: in order, it is the order of a site's pages."""
    return f"{quote(site, safe='')}.{attempt}.{number:06}.json"


def write_whole(path: Path, text: str) -> None:
    """Write a file such that whoever reads it sees all of it, or none; its folder is made, for this user alone.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)
