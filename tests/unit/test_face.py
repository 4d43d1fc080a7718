"""The public interface: `worker` and `worker.testing`, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker
from worker import testing

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("adding-a-source.md", "embedding.md")

PROGRAM = """
import asyncio
from collections.abc import AsyncGenerator, Sequence

from worker import (
    EnvironmentSettings, HttpSettings, InvalidItemError, Item, JobParameters, Json, LeaseLostError, Page, Progress,
    QueueError, Reprocessed, Response, Search, Settings, SettingsError, SiteLimits, Source, Worker, __version__,
)
from worker.testing import open_http, search


class BoardSettings(EnvironmentSettings):
    region: str = "eu"


class Board(Source):
    name = "board"
    kind = "jobs"
    sites: Sequence[str] = ("board",)
    parameters = JobParameters
    settings = BoardSettings
    limits = {"board": SiteLimits(min_delay_seconds=1)}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        response: Response = await search.http.request("GET", "https://board.example", params={"q": 1})
        await search.report(Progress("searching", 0, JobParameters.read(search.parameters).results_wanted))
        yield Page(1, response.checked().json(), response.elapsed_ms, is_last=True)

    def records(self, site: str, page: Page) -> Sequence[Json]:
        return page.payload if isinstance(page.payload, list) else []

    def parse(self, site: str, record: Json) -> Item:
        if not isinstance(record, str):
            raise InvalidItemError("must be a text", "title")
        return Item(external_id=record, title=record, url=f"https://board.example/{record}")


async def main() -> None:
    settings = Settings(concurrency=7)
    http = HttpSettings(timeout_seconds=5, user_agent=f"acme/{__version__}")
    async with Worker(settings, http=http, extra_sources=[Board], handle_signals=False) as embedded:
        running: asyncio.Task[None] = asyncio.create_task(embedded.run())
        embedded.stop()
        await running
        done: Reprocessed = await embedded.reprocess(source="board")
    await Worker(Settings(), sources=[Board()]).drain(done.pages)
    async with open_http(http) as client:
        async for page, transformed in search(Board(), "board", {"search_term": "nurse"}, client):
            reveal_type(page)
            reveal_type(transformed)


try:
    asyncio.run(main())
except LeaseLostError as lost:
    error: QueueError = lost
except SettingsError:
    pass
"""


def modules_after(statement: str) -> set[str]:
    """The packages that a fresh Python has loaded after a statement."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {module.partition(".")[0] for module in answer.stdout.split()}


@pytest.mark.parametrize("statement", ["import worker", "import worker; worker.SiteError, worker.ErrorCode"])
def test_importing_it_loads_no_dependency(statement: str) -> None:
    assert not {"supabase", "realtime", "httpx", "pydantic", "pydantic_settings", "rich"} & modules_after(statement)


def test_child_processes_do_not_load_supabase() -> None:
    assert not {"supabase", "realtime"} & modules_after("import worker.processes.sandbox, worker.sources.jobspy")


def test_every_name_is_there() -> None:
    assert sorted(worker.__all__) == sorted(set(worker.__all__))
    assert [name for name in worker.__all__ if getattr(worker, name, None) is None] == []
    assert [name for name in testing.__all__ if getattr(testing, name, None) is None] == []
    assert set(worker.__all__) <= set(dir(worker))


def test_type_checkers_see_what_is_there() -> None:
    guarded, _ = (node for node in ast.parse(Path(worker.__file__).read_text()).body if isinstance(node, ast.If))
    assert sorted(name for _, name in imports(guarded)) == sorted(worker.__all__)


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'worker' has no attribute 'Loop'$"):
        worker.Loop  # type: ignore[attr-defined]  # noqa: B018


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that code imports from this package, each with its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "worker":
            yield from ((node.module or "", alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "worker")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_import_public_names_only(document: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / document).read_text(), re.DOTALL | re.MULTILINE)
    used = {found for block in blocks for found in imports(ast.parse(block))}
    assert used
    public = {("worker", name) for name in worker.__all__} | {("worker.testing", name) for name in testing.__all__}
    assert used <= public


@pytest.mark.timeout(300)
def test_a_program_that_uses_it_is_type_checked(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    answer = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache" / "face", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert re.findall(r': note: Revealed type is "(.*)"', answer.stdout) == [
        "worker.model.Page",
        "worker.model.Transformed",
    ]
    assert answer.returncode == 0, answer.stdout
