"""The command `read`: prints the items of a file, without a database or a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from worker.cli.files import check_origin, error_in_words, explained, opened
from worker.cli.usage import WrongUseError, source_named
from worker.engine.record_files import items_in
from worker.model import ItemError
from worker.printable import complain, printable_json, say
from worker.sources import Source

EXIT_FAILURE = 1
EXIT_USAGE = 2


def read(
    known: Sequence[Source],
    name: str,
    path: str,
    *,
    site: str | None,
    board: str | None,
    rows: list[dict[str, Any]] | None,
) -> int:
    """Print the items of a file; return the exit code: 1 if a record is invalid, 2 if the file cannot be read.

    Args:
        known: All sources.
        name: The name of the source that reads the records.
        path: The file; `-` for standard input.
        site: The site of the records; None: see `items_in`.
        board: The board of the records; None: see `Source.records_in`.
        rows: Receives the items instead of the output, without their descriptions, to be printed as a table.
    """
    items = invalid = 0
    try:
        source = source_named(known, name)
        check_origin(source, site, board)
        with explained(path), opened(path) as file:
            for found in items_in(source, file, site=site, board=board):
                if isinstance(found, ItemError):
                    invalid += 1
                    complain(error_in_words(found))
                    continue
                items += 1
                row = {"site": found.site, **asdict(found.item)}
                if rows is None:
                    say(printable_json(row))
                else:
                    rows.append(row | {"description": None})
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    if invalid:
        complain(f"{invalid:,} of {items + invalid:,} records are invalid")
    return EXIT_FAILURE if invalid else 0
