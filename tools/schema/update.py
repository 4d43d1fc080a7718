"""Brings the migrations, the document and the types in line with the schema files."""

from __future__ import annotations

from pathlib import Path

from tools.postgres import throwaway_postgres
from tools.schema.difference import difference
from tools.schema.document import describe_schema
from tools.schema.files import ReleasedMigrationError, released_migrations, schema_files, write_migrations
from tools.schema.types import CLI, describe_types
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import embedded_binaries

_ADVICE = """\
The migrations do not create what supabase/schemas declares (-), or create more (+). Released migrations do not change:
write the change as supabase/migrations/<14 digits>_<name>.sql, then run ./scripts/schema again.
"""


def update_project(project: Path) -> str | None:
    """Bring the migrations, the document and the types of a project in line with its schema files.

    Without the Supabase CLI the types stay as they are.

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
        if CLI is not None:
            (project / "types.ts").write_text(describe_types(CLI, postgres.dsn("postgres")))
    return None
