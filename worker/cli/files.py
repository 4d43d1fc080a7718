"""What the commands for files with records of a site have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from worker.cli.usage import WrongUseError, site_named
from worker.engine.record_files import UnknownBoardOfFileError, UnreadableFileError, readable
from worker.model import ItemError
from worker.printable import one_line
from worker.sources import Source
from worker.sources.company_boards import CompanyBoards, is_board_name

STANDARD_INPUT = "-"


def check_origin(source: Source, site: str | None, board: str | None) -> None:
    """Check where the records of a file come from, as far as the arguments say so.

    Raises:
        WrongUseError: The source has no such site, or no boards, or `board` is not the name of a board.
    """
    if site is not None:
        site_named(source, site)
    if board is None:
        return
    if not isinstance(source, CompanyBoards):
        raise WrongUseError(f"--board: {source.name} has no boards")
    if not is_board_name(board):
        raise WrongUseError(f"--board: {one_line(board)!r} is not the name of a board, as in the board's address")


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Explain why a file cannot be read.

    Raises:
        WrongUseError: Instead of an `UnreadableFileError`. The message names the file.
    """
    try:
        yield
    except UnreadableFileError as error:
        name = "standard input" if path == STANDARD_INPUT else path
        advice = "; name it with --board" if isinstance(error, UnknownBoardOfFileError) else ""
        raise WrongUseError(f"{name} {error}{advice}") from None


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input.

    Raises:
        UnreadableFileError: There is no such file, or it cannot be opened.
    """
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with ExitStack() as files:
        with readable():
            file = files.enter_context(Path(path).open("rb"))
        yield file


def error_in_words(error: ItemError) -> str:
    """Return which record is not a valid item, and why."""
    where = "" if error.index is None else f"record {error.index + 1}: "
    field = f"{error.field}: " if error.field else ""
    return f"{where}{field}{one_line(error.message)}"
