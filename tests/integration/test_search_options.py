"""What a form needs: kinds, parameters, and sites with whether a living worker can search them now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Connection, pause, rows, scalar
from tests.support.queue import Row, call, user_id
from worker.version import __version__

WORKER = {"version": "0.1.0", "sites": {}, "concurrency": 5, "started_at": "2026-11-29T09:00:00+00:00"}


@pytest.fixture(autouse=True)
async def _forget_workers(database: Connection) -> AsyncIterator[None]:
    await database.execute("delete from worker.workers where true")
    yield
    await database.execute("delete from worker.workers where true")


async def claim(service: AsyncClient, kind: str, worker_id: str, **about: Any) -> None:
    await call(
        service, "worker_claim_runs", worker_id=worker_id, kinds=[kind], slots=1, lease_seconds=60,
        claim_id=str(uuid4()), held=[], about=WORKER | about,
    )  # fmt: skip


async def options_of(client: AsyncClient, kind: str) -> Row:
    answer = await call(client, "search_options")
    (found,) = [known for known in answer["kinds"] if known["kind"] == kind]
    return dict(found)


async def searchable(client: AsyncClient, kind: str) -> set[str]:
    return {site["site"] for site in (await options_of(client, kind))["sites"] if site["is_searchable"]}


async def test_the_parameters_are_those_of_the_rules(ada: AsyncClient) -> None:
    options = await options_of(ada, "jobs")
    assert options.keys() == {"kind", "is_private", "parameters", "sites"}
    parameters = {parameter.pop("name"): parameter for parameter in options["parameters"]}
    assert next(iter(parameters)) == "search_term"
    assert parameters["results_wanted"] == {
        "type": "integer", "is_required": False, "minimum": 1, "maximum": 1000, "allowed": None, "default": 20,
        "names_boards_of": None,
    }  # fmt: skip
    assert parameters["greenhouse_boards"]["names_boards_of"] == "greenhouse"
    assert "fulltime" in parameters["job_type"]["allowed"]
    labels = {site["site"]: site["label"] for site in options["sites"]}
    assert list(labels) == parameters["sites"]["allowed"]
    assert (labels["linkedin"], labels["zip_recruiter"]) == ("LinkedIn", "ZipRecruiter")
    assert (await options_of(ada, "people"))["is_private"]


async def test_a_site_can_be_searched_while_a_worker_with_it_lives(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    assert await searchable(ada, kind) == set()
    await claim(service, kind, "one", sites={kind: ["indeed"], "people": ["unipile"]})
    await claim(service, kind, "two", sites={kind: ["linkedin", "a site of its own"]})
    assert await searchable(ada, kind) == {"indeed", "linkedin"}
    assert await searchable(ada, "people") == {"unipile"}

    await database.execute("update worker.workers set seen_at = now() - interval '3 minutes' where worker_id = 'two'")
    assert await searchable(ada, kind) == {"indeed"}
    # It searches, and claims nothing meanwhile.
    await call(service, "worker_heartbeat", worker_id="two", leases=[])
    assert await searchable(ada, kind) == {"indeed", "linkedin"}
    # It is started again without a credential.
    await claim(service, kind, "two", sites={kind: ["bayt"]})
    assert await searchable(ada, kind) == {"indeed", "bayt"}


async def test_a_worker_is_written_every_ten_seconds_at_most(
    service: AsyncClient, database: Connection, kind: str
) -> None:
    async def version() -> Any:
        return await scalar(database, "select xmin::text from worker.workers where worker_id = 'one'")

    await claim(service, kind, "one")
    first = await version()
    await claim(service, kind, "one")
    await call(service, "worker_heartbeat", worker_id="one", leases=[])
    assert await version() == first
    await claim(service, kind, "one", concurrency=6)
    assert await version() != first
    await database.execute("update worker.workers set seen_at = now() - interval '2 days'")
    await database.execute("select worker.delete_expired_rows()")
    assert await rows(database, "select from worker.workers") == []


async def test_a_pause_is_told_to_those_whom_it_holds_back(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    async def paused(client: AsyncClient) -> set[str]:
        return {site["site"] for site in (await options_of(client, kind))["sites"] if site["paused_until"]}

    await call(service, "worker_set_account", user_id=await user_id(ada), site="indeed", account="adas")
    await pause(database, "linkedin", "10 minutes")
    await pause(database, "bayt", "-1 minute")
    await pause(database, "indeed", "10 minutes", account="adas")
    await database.execute(
        """
        insert into worker.site_failures (site, account, user_id, run_ids, failed_at, pause, paused_by)
        values ('glassdoor', '', %s, '{}', now(), '5 minutes', 'blocked')
        """,
        [await user_id(bob)],
    )
    assert await paused(ada) == {"linkedin", "indeed"}
    assert await paused(bob) == {"linkedin", "glassdoor"}


async def test_a_claim_says_what_it_must_say(service: AsyncClient, kind: str) -> None:
    with pytest.raises(Exception, match="about must be an object with version, sites, concurrency and started_at"):
        await claim(service, kind, "one", sites=["indeed"])
    assert WORKER["version"] == __version__
