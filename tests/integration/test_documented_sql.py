"""The SQL that the pages in docs/ show to operators, as they run it."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.database import Connection

DOCS = Path(__file__).parents[2] / "docs"
# Those of adding-a-source.md are tested by test_example_source_rules.py.
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.name != "adding-a-source.md"]
EXAMPLES = [
    pytest.param(block, id=page.name)
    for page in PAGES
    for block in re.findall(r"^```sql\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
]


@pytest.mark.pgvector
@pytest.mark.parametrize("block", EXAMPLES)
async def test_sql_runs(database: Connection, block: str) -> None:
    user, item = uuid4(), uuid4()
    async with database.transaction(force_rollback=True):
        await database.execute("insert into auth.users (id, email) values (%s, %s)", [user, f"{user}@example.com"])
        await database.execute(
            """
            insert into public.items (id, kind, title, url, canonical_key, first_seen_at, last_seen_at)
            values (%s, 'jobs', 'Nurse', 'https://indeed.example/1', %s, now(), now())
            """,
            [item, f"indeed:{item}"],
        )
        for name, value in {"<user id>": user, "<workspace id>": uuid4(), "<item id>": item}.items():
            block = block.replace(name, str(value))
        await database.execute(block.encode())


def test_there_is_sql_to_run() -> None:
    assert len(EXAMPLES) > 5
