"""The commands `sources` and `try`, without a database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run_command
from tests.support.loopback import LOOPBACK, Authority, Request, proxy, reply
from worker.cli.sources import health_in_words, limits_in_words
from worker.model import SiteLimits

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """What a worker sees that has no settings of anybody's: neither a variable nor a file `.env`."""
    return {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "HOME": str(folder), **settings}


def command(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_command(environment(folder, **settings), *arguments, folder=folder)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SiteLimits(), ""),
        (SiteLimits(requests=25, quota=100), "25 requests a minute, 100 a day"),
        (SiteLimits(requests=1, period_seconds=1), "1 request a second"),
        (SiteLimits(requests=9, period_seconds=3600), "9 requests an hour"),
        (SiteLimits(requests=9, period_seconds=1.5), "9 requests in 1.5 s"),
        (SiteLimits(requests=9, period_seconds=600), "9 requests in 600 s"),
        (SiteLimits(min_delay_seconds=2, searches_per_account=1), "one every 2 s, 1 search at a time for an account"),
        (SiteLimits(quota=10000, quota_timezone="America/Los_Angeles"), "10,000 a day (America/Los_Angeles)"),
        (SiteLimits(quota=200, quota_period="month", searches=2), "200 a month, 2 searches at a time"),
    ],
)
def test_limits_in_words(limits: SiteLimits, words: str) -> None:
    assert limits_in_words(limits) == words


HEALTH: dict[str, Any] = {
    "site": "youtube", "account_count": 0, "state": "closed", "paused_until": None, "last_error_code": "blocked",
    "success_rate": 0.973, "response_ms": 820.4, "last_success_at": None, "buckets": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (None, "not searched yet"),
        ({}, "97% succeed, 820 ms"),
        ({"success_rate": None, "response_ms": None}, "well"),
        ({"state": "half_open"}, "one search tries whether it is well again (blocked)"),
        (
            {
                "buckets": [
                    {"bucket": "youtube", "quota": 10000, "quota_used": 1200, "quota_resets_at": None},
                    {"bucket": "youtube:search", "quota": 100, "quota_used": None, "quota_resets_at": None},
                    {"bucket": "youtube:other", "quota": None, "quota_used": None, "quota_resets_at": None},
                ]
            },
            "97% succeed, 820 ms, 1,200 of 10,000 used, search: 0 of 100 used",
        ),
    ],
)
def test_health_in_words(health: dict[str, Any] | None, words: str) -> None:
    assert health_in_words(None if health is None else HEALTH | health) == words


def test_a_paused_site_says_until_when_and_why() -> None:
    paused = HEALTH | {"state": "open", "paused_until": "2020-11-22T14:05:00+00:00"}
    words = health_in_words(paused)
    assert words.startswith("paused until 11-2")
    assert words.endswith(" (blocked)")


def test_all_sources_are_listed_without_a_database(tmp_path: Path) -> None:
    answer = command(tmp_path, "sources", UNIPILE_API_KEY="s3cret")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = {line.split()[2]: line for line in answer.stdout.splitlines()[1:-1]}
    assert {"linkedin", "jsearch", "greenhouse", "ashby", "lever", "arbeitnow", "remotive", "unipile"} < lines.keys()
    assert "missing: JSEARCH_API_KEY" in lines["jsearch"]
    assert "missing: UNIPILE_DSN " in lines["unipile"]
    assert "none needed" in lines["greenhouse"]
    assert answer.stdout.splitlines()[-1] == (
        "Health is unknown: SUPABASE_URL: is required. "
        "Address of the Supabase project, such as https://abcdefgh.supabase.co."
    )
    assert "s3cret" not in answer.stdout


def test_what_a_site_needs_and_allows_is_seen_on_a_narrow_terminal_too(tmp_path: Path) -> None:
    answer = command(tmp_path, "sources", COLUMNS="60", YOUTUBE_API_KEY="k")
    words = {word for line in answer.stdout.splitlines() for word in line.split()}
    assert {"missing:", "set:", "needed", "month,"} <= words


@pytest.mark.parametrize("arguments", [["settings"], ["sources"]])
def test_a_reader_that_has_enough_is_no_failure_of_ours(tmp_path: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        answer = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=tmp_path, env=environment(tmp_path), stdout=output, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (1, b"")


def test_sources_as_json(tmp_path: Path) -> None:
    # Nobody listens there, and nobody is asked for long.
    settings = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "s3cret"}
    answer = command(tmp_path, "sources", "--json", **settings)
    assert (answer.returncode, answer.stderr) == (0, "")
    told = json.loads(answer.stdout)
    assert told["health_unknown"].startswith("worker_site_health: not answered within")
    by_site = {row["site"]: row for row in told["sites"]}
    assert by_site["unipile"]["credentials"] == {"UNIPILE_DSN": False, "UNIPILE_API_KEY": False}
    assert by_site["unipile"]["needs_account"]
    assert by_site["youtube"]["limits"].keys() == {"youtube", "youtube:search"}
    assert by_site["youtube"]["health"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "SOURCE: 'nope' is not one of jobspy, jsearch, "),
        (["jobspy"], "--site: is required; allowed: linkedin, indeed, "),
        (["jobspy", "--site", "monster"], "--site: 'monster' is not a site of jobspy; allowed: linkedin, "),
        (["remotive", "--param", "colour=red"], "--param: remotive knows no 'colour'; allowed: search_term, location,"),
        (["remotive", "--param", "sites=x"], "--param: remotive knows no 'sites'; allowed: "),
        (["remotive", "--param", "colour"], "must be NAME=VALUE"),
        (["remotive", "--account", "a"], "--account: remotive has no accounts"),
        (["jsearch"], "JSEARCH_API_KEY: required to search with jsearch"),
        (["remotive"], "remotive: invalid_parameters: search_term: is required (a text of 1 to 200 characters)"),
        (
            ["remotive", "--param", "search_term=x", "--param", "results_wanted=0"],
            "remotive: invalid_parameters: results_wanted: must be an integer from 1 to 1000",
        ),
        (
            ["remotive", "--param", "search_term=2026", "--param", "country=12"],
            "remotive: invalid_parameters: country: '12' is unknown; allowed: ",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    answer = command(tmp_path, "try", *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in answer.stderr


def test_an_account_is_asked_for_where_one_is_needed(tmp_path: Path) -> None:
    settings = {"UNIPILE_DSN": "api8.unipile.com:13851", "UNIPILE_API_KEY": "k"}
    answer = command(tmp_path, "try", "unipile", "--param", "search_term=x", **settings)
    assert answer.returncode == 2
    assert answer.stderr == "--account: unipile searches through an account: name one\n"


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    answer = command(tmp_path, "try", "remotive", WORKER_EXITS="one=http://u:hunter2@h:99999")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "WORKER_EXITS: number 1: address must be [scheme://][user:password@]host[:port]\n"


@pytest.fixture
def hireboard(tmp_path: Path) -> dict[str, str]:
    """The settings of a worker that the example source is installed for."""
    information = tmp_path / "hireboard-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hireboard\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[supabase_search_worker.sources]\nhireboard = tests.example_source.hireboard:HireboardSource\n"
    )
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}", "HIREBOARD_API_KEY": "s3cret"}


def page(first: int, count: int) -> bytes:
    jobs = [
        {"id": f"h{number}", "title": "Nurse", "url": "https://h.example/"} for number in range(first, first + count)
    ]
    return reply(json.dumps({"jobs": jobs}))


TRY = ["try", "hireboard", "--param", "search_term=nurse", "--param", "results_wanted=100"]


async def test_items_are_lines_of_json_and_what_came_before_a_failure_is_there(
    tmp_path: Path, hireboard: dict[str, str]
) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        is_first = "offset=0" in request.target
        writer.write(page(0, 50) if is_first else reply('{"error": "s3cret is unknown"}', "403 Forbidden"))

    authority = Authority(tmp_path)
    async with authority.serve(answer, "api.hireboard.example") as server, proxy(server.port) as through:
        settings = {
            **hireboard,
            "WORKER_EXITS": f"boards={LOOPBACK}:{through.port}",
            "WORKER_HTTP_CA_CERT": str(authority.ca_cert),
        }
        # A process of its own: the installed source is on its path.
        command_line = [sys.executable, "-m", "worker", *TRY, "--json"]
        process = await asyncio.create_subprocess_exec(
            *command_line,
            cwd=tmp_path,
            env=environment(tmp_path, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    items = [json.loads(line) for line in stdout.splitlines()]
    assert [item["external_id"] for item in items] == [f"h{number}" for number in range(50)]
    assert process.returncode == 1
    first, total, failure = stderr.decode().splitlines()
    assert first.startswith("Page 1: 50 items; 1 request, ")
    assert total.startswith("1 page, 50 items, 1 request, ")
    assert failure == "hireboard: blocked: response status code 403"


async def test_ctrl_c_leaves_what_was_found(tmp_path: Path, hireboard: dict[str, str]) -> None:
    asked = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if "offset=0" in request.target:
            writer.write(page(0, 50))
        else:
            asked.set()

    authority = Authority(tmp_path)
    async with authority.serve(answer, "api.hireboard.example") as server, proxy(server.port) as through:
        settings = environment(
            tmp_path,
            **hireboard,
            WORKER_EXITS=f"boards={LOOPBACK}:{through.port}",
            WORKER_HTTP_CA_CERT=str(authority.ca_cert),
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", *TRY,
            cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            await asked.wait()
            os.kill(process.pid, signal.SIGINT)
            output, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")
    assert output.decode().count("Nurse") == 50
    assert "1 page, 50 items, 1 request, " in output.decode()
