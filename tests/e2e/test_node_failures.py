"""A Node script that fails shows its exit code and all of its output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node import needs_node, node, run_node
from worker.local.supabase.stack import Endpoints

pytestmark = needs_node

NO_STACK = Endpoints("http://127.0.0.1:1", "key", "key", db_url="", jwt_secret="")
BROKEN = {
    "an uncaught error": "console.log('{}'); console.log('[1, 2]'); throw new Error('the cause');",
    "a line that is no JSON": "console.log('{}'); console.log('[1, 2'); console.error('the cause'); process.exit(1);",
    "an early end": "console.log('{}'); console.log('[1, 2]'); console.error('the cause'); process.exitCode = 1;",
}


@pytest.fixture(params=BROKEN)
def script(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "broken.mjs"
    path.write_text(BROKEN[request.param])
    return str(path)


async def test_it_shows_all_while_it_runs(script: str) -> None:
    async def read_twice() -> None:
        async with node(script, NO_STACK) as running:
            assert await running.next_event() == {}
            await running.next_event()

    with pytest.raises(AssertionError, match=r"(?s)^broken\.mjs: no event: .*; exit code 1\n.*\[1, 2.*the cause"):
        await read_twice()


async def test_it_shows_all_at_its_end(script: str) -> None:
    with pytest.raises(AssertionError, match=r"(?s)^broken\.mjs: failed; exit code 1\n.*\{\}.*the cause"):
        async with node(script, NO_STACK):
            pass


def test_it_shows_all_that_was_read_at_once(script: str) -> None:
    with pytest.raises(AssertionError, match=r"(?s)^broken\.mjs: .*; exit code 1\n.*\{\}.*the cause"):
        run_node(script, "")
