"""The example of docs/adding-a-source.md is the one that is tested, and works as a package of its own."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.loopback import LOOPBACK, Authority, Request, proxy, reply

EXAMPLE = Path(__file__).parents[1] / "example_source"
DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-a-source.md"
FILES = ["hireboard.py", "rules.sql", "kind.sql", "pyproject.toml", "test_hireboard.py"]


def as_documented(name: str) -> str:
    return (EXAMPLE / name).read_text().replace("from tests.example_source.hireboard", "from hireboard")


def test_the_document_has_the_example_as_it_is_tested() -> None:
    blocks = re.findall(r"^```(?:python|sql|toml)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks == [as_documented(name) for name in FILES]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the example, as an installer leaves it there."""
    folder = tmp_path / "site-packages"
    information = folder / "hireboard_source-1.0.dist-info"
    information.mkdir(parents=True)
    shutil.copy(EXAMPLE / "hireboard.py", folder)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hireboard-source\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[supabase_search_worker.sources]\nhireboard = hireboard:HireboardSource\n"
    )
    return folder


def command(installed: Path, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = f"{installed}:{Path(__file__).parents[2]}"
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env={"PYTHONPATH": paths, "COLUMNS": "160", "HIREBOARD_API_KEY": "s3cret", **environment},
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_worker_finds_the_package(installed: Path) -> None:
    answer = command(installed, {}, "sources")
    assert answer.returncode == 0, answer.stderr
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("hireboard")]
    assert line.split("  ")[0] == "hireboard"
    assert "HIREBOARD_API_KEY" in line
    assert "10 requests a second, 5,000 a day" in line


def test_the_worker_lists_and_checks_the_settings_of_the_package(installed: Path) -> None:
    answer = command(installed, {}, "settings")
    assert answer.stdout.endswith("\n\n# Key of Hireboard, for the site hireboard.\nHIREBOARD_API_KEY=\n")
    answer = command(installed, {"HIREBOARD_API_KEY": "s3 cret"}, "sources")
    assert answer.returncode == 2
    assert answer.stderr == "HIREBOARD_API_KEY: has white space or another character that no key has; copy it again\n"


def test_the_package_reads_the_file_of_settings(installed: Path) -> None:
    (installed / ".env").write_text("HIREBOARD_API_KEY=s3cret\n")
    answer = command(installed, {"HIREBOARD_API_KEY": ""}, "sources")
    assert "set: HIREBOARD_API_KEY" in answer.stdout


def test_the_worker_prints_the_rules_of_the_package(installed: Path) -> None:
    answer = command(installed, {}, "rules", "hireboard")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == (EXAMPLE / "rules.sql").read_text()
    unknown = command(installed, {}, "rules", "hiredesk")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "'hiredesk' is not one of jobspy, " in unknown.stderr


async def test_the_worker_searches_with_the_package(installed: Path, tmp_path: Path) -> None:
    async def play(request: Request, writer: asyncio.StreamWriter) -> None:
        assert request.headers["x-api-key"] == "s3cret"
        jobs = '{"id": "h1", "title": "Nurse [b]", "url": "https://hireboard.example/1", "company": "Mercy"}, {"id": 2}'
        writer.write(reply(f'{{"jobs": [{jobs}]}}'))

    authority = Authority(tmp_path)
    async with authority.serve(play, "api.hireboard.example") as server, proxy(server.port) as through:
        environment = {
            "WORKER_EXITS": f"boards={LOOPBACK}:{through.port}",
            "WORKER_HTTP_CA_CERT": str(authority.ca_cert),
        }
        answer = await asyncio.to_thread(
            command, installed, environment, "try", "hireboard", "--param", "search_term=nurse"
        )
    assert answer.returncode == 0, answer.stderr
    assert server.requests[0].target == "/v1/jobs?q=nurse&offset=0&limit=20"
    assert re.search(r"Nurse \[b\] +Mercy +https://hireboard.example/1", answer.stdout)
    assert "Page 1: 1 item, 1 invalid; 1 request, " in answer.stdout
    assert "Page 1, record 2: id: must be a text" in answer.stdout
    assert answer.stderr == ""
