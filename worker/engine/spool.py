"""Pages on disk that wait until the database can be reached."""

from __future__ import annotations

import json
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from worker.database import codec
from worker.engine.files import page_name, write_whole
from worker.model import FoundPage
from worker.printable import one_line
from worker.processes.bounded_json import MAX_VALUES, JsonError, read_json

logger = logging.getLogger(__name__)


KEPT_SECONDS = 24 * 60 * 60
"""By then another worker has claimed and searched the run."""

REFUSED_KEPT_SECONDS = 14 * 24 * 60 * 60
"""Retention of refused pages: the default for raw pages in the database."""

MAX_FILE_BYTES = 512 * 2**20
MAX_FILE_VALUES = 4 * MAX_VALUES
"""A file has the raw page and its items."""


class Spool:
    """A folder of pages, one file each, by run.

    Workers on one machine may share it: the worker that claims a run next saves its pages.

    Args:
        folder: The folder; created with the first page.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, run_id: UUID, found: FoundPage) -> None:
        """Keep a page until the database can be reached.

        Raises:
            OSError: The page cannot be written.
        """
        _write(self._folder_of(run_id), found)

    def put_refused(self, run_id: UUID, found: FoundPage) -> Path:
        """Keep a page that the database refused, for operators to inspect; return its file.

        Raises:
            OSError: The page cannot be written.
        """
        return _write(self._refused_folder / str(run_id), found)

    def paths(self, run_id: UUID) -> list[Path]:
        """Return the files of the pages of a run, by site and page number."""
        with suppress(OSError):  # nearly all runs have no folder; `put` raises what else is wrong with it
            return sorted(path for path in self._folder_of(run_id).iterdir() if path.suffix == ".json")
        return []

    def size(self) -> tuple[int, int]:
        """Return the number of the pages that wait, of all runs, and their size in bytes."""
        sizes = []
        for path in self._folder.glob("*/*.json"):
            with suppress(FileNotFoundError):  # saved meanwhile
                sizes.append(path.stat().st_size)
        return len(sizes), sum(sizes)

    def read(self, path: Path) -> FoundPage | None:
        """Return a page; None, with an error in the log, if the file is not a page of this version."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise JsonError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
            return codec.read_page(read_json(path.read_bytes(), max_values=MAX_FILE_VALUES))
        except (OSError, ValueError) as error:
            logger.error("%s cannot be read and is dropped: %s", path, one_line(str(error)))  # noqa: TRY400 (the message has all)
            return None

    def drop(self, run_id: UUID) -> None:
        """Delete the pages of a run."""
        shutil.rmtree(self._folder_of(run_id), ignore_errors=True)

    def drop_old(self) -> None:
        """Delete the pages of runs that were not claimed again in time, and refused pages after their retention."""
        for parent, seconds in ((self._folder, KEPT_SECONDS), (self._refused_folder, REFUSED_KEPT_SECONDS)):
            for folder in parent.glob("*"):
                # The folder may hold other files, and another worker may have just saved the pages.
                with suppress(ValueError, FileNotFoundError):
                    run_id = UUID(folder.name)
                    if time.time() - folder.stat().st_mtime > seconds:
                        logger.warning("Pages of run %s have expired and are dropped", run_id)
                        shutil.rmtree(folder, ignore_errors=True)

    @property
    def _refused_folder(self) -> Path:
        return self._folder / "refused"

    def _folder_of(self, run_id: UUID) -> Path:
        return self._folder / str(run_id)


def _write(folder: Path, found: FoundPage) -> Path:
    path = folder / page_name(found.site, found.attempt, found.page.number)
    write_whole(path, json.dumps(codec.page(found), allow_nan=False))
    return path
