"""The command `scripts/schema`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.schema.files import PROJECT, ReleasedMigrationError, release_migrations
from tools.schema.forward import begin_migration
from tools.schema.update import update_project

_DESCRIPTION = """\
Makes supabase/migrations from supabase/schemas, and describes the database in supabase/SCHEMA.md and, if the Supabase
CLI is installed, in supabase/types.ts. Once migrations are released, it never rewrites them: a change of the schema
then needs a migration that you write, or begin with --migration.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="./scripts/schema", description=_DESCRIPTION)
    parser.add_argument("--release", action="store_true", help="mark all migrations as released")
    parser.add_argument(
        "--migration",
        metavar="NAME",
        help="begin a migration: with the changed functions and comments; the rest is yours to write",
    )
    options = parser.parse_args(arguments)
    if options.release:
        release_migrations(PROJECT)
        return 0
    if options.migration:
        return _begin_migration(options.migration)
    if problem := update_project(PROJECT):
        print(problem, file=sys.stderr)
        return 1
    return 0


def _begin_migration(name: str) -> int:
    try:
        path = begin_migration(PROJECT, name)
    except (ValueError, ReleasedMigrationError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"wrote {path.relative_to(PROJECT.parent)}")
    print(
        "It has the changed functions and comments. Write the rest, and run ./scripts/schema: it shows what is missing."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
