"""Brings the migrations, the document and the types in line with the schema files."""

from __future__ import annotations

from pathlib import Path

from tools.postgres import throwaway_postgres
from tools.schema.difference import difference
from tools.schema.document import describe_schema
from tools.schema.files import ReleasedMigrationError, released_migrations, schema_files, write_migrations
from tools.schema.parameters import describe_parameters
from tools.schema.types import CLI, describe_types
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import embedded_binaries

CLIENT = "examples/nextjs/lib/search"
"""The folder of the client in TypeScript, which frontends copy."""

_ADVICE = """\
The migrations do not create what supabase/schemas declares (-), or create more (+). Released migrations do not change:
write the change as supabase/migrations/<14 digits>_<name>.sql, then run ./scripts/schema again.
./scripts/schema --migration NAME begins such a file with the changed functions.
"""


def generated_files(dsn: str) -> dict[str, str]:
    """Return the files of a project that describe its database, by their paths in the repository.

    Without the Supabase CLI, the types are missing.

    Args:
        dsn: URL of the database.
    """
    files = {"supabase/SCHEMA.md": describe_schema(dsn), f"{CLIENT}/parameters.ts": describe_parameters(dsn)}
    if CLI is not None:
        types = describe_types(CLI, dsn)
        files |= {"supabase/types.ts": types, f"{CLIENT}/database.ts": types}
    return files


def update_project(project: Path) -> str | None:
    """Bring the migrations and the generated files of a project in line with its schema files.

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
        for file, text in generated_files(postgres.dsn("postgres")).items():
            (project.parent / file).write_text(text)
    return None
