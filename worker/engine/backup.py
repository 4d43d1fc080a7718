"""Every page as a file, for whoever wants to keep what the sites sent longer than the database does."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from worker.engine.files import page_name, write_whole
from worker.model import Page, RunSite

logger = logging.getLogger(__name__)


class Backup:
    """A folder of pages, by day: `YYYY/MM/DD/RUN.SITE.ATTEMPT.PAGE.json`, in UTC. Nothing here is ever deleted.

    Args:
        folder: Where to keep them; made when the first page comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, run_id: UUID, site: RunSite, page: Page) -> None:
        """Write a page as it came, before anything else is done with it. If that fails, the search goes on."""
        path = (
            self._folder
            / f"{datetime.now(UTC):%Y/%m/%d}"
            / f"{run_id}.{page_name(site.site, site.attempt, page.number)}"
        )
        try:
            write_whole(path, json.dumps({"site": site.site, **asdict(page)}))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("%s is not written: %s", path, error)
