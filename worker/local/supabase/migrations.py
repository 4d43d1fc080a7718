"""Applies the project's migrations as `supabase db push` does, so that the CLI finds nothing left to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from worker.local.errors import LocalError

logger = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")

# The CLI's own history table, down to the order of its columns.
_CREATE_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
    version text not null primary key,
    statements text[],
    name text
)
"""
_SELECT_HISTORY = "select version from supabase_migrations.schema_migrations"
_INSERT_HISTORY = """
insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)
"""

# What a semicolon cannot end a statement in, and what decides whether it does. PostgreSQL manual, "Lexical Structure".
_LEXEME = re.compile(
    r"""
    --[^\r\n]*
    | (?P<comment> /\* )
    | \be'(?: [^'\\] | '' | \\. )*'
    | '(?: [^'] | '' )*'
    | "(?: [^"] | "" )*"
    | (?<![\w$]) (?P<dollar> \$(?: [^\W\d]\w* )?\$ ) .*? (?P=dollar)
    | (?P<atomic> \bbegin\s+atomic\b )
    | (?P<end> \bend\b (?! \$ ) )
    | [\w$]+
    | (?P<mark> [();] )
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_EXTENSION = re.compile(r'create\s+extension\s+(?:if\s+not\s+exists\s+)?"?(\w+)', re.IGNORECASE)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file.

    Attributes:
        version: The digits that its name begins with.
        name: The rest of its name, without `.sql`.
        statements: Its statements, as the CLI records them: comments kept, final semicolons and outer space gone.
    """

    version: str
    name: str
    statements: list[str]

    @property
    def file_name(self) -> str:
        """Return the name of its file."""
        return f"{self.version}_{self.name}.sql"

    @property
    def extensions(self) -> set[str]:
        """Return the extensions that it creates."""
        return {name.lower() for statement in self.statements for name in _EXTENSION.findall(statement)}


def read_migrations(folder: Path) -> list[Migration]:
    """Read the migrations in `folder`, in order. Files that are not named `<digits>_<name>.sql` are none."""
    return [
        Migration(match[1], match[2], split_statements(path.read_text(encoding="utf-8-sig")))
        for path in sorted(folder.iterdir())
        if (match := _FILE_NAME.fullmatch(path.name))
    ]


def apply_migrations(dsn: str, folder: Path) -> list[Migration]:
    """Apply what the database's history does not list yet, each file in a transaction with its history row.

    A file that creates an extension which this server does not have is left out, with a warning.

    Args:
        dsn: Connection URL of the role that will own what the migrations make; `postgres`, as on the platform.
        folder: Folder of the migration files.

    Returns:
        The migrations that were applied.

    Raises:
        LocalError: A statement failed. The files before its file stay applied, and nothing of its own does.
    """
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        connection.execute(_CREATE_HISTORY)
        applied = {version for (version,) in connection.execute(_SELECT_HISTORY)}
        connection.commit()
        available = available_extensions(connection)
        pending = [migration for migration in read_migrations(folder) if migration.version not in applied]
        for migration in pending:
            if missing := migration.extensions - available:
                logger.warning("Left out %s: this Postgres has no %s", migration.file_name, ", ".join(sorted(missing)))
            else:
                _apply(connection, migration)
    return [migration for migration in pending if migration.extensions <= available]


def available_extensions(connection: psycopg.Connection) -> set[str]:
    """Return the names of the extensions that a server can create."""
    return {name for (name,) in connection.execute("select name from pg_available_extensions")}


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    # A migration before it may have left settings behind, such as a search path.
    connection.execute("reset all")
    for statement in migration.statements:
        try:
            connection.execute(sql.SQL(statement))
        except psycopg.Error as error:
            raise LocalError(f"migration {migration.file_name} failed: {error}\nin: {statement}") from None
    connection.execute(_INSERT_HISTORY, (migration.version, migration.name, migration.statements))
    connection.commit()


def split_statements(script: str) -> list[str]:
    """Split an SQL script at the semicolons that end a statement, and trim each one as the CLI (3.1.0) does."""
    pieces = (piece.rstrip(";").strip() for piece in _pieces(script))
    return [piece for piece in pieces if piece]


def _pieces(script: str) -> Iterator[str]:
    start = position = depth = 0
    # Within `begin atomic`: where the statement in hand begins. `end` closes the body only where one could begin.
    atomic: int | None = None
    while lexeme := _LEXEME.search(script, position):
        position = lexeme.end()
        if lexeme["comment"]:
            position = _end_of_comment(script, position)
        elif lexeme["atomic"]:
            atomic = position
        elif lexeme["mark"] == "(":
            depth += 1
        elif lexeme["mark"] == ")":
            depth -= 1
        elif lexeme["mark"] == ";" and depth <= 0:
            if atomic is None:
                yield script[start:position]
                start = position
            else:
                atomic = position
        elif lexeme["end"] and atomic is not None and not script[atomic : lexeme.start()].strip():
            atomic = None
    yield script[start:]


def _end_of_comment(script: str, position: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(script, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(script)
