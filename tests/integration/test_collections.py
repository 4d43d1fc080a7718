"""Collections of operators: what `worker_apply_collections` makes of them, and how `worker_collections` lists them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection, rows, scalar
from tests.support.queue import Refusal, Row, call, refusal
from tests.support.site_limits import TimedDatabase
from worker.cli.collection_file import read_collection_file

pytestmark = pytest.mark.own_stack

PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"


def collection(**changes: Any) -> Row:
    """A collection of four searches."""
    return {
        "name": "care",
        "kind": "jobs",
        "terms": ["nurse", "carer"],
        "places": ["Leeds, UK", "York"],
        "sites": ["indeed"],
        "time_zone": "Europe/London",
        "times": ["16:45", "08:00"],
        "weekdays": [1, 2, 3],
    } | changes


async def create_owner(service: AsyncClient) -> str:
    """A user without a password; return the e-mail address."""
    email = f"{uuid4()}@search-worker.invalid"
    await service.auth.admin.create_user({"email": email, "email_confirm": True})
    return email


@pytest.fixture
async def owner(service: AsyncClient) -> str:
    return await create_owner(service)


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid4()}"


async def apply(service: AsyncClient, namespace: str, owner: str, *collections: Row) -> tuple[int, int, int]:
    """Apply collections; return how many searches were added, changed and removed."""
    done = await call(service, "worker_apply_collections", namespace=namespace, owner=owner, collections=[*collections])
    return done["added"], done["changed"], done["removed"]


async def saved(database: Connection, namespace: str) -> dict[str, tuple[Any, ...]]:
    """The searches of a namespace, with their schedules and the versions of the rows."""
    found = await rows(
        database,
        """
        select saved.name, saved.id, saved.parameters, schedule.time_zone, schedule.times::text[], schedule.weekdays,
               schedule.next_slot_at is not null, saved.xmin::text, schedule.xmin::text
        from public.saved_searches as saved
        left join public.search_schedules as schedule on schedule.saved_search_id = saved.id
        where saved.collection like %s || '/%%'
        """,
        [namespace],
    )
    return {name.removeprefix(f"{namespace}/"): tuple(rest) for name, *rest in found}


async def test_the_product_of_terms_and_places_is_saved_and_scheduled(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    given = collection(parameters={"results_wanted": 50})
    done = await call(service, "worker_apply_collections", namespace=namespace, owner=owner, collections=[given])
    assert done == {"searches": 4, "added": 4, "changed": 0, "removed": 0}
    found = await saved(database, namespace)
    assert sorted(found) == [
        f"care: {term} in {place}" for term in ("carer", "nurse") for place in ("Leeds, UK", "York")
    ]
    _, parameters, *schedule = found["care: nurse in Leeds, UK"]
    assert parameters == {
        "search_term": "nurse", "location": "Leeds, UK", "sites": ["indeed"], "results_wanted": 50
    }  # fmt: skip
    assert schedule[:4] == ["Europe/London", ["08:00:00", "16:45:00"], [1, 2, 3], True]
    owners = await rows(
        database,
        "select distinct owner.email from public.saved_searches as saved join auth.users as owner on owner.id = user_id"
        " where saved.collection = %s",
        [f"{namespace}/care"],
    )
    assert owners == [(owner,)]


async def test_the_documented_file_is_applied(service: AsyncClient, owner: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    path = tmp_path / "documented.toml"
    path.write_text(text)
    file = read_collection_file(path)
    assert await apply(service, file.namespace, owner, *file.as_rows()) == (9, 0, 0)


async def test_the_same_collections_write_nothing(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    others = collection(name="others", places=None, sites=None, times=["09:00", "09:00"])
    assert await apply(service, namespace, owner, collection(), others) == (6, 0, 0)
    before = await saved(database, namespace)
    assert await apply(service, namespace, owner, collection(), others) == (0, 0, 0)
    assert await saved(database, namespace) == before


async def test_what_differs_is_changed_and_what_is_missing_is_removed(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    await apply(service, namespace, owner, collection(), collection(name="gone"))
    before = await saved(database, namespace)
    changed = collection(terms=["nurse", "midwife"], places=["York"], parameters={"results_wanted": 30})
    assert await apply(service, namespace, owner, changed) == (1, 1, 7)
    after = await saved(database, namespace)
    assert sorted(after) == ["care: midwife in York", "care: nurse in York"]
    # The same search, so that its runs stay with it; its schedule is not written.
    name = "care: nurse in York"
    assert (after[name][0], after[name][-1]) == (before[name][0], before[name][-1])
    assert after[name][1]["results_wanted"] == 30

    assert await apply(service, namespace, owner, changed | {"times": ["10:00"]}) == (0, 2, 0)
    later = await saved(database, namespace)
    assert later[name][3] == ["10:00:00"]
    assert later[name][-2] == after[name][-2]
    assert await apply(service, namespace, owner) == (0, 0, 2)
    assert await saved(database, namespace) == {}


async def test_namespaces_leave_each_other_alone(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    other = f"{namespace}-b"
    await apply(service, namespace, owner, collection())
    await apply(service, other, owner, collection())
    before = await saved(database, other)
    assert len(before) == 4
    assert await apply(service, namespace, owner) == (0, 0, 4)
    assert await saved(database, other) == before


async def test_searches_move_to_another_user(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    await apply(service, namespace, owner, collection())
    assert await apply(service, namespace, await create_owner(service), collection()) == (4, 0, 4)
    assert len(await saved(database, namespace)) == 4


async def test_searches_that_could_have_one_name_are_apart(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    given = [
        collection(terms=["nurse in York"], places=None),
        collection(name="b", terms=["a in b", "a"], places=["c", "b in c"]),
        collection(name="long", terms=["x" * 199 + "a", "x" * 199 + "b"], places=["y" * 200]),
    ]
    assert await apply(service, namespace, owner, *given) == (7, 0, 0)
    found = await saved(database, namespace)
    assert {(one[1]["search_term"], one[1].get("location")) for one in found.values()} >= {
        ("nurse in York", None), ("a in b", "c"), ("a", "b in c")
    }  # fmt: skip
    assert all(len(name) + len(namespace) + 1 <= 200 for name in found)
    assert await apply(service, namespace, owner, *given) == (0, 0, 0)


async def test_places_of_a_kind_with_lists_of_places(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    await apply(service, namespace, owner, collection(kind="people", sites=None, places=["Leeds"]))
    found = await saved(database, namespace)
    assert found["care: nurse in Leeds"][1] == {"search_term": "nurse", "locations": ["Leeds"]}


LETTERS = "must be 1 to 50 small letters, digits and hyphens"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "Care"}, f"collection Care: name {LETTERS}"),
        ({"name": None}, f"collection without a name: name {LETTERS}"),
        ({"name": "right"}, "collection right: name must be unique in its namespace"),
        ({"terms": []}, "collection care: terms must be a list of at least one text"),
        (
            {"time_zone": "CET"},
            "collection care: time_zone must be the IANA name of a time zone, such as Europe/London",
        ),
        ({"time_zone": None}, "collection care: time_zone must be the IANA name of a time zone, such as Europe/London"),
        ({"times": []}, "collection care: times must be a list of 1 to 24 times of day"),
        ({"times": ["08:00:30"]}, "collection care: times must be in whole minutes"),
        ({"weekdays": [0]}, "collection care: weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)"),
        ({"weekdays": None}, "collection care: weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)"),
        (
            {"terms": ["nurse", ""], "places": ["York"]},
            "search '{namespace}/care:  in York': parameters.search_term must be a text of 1 to 200 characters",
        ),
        (
            {"parameters": {"results_wanted": 0}, "places": None},
            "search '{namespace}/care: carer': parameters.results_wanted must be an integer from 1 to 1000",
        ),
        (
            {"terms": ["nurse"] * 2001, "places": None},
            "at most 2000 searches may be in the collections of a namespace, not 2002: use several namespaces",
        ),
    ],
)
async def test_wrong_collections_are_refused_before_anything_is_written(
    service: AsyncClient, database: Connection, namespace: str, wrong: Row, message: str
) -> None:
    right = collection(name="right", terms=["nurse"], places=None)
    arguments = {"namespace": namespace, "owner": "nobody", "collections": [right, collection(**wrong)]}
    refused = await refusal(service, service.rpc("worker_apply_collections", arguments))
    # Before the user is looked up, so that none is created for a wrong file.
    assert refused == Refusal(400, "22023", message.replace("{namespace}", namespace))
    assert await saved(database, namespace) == {}


async def test_names_of_namespaces_users_and_searches_are_checked(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    async def refused(**changes: Any) -> Refusal:
        arguments = {"namespace": namespace, "owner": owner, "collections": [collection()]} | changes
        return await refusal(service, service.rpc("worker_apply_collections", arguments))

    assert await refused(namespace="a/b") == Refusal(400, "22023", f"namespace {LETTERS}")
    assert await refused(collections={}) == Refusal(400, "22023", "collections must be a list")
    assert await refused(owner="nobody@x.org") == Refusal(404, "PT404", "there is no user 'nobody@x.org'")
    name = f"{namespace}/care: nurse in York"
    await database.execute(
        "insert into public.saved_searches (user_id, name, kind, parameters)"
        """ select id, %s, 'jobs', '{"search_term": "mine"}' from auth.users where email = %s""",
        [name, owner],
    )
    assert await refused() == Refusal(400, "22023", f"user '{owner}' has saved a search of the name '{name}'")
    assert await saved(database, namespace) == {}


async def test_collections_have_a_limit_of_their_own(
    *, service: AsyncClient, database: Connection, configure: Configure, namespace: str, owner: str
) -> None:
    await configure("max_saved_searches_per_user", 1)
    await configure("max_slots_per_week_per_user", 7)
    await configure("max_rows_per_service_request", 5)
    large = collection(terms=[f"term {number}" for number in range(100)], places=["Leeds", "York", "Hull"])
    assert await apply(service, namespace, owner, large) == (300, 0, 0)

    # And do not count as what the user saves.
    owner_id = await scalar(database, "select id::text from auth.users where email = %s", [owner])
    mine = {"user_id": owner_id, "kind": "jobs", "parameters": {"search_term": "mine"}}
    (own,) = (await service.table("saved_searches").insert(mine | {"name": "one"}).execute()).data
    assert isinstance(own, dict)
    daily = {"saved_search_id": own["id"], "time_zone": "UTC", "times": ["08:00"]}
    await service.table("search_schedules").insert(daily).execute()
    refused = await refusal(service, service.table("saved_searches").insert(mine | {"name": "two"}))
    assert refused.code == "PT429"
    twice = service.table("search_schedules").update({"times": ["08:00", "09:00"]})
    assert (await refusal(service, twice.eq("saved_search_id", own["id"]))).code == "PT429"


async def test_nobody_but_the_operator_makes_a_search_part_of_a_collection(
    service: AsyncClient, ada: AsyncClient
) -> None:
    mine = {"name": "mine", "kind": "jobs", "parameters": {"search_term": "mine"}, "collection": "a/b"}
    refused = await refusal(ada, ada.table("saved_searches").insert(mine))
    assert (refused.status, refused.code) == (403, "42501")
    refused = await refusal(service, service.table("saved_searches").update({"collection": "a/b"}).eq("name", "mine"))
    assert (refused.status, refused.code) == (403, "42501")


async def test_two_calls_at_once_add_each_search_once(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    done = await asyncio.gather(*(apply(service, namespace, owner, collection()) for _ in range(4)))
    assert sorted(done) == [(0, 0, 0)] * 3 + [(4, 0, 0)]
    assert len(await saved(database, namespace)) == 4


async def test_a_paused_schedule_stays_paused(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    await apply(service, namespace, owner, collection())
    ids = [one[0] for one in (await saved(database, namespace)).values()]
    await database.execute(
        "update public.search_schedules set paused = 'user' where saved_search_id = any (%s)", [ids[:1]]
    )
    assert await apply(service, namespace, owner, collection()) == (0, 0, 0)
    assert await apply(service, namespace, owner, collection(times=["10:00"])) == (0, 4, 0)
    (listed,) = [one for one in await call(service, "worker_collections") if one["collection"] == f"{namespace}/care"]
    assert (listed["searches"], listed["paused"]) == (4, 1)


async def test_nobody_has_to_look_at_a_collection(
    service: AsyncClient, namespace: str, owner: str, timed: TimedDatabase
) -> None:
    timed.connection.execute("delete from public.search_schedules")
    timed.connection.execute("update auth.users set created_at = %s where email = %s", [timed.now, owner])
    timed.set_clock(timed.now)
    await apply(service, namespace, owner, collection(times=["13:00"], time_zone="UTC", weekdays=[*range(1, 8)]))
    try:
        timed.advance(60 * 24 * 3600 + 3600)
        assert (await call(service, "worker_fire_schedules"))["started"] == 4
    finally:
        timed.let_time_pass()
    events = timed.connection.execute("select from public.run_events where event = 'inactive_soon'").fetchall()
    assert events == []


async def test_a_collection_is_listed_with_what_it_has_found(
    service: AsyncClient, database: Connection, namespace: str, owner: str
) -> None:
    await apply(service, namespace, owner, collection(sites=["linkedin", "indeed"]))
    listed = {one["collection"]: one for one in await call(service, "worker_collections")}
    shown = {"owner": owner, "searches": 4, "paused": 0, "sites": ["indeed", "linkedin"], "active": 0, "succeeded": 0}
    assert {name: listed[f"{namespace}/care"][name] for name in shown} == shown
    next_slot = await scalar(
        database,
        "select min(next_slot_at) from public.search_schedules join public.saved_searches on id = saved_search_id"
        " where collection = %s",
        [f"{namespace}/care"],
    )
    assert listed[f"{namespace}/care"]["next_slot_at"].startswith(f"{next_slot:%Y-%m-%dT%H:%M}")

    await database.execute(
        """
        insert into public.search_runs (user_id, kind, source, parameters, saved_search_id)
        select user_id, kind, 'cron', parameters, id from public.saved_searches where collection = %s
        """,
        [f"{namespace}/care"],
    )
    for status in ("success", "failed"):
        await database.execute(
            """
            update public.search_runs set status = %s, completed_at = now()
            where id = (
                select run.id from public.search_runs as run join public.saved_searches as saved
                    on saved.id = run.saved_search_id
                where saved.collection = %s and run.completed_at is null limit 1)
            """,
            [status, f"{namespace}/care"],
        )
    await database.execute(
        "update public.search_runs set items_found = 7, new_items = 2 where completed_at is not null"
    )
    listed = {one["collection"]: one for one in await call(service, "worker_collections")}
    shown = {"active": 2, "succeeded": 1, "partial": 0, "failed": 1, "items_found": 14, "new_items": 4}
    assert {name: listed[f"{namespace}/care"][name] for name in shown} == shown
    assert listed[f"{namespace}/care"]["last_completed_at"] is not None
