"""The view that frontends page through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from supabase import AsyncClient

from tests.conftest import SignIn
from tests.helpers import claim, enqueue, search, user_id
from tests.integration.conftest import Connection


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for part in plan.get("Plans", []):
        yield from scans(part)


async def test_a_run_is_read_through_indexes_under_row_level_security(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str
) -> None:
    user = await sign_in()
    run = await enqueue(user, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [["a", "b", "c"]]})
    claims = json.dumps({"sub": await user_id(user), "role": "authenticated"})
    async with database.transaction():
        await database.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        await database.execute("set local role authenticated")
        # Few rows make any plan cheap; what matters is whether these can be index conditions at all.
        await database.execute("set local enable_seqscan = off")
        answer = await database.execute(
            "explain (format json) select * from public.run_items where run_id = %s", [run["id"]]
        )
        ((explained,),) = await answer.fetchall()
    conditions = {
        scan["Alias"]: scan.get("Index Cond", scan.get("Recheck Cond", "")) for scan in scans(explained[0]["Plan"])
    }
    # The names of the view: what the run found, the things that it shows, and where they were shown before.
    assert "run_id =" in conditions["result"], conditions
    for thing in ("item", "described", "paid", "applied"):
        assert "id =" in conditions[thing], conditions
    assert "item_id =" in conditions["shown"], conditions
    # Of the user's runs, by one index or another: few are like many.
    assert "user_id =" in conditions["earlier"], conditions
