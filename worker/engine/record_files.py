"""Reads the records of a file: JSON, JSON lines or CSV. The content of a file decides what it is, not its name."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from itertools import chain
from typing import BinaryIO

from worker.engine.read import imported_page, transform
from worker.errors import InvalidItemError, UnknownBoardError
from worker.model import Item, ItemError, Json
from worker.printable import one_line
from worker.processes.bounded_json import JsonError, read_json
from worker.sources import Source
from worker.sources.fields import mapping, text

MAX_BYTES = 2**28
"""Most bytes of a JSON document, and of one line of any other file."""

MAX_VALUES = 5_000_000
"""Most values of a JSON document: about 650 MB in memory."""

MAX_CELL_CHARACTERS = 10_000_000

BATCH_RECORDS = 100
"""Most records that are read together. An import saves them as one page."""

_SPACE = b" \t\r\n" + codecs.BOM_UTF8
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DELIMITERS = ",;\t"
_BACKSLASHES = re.compile(r"\\+")


class UnreadableFileError(ValueError):
    """A file cannot be read. The message continues a sentence that begins with the name of the file."""


class UnknownBoardOfFileError(UnreadableFileError):
    """A file does not say which board its records come from."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record of a file.

    Attributes:
        index: Index in the file, from 0.
        site: The site that it comes from.
        content: The record, as `Source.parse` reads it.
    """

    index: int
    site: str
    content: Json


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one site that are read together."""

    site: str
    records: list[FoundRecord] = field(default_factory=list)


class _Reader:
    """Reads a file.

    Args:
        file: A file or a pipe.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readline(self, size: int) -> bytes:
        with readable():
            return self._file.readline(size)

    def read(self, size: int) -> bytes:
        with readable():
            return self._file.read(size)


@contextmanager
def readable() -> Iterator[None]:
    """Explain a failure to open or to read a file.

    Raises:
        UnreadableFileError: Instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}") from None


# Values of a file -----------------------------------------------------------------------------------------------------


def values_in(file: BinaryIO) -> Iterator[Json | InvalidItemError]:
    """Yield the values of a file: the rows of a CSV file, or the values of a JSON document or of JSON lines.

    Rows and lines are read one after another; a document of several lines is held in memory. The encoding is UTF-8, or
    UTF-16 with a byte order mark. A row of CSV is an object of texts; an empty cell is None.

    Args:
        file: A file or a pipe.

    Yields:
        Each value; an error for a line that is not JSON, or a row that has not as many cells as the header.

    Raises:
        UnreadableFileError: The file is empty, too large or in another format, or reading fails.
    """
    reader = _Reader(file)
    head = _first_line(reader)
    if head.startswith(_UTF_16):
        reader = _Reader(BytesIO(_utf_8(_whole(reader, head))))
        head = _first_line(reader)
    if head.lstrip(_SPACE).startswith((b"[", b"{")):
        yield from _json_values(reader, head)
    else:
        yield from _csv_rows(_text_lines(_lines(reader, head)))


def _first_line(file: _Reader) -> bytes:
    """Return the first line that is not blank."""
    skipped = 0
    while skipped < MAX_BYTES and (line := file.readline(MAX_BYTES)):
        if line.strip(_SPACE):
            return line
        skipped += len(line)
    raise UnreadableFileError("is empty")


def _whole(file: _Reader, head: bytes) -> bytes:
    data = head + file.read(MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise UnreadableFileError(
            f"is a document of more than {MAX_BYTES // 2**20} MB; JSON lines and CSV in UTF-8 may have any size"
        )
    return data


def _utf_8(data: bytes) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"is not UTF-16: {error.reason} at byte {error.start}") from None


def _lines(file: _Reader, head: bytes) -> Iterator[bytes]:
    """Yield the lines of a file, each at most `MAX_BYTES` long."""
    for line in chain([head], iter(partial(file.readline, MAX_BYTES), b"")):
        if len(line) == MAX_BYTES:
            raise UnreadableFileError(f"has a line of more than {MAX_BYTES // 2**20} MB")
        yield line


def _json_values(file: _Reader, head: bytes) -> Iterator[Json | InvalidItemError]:
    try:
        # The first of JSON lines, or a document without line breaks.
        first = read_json(head.strip(_SPACE), max_values=MAX_VALUES)
    except JsonError:
        yield _document(_whole(file, head))
        return
    yield first
    for line in _lines(file, b""):
        if line.strip(_SPACE):
            try:
                yield read_json(line, max_values=MAX_VALUES)
            except JsonError as error:
                yield InvalidItemError(one_line(str(error)))


def _document(data: bytes) -> Json:
    try:
        return read_json(data.strip(_SPACE), max_values=MAX_VALUES)
    except JsonError as error:
        raise UnreadableFileError(one_line(str(error))) from None


def _text_lines(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode().removeprefix("\ufeff") if number == 1 else line.decode()
        except UnicodeDecodeError as error:
            raise UnreadableFileError(f"is neither JSON nor CSV in UTF-8: line {number}: {error.reason}") from None


def _csv_rows(lines: Iterator[str]) -> Iterator[Json | InvalidItemError]:
    head = next(lines)
    delimiter = max(_DELIMITERS, key=head.count)
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    rows = _csv_cells(csv.reader(chain([head], lines), delimiter=delimiter))
    names = [name.strip() for name in next(rows, [])]
    known = [name for name in names if name]
    if len(names) <= 1:
        raise UnreadableFileError("is neither JSON nor CSV with a header")
    if len(set(known)) < len(known):
        raise UnreadableFileError("has a header that names a column twice")
    for cells in rows:
        if len(cells) == len(names):
            yield {name: _cell(value) for name, value in zip(names, cells, strict=True) if name}
        elif cells:
            yield InvalidItemError(f"has {len(cells)} cells, while the header has {len(names)}")


def _csv_cells(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise UnreadableFileError(f"is not CSV: {error}") from None


def _cell(value: str) -> str | None:
    r"""Return the text of a cell; None for an empty one.

    JobSpy's documentation writes files with `escapechar="\\"`, which doubles each backslash.
    """
    runs = _BACKSLASHES.findall(value)
    if runs and all(len(run) % 2 == 0 for run in runs):
        value = value.replace("\\\\", "\\")
    return value or None


# Records of a source --------------------------------------------------------------------------------------------------


def records_in(
    source: Source, file: BinaryIO, *, site: str | None = None, board: str | None = None
) -> Iterator[FoundRecord | ItemError]:
    """Yield the records of a file. What gives no record is an error, with its index in the file.

    Args:
        source: The source that reads the records.
        file: The file.
        site: The site that they come from; None: the source's only site, or the one that a record names as `site`.
        board: See `Source.records_in`.

    Raises:
        UnreadableFileError: The file cannot be read.
    """
    index = 0
    for value in values_in(file):
        for content in _records_of(source, value, site or source.sites[0], board, is_first=index == 0):
            try:
                if isinstance(content, InvalidItemError):
                    raise content
                yield FoundRecord(index, _site_of(source, content, site), content)
            except InvalidItemError as error:
                yield ItemError(index, type(error).__name__, str(error), error.field)
            index += 1


def _records_of(
    source: Source, value: Json | InvalidItemError, site: str, board: str | None, *, is_first: bool
) -> Iterable[Json | InvalidItemError]:
    if isinstance(value, InvalidItemError):
        return [value]
    try:
        return source.records_in(site, value, board)
    except UnknownBoardError as error:
        if is_first:
            raise UnknownBoardOfFileError(f"does not say which board it comes from: {error}") from None
        return [InvalidItemError(str(error), "board")]


def _site_of(source: Source, content: Json, site: str | None) -> str:
    own = (text(mapping(content).get("site")) or "").lower() if len(source.sites) > 1 else None
    if site is None and own is None:
        return source.sites[0]
    if not own and site is None:
        raise InvalidItemError(f"is missing; allowed: {', '.join(source.sites)}", "site")
    if own and own not in source.sites:
        raise InvalidItemError(f"{one_line(own)!r} is not one of {', '.join(source.sites)}", "site")
    if own and site and own != site:
        raise InvalidItemError(f"is {own}, not {site}", "site")
    return own or site or source.sites[0]


def batches(found: Iterable[FoundRecord | ItemError], *, in_order: bool) -> Iterator[Batch | ItemError]:
    """Yield records in batches of one site each, with at most `BATCH_RECORDS` records.

    Args:
        found: The records of a file.
        in_order: Whether to keep the order of the file, with smaller batches where the site changes.
    """
    begun: dict[str, Batch] = {}
    for one in found:
        if in_order and (isinstance(one, ItemError) or one.site not in begun):
            yield from begun.values()
            begun.clear()
        if isinstance(one, ItemError):
            yield one
            continue
        batch = begun.setdefault(one.site, Batch(one.site))
        batch.records.append(one)
        if len(batch.records) == BATCH_RECORDS:
            yield begun.pop(one.site)
    yield from begun.values()


def in_file(errors: Iterable[ItemError], batch: Batch) -> list[ItemError]:
    """Return the errors of a batch with the indexes of the file."""
    return [
        error if error.index is None else replace(error, index=batch.records[error.index].index) for error in errors
    ]


# Items of a file ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item of a file."""

    site: str
    item: Item


def items_in(
    source: Source, file: BinaryIO, *, site: str | None = None, board: str | None = None
) -> Iterator[FoundItem | ItemError]:
    """Yield the items of a file, in its order. A record that is not a valid item is an error, with its index.

    Args:
        source: The source that reads the records.
        file: The file.
        site: See `records_in`.
        board: See `Source.records_in`.

    Raises:
        UnreadableFileError: The file cannot be read.
    """
    for batch in batches(records_in(source, file, site=site, board=board), in_order=True):
        if isinstance(batch, ItemError):
            yield batch
            continue
        page = imported_page(1, [record.content for record in batch.records])
        transformed = transform(source, batch.site, page)
        yield from (FoundItem(batch.site, item) for item in transformed.items)
        yield from in_file(transformed.errors, batch)
