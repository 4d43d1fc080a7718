"""What a benchmark reports: its conditions and tables, shown on the terminal and, with `--json`, written to a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

_WIDTH_OF_FILES = 160

Value: TypeAlias = str | int | float | None
"""What a cell holds: a text, or a number in the unit of its column. `None` was not measured."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        unit: The unit of its numbers: `ms`, `s`, `MiB`, `%`. Empty for texts, counts and ratios.
        digits: How many digits after the point are shown.
    """

    name: str
    unit: str = ""
    digits: int = 0

    def shown(self, value: Value) -> str:
        """Return a value as a person reads it."""
        if value is None:
            return "-"
        if isinstance(value, str):
            return value
        return f"{value:,.{self.digits}f} {self.unit}".rstrip()


def _open_console() -> Console:
    # Rich takes 80 columns for what is no terminal, and breaks the headings.
    width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
    return Console(width=width, highlight=False, soft_wrap=True, markup=False)


@dataclass(slots=True)
class Report:
    """The report of one benchmark."""

    conditions: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    _console: Console = field(default_factory=_open_console)

    def condition(self, sentence: str) -> None:
        """Report under which conditions the figures that follow are measured, as a sentence."""
        self.conditions.append(sentence)
        self._console.print(sentence)

    def table(
        self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[Value]], *, is_published: bool = True
    ) -> None:
        """Report figures.

        Args:
            title: What the table shows, in a few words.
            columns: Its columns. The first names the rows.
            rows: A value for each column.
            is_published: Whether the table is written to the file, too, and not only shown.
        """
        shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for number, column in enumerate(columns):
            shown.add_column(column.name, justify="right" if number else "left", overflow="fold")
        for row in rows:
            shown.add_row(*(column.shown(value) for column, value in zip(columns, row, strict=True)))
        self._console.print()
        self._console.print(shown)
        if is_published:
            columns_of_json = [asdict(column) for column in columns]
            self.tables.append({"title": title, "columns": columns_of_json, "rows": [list(row) for row in rows]})


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--json FILE`, which `reporting` takes, to the arguments of a benchmark."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")


@contextmanager
def reporting(path: Path | None) -> Iterator[Report]:
    """Give the report of a benchmark, and write it at the end if no error was raised.

    Args:
        path: The file that `--json` names, or `None` to write none.
    """
    report = Report()
    yield report
    if path:
        path.write_text(json.dumps({"conditions": report.conditions, "tables": report.tables}, indent=1) + "\n")
