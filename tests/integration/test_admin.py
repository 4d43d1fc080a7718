"""What admins see of all users, and that nobody else sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Connection
from tests.support.queue import (
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    save_page,
    search,
    start_site,
    user_id,
)
from tests.support.stack import PASSWORD, SignIn, new_email, supabase_client
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

SINCE_A_TIME = ("admin_overview", "admin_sites", "admin_quality")
FUNCTIONS = (
    *SINCE_A_TIME,
    "admin_runs",
    "admin_quotas",
    "admin_workers",
    "admin_exits",
    "admin_incidents",
    "admin_webhooks",
)


def arguments_of(function: str) -> Row:
    """Arguments that an admin may give."""
    return {"since": since()} if function in SINCE_A_TIME else {}


def since(**ago: float) -> str:
    """A time, by default an hour ago."""
    return (datetime.now(UTC) - timedelta(**(ago or {"hours": 1}))).isoformat()


@pytest.fixture
async def admin(sign_in: SignIn, database: Connection) -> AsyncClient:
    """A user who was made an admin as docs/admin.md says, with a new token."""
    client = await sign_in()
    await database.execute(
        'update auth.users set raw_app_meta_data = raw_app_meta_data || \'{"role": "admin"}\' where id = %s',
        [await user_id(client)],
    )
    await client.auth.refresh_session()
    return client


@pytest.fixture
async def pretender(stack: Endpoints) -> AsyncIterator[AsyncClient]:
    """A user who says of himself that he is an admin."""
    claims = {"role": "admin", "app_metadata": {"role": "admin"}}
    async with AsyncExitStack() as clients:
        client = await clients.enter_async_context(supabase_client(stack.url, stack.anon_key))
        await client.auth.sign_up({"email": new_email(), "password": PASSWORD, "options": {"data": claims}})
        await client.auth.update_user({"data": claims})
        await client.auth.refresh_session()
        yield client


async def count_runs(service: AsyncClient, database: Connection) -> None:
    """Let the chore count what has ended, batch by batch."""
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'run_counts'")
    while await call(service, "worker_count_runs") == 0:
        continue


# Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_only_admins_and_the_service_role(
    *,
    function: str,
    admin: AsyncClient,
    pretender: AsyncClient,
    ada: AsyncClient,
    anon: AsyncClient,
    service: AsyncClient,
) -> None:
    arguments = arguments_of(function)
    for client in (ada, pretender):
        assert await refusal(client, client.rpc(function, arguments)) == Refusal(
            403, "42501", "only admins may call this function"
        )
    assert (await refusal(anon, anon.rpc(function, arguments))).code == "42501"
    for client in (admin, service):
        assert await call(client, function, **arguments) is not None


async def test_an_admin_who_is_none_any_more(admin: AsyncClient, database: Connection) -> None:
    await call(admin, "admin_quotas")
    await database.execute(
        "update auth.users set raw_app_meta_data = raw_app_meta_data - 'role' where id = %s", [await user_id(admin)]
    )
    await admin.auth.refresh_session()
    assert (await refusal(admin, admin.rpc("admin_quotas"))).status == 403


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("admin_overview", {"since": since(days=401)}, "since must be a time of the last 400 days"),
        ("admin_sites", {"since": since(days=-1)}, "since must be a time of the last 400 days"),
        ("admin_quality", {"since": None}, "since must be a time of the last 400 days"),
        ("admin_overview", {"since": "-infinity"}, "since must be a time of the last 400 days"),
        (
            "admin_runs",
            {"status": ["success", "lost"]},
            "status must be a list of pending, running, success, partial, failed, cancelled",
        ),
        ("admin_runs", {"source": "robot"}, "source must be one of manual, cron, api, import"),
        ("admin_runs", {"kind": "robots"}, "kind must be one of creators, jobs, people"),
        ("admin_runs", {"site": ""}, "site must be a text of 1 to 100 characters"),
        ("admin_runs", {"error_code": "x" * 101}, "error_code must be a text of 1 to 100 characters"),
        ("admin_runs", {"most": 0}, "most must be from 1 to 100"),
        ("admin_runs", {"most": 101}, "most must be from 1 to 100"),
        ("admin_runs", {"most": None}, "most must be from 1 to 100"),
        (
            "admin_runs",
            {"before_at": since()},
            "before_at and before_id must be given together, as next of the page before has them",
        ),
    ],
)
async def test_wrong_arguments(service: AsyncClient, function: str, arguments: Row, message: str) -> None:
    assert await refusal(service, service.rpc(function, arguments)) == Refusal(400, "22023", message)


# What they see ----------------------------------------------------------------------------------------------------


async def fail(service: AsyncClient, kind: str, error_code: str) -> None:
    """Search the one run that is ready, which fails for good at its site."""
    (run,) = await claim(service, kind)
    await start_site(service, run, run["sites"][0]["site"])
    await finish_site(service, run, site=run["sites"][0]["site"], error_code=error_code,
        error_message="no", retryable=False,
    )  # fmt: skip
    await finish_run(service, run)


async def test_the_overview_and_the_sites_after_a_day_of_searches(
    *, ada: AsyncClient, bob: AsyncClient, admin: AsyncClient, service: AsyncClient, kind: str, database: Connection
) -> None:
    await count_runs(service, database)
    await database.execute("truncate worker.run_stats, worker.run_totals, worker.site_totals, worker.page_stats")

    await enqueue(ada, kind, sites=["indeed", "linkedin"])
    (run,) = await claim(service, kind)
    await search(service, run, {"indeed": [["a1", "a2"], ["a3"]], "linkedin": [["b1"]]})
    await enqueue(bob, kind, sites=["indeed"])
    await fail(service, kind, "blocked")
    cancelled = await enqueue(bob, kind, sites=["indeed"])
    await call(bob, "cancel_search", run_id=cancelled["id"])
    assert await claim(service, kind) == []  # settles what a cancelled run leaves to others
    await count_runs(service, database)

    overview = await call(admin, "admin_overview", since=since())
    assert overview["outcomes"] == {
        "success": {"runs": 1, "rate": 0.3333},
        "partial": {"runs": 0, "rate": 0},
        "failed": {"runs": 1, "rate": 0.3333},
        "cancelled": {"runs": 1, "rate": 0.3333},
    }
    names = ("runs", "items", "new_items", "pages", "requests")
    assert [overview[name] for name in names] == [3, 4, 4, 3, 3]
    assert overview["errors"] == [{"error_code": "blocked", "runs": 1}]
    assert 0 < overview["duration"]["p50"] < overview["duration"]["p95"] <= 2
    assert 0 < overview["wait"]["p50"] < overview["wait"]["p95"] <= 2
    assert sum(hour["runs"] for hour in overview["by_hour"]) == 3
    assert sum(hour["cancelled"] for hour in overview["by_hour"]) == 1
    assert overview["queue"][-1].keys() == {"hour", "ready", "delayed", "running"}
    # Days for a long time, hours for a short one: the sums are the same.
    long = await call(admin, "admin_overview", since=since(days=20))
    assert {name: long[name] for name in overview if name not in ("since", "queue")} == {
        name: overview[name] for name in overview if name not in ("since", "queue")
    }

    sites = {row["site"]: row for row in await call(admin, "admin_sites", since=since(days=30))}
    shown = ("searches", "completed", "failed", "success_rate", "errors", "attempts", "pages", "requests", "items")
    assert {site: [row[name] for name in shown] for site, row in sites.items()} == {
        "indeed": [2, 1, 1, 0.5, {"blocked": 1}, 2, 2, 2, 3],
        "linkedin": [1, 1, 0, 1, {}, 1, 1, 1, 1],
    }
    assert sites["indeed"]["invalid_share"] == 0
    assert sites["indeed"]["state"] == "closed"
    assert sites["indeed"]["last_error_code"] == "blocked"


async def test_a_site_that_is_paused_and_was_not_searched(admin: AsyncClient, database: Connection) -> None:
    await database.execute(
        "insert into worker.site_health (site, account, paused_until) values ('xing', '', now() + interval '1 hour')"
    )
    (row,) = [row for row in await call(admin, "admin_sites", since=since()) if row["site"] == "xing"]
    assert (row["state"], row["searches"], row["success_rate"], row["duration_p50"]) == ("open", 0, None, None)
    assert row["paused_until"] is not None


async def test_the_limits_of_a_site(admin: AsyncClient, service: AsyncClient, kind: str, database: Connection) -> None:
    about = {"version": "1", "sites": {kind: ["indeed"]}, "concurrency": 1, "started_at": "2026-01-01T00:00:00Z"}
    declared = {"indeed": {"requests": 5, "min_delay_seconds": 2}, "indeed:detail": {"quota": 0}}
    await call(
        service, "worker_claim_runs", worker_id="w", kinds=[kind], slots=1, lease_seconds=60, claim_id=str(uuid4()),
        held=[], about=about, limits={kind: {"indeed": declared}},
    )  # fmt: skip
    await database.execute("insert into worker.site_health (site) values ('indeed') on conflict do nothing")
    await database.execute("insert into worker.bucket_limits (bucket, requests) values ('indeed', 3)")
    try:
        (row,) = [row for row in await call(admin, "admin_sites", since=since()) if row["site"] == "indeed"]
    finally:
        await database.execute("delete from worker.bucket_limits where bucket = 'indeed'")
        await database.execute("delete from worker.workers where worker_id = 'w'")
    whole, detail = row["limits"]
    assert (whole["bucket"], whole["requests"], whole["min_delay_seconds"]) == ("indeed", 3, 2)
    # What a source declares wrongly does not break the page.
    assert detail == {"bucket": "indeed:detail", "message": "limits.quota must be an integer from 1 to 1000000000"}


async def test_the_quality_of_pages(
    ada: AsyncClient, admin: AsyncClient, service: AsyncClient, kind: str, database: Connection
) -> None:
    await count_runs(service, database)
    await database.execute("truncate worker.page_stats")
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    saved = page("indeed", 1, ["q1", "q2", "q3"])
    saved["raw"]["completeness"] = {"title": 1, "salary": 0.3333}
    saved["errors"] = [{"index": 3, "type": "invalid", "message": "no title", "field": "title", "raw": {}}]
    await save_page(service, **lease(run), **saved)
    await finish_site(service, run, site="indeed")
    await finish_run(service, run)
    await count_runs(service, database)

    (row,) = await call(admin, "admin_quality", since=since())
    assert {name: row[name] for name in row if name != "day"} == {
        "site": "indeed", "source": "test", "pages": 1, "failed_pages": 0, "items": 3, "invalid_items": 1,
        "invalid_share": 0.25, "completeness": {"title": 1, "salary": 0.3333},
    }  # fmt: skip


async def test_the_quotas_and_who_uses_them(ada: AsyncClient, admin: AsyncClient, database: Connection) -> None:
    ada_id = await user_id(ada)
    await database.execute("insert into worker.site_health (site, account) values ('jsearch', '')")
    await database.execute(
        """
        insert into worker.site_buckets (bucket, quota, quota_used, quota_period, quota_resets_at)
        values ('jsearch', 200, 150, 4, now() + interval '1 day')
        """
    )
    await database.execute(
        """
        insert into worker.site_shares (bucket, user_id, used, quota_period, last_at)
        values ('jsearch', %s, 40, 4, now()), ('jsearch', %s, 90, 3, now())
        """,
        [ada_id, uuid4()],
    )
    (row,) = await call(admin, "admin_quotas")
    assert (row["site"], row["bucket"], row["quota"], row["used"], row["used_share"]) == (
        "jsearch", "jsearch", 200, 150, 0.75,
    )  # fmt: skip
    assert [(taken["user_id"], taken["used"]) for taken in row["users"]] == [(ada_id, 40)]


@pytest.fixture
async def searched(ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str) -> dict[str, Row]:
    """Runs of two users, by a name."""
    runs = {"found": await enqueue(ada, kind, sites=["indeed"])}
    (run,) = await claim(service, kind)
    await search(service, run, {"indeed": [["a1"]]})
    runs["blocked"] = await enqueue(bob, kind, sites=["linkedin"])
    await fail(service, kind, "blocked")
    runs["timeout"] = await enqueue(bob, kind, sites=["indeed"])
    await fail(service, kind, "timeout")
    runs["pending"] = await enqueue(ada, kind, sites=["glassdoor"])
    return runs


async def test_the_runs_that_match(searched: dict[str, Row], ada: AsyncClient, admin: AsyncClient, kind: str) -> None:
    names = {run["id"]: name for name, run in searched.items()}

    async def found(**filters: Any) -> list[str]:
        runs: list[Row] = []
        position: Row | None = {}
        while position is not None:  # a call looks at a part of the runs, and there may be those of other tests
            answer = await call(admin, "admin_runs", kind=kind, **filters, **position)
            runs += answer["runs"]
            position = answer["next"]
        return [names[run["id"]] for run in runs]

    assert await found() == ["pending", "timeout", "blocked", "found"]
    assert await found(status=["failed", "pending"]) == ["pending", "timeout", "blocked"]
    assert await found(user_id=await user_id(ada)) == ["pending", "found"]
    assert await found(user_id=str(uuid4())) == []
    assert await found(error_code="blocked") == ["blocked"]
    assert await found(site="indeed") == ["timeout", "found"]
    assert await found(source="manual", site="indeed", status=["success"]) == ["found"]
    assert await found(source="cron") == []
    assert await found(since=searched["blocked"]["created_at"]) == ["pending", "timeout", "blocked"]
    assert await found(until=searched["blocked"]["created_at"]) == ["found"]


async def test_the_timeline_of_a_run(searched: dict[str, Row], bob: AsyncClient, admin: AsyncClient, kind: str) -> None:
    answer = await call(admin, "admin_runs", kind=kind, error_code="timeout")
    (run,) = answer["runs"]
    session = await bob.auth.get_session()
    assert session is not None
    assert (run["id"], run["email"], run["status"]) == (searched["timeout"]["id"], session.user.email, "failed")
    assert [event["event"] for event in run["events"]] == [
        "created", "claimed", "site_started", "site_finished", "finished",
    ]  # fmt: skip
    assert run["events"][3]["site"] == "indeed"
    assert run["events"][3]["data"]["message"] == "no"
    assert all("lease_digest" not in event["data"] for event in run["events"])
    assert [(site["site"], site["error_code"]) for site in run["sites"]] == [("indeed", "timeout")]


@pytest.mark.parametrize("filters", [{}, {"source": "api"}])
async def test_pages_of_runs_have_each_once(
    *, sign_in: SignIn, service: AsyncClient, admin: AsyncClient, kind: str, database: Connection, filters: Row
) -> None:
    owner = await user_id(await sign_in())
    rows = [
        {"user_id": owner, "kind": kind, "source": "api", "parameters": {"search_term": str(uuid4())}} for _ in range(7)
    ]
    inserted: Any = (await service.table("search_runs").insert(rows).execute()).data
    # Created at one time: the id decides.
    await database.execute("update public.search_runs set created_at = now() where user_id = %s", [owner])
    seen: list[str] = []
    position: Row | None = {}
    while position is not None:
        answer = await call(admin, "admin_runs", user_id=owner, most=3, **filters, **position)
        seen += [run["id"] for run in answer["runs"]]
        position = answer["next"]
        if len(seen) == 3:
            # Newer runs do not move the pages that follow.
            newer = {"user_id": owner, "kind": kind, "source": "api", "parameters": {"search_term": str(uuid4())}}
            await service.table("search_runs").insert(newer).execute()
    assert seen == sorted((run["id"] for run in inserted), reverse=True)


async def test_a_call_looks_at_a_limited_number_of_runs(
    sign_in: SignIn, admin: AsyncClient, kind: str, database: Connection
) -> None:
    owner = await user_id(await sign_in())
    await database.execute("alter table public.search_runs disable trigger user")
    try:
        await database.execute(
            """
            insert into public.search_runs (
                user_id, kind, source, parameters, status, priority, created_at, completed_at)
            select %s, %s, case when number = 2500 then 'api' else 'manual' end::public.run_source, '{}', 'success',
                   0, now() - number * interval '1 second', now()
            from generate_series(1, 2500) as number
            """,
            [owner, kind],
        )
    finally:
        await database.execute("alter table public.search_runs enable trigger user")
    first = await call(admin, "admin_runs", user_id=owner, source="api")
    assert first["runs"] == []
    second = await call(admin, "admin_runs", user_id=owner, source="api", **first["next"])
    assert len(second["runs"]) == 1
    assert second["next"] is None


# Operations ---------------------------------------------------------------------------------------------------------


async def test_an_admin_sees_workers_incidents_and_rules(
    admin: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    about = {"version": "1.2.3", "sites": {kind: ["board"]}, "concurrency": 7, "started_at": since()}
    arguments = {"worker_id": "w", "kinds": [kind], "slots": 1, "lease_seconds": 60, "claim_id": str(uuid4())}
    await call(service, "worker_claim_runs", **arguments, held=[], about=about)
    (worker,) = (known for known in (await call(admin, "admin_workers"))["workers"] if known["worker_id"] == "w")
    assert (worker["version"], worker["concurrency"], worker["running"]) == ("1.2.3", 7, 0)

    known = await call(admin, "admin_incidents")
    answer = await database.execute("select count(*) from worker.alert_rules")
    assert (len(known["rules"]),) == await answer.fetchone()


async def test_an_admin_sends_a_dead_message_again(
    admin: AsyncClient, ada: AsyncClient, service: AsyncClient, database: Connection
) -> None:
    await call(service, "worker_add_webhook", name="crm", url="https://example.com/token", events=["run.failed"])
    answer = await database.execute(
        "insert into worker.webhook_messages (endpoint, event, payload, error, created_at)"
        " values ('crm', 'run.failed', '{}', 'It answered 500.', worker.now()) returning id::text"
    )
    row = await answer.fetchone()
    assert row is not None
    webhooks = await call(admin, "admin_webhooks")
    assert [endpoint["name"] for endpoint in webhooks["endpoints"]] == ["crm"]
    assert [(message["id"], message["error"]) for message in webhooks["dead"]] == [
        (f"msg_{row[0]}", "It answered 500.")
    ]
    assert "token" not in str(webhooks)

    again = {"endpoint": "crm", "message_id": row[0]}
    assert (await refusal(ada, ada.rpc("admin_replay_webhooks", again))).status == 403
    assert await call(admin, "admin_replay_webhooks", **again) == 1
    assert (await call(admin, "admin_webhooks"))["dead"] == []
