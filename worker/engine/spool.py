"""Pages that could not be saved because the database was out of reach, kept on disk until they can be."""

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
from worker.processes.bounded_json import MOST_VALUES, JsonError, read_json

logger = logging.getLogger(__name__)


KEPT_SECONDS = 24 * 60 * 60
"""Who has not claimed a run again by then never will: other workers have searched it."""

REFUSED_KEPT_SECONDS = 14 * 24 * 60 * 60
"""As long as the database keeps raw pages, by default."""

LARGEST_FILE = 512 * 2**20
MOST_VALUES_KEPT = 4 * MOST_VALUES
"""A file has a page twice: as it came, in pure ASCII, and what was made of it."""


class Spool:
    """A folder of pages, one file each, by run.

    Workers on one machine may share it: what one left, another saves that claims the run.

    Args:
        folder: Where to keep them; made when the first page comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, run_id: UUID, found: FoundPage) -> None:
        """Keep a page until the database is back.

        Raises:
            OSError: It cannot be written.
        """
        _write(self._folder_of(run_id), found)

    def put_refused(self, run_id: UUID, found: FoundPage) -> Path:
        """Keep a page that the database refused for a person to look at; return its file.

        Raises:
            OSError: It cannot be written.
        """
        return _write(self._refused_folder / str(run_id), found)

    def paths(self, run_id: UUID) -> list[Path]:
        """Return the files of a run's pages, site by site in the order of their numbers."""
        return sorted(self._folder_of(run_id).glob("*.json"))

    def read(self, path: Path) -> FoundPage | None:
        """Return a kept page; None if another version of this program wrote it in another form."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise JsonError(f"is larger than {LARGEST_FILE // 2**20} MiB")
            return codec.read_page(read_json(path.read_bytes(), most_values=MOST_VALUES_KEPT))
        except (OSError, ValueError) as error:
            logger.error("%s cannot be read and is dropped: %s", path, one_line(str(error)))  # noqa: TRY400 (it says all)
            return None

    def drop(self, run_id: UUID) -> None:
        """Forget a run's pages, if there are any."""
        shutil.rmtree(self._folder_of(run_id), ignore_errors=True)

    def drop_old(self) -> None:
        """Forget the pages of runs that nobody claimed again, or looked at, in time."""
        for parent, seconds in ((self._folder, KEPT_SECONDS), (self._refused_folder, REFUSED_KEPT_SECONDS)):
            for folder in parent.glob("*"):
                # The folder may hold what is not ours, and another worker may have saved the pages just now.
                with suppress(ValueError, FileNotFoundError):
                    run_id = UUID(folder.name)
                    if time.time() - folder.stat().st_mtime > seconds:
                        logger.warning("Pages of run %s were kept for too long, and are dropped", run_id)
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
