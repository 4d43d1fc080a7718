"""The SQL files of the database: the schema in `supabase/schemas/`, and the migrations that are made from it."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "supabase"

# The folder of the schema files whose migration creates an extension. A server without it leaves that migration out.
_OPTIONAL = "embeddings"
_MIGRATIONS = {False: "20261129090000_search_worker.sql", True: "20261129090100_embeddings.sql"}
_NOTICE = "-- Made from supabase/schemas by ./scripts/schema: edit the files there.\n"


class ReleasedMigrationError(Exception):
    """A migration was changed after its release. Projects that have applied it never see the change."""


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One file of `supabase/schemas/`.

    Attributes:
        name: Its path in that folder without `.sql`, such as `runs/claim`.
        text: Its SQL.
    """

    name: str
    text: str


def schema_files(project: Path = PROJECT) -> list[SchemaFile]:
    """Read the schema files in the order in which `supabase/config.toml` lists them."""
    config = tomllib.loads((project / "config.toml").read_text())
    paths = [project / path for path in config["db"]["migrations"]["schema_paths"]]
    schemas = project / "schemas"
    return [SchemaFile(path.relative_to(schemas).with_suffix("").as_posix(), path.read_text()) for path in paths]


def make_migrations(files: Sequence[SchemaFile]) -> dict[str, str]:
    """Return the first migrations, by file name, that create what `files` declare."""
    groups = [
        (is_optional, list(group))
        for is_optional, group in groupby(files, lambda file: file.name.startswith(f"{_OPTIONAL}/"))
    ]
    if len(groups) > len({is_optional for is_optional, _ in groups}):
        raise ValueError(f"schema_paths must list the files of {_OPTIONAL}/ together")
    return {
        _MIGRATIONS[is_optional]: _NOTICE + "".join(f"\n-- {file.name}\n{file.text}" for file in group)
        for is_optional, group in groups
    }


def write_migrations(files: Sequence[SchemaFile], folder: Path) -> None:
    """Replace all migrations in `folder` by those that create what `files` declare."""
    for path in folder.glob("*.sql"):
        path.unlink()
    for name, text in make_migrations(files).items():
        (folder / name).write_text(text)


def released_migrations(project: Path = PROJECT) -> list[str]:
    """Return the file names of the released migrations.

    They stand in `released.sha256`, as `sha256sum` writes it: the digest shows a later change without git, which an
    installed package and a shallow clone do not have.

    Raises:
        ReleasedMigrationError: One of them was changed or deleted.
    """
    released = []
    for line in _lines(project / "released.sha256"):
        digest, name = line.split("  ", 1)
        path = project / name
        if not path.exists() or _digest(path) != digest:
            raise ReleasedMigrationError(
                f"supabase/{name} is released and must not change. Restore it, and write a new migration."
            )
        released.append(path.name)
    return released


def release_migrations(project: Path = PROJECT) -> None:
    """Mark all migrations of a project as released."""
    paths = sorted((project / "migrations").glob("*.sql"))
    (project / "released.sha256").write_text("".join(f"{_digest(path)}  migrations/{path.name}\n" for path in paths))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
