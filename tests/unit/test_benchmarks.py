"""The benchmarks: all are in the suite, their arguments exist, and the page and its plots show what was measured."""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from scripts.bench.report import Column, reporting
from tools.benchmarks import __main__ as command_line
from tools.benchmarks import run, suite
from tools.benchmarks.measured import FILE, Measured, Result, read
from tools.benchmarks.page import page_of
from tools.benchmarks.plots import IMAGES, PLOTS, PREFIX, Plot, drawn, series_of
from tools.benchmarks.suite import FOLDER, LISTINGS, SUITE, Bench, Command, call

MEASURED = read()
RunSuite: TypeAlias = Callable[..., tuple[int, Measured | None]]
CALLS = [(bench, command) for bench in SUITE for command in bench.commands]

every_call = pytest.mark.parametrize(
    ("bench", "command"), CALLS, ids=[f"{bench.name} {command.full}".strip() for bench, command in CALLS]
)
every_plot = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.file)


class Parsed(BaseException):
    """The arguments of a program were accepted."""


def results_of(name: str) -> list[Result]:
    return [result for result in MEASURED.results if result.bench == name]


def test_every_benchmark_is_in_the_suite() -> None:
    programs = {file.name for file in FOLDER.iterdir() if file.is_file() and os.access(file, os.X_OK)}
    assert programs - {"all"} == {bench.name for bench in SUITE}
    assert "all" in programs


@every_call
@pytest.mark.parametrize("is_quick", [False, True], ids=["full", "quick"])
def test_a_benchmark_accepts_its_arguments(
    bench: Bench, command: Command, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse_args(self: argparse.ArgumentParser, args: None = None, namespace: None = None) -> None:
        _, unknown = self.parse_known_args(args, namespace)
        assert unknown == []
        raise Parsed

    arguments = call(bench, command, is_quick=is_quick)[1:]
    if arguments[:1] == ["--postgres"]:  # for the shell script
        assert f"{bench.name}_figures" in (FOLDER / bench.name).read_text()
        assert "--postgres" in (FOLDER / bench.name).read_text()
        del arguments[:2]
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", [bench.name, *arguments, "--json", "figures.json"])
    module = f"scripts.bench.{bench.name.replace('-', '_')}_figures"
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


def test_what_was_measured_are_the_calls_of_the_suite() -> None:
    assert [result.bench for result in MEASURED.results] == [bench.name for bench, _ in CALLS]


@pytest.mark.parametrize("result", MEASURED.results, ids=lambda result: result.command)
def test_a_benchmark_that_was_run_has_tables(result: Result) -> None:
    assert bool(result.tables) == (result.not_run is None)
    assert bool(result.conditions) == (result.not_run is None)
    assert any(table["rows"] for table in result.tables) == (result.not_run is None)
    for table in result.tables:
        assert {len(row) for row in table["rows"]} <= {len(table["columns"])}, table["title"]


def test_no_path_of_a_machine_is_published() -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|var|usr|opt|Users)\b[^\"]*", FILE.read_text()) == []


def test_the_page_shows_figures_and_what_was_not_measured() -> None:
    columns = [asdict(Column("what")), asdict(Column("each", "ms", 1))]
    table = {"title": "A title", "columns": columns, "rows": [["a|b", 1.25]]}
    results = [
        Result("load", "scripts/bench/load", 12, conditions=["A condition."], tables=[table, table | {"rows": []}]),
        Result("web", "scripts/bench/web", not_run="npm is not installed"),
    ]
    page = page_of(replace(MEASURED, results=results, is_changed=False, commit="0123456789abcdef"))
    assert "| a\\|b | 1.2 ms |" in page
    assert "| --- | ---: |" in page
    assert "**A title**\n\nNone.\n" in page
    assert "- A condition.\n- It took 12 s.\n" in page
    assert "$ scripts/bench/web\n```\n\nNot measured: npm is not installed.\n" in page
    assert "at commit `0123456789`, in" in page
    assert "with changed files" in page_of(replace(MEASURED, is_changed=True))


@every_plot
def test_a_plot_shows_what_was_measured(plot: Plot) -> None:
    results = results_of(plot.bench)
    is_measured = all(results[number].not_run is None for number, _ in plot.series.values())
    bars = series_of(plot, MEASURED)
    assert bool(bars) == is_measured
    if is_measured:
        assert drawn(IMAGES / plot.file) == bars, "run ./scripts/docs"
        assert all(bars.values())


def test_there_are_no_other_plots() -> None:
    wanted = {plot.file for plot in PLOTS if series_of(plot, MEASURED)}
    assert {file.name for file in IMAGES.glob(f"{PREFIX}*")} == wanted
    assert all(PREFIX in plot.file and plot.alt.startswith("Bars: ") for plot in PLOTS)


def test_rows_with_the_same_label_are_two_bars() -> None:
    columns = [asdict(Column("queue")), asdict(Column("jobs"))]
    rows: list[list[str | int | None]] = [["a", 1000], ["b", None], ["a", 3]]
    table = {"title": "Jobs", "columns": columns, "rows": rows}
    plot = Plot("x.svg", "load", "Jobs", ("queue", "jobs"), {"one": (0, "jobs")}, "", "")
    measured = replace(MEASURED, results=[Result("load", "", tables=[table])])
    assert series_of(plot, measured) == {"one": [("a, jobs 1,000", 1000), ("a, jobs 3", 3)]}
    rows[2][1] = 1000
    assert series_of(plot, measured) == {"one": [("a, jobs 1,000", 1000), ("a, jobs 1,000, again", 1000)]}
    assert series_of(replace(plot, table="Others"), measured) == {}


def test_a_report_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    columns = [Column("way"), Column("each", "ms", 2), Column("of them")]
    with reporting(file) as report:
        report.condition("Two rounds.")
        report.table("Times", columns, [("[id]", 1234.567, 3), ("b", None, 0)])
    shown = capsys.readouterr().out
    written = json.loads(file.read_text())
    assert written["conditions"] == ["Two rounds."]
    assert [Column(**column) for column in written["tables"][0]["columns"]] == columns
    assert written["tables"][0]["rows"] == [["[id]", 1234.567, 3], ["b", None, 0]]
    assert [line.split() for line in shown.splitlines() if line.strip()] == [
        ["Two", "rounds."], ["Times"], ["way", "each", "of", "them"], ["[id]", "1,234.57", "ms", "3"], ["b", "-", "0"],
    ]  # fmt: skip


def test_a_report_of_a_benchmark_that_failed_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), reporting(tmp_path / "figures.json"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunSuite]:
    """Runs a suite of shell scripts as `scripts/bench/all`. Returns the exit code, and what was written."""

    def run_it(programs: dict[str, str], *arguments: str, **benches: Any) -> tuple[int, Measured | None]:
        for name, text in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        file = tmp_path / "measured.json"
        made = tuple(Bench(name, "It measures.", (Command("full", "quick"),), **benches) for name in programs)
        for module in (run, command_line, suite):
            monkeypatch.setattr(module, "SUITE", made, raising=False)
        monkeypatch.setattr(suite, "FOLDER", tmp_path)
        monkeypatch.setattr(command_line, "FILE", file)
        monkeypatch.setattr(sys, "argv", ["scripts/bench/all", *arguments])
        return command_line.main(), read(file) if file.exists() else None

    before = signal.getsignal(signal.SIGTERM)
    yield run_it
    signal.signal(signal.SIGTERM, before)


GOOD = """[ "$1 $2" = "full --json" ] && echo '{"conditions": ["Good."], "tables": []}' > "$3" """
QUICK = GOOD.replace("full", "quick")


def test_a_benchmark_that_fails_does_not_stop_the_others(
    run_suite: RunSuite, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "for number in $(seq 100); do echo line $number; done; exit 3"
    code, measured = run_suite({"bad": lines, "silent": "exit 0", "good": GOOD})
    assert code == 1
    assert measured is not None
    assert [result.not_run for result in measured.results] == [
        "it failed with exit code 3", "it failed with exit code 0", None,
    ]  # fmt: skip
    assert measured.results[2].conditions == ["Good."]
    shown = capsys.readouterr().out
    assert "line 81\n" in shown
    assert "line 80\n" not in shown
    assert "Failed:\n  scripts/bench/bad full\n  scripts/bench/silent full\n" in shown


def test_a_benchmark_that_takes_too_long_is_stopped(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_TIMEOUT_SECONDS", 0)
    code, measured = run_suite({"slow": "exec sleep 1000"})
    assert code == 1
    assert measured is not None
    assert [result.not_run for result in measured.results] == ["it took longer than 0 s"]


def test_a_benchmark_that_cannot_run_here_is_not_a_failure(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LISTINGS, raising=False)
    code, measured = run_suite({"other": "exit 1"}, needs=("listings",))
    assert code == 0
    assert measured is not None
    assert f"{LISTINGS} names none" in str(measured.results[0].not_run)


def test_a_table_may_be_shown_without_being_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    with reporting(file) as report:
        report.table("Quotes", [Column("listing")], [("a text of others",)], is_published=False)
        report.table("Time", [Column("seconds")], [(1,)])
    assert "a text of others" in capsys.readouterr().out
    assert [table["title"] for table in json.loads(file.read_text())["tables"]] == ["Time"]


@pytest.mark.parametrize(
    ("arguments", "program"), [(["--quick"], QUICK), (["--only", "good"], GOOD)], ids=["quick", "only"]
)
def test_figures_of_the_page_are_of_one_whole_run(
    arguments: list[str], program: str, run_suite: RunSuite, tmp_path: Path
) -> None:
    assert run_suite({"good": program, "other": program}, *arguments) == (0, None)
    file = tmp_path / "elsewhere.json"
    assert run_suite({"good": program, "other": program}, *arguments, "--json", str(file)) == (0, None)
    results = read(file).results
    assert results[0].not_run is None
    assert results[1].not_run == ("it was left out of this run" if "--only" in arguments else None)


def test_a_benchmark_that_does_not_exist_cannot_be_chosen(
    run_suite: RunSuite,
) -> None:
    with pytest.raises(SystemExit):
        run_suite({"good": GOOD}, "--only", "good,none")


def test_the_file_of_listings_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (listings := tmp_path / "listings.csv").touch()
    monkeypatch.setenv(LISTINGS, str(listings))
    (bench,) = (bench for bench in SUITE if bench.name == "dedupe")
    (command,) = bench.commands
    assert call(bench, command, is_quick=False)[1:] == [str(listings)]
    assert suite.missing(bench, command) is None
    assert suite.shown(bench, command, is_quick=False) == "scripts/bench/dedupe DATA.csv"
