"""Where the project's migrations are."""

from __future__ import annotations

from pathlib import Path


def migrations_folder() -> Path:
    """Return the folder: inside an installed wheel, or beside `worker/` in a checkout."""
    installed = Path(__file__).with_name("migrations")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "supabase" / "migrations"
