"""Describes the schema `public` in TypeScript, with the Supabase CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CLI = shutil.which("supabase", path=str(Path(__file__).parents[2] / "tests" / "e2e" / "node_modules" / ".bin"))
"""The Supabase CLI, if `npm ci --prefix tests/e2e` has installed it."""

_HEADER = "// Made by ./scripts/schema with `supabase gen types`. Do not edit.\n\n"


def describe_types(cli: str, dsn: str) -> str:
    """Return the types of the relations and functions of a database.

    Args:
        cli: Path of the Supabase CLI.
        dsn: URL of the database.

    Raises:
        subprocess.CalledProcessError: The CLI failed.
        subprocess.TimeoutExpired: The CLI did not answer within a minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            [cli, "gen", "types", "--lang", "typescript", "--schema", "public", "--remote", dsn],
            cwd=folder,
            env=os.environ | {"HOME": folder, "DO_NOT_TRACK": "1", "PGSSLMODE": "disable"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    return _HEADER + made.stdout.lstrip()
