"""Texts of sites and users reach the terminal without control characters."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from worker.cli import main as cli
from worker.cli.doctor import Finding, Outcome
from worker.cli.doctor import lines as doctor_lines
from worker.cli.log import JsonFormatter, PrettyFormatter
from worker.cli.sources import _print as print_line
from worker.cli.sources import sources_table
from worker.cli.terminal import cell, items_table, live_view, open_console, run_summary, runs_table
from worker.database.answers import FinishedRun, FinishedSite
from worker.database.user import FollowedRun
from worker.engine.summary import summary
from worker.errors import ErrorCode, SiteError
from worker.model import SiteStatus
from worker.printable import complain, one_line, printable, printable_json, printable_lines, say
from worker.sources.registry import load_sources

WIDE = "400"
HOSTILE = [
    "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x1b[6n", "\x1bP+q544e\x1b\\", "\x9b31m", "\x9d0;x\x9c",
    "\r", "\n", "\v", "\f",
    "\x08", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c", "\ud800", "\x00", "\x0e",
    "\n12:00:00 ERROR   forged", "[red]", "[/]", ":smile:", "{", "%s", "\ufeff", "\U000e0041", "\t",
]  # fmt: skip
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4) | st.characters(categories=["Cc", "Cf", "Cs"])).map(
    "".join
)
# What rich itself writes: colours, and how a live view moves.
_OF_RICH = re.compile(r"\x1b\[[0-9;]*[mAKG]|\x1b\[\?25[lh]")
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def obeyed(printed: str) -> list[str]:
    """The characters that are more than text, by what Unicode says of them."""
    return [
        character
        for character in printed
        if (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character != "\n")
        or unicodedata.bidirectional(character) in _TURNS
    ]


def shown(*renderables: RenderableType) -> list[str]:
    """What is printed, as lines: without a terminal, and on one that shows colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", WIDE)
        lines: list[str] = []
        for colours in ("", "1"):
            patch.setenv("FORCE_COLOR", colours)
            console = open_console()
            with console.capture() as captured:
                for renderable in renderables:
                    console.print(renderable)
            text = _OF_RICH.sub("", captured.get())
            assert obeyed(text) == []
            lines = text.splitlines()
    return lines


def written(*texts: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        for text in texts:
            say(text)
            complain(text)
    return out.getvalue() + err.getvalue()


def run_of(text: str) -> FollowedRun:
    progress = {"step": text, "current": 1, "total": 2, "details": {text: text}}
    waits = {"step": "waiting", "details": {"until": "2026-11-22T09:30:00+00:00", "message": text}}
    site = {
        "site": text, "is_fallback": False, "status": "running", "jobs_found": 1, "error_message": text,
        "progress": progress,
    }  # fmt: skip
    sites = {
        "running": site,
        "waiting": site | {"status": "pending", "progress": waits},
        "failed": site | {"status": "failed", "progress": {}},
        "unknown": site | {"status": text, "progress": {}},
    }
    run: dict[str, Any] = {
        "id": text, "kind": text, "status": text, "run_after": None, "leader_run_id": None, "shared_run_id": None,
        "jobs_found": 1, "progress_current": 1, "progress_total": 2, "created_at": "2026-11-22T09:30:00+00:00",
        "parameters": {"search_term": text, "location": text}, "progress": {}, "run_sites": [*sites.values()],
    }  # fmt: skip
    return FollowedRun(run, sites)


@given(hostile)
def test_what_is_printed_is_text(text: str) -> None:
    assert obeyed(printable_lines(text)) == []
    assert obeyed(printable(text)) == []
    assert "\n" not in printable(text)
    assert obeyed(one_line(text)) == []
    assert obeyed(SiteError(ErrorCode.BLOCKED, text).message) == []
    assert obeyed(written(text)) == []


@given(st.recursive(hostile, lambda inner: st.lists(inner) | st.dictionaries(hostile, inner), max_leaves=5))
def test_json_that_is_printed_means_the_same(value: object) -> None:
    text = printable_json(value)
    assert obeyed(text) == []
    assert "\n" not in text
    assert json.loads(text) == json.loads(json.dumps(value))


@given(hostile)
def test_runs(text: str) -> None:
    followed = run_of(text)
    assert len(shown(live_view([(text, followed)]))) == 5
    assert len(shown(run_summary(followed))) == 6
    assert len(shown(cell(text))) == 1
    shown(runs_table([followed.run]))


@given(hostile)
def test_things_found(text: str) -> None:
    item: dict[str, Any] = {
        "title": text, "organization": text, "location": text, "is_remote": None, "posted_at": text, "data": {},
        "salary_min": 1, "salary_max": 2, "currency": text, "salary_interval": text, "url": text,
        "sites": [{"site": text}],
    }  # fmt: skip
    assert len(shown(items_table([item, item]))) == 3
    del item["sites"]
    assert len(shown(items_table([item]))) == 2


@given(hostile)
def test_sources(text: str) -> None:
    known = load_sources()
    bucket = {"bucket": f"a:{text}", "quota": 1, "quota_used": 1}
    health = {"state": "half_open", "last_error_code": text, "buckets": [bucket]}
    shown(sources_table(known[:1], dict.fromkeys(known[0].sites, health)))
    console = Console(file=io.StringIO(), width=400)
    with console.capture() as captured:
        print_line(console, text)
    assert obeyed(captured.get()) == []


@given(hostile)
def test_the_doctor(text: str) -> None:
    assert obeyed(written(*doctor_lines("url", Finding(Outcome.BROKEN, text, text)))) == []


@given(hostile, hostile)
def test_logs(text: str, other: str) -> None:
    try:
        raise ValueError(text)  # noqa: TRY301 (it is what is logged)
    except ValueError as error:
        exception = (ValueError, error, error.__traceback__)
    record = logging.makeLogRecord(
        {"name": text, "msg": "%s: %s", "args": (text, other), "extra": text, "exc_info": exception}
    )
    for formatter in (PrettyFormatter("%(asctime)s %(levelname)-7s %(message)s"), JsonFormatter()):
        first, *others = formatter.format(record).split("\n")
        assert obeyed("\n".join([first, *others])) == []
        assert all(line.startswith(" ") for line in others)
    site = FinishedSite(text, SiteStatus.FAILED, 0, text, text)
    run = FinishedRun(UUID(int=0), "failed", 0, (site, site), None)
    assert len(summary(run).splitlines()) == 4


@given(hostile)
def test_wrong_usage(text: str) -> None:
    err = io.StringIO()
    with redirect_stderr(err), suppress(SystemExit):
        cli.main(["watch", text])
    assert obeyed(err.getvalue()) == []


def test_what_people_write_stays() -> None:
    for text in ("Zürich 東京 🧑‍💻 naïve", "שלום", "a\u200cb"):
        assert printable(text) == text
