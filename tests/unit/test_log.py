import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from worker.cli.log import JsonFormatter


def formatted(message: str, *args: object, **fields: Any) -> dict[str, Any]:
    record = logging.getLogger("worker.test").makeRecord(
        "worker.test", logging.INFO, __file__, 1, message, args, None, extra=fields
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_line_holds_the_message_and_the_extra_fields() -> None:
    line = formatted("Run %s:\nsuccess", "r1", run_id="r1", sites=[{"site": "indeed"}])
    assert line["message"] == "Run r1:\nsuccess"
    assert (line["level"], line["logger"]) == ("INFO", "worker.test")
    assert (line["run_id"], line["sites"]) == ("r1", [{"site": "indeed"}])
    assert set(line) == {"time", "level", "logger", "message", "run_id", "sites"}


def test_an_exception_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("boom")
    except ValueError:
        logging.getLogger("worker.test").exception("failed")
    line = JsonFormatter().format(caplog.records[0])
    assert "\n" not in line
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_what_json_does_not_know_is_written_as_text() -> None:
    assert formatted("x", error=ValueError("boom"))["error"] == "boom"


UNREACHABLE_REALTIME = """
import asyncio
from worker.database.changes import Binding, changes
from worker.cli.log import configure_logging

async def main():
    configure_logging("json", "INFO")
    lost = asyncio.Event()
    events = changes("http://127.0.0.1:1", "key", [Binding("search_runs")], on_lost=lost.set)
    first = asyncio.create_task(anext(events))
    await lost.wait()
    first.cancel()
    await asyncio.wait([first])

asyncio.run(main())
"""


def test_a_lost_subscription_is_reported_once() -> None:
    command = [sys.executable, "-c", UNREACHABLE_REALTIME]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (line,) = map(json.loads, answer.stderr.splitlines())
    assert (line["level"], line["logger"]) == ("WARNING", "worker.database.changes")
    assert "retry in" in line["message"]


REQUEST_WITH_A_KEY = """
import asyncio, httpx
from worker.cli.log import configure_logging

async def main():
    configure_logging("json", "DEBUG")
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        await client.get("https://api.example.com/?key=hunter2", headers={"X-API-Key": "hunter3"})

asyncio.run(main())
"""


def test_addresses_with_keys_are_not_logged_at_any_level() -> None:
    command = [sys.executable, "-c", REQUEST_WITH_A_KEY]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "hunter" not in answer.stderr
