"""Runs the pgTAP tests on a throwaway database."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

from tools.postgres import POSTGRES_15, throwaway_postgres
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations

TESTS = Path(__file__).parents[1] / "supabase" / "tests" / "database"
EXIT_MISSING = 2


def main() -> int:
    """Run the given tests, or all tests. Return 0 if they pass, 1 if they fail, 2 if a package is missing."""
    missing = _missing_packages()
    if missing:
        sys.stderr.write(f"Missing Debian packages: {' '.join(missing)}\n")
        return EXIT_MISSING
    with throwaway_postgres(bin_folder=POSTGRES_15) as postgres:
        dsn = postgres.dsn("postgres")
        apply_migrations(dsn, migrations_folder())
        # As `supabase test db` does before the tests.
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            connection.execute("create extension pgtap with schema extensions")
        tests = sys.argv[1:] or sorted(map(str, TESTS.glob("*.test.sql")))
        return subprocess.run(["pg_prove", "--dbname", dsn, *tests], check=False, timeout=300).returncode and 1


def _missing_packages() -> list[str]:
    installed = {
        "postgresql-15": (POSTGRES_15 / "postgres").exists(),
        "postgresql-15-pgtap": Path("/usr/share/postgresql/15/extension/pgtap.control").exists(),
        "libtap-parser-sourcehandler-pgtap-perl": shutil.which("pg_prove") is not None,
    }
    return [package for package, is_installed in installed.items() if not is_installed]


if __name__ == "__main__":
    sys.exit(main())
