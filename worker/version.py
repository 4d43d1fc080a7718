"""The version of this library."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "supabase-search-worker"


def _installed_version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a copy of the code that is not installed
        return "0+unknown"


__version__ = _installed_version()
