"""The plots of the page: what they show, and their drawing with matplotlib.

`python -m tools.benchmarks.plots` draws them. `./scripts/docs` installs matplotlib in a folder of its own. Nothing else
imports it, so the page is made without it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from scripts.bench.report import Column, Value
from tools.benchmarks.measured import Measured, read
from tools.benchmarks.suite import PROJECT

IMAGES = PROJECT / "docs" / "images"
PREFIX = "benchmark-"
"""What the names of the plots begin with. Other files that begin so are removed."""

Series = dict[str, list[tuple[str, float]]]
"""By the name of a series, its bars: what they are, and how long."""

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Distinct with each kind of colour blindness (Okabe and Ito)."""
_INK, _PAPER, _GRID = "#24292f", "#ffffff", "#d0d7de"
_DESCRIPTION = re.compile(r"<dc:description>(.*?)</dc:description>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with horizontal bars.

    Attributes:
        file: The name of its file in `docs/images`.
        bench: The benchmark.
        table: The title of the table that it shows.
        labels: The columns whose values name a bar. A row with the values of one before is
            named with `again`.
        series: The column of each series, by name: the number of the call of the benchmark, and the name of the column.
        axis: What the bars show, with the unit.
        alt: What the picture shows, for people who do not see it.
        line: Where a line marks that nothing has changed.
        is_logarithmic: Whether each step of the axis is ten times the one before. Bars of 0 are not seen then.
    """

    file: str
    bench: str
    table: str
    labels: Sequence[str]
    series: dict[str, tuple[int, str]]
    axis: str
    alt: str
    line: float | None = None
    is_logarithmic: bool = False


_JOBS = "Jobs a second, and the time from insert to start"
_QUEUE_LABELS = ("queue", "finished jobs", "snapshot")

PLOTS = (
    Plot(
        f"{PREFIX}queue.svg",
        "queue",
        _JOBS,
        _QUEUE_LABELS,
        {"concurrency 10": (0, "jobs a second"), "concurrency 100": (1, "jobs a second")},
        "jobs a second (held: while a snapshot is held)",
        "Bars: jobs a second of each queue, with concurrency 10 and 100, by finished jobs and with a held snapshot.",
    ),
    Plot(
        f"{PREFIX}runs.svg",
        "runs",
        "What a run costs in SQL",
        ("batch",),
        {"PostgreSQL 18": (0, "CPU of the backend a run"), "PostgreSQL 15": (1, "CPU of the backend a run")},
        "CPU of the backend for a run without pages, ms",
        "Bars: CPU of the backend for a run without pages by the number of runs of one call, on PostgreSQL 18 and 15.",
    ),
    Plot(
        f"{PREFIX}exits.svg",
        "exits",
        "Pages an hour by number of exits, without blocks",
        ("exits",),
        {"pages an hour": (0, "pages an hour")},
        "pages an hour",
        "Bars: pages an hour at a site that blocks no exit, through one, two, five and ten exits.",
    ),
    Plot(
        f"{PREFIX}users.svg",
        "users",
        "What users waited for",
        ("what",),
        {"p50": (0, "p50"), "p95": (0, "p95")},
        "seconds, on a logarithmic scale",
        "Bars: the median and the 95th percentile of the seconds that users waited, by what they waited for.",
        is_logarithmic=True,
    ),
    Plot(
        f"{PREFIX}growth.svg",
        "growth",
        "Medians of all calls",
        ("path",),
        {"time": (0, "ratio"), "blocks": (0, "ratio of blocks")},
        "large database to small one",
        "Bars: the time and the blocks of each path in the large database, as a ratio to the small one.",
        line=1,
    ),
)


def series_of(plot: Plot, measured: Measured) -> Series:
    """Return the bars of a plot by series. Empty if one of them was not measured."""
    results = [result for result in measured.results if result.bench == plot.bench]
    found: Series = {}
    for name, (number, column) in plot.series.items():
        tables = [
            table for result in results[number : number + 1] for table in result.tables if table["title"] == plot.table
        ]
        if not tables:
            return {}
        found[name] = _bars(tables[0], plot.labels, column)
    return found


def _bars(table: dict[str, Any], labels: Sequence[str], value: str) -> list[tuple[str, float]]:
    columns = {column["name"]: (number, Column(**column)) for number, column in enumerate(table["columns"])}
    named = [columns[label] for label in labels]
    (measured, _), bars = columns[value], dict[str, float]()
    for row in table["rows"]:
        label = ", ".join(text for number, column in named if (text := _named(column, row[number])))
        if row[measured] is not None:
            bars[f"{label}, again" if label in bars else label] = row[measured]
    return [*bars.items()]


def _named(column: Column, value: Value) -> str:
    return column.shown(value) if isinstance(value, str) else f"{column.name} {column.shown(value)}"


def drawn(file: Path) -> Series:
    """Return the bars that a plot was drawn with."""
    found = _DESCRIPTION.search(file.read_text())
    assert found is not None, file
    return {name: [(label, value) for label, value in bars] for name, bars in json.loads(unescape(found[1])).items()}


def main() -> int:
    """Draw the plots, and remove those that nothing was measured for."""
    measured = read()
    wanted = {plot.file: (plot, bars) for plot in PLOTS if (bars := series_of(plot, measured))}
    for file in IMAGES.glob(f"{PREFIX}*.svg"):
        if file.name not in wanted:
            file.unlink()
    for name, (plot, bars) in wanted.items():
        _draw(plot, bars, IMAGES / name)
    return 0


def _draw(plot: Plot, series: Series, file: Path) -> None:
    # Only here: it is in a folder of its own.
    import matplotlib  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    matplotlib.rcParams.update(
        {
            "svg.hashsalt": plot.file, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
            "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
        }
    )  # fmt: skip
    labels = list(dict.fromkeys(label for bars in series.values() for label, _ in bars))
    height = 0.8 / len(series)
    # On white paper, which is readable on a dark page, too.
    figure = Figure(figsize=(9, 1 + len(labels) * (0.16 + 0.16 * len(series))), layout="constrained", facecolor=_PAPER)
    axes = figure.subplots()
    for number, (name, bars) in enumerate(series.items()):
        places = [labels.index(label) - 0.4 + height * (number + 0.5) for label, _ in bars]
        axes.barh(places, [value for _, value in bars], height, label=name, color=_COLORS[number])
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(plot.axis)
    if plot.is_logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(axis="x", color=_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if plot.line is not None:
        axes.axvline(plot.line, color=_INK, linewidth=1)
    if len(series) > 1:
        figure.legend(loc="outside upper right", ncols=len(series), frameon=False)
    figure.savefig(file, metadata={"Date": None, "Title": plot.alt, "Description": json.dumps(series)})


if __name__ == "__main__":
    sys.exit(main())
