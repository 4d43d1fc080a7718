"""Which account a run is searched through: its user's, and nobody else's, whatever workspace it names."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Connection, pause
from tests.support.queue import (
    Refusal,
    Row,
    call,
    claim,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    save_page,
    start_site,
    user_id,
)

OWN, OF_WORKSPACE = "own account", "account of the workspace"


@pytest.fixture
def workspace() -> str:
    return str(uuid4())


async def set_account(service: AsyncClient, user: AsyncClient, account: str | None, **arguments: Any) -> None:
    await call(
        service,
        "worker_set_account",
        **{"user_id": await user_id(user), "site": "indeed", "account": account} | arguments,
    )


async def claimed(
    service: AsyncClient, user: AsyncClient, kind: str, *, workspace_id: str | None = None, term: str | None = None
) -> Row:
    """A run of a user's, claimed."""
    parameters = {"search_term": term or str(uuid4()), "sites": ["indeed", "linkedin"]}
    row = {"kind": kind, "parameters": parameters, "workspace_id": workspace_id}
    await user.table("search_runs").insert(row).execute()
    (run,) = await claim(service, kind)
    return run


def account(run: Row, site: str = "indeed") -> str | None:
    (found,) = [given["account"] for given in run["sites"] if given["site"] == site]
    return None if found is None else str(found)


async def test_a_run_without_an_account_has_none(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    assert account(await claimed(service, ada, kind)) is None


async def test_a_run_is_searched_through_its_users_account_of_the_site(
    ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    await set_account(service, ada, OWN)
    run = await claimed(service, ada, kind)
    assert (account(run, "indeed"), account(run, "linkedin")) == (OWN, None)


async def test_a_workspace_of_ones_own_comes_first(
    ada: AsyncClient, service: AsyncClient, kind: str, workspace: str
) -> None:
    await set_account(service, ada, OWN)
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    assert account(await claimed(service, ada, kind, workspace_id=workspace)) == OF_WORKSPACE
    assert account(await claimed(service, ada, kind)) == OWN
    assert account(await claimed(service, ada, kind, workspace_id=str(uuid4()))) == OWN


async def test_the_account_of_a_workspace_is_for_its_runs_alone(
    ada: AsyncClient, service: AsyncClient, kind: str, workspace: str
) -> None:
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    assert account(await claimed(service, ada, kind)) is None
    assert account(await claimed(service, ada, kind, workspace_id=str(uuid4()))) is None


async def test_nobody_gets_another_users_account_by_naming_a_workspace(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, workspace: str
) -> None:
    await set_account(service, ada, OWN)
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    assert account(await claimed(service, bob, kind)) is None
    assert account(await claimed(service, bob, kind, workspace_id=workspace)) is None


async def test_an_account_is_replaced_and_removed(
    ada: AsyncClient, service: AsyncClient, kind: str, workspace: str
) -> None:
    await set_account(service, ada, OWN)
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    await set_account(service, ada, "  another one ", workspace_id=workspace)
    assert account(await claimed(service, ada, kind, workspace_id=workspace)) == "another one"
    for _ in range(2):
        await set_account(service, ada, None, workspace_id=workspace)
    assert account(await claimed(service, ada, kind, workspace_id=workspace)) == OWN
    await set_account(service, ada, None)
    assert account(await claimed(service, ada, kind)) is None


async def test_accounts_go_with_their_user(
    ada: AsyncClient, service: AsyncClient, database: Connection, workspace: str
) -> None:
    await set_account(service, ada, OWN)
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    owner = await user_id(ada)
    await database.execute("delete from auth.users where id = %s", [owner])
    left = await database.execute("select from worker.accounts where user_id = %s", [owner])
    assert left.rowcount == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"user_id": str(uuid4())}, "user_id must be the id of a user"),
        ({"user_id": None}, "user_id must be the id of a user"),
        ({"site": "monster"}, "site must be one of "),
        ({"site": None}, "site must be one of "),
        ({"account": " "}, "account must be 1 to 200 characters long, or null to remove it"),
        ({"account": "x" * 201}, "account must be 1 to 200 characters long, or null to remove it"),
    ],
)
async def test_bad_arguments_are_refused_with_the_field(
    ada: AsyncClient, service: AsyncClient, arguments: Row, message: str
) -> None:
    asked = {"user_id": await user_id(ada), "site": "indeed", "account": OWN} | arguments
    refused = await refusal(service, service.rpc("worker_set_account", asked))
    assert (refused.status, refused.code) == (400, "22023")
    assert refused.message is not None
    assert refused.message.startswith(message)


async def test_users_neither_set_nor_read_accounts(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await set_account(service, ada, OWN)
    asked = {"user_id": await user_id(ada), "site": "indeed", "account": "mine"}
    denied = Refusal(403, "42501", "permission denied for function worker_set_account")
    assert await refusal(ada, ada.rpc("worker_set_account", asked)) == denied

    # Nor does anything that a user may read have it, once the site was searched through it.
    run = await claimed(service, ada, kind)
    await pause(database, "indeed", "10 minutes", account=OWN)
    assert not (await start_site(service, run, "indeed"))["granted"]
    await pause(database, "indeed", None, account=OWN)
    await start_site(service, run, "indeed")
    await save_page(service, **lease(run), **page("indeed", 1, [uuid4().hex], cursor=OWN))
    failure = {"error_code": "network", "error_message": "reset", "retryable": True}
    await finish_site(service, run, site="indeed", account=OWN, **failure)
    tables = ("search_runs", "search_run_sites", "search_results", "run_events", "run_items", "items", "item_sources")
    seen = [(await ada.table(table).select("*").execute()).data for table in tables]
    assert all(seen)
    assert OWN not in str(seen)


async def test_accounts_of_a_site_are_paused_one_by_one(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await set_account(service, ada, "hers")
    await set_account(service, bob, "his")
    await pause(database, "indeed", "10 minutes", account="hers")
    assert not (await start_site(service, await claimed(service, ada, kind), "indeed"))["granted"]
    assert (await start_site(service, await claimed(service, bob, kind), "indeed"))["granted"]


async def test_another_attempt_waits_for_the_account_that_it_is_made_through(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await set_account(service, ada, OWN)
    run = await claimed(service, ada, kind)
    failure = {"error_code": "network", "error_message": "reset", "retryable": True}
    for site in ("indeed", "linkedin"):
        await start_site(service, run, site)
        error = failure if site == "indeed" else {}
        await finish_site(service, run, site=site, account=account(run, site), **error)
    await pause(database, "indeed", "20 minutes", account=OWN)
    await pause(database, "indeed", "40 minutes")
    answer = await finish_run(service, run)
    minutes = await database.execute(
        "select extract(epoch from %s::timestamptz - %s::timestamptz) / 60", [answer["run_after"], answer["updated_at"]]
    )
    ((waiting,),) = await minutes.fetchall()
    assert 19 < waiting <= 20


async def test_runs_of_one_user_in_two_workspaces_are_searched_apart_where_things_are_private(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, workspace: str
) -> None:
    await database.execute("update worker.kinds set is_private = true where kind = %s", [kind])
    await set_account(service, ada, OWN)
    await set_account(service, ada, OF_WORKSPACE, workspace_id=workspace)
    term = str(uuid4())
    assert account(await claimed(service, ada, kind, term=term)) == OWN
    assert account(await claimed(service, ada, kind, term=term, workspace_id=workspace)) == OF_WORKSPACE
