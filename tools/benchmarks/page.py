"""Makes `docs/benchmarks.md` from `measured.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scripts.bench.report import Column
from tools.benchmarks.measured import Measured, Result, read
from tools.benchmarks.plots import PLOTS, series_of
from tools.benchmarks.suite import LISTINGS, SUITE, Bench

_BEFORE = """\
# Benchmarks

The benchmarks of the project, measured in one run on one machine. `scripts/bench/all` runs them one after another, and
this page is made from what it writes. To repeat it, on a machine that does nothing else:

```console
$ ./scripts/bench/all
$ ./scripts/docs
```

The benchmark `dedupe` runs if the environment variable `{listings}` names a CSV of real listings. `--quick` tries in
about ten minutes whether all work; its figures mean nothing. Each benchmark is a command of its own, too: `--help`
lists its arguments, and `--json FILE` writes its figures to a file.

## Method

- The database, the workers, their clients and the simulated sites share one machine, and compete for its cores.
- Sites are simulated on loopback. No figure says how fast a real site answers.
- There is no network between a worker and its database. At a hosted project, each call takes a round trip more.
- Each benchmark starts with a new database, and fills it itself.
- Queues, ways of saving, and the two databases of `growth` take turns: other load on the machine affects all of them.
- It is one run. Figures of another run differ, and small differences mean nothing.
- Ratios hold on other machines better than figures do. Compare within a table, not between tables.
- The time beside a command includes its set-up: the installation of packages that were missing, and the filling of
  tables.

## Machine and versions

Measured on {day} at commit `{commit}`{changed}, in {minutes:.0f} minutes. The load average of the minute before was
{load}.

{machine}

{versions}
"""


def benchmarks_page() -> str:
    """Return the page."""
    return page_of(read())


def page_of(measured: Measured) -> str:
    """Return the page of a run of all benchmarks."""
    before = _BEFORE.format(
        listings=LISTINGS,
        day=measured.day,
        commit=measured.commit[:10],
        changed=" with changed files" if measured.is_changed else "",
        minutes=measured.seconds / 60,
        load=measured.load,
        machine=_table(["machine", ""], [False, False], measured.machine.items()),
        versions=_table(["program or package", "version"], [False, False], measured.versions.items()),
    )
    sections = [line for bench in SUITE for line in _section(bench, measured)]
    return before + "\n" + "\n".join(sections).rstrip("\n") + "\n"


def _section(bench: Bench, measured: Measured) -> Iterator[str]:
    results = [result for result in measured.results if result.bench == bench.name]
    yield from (f"## {bench.name}", "", bench.measures, "")
    for plot in PLOTS:
        if plot.bench == bench.name and series_of(plot, measured):
            yield from (f"![{plot.alt}](images/{plot.file})", "")
    for result in results:
        yield from _result(result)


def _result(result: Result) -> Iterator[str]:
    yield from ("```console", f"$ {result.command}", "```", "")
    if result.not_run is not None:
        yield from (f"Not measured: {result.not_run}.", "")
        return
    yield from (f"- {sentence}" for sentence in (*result.conditions, f"It took {result.seconds:,.0f} s."))
    yield ""
    for table in result.tables:
        columns = [Column(**column) for column in table["columns"]]
        rows = [[column.shown(value) for column, value in zip(columns, row, strict=True)] for row in table["rows"]]
        names = [column.name for column in columns]
        lines = _table(names, _are_numbers(table["rows"], len(columns)), rows) if rows else "None."
        yield from (f"**{table['title']}**", "", lines, "")


def _are_numbers(rows: Sequence[Sequence[Any]], columns: int) -> list[bool]:
    """Return for each column whether it has numbers alone."""
    return [not any(isinstance(row[number], str) for row in rows) for number in range(columns)]


def _table(names: Sequence[str], are_numbers: Sequence[bool], rows: Any) -> str:
    lines = [names, ["---:" if is_number else "---" for is_number in are_numbers], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
