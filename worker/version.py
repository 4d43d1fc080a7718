"""The name and version of this library; pyproject.toml reads the version from here."""

from __future__ import annotations

DISTRIBUTION = "supabase-search-worker"
__version__ = "0.1.0"
