"""Pages as files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def page_name(site: str, attempt: int, number: int) -> str:
    """Return the file name of a page within its run. Sorted by name, the pages of a site are in order."""
    return f"{quote(site, safe='')}.{attempt}.{number:06}.json"


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically. Its folder is created, with access for this user only.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)
