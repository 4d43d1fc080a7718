"""Copies of all pages as files, for users who keep raw pages longer than the database does."""

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
    """A folder of pages, by day: `YYYY/MM/DD/RUN.SITE.ATTEMPT.PAGE.json`, in UTC. The worker never deletes them.

    Args:
        folder: The folder; created with the first page.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, run_id: UUID, site: RunSite, page: Page) -> None:
        """Write a page as the site sent it. A failure is logged, and the search continues."""
        path = (
            self._folder
            / f"{datetime.now(UTC):%Y/%m/%d}"
            / f"{run_id}.{page_name(site.site, site.attempt, page.number)}"
        )
        try:
            write_whole(path, json.dumps({"site": site.site, **asdict(page)}))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("%s cannot be written: %s", path, error)
