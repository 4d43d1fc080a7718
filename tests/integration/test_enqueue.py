"""From a client's insert to a row in the queue, or to an error that names the field."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from postgrest.exceptions import APIError
from postgrest.types import CountMethod
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, wait_until_blocked
from tests.support.hostile import hostile
from tests.support.queue import Refusal, call, claim, enqueue, new_runs, refusal, user_id
from tests.support.stack import SignIn

BAD_PARAMETERS: list[tuple[Any, str]] = [
    ([], "parameters must be an object"),
    (None, "parameters must be an object"),
    ({}, "parameters.search_term is required: a text of 1 to 200 characters"),
    ({"search_term": "  "}, "parameters.search_term must be a text of 1 to 200 characters"),
    ({"sites": ["yellow pages"]}, "parameters.sites must be a list of 1 to 20 of linkedin, indeed, "),
    ({"sites": []}, "parameters.sites must be a list of 1 to 20 of linkedin, indeed, "),
    ({"location": 5}, "parameters.location must be a text of 1 to 200 characters"),
    ({"country": ""}, "parameters.country must be a text of 2 to 40 characters"),
    ({"distance_miles": 501}, "parameters.distance_miles must be an integer from 0 to 500"),
    ({"is_remote": "true"}, "parameters.is_remote must be true or false"),
    ({"job_type": "full time"}, "parameters.job_type must be one of fulltime, "),
    ({"easy_apply": 0}, "parameters.easy_apply must be true or false"),
    ({"hours_old": 0.5}, "parameters.hours_old must be an integer from 1 to 8760"),
    ({"results_wanted": 1001}, "parameters.results_wanted must be an integer from 1 to 1000"),
    ({"fetch_description": []}, "parameters.fetch_description must be true or false"),
    ({"linkedin_company_ids": [1.5]}, "parameters.linkedin_company_ids must be a list of 1 to 50 positive integers"),
    ({"greenhouse_boards": []}, "parameters.greenhouse_boards must be a list of 1 to 50 texts of 1 to 100 characters"),
    ({"ashby_boards": "linear"}, "parameters.ashby_boards must be a list of 1 to 50 texts of 1 to 100 characters"),
    ({"lever_boards": [7]}, "parameters.lever_boards must be a list of 1 to 50 texts of 1 to 100 characters"),
    ({"surprise": 1}, "parameters.surprise is not known; kind jobs knows ashby_boards, board_organizations, "),
    ({"board_organizations": "yes"}, "parameters.board_organizations must be true or false"),
    ({"fallback_sites": []}, "parameters.fallback_sites must be a list of 1 to 20 of linkedin, indeed, "),
    ({"search_term": "x" * 20_000}, "parameters must be at most 16384 bytes long"),
]


def with_search_term(parameters: Any) -> Any:
    return {"search_term": "engineer", **parameters} if parameters else parameters


@pytest.mark.parametrize("way", ["insert", "rpc"])
@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS, ids=[message[:30] for _, message in BAD_PARAMETERS])
async def test_bad_parameters_are_refused_with_the_field(
    sign_in: SignIn, way: str, parameters: Any, message: str
) -> None:
    client = await sign_in()
    row = {"kind": "jobs", "parameters": with_search_term(parameters)}
    query = client.table("search_runs").insert(row) if way == "insert" else client.rpc("enqueue_search", row)
    refused = await refusal(client, query)
    assert (refused.status, refused.code) == (400, "22023")
    assert refused.message is not None
    assert refused.message.startswith(message)


async def test_every_rule_is_tried(database: Connection) -> None:
    answer = await database.execute("select name from worker.parameter_rules where kind = 'jobs'")
    rules = {name async for (name,) in answer}
    assert rules == {message.split()[0].removeprefix("parameters.") for _, message in BAD_PARAMETERS} & rules


async def test_an_unknown_kind_is_refused_with_those_that_are_known(sign_in: SignIn) -> None:
    client = await sign_in()
    refused = await refusal(client, client.rpc("enqueue_search", {"kind": "cars", "parameters": {}}))
    assert (refused.status, refused.code) == (400, "22023")
    assert refused.message is not None
    assert refused.message.startswith("kind must be one of ")
    assert "jobs" in refused.message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("client_context", {"tab": "x" * 20_000}, "client_context must be at most 16384 bytes long"),
        ("client_context", "a text", "client_context must be an object"),
        ("client_context", [], "client_context must be an object"),
        ("idempotency_key", "", "idempotency_key must be 1 to 200 characters long"),
        ("idempotency_key", "x" * 201, "idempotency_key must be 1 to 200 characters long"),
    ],
)
async def test_what_else_is_wrong_is_refused_with_the_field(
    sign_in: SignIn, field: str, value: object, message: str
) -> None:
    client = await sign_in()
    row = {"kind": "jobs", "parameters": {"search_term": "engineer"}, field: value}
    refused = await refusal(client, client.table("search_runs").insert(row))
    assert refused == Refusal(400, "22023", message)


# JSON as a client may send it. PostgreSQL's jsonb takes no NUL and no lone surrogate, whoever checks it afterwards.
json_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | json_texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(json_texts, children, max_size=4),
    max_leaves=8,
)
parameter_names = st.sampled_from(
    ["sites", "location", "country", "distance_miles", "is_remote", "job_type", "hours_old", "results_wanted"]
)
almost_parameters = st.builds(
    lambda parameters, surprise: {"search_term": "engineer", **parameters, **surprise},
    st.dictionaries(parameter_names, json_values, max_size=3),
    st.just({}) | st.dictionaries(json_texts, json_values, max_size=1),
)
one_connection_for_all_examples = hostile(100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@one_connection_for_all_examples
@given(parameters=json_values | almost_parameters)
async def test_any_json_gives_a_row_or_a_clean_refusal(ada: AsyncClient, parameters: Any) -> None:
    refused, row = None, None
    try:
        (row,) = (await ada.table("search_runs").insert({"kind": "jobs", "parameters": parameters}).execute()).data
    except APIError as error:
        refused = (error.code, (error.message or "").split(".")[0].split(" ")[0])
    if row is None:
        assert refused == ("22023", "parameters")
    else:
        assert isinstance(row, dict)
        assert row["parameters"] == parameters
        # It may follow an equal search of another test.
        assert row["status"] == "pending" or row["leader_run_id"] is not None


searches = st.fixed_dictionaries(
    {"search_term": st.text("abc xyz", min_size=1, max_size=20).filter(str.strip)},
    optional={
        "sites": st.lists(st.sampled_from(["linkedin", "indeed", "glassdoor"]), min_size=1, max_size=3, unique=True),
        "location": st.sampled_from(["berlin", "new york"]),
        "is_remote": st.booleans(),
        "results_wanted": st.integers(1, 1000),
        "linkedin_company_ids": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    },
)


@st.composite
def same_search(draw: st.DrawFn, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same search, written another way."""
    written: dict[str, Any] = {}
    for name in draw(st.permutations(sorted(parameters))):
        value = parameters[name]
        if isinstance(value, str):
            blank = st.sampled_from([" ", "  ", "\t", " \n "])
            words = value.upper().split() if draw(st.booleans()) else value.split()
            value = draw(st.just("") | blank) + draw(blank).join(words) + draw(st.just("") | blank)
        elif isinstance(value, list):
            value = draw(st.permutations([*value, value[0]]))
            if type(value[0]) is int:
                value = [draw(st.sampled_from([number, float(number)])) for number in value]
        elif type(value) is int:
            value = draw(st.sampled_from([value, float(value)]))
        written[name] = value
    for name, default in (("sites", ["indeed", "linkedin"]), ("results_wanted", 20), ("is_remote", False)):
        if name not in written:
            written |= draw(st.sampled_from([{}, {name: None}, {name: default}]))
    return written


async def fingerprints(database: Connection, *searches: dict[str, Any]) -> list[str]:
    answer = await database.execute(
        "select worker.fingerprint('jobs', parameters, gen_random_uuid(), null),"
        " worker.check_parameters('jobs', parameters)"
        " from unnest(%s::jsonb[]) as parameters",
        [[Jsonb(search) for search in searches]],
    )
    return [fingerprint async for fingerprint, _ in answer]


@one_connection_for_all_examples
@given(data=st.data(), parameters=searches)
async def test_equal_searches_have_equal_fingerprints(
    database: Connection, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    one, other = await fingerprints(database, parameters, data.draw(same_search(parameters)))
    assert one == other


def meaning(parameters: dict[str, Any]) -> dict[str, Any]:
    values = {"sites": ["linkedin", "indeed"], "results_wanted": 20, "is_remote": False} | parameters
    return {
        name: " ".join(value.split()) if isinstance(value, str) else sorted(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


@one_connection_for_all_examples
@given(parameters=searches, others=searches)
async def test_other_searches_have_other_fingerprints(
    database: Connection, parameters: dict[str, Any], others: dict[str, Any]
) -> None:
    one, other = await fingerprints(database, parameters, others)
    assert (one == other) == (meaning(parameters) == meaning(others))


async def test_the_same_idempotency_key_returns_the_same_run(sign_in: SignIn) -> None:
    ada, bob = await sign_in(), await sign_in()
    search = {"kind": "jobs", "parameters": {"search_term": "engineer"}, "idempotency_key": "daily 2026-11-22"}
    first = await call(ada, "enqueue_search", **search)
    again = await call(ada, "enqueue_search", **search | {"parameters": {"search_term": "nurse"}})
    assert again == first
    assert (await call(bob, "enqueue_search", **search))["id"] != first["id"]
    refused = await refusal(ada, ada.table("search_runs").insert(search))
    assert (refused.status, refused.code) == (409, "23505")


async def test_requests_with_one_idempotency_key_at_once_make_one_run(ada: AsyncClient) -> None:
    search = {"kind": "jobs", "parameters": {"search_term": "engineer"}, "idempotency_key": str(uuid4())}
    runs = await asyncio.gather(*(call(ada, "enqueue_search", **search) for _ in range(8)))
    assert len({run["id"] for run in runs}) == 1
    count = await ada.table("search_runs").select("id", count=CountMethod.exact, head=True).execute()
    assert count.count == 1


async def test_the_second_of_two_transactions_with_one_key_gets_the_run_of_the_first(
    ada: AsyncClient, database: Connection, connect_database: Connect
) -> None:
    first, second = await connect_database(), await connect_database()
    claims = f'{{"sub": "{await user_id(ada)}", "role": "authenticated"}}'
    for connection in (first, second):
        await connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        await connection.execute("set role authenticated")
    enqueue_once = """select id from enqueue_search('jobs', '{"search_term": "engineer"}', null, 'once')"""
    await first.execute("begin")
    run = await (await first.execute(enqueue_once)).fetchone()
    waiting = asyncio.create_task(second.execute(enqueue_once))
    await wait_until_blocked(database, first)
    await first.execute("commit")
    assert await (await waiting).fetchone() == run


async def test_many_rows_of_one_insert_interleave_with_other_users(
    sign_in: SignIn, service: AsyncClient, kind: str
) -> None:
    ada, bob = await sign_in(), await sign_in()
    await ada.table("search_runs").insert(new_runs(kind, 5)).execute()
    await bob.table("search_runs").insert(new_runs(kind, 3)).execute()
    owners: dict[str, str] = {}
    for name, client in (("ada", ada), ("bob", bob)):
        runs: list[Any] = (await client.table("search_runs").select("id").execute()).data
        owners |= {run["id"]: name for run in runs}

    claimed = [owners[(await claim(service, kind))[0]["run_id"]] for _ in range(8)]
    assert [set(claimed[start : start + 2]) for start in (0, 2, 4)] == [{"ada", "bob"}] * 3
    assert claimed[6:] == ["ada", "ada"]


async def test_the_service_role_enqueues_for_a_user(sign_in: SignIn, service: AsyncClient) -> None:
    ada = await sign_in()
    owner = await user_id(ada)
    row = {"user_id": owner, "kind": "jobs", "source": "cron", "parameters": {"search_term": "engineer"}}
    await service.table("search_runs").insert(row).execute()
    (run,) = (await ada.table("search_runs").select("source, priority").execute()).data
    assert run == {"source": "cron", "priority": 0}


async def test_the_service_role_has_to_name_the_user(service: AsyncClient) -> None:
    row = {"kind": "jobs", "parameters": {"search_term": "engineer"}}
    refused = await refusal(service, service.table("search_runs").insert(row))
    assert refused == Refusal(400, "22023", "user_id is required")


async def test_a_new_run_waits_with_its_sites(ada: AsyncClient) -> None:
    run = await enqueue(ada, "jobs", sites=["indeed", "linkedin"], results_wanted=30)
    assert (run["status"], run["progress_total"], run["progress"]) == ("pending", 60, {"step": "queued"})
    sites = await ada.table("search_run_sites").select("site, status").eq("run_id", run["id"]).order("site").execute()
    assert sites.data == [{"site": "indeed", "status": "pending"}, {"site": "linkedin", "status": "pending"}]
