"""The command `scripts/schema`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.schema.files import PROJECT, release_migrations
from tools.schema.update import update_project

_DESCRIPTION = """\
Makes supabase/migrations from supabase/schemas, and describes the database in supabase/SCHEMA.md and, if the Supabase
CLI is installed, in supabase/types.ts. Once migrations are released, it never rewrites them: a change of the schema
then needs a migration that you write.
"""


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
