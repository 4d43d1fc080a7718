"""Makes the migrations and `supabase/SCHEMA.md` from `supabase/schemas/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.schema_difference import difference
from scripts.schema_document import describe_schema
from scripts.schema_files import (
    PROJECT,
    ReleasedMigrationError,
    release_migrations,
    released_migrations,
    schema_files,
    write_migrations,
)
from tests.support.postgres import throwaway_postgres
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import embedded_binaries

_DESCRIPTION = """\
Makes supabase/migrations from supabase/schemas, and describes the database in supabase/SCHEMA.md. Once migrations are
released, it never rewrites them: a change of the schema then needs a migration that you write.
"""
_ADVICE = """\
The migrations do not create what supabase/schemas declares (-), or create more (+). Released migrations do not change:
write the change as supabase/migrations/<14 digits>_<name>.sql, then run ./scripts/schema again.
"""


def update_project(project: Path) -> str | None:
    """Bring the migrations and the document of a project in line with its schema files.

    Returns:
        Why that is not possible, or None.
    """
    try:
        released = released_migrations(project)
    except ReleasedMigrationError as error:
        return str(error)
    migrations = project / "migrations"
    if not released:
        write_migrations(schema_files(project), migrations)
    with throwaway_postgres(bin_folder=embedded_binaries()) as postgres:
        if released and (missing := difference(postgres, project)):
            return f"{missing}\n\n{_ADVICE}"
        apply_migrations(postgres.dsn("postgres"), migrations)
        (project / "SCHEMA.md").write_text(describe_schema(postgres.dsn("postgres")))
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="./scripts/schema", description=_DESCRIPTION)
    parser.add_argument("--release", action="store_true", help="mark all migrations as released")
    if parser.parse_args(arguments).release:
        release_migrations(PROJECT)
        return 0
    if problem := update_project(PROJECT):
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
