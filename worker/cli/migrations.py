"""The command `migrations`: writes the migrations of this release into the folder of a Supabase project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worker.local.migration_files import migrations_folder
from worker.printable import complain, say
from worker.version import __version__


def write_migrations(to: Path) -> int:
    """Write the migrations that a folder does not have. If one of its files differs, write nothing.

    Args:
        to: Folder of the migrations of a project. It is made if it is missing.

    Returns:
        The exit code: 0 if the folder has all of them, 1 if a file is in the way.
    """
    ours = {file.name: file.read_bytes() for file in sorted(migrations_folder().glob("*.sql"))}
    try:
        theirs = {file.name: file.read_bytes() for file in sorted(to.glob("*.sql"))}
        if problems := _problems(to, ours, theirs):
            for problem in problems:
                complain(problem)
            complain("Nothing was written.")
            return 1
        missing = [name for name in ours if name not in theirs]
        to.mkdir(parents=True, exist_ok=True)
        for name in missing:
            _write(to / name, ours[name])
            say(f"wrote {to / name}")
    except OSError as error:
        complain(f"{error.filename or to}: {error.strerror}")
        return 1
    if missing:
        # The CLI refuses a migration that is older than one that the database has.
        is_late = min(map(_version, missing)) < max(map(_version, theirs), default="")
        say(f"Next: supabase db push{' --include-all' if is_late else ''}")
    else:
        say(f"{to} has all {len(ours)} migrations of {__version__}. Unless they are pushed: supabase db push")
    return 0


def _problems(to: Path, ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    problems = [
        f"{to / name} is not the migration of {__version__}: it was changed, or is of another release. If your project "
        "has its migrations from it, put your changes into a migration of their own, and restore it."
        for name in ours
        if name in theirs and _lines(theirs[name]) != _lines(ours[name])
    ]
    names = {_version(name): name for name in ours}
    problems += [
        f"{to / name} has the version of {names[_version(name)]}, and Supabase applies each version once. Rename it."
        for name in theirs
        if name not in ours and _version(name) in names
    ]
    return problems


def _version(name: str) -> str:
    return name.partition("_")[0]


def _lines(text: bytes) -> bytes:
    """Return a text with the ends of lines that Git may have changed."""
    return text.replace(b"\r\n", b"\n")


def _write(file: Path, text: bytes) -> None:
    with file.open("xb") as new:
        try:
            new.write(text)
        except BaseException:
            file.unlink()  # half of a migration must not be pushed
            raise
