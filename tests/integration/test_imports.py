"""Files that are imported as runs of a user: as if a search had found their records, and no worker ever searches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection, scalar
from tests.support.queue import Refusal, Row, call, claim, enqueue, refusal, run_of, user_id
from tests.support.stack import worker_environment
from tests.support.workers import worker_of
from worker.database.queue import Queue, open_queue
from worker.engine.importing import ImportResult, RecordFile, import_file
from worker.engine.record_files import UnreadableFileError
from worker.errors import CallRefusedError, LeaseLostError
from worker.local.supabase.stack import Endpoints
from worker.model import FoundPage, ItemError, Lease
from worker.settings import Settings
from worker.sources import Source
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.jobspy import JobSpySource
from worker.sources.unipile import UnipileSource

SOURCE = JobSpySource()
PATIENCE_SECONDS = 30

Files: TypeAlias = Callable[..., RecordFile]


def row(number: int, site: str = "indeed", **changes: Any) -> Row:
    return {
        "id": f"{site}-{number}-{uuid4()}",
        "site": site,
        "title": f"Welder {number}",
        "job_url": f"https://{site}.example/{number}",
        "company": f"{site} {number}",
        "location": "Austin, TX",
        **changes,
    }


def rows(count: int, site: str = "indeed") -> list[Row]:
    return [row(number, site) for number in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Files:
    """Writes records to a file."""

    def write(records: Any, source: Source = SOURCE, **origin: str) -> RecordFile:
        path = tmp_path / "listings.json"
        path.write_text(json.dumps(records))
        return RecordFile(path, source, **origin)

    return write


@asynccontextmanager
async def queue_of(stack: Endpoints, **settings: object) -> AsyncIterator[Queue]:
    async with open_queue(Settings.model_validate(worker_environment(stack) | settings)) as opened:
        yield opened


@pytest.fixture
async def queue(stack: Endpoints) -> AsyncIterator[Queue]:
    async with queue_of(stack) as opened:
        yield opened


async def imported(queue: Queue, file: RecordFile, user: str, errors: list[ItemError] | None = None) -> ImportResult:
    return await import_file(
        queue, file, user, heartbeat_seconds=20, on_error=([] if errors is None else errors).append
    )


async def rows_of(client: AsyncClient, table: str, run_id: object, columns: str = "*") -> list[Row]:
    answer: Any = (await client.table(table).select(columns).eq("run_id", str(run_id)).execute()).data
    return list(answer)


async def values(database: Connection, query: Any, *arguments: Any) -> list[Any]:
    return await (await database.execute(query, arguments)).fetchall()


# As if a search had found them ----------------------------------------------------------------------------------------


async def test_an_imported_run_is_as_a_searched_one(
    queue: Queue, ada: AsyncClient, bob: AsyncClient, database: Connection, file: Files
) -> None:
    records = rows(130) + rows(20, "linkedin") + [row(7, title=""), row(8, site="google")]
    errors: list[ItemError] = []
    done = await imported(queue, file(records), await user_id(ada), errors)
    assert (done.status, done.was_done_before, done.items, done.invalid) == ("success", False, 150, 2)
    assert [(error.index, error.field) for error in errors] == [(151, "site"), (150, "title")]

    run = await run_of(ada, str(done.run_id))
    assert (run["status"], run["source"], run["jobs_found"], run["attempts"]) == ("success", "import", 150, 1)
    assert (run["progress_current"], run["progress_total"], run["progress"]) == (262, 262, {"step": "finished"})
    assert run["parameters"] == {"search_term": "listings.json", "sites": ["indeed", "linkedin"], "results_wanted": 131}
    sites = await rows_of(ada, "search_run_sites", done.run_id, "site,status,jobs_found,attempts")
    assert sorted((site["site"], site["status"], site["jobs_found"], site["attempts"]) for site in sites) == [
        ("indeed", "completed", 130, 1),
        ("linkedin", "completed", 20, 1),
    ]
    written = sorted(await rows_of(ada, "run_events", done.run_id), key=itemgetter("id"))
    events = [event["event"] for event in written]
    assert events == ["created", "claimed", *["site_started"] * 2, *["site_finished"] * 2, "finished"]
    assert len(await rows_of(ada, "run_items", done.run_id)) == 150
    assert await rows_of(bob, "run_items", done.run_id) == []

    pages = await values(
        database,
        "select site, page_number, strategy, status, item_count, invalid_count, is_last, calls_used, source "
        "from worker.raw_collections where run_id = %s order by site, page_number",
        done.run_id,
    )
    assert pages == [
        ("indeed", 1, "import", "completed", 100, 0, False, 0, "jobspy"),
        ("indeed", 2, "import", "partial", 30, 1, True, 0, "jobspy"),
        ("linkedin", 1, "import", "completed", 20, 0, True, 0, "jobspy"),
    ]
    assert await values(database, "select 1 from worker.leases where run_id = %s", done.run_id) == []


async def test_a_user_is_named_by_id_or_by_address(queue: Queue, ada: AsyncClient, file: Files) -> None:
    session = await ada.auth.get_session()
    assert session is not None
    assert session.user.email is not None
    done = await imported(queue, file(rows(1)), session.user.email.upper())
    assert (await run_of(ada, str(done.run_id)))["user_id"] == session.user.id
    with pytest.raises(CallRefusedError, match=r"there is no user 'nobody@example.com'"):
        await imported(queue, file(rows(1)), "nobody@example.com")


async def test_the_same_file_is_imported_once_for_each_user(
    queue: Queue, ada: AsyncClient, bob: AsyncClient, file: Files
) -> None:
    given = file(rows(3))
    first = await imported(queue, given, await user_id(ada))
    again = await imported(queue, given, await user_id(ada))
    assert (again.run_id, again.status, again.was_done_before) == (first.run_id, "success", True)
    other = await imported(queue, given, await user_id(bob))
    assert (other.run_id != first.run_id, other.was_done_before, other.items) == (True, False, 3)


async def test_imported_and_searched_sightings_of_a_job_are_one_thing(
    queue: Queue, ada: AsyncClient, file: Files
) -> None:
    both = {"title": f"Welder {uuid4()}", "company": "Acme", "location": "Austin, TX"}
    done = await imported(queue, file([row(1, **both), row(1, "linkedin", **both)]), await user_id(ada))
    [item] = await rows_of(ada, "run_items", done.run_id)
    assert [seen["site"] for seen in item["sites"]] == ["indeed", "linkedin"]


async def test_what_is_found_through_an_account_stays_with_its_user(
    queue: Queue, ada: AsyncClient, bob: AsyncClient, file: Files
) -> None:
    people = {"items": [{"type": "PEOPLE", "id": f"ACo{uuid4()}", "name": "Grace"}]}
    done = await imported(queue, file(people, UnipileSource()), await user_id(ada))
    assert (await run_of(ada, str(done.run_id)))["kind"] == "people"
    [item] = await rows_of(ada, "run_items", done.run_id)
    assert (await bob.table("items").select("id").eq("id", item["item_id"]).execute()).data == []


async def test_imported_pages_are_processed_again(
    queue: Queue, ada: AsyncClient, stack: Endpoints, database: Connection, file: Files
) -> None:
    job = {"id": str(uuid4()), "title": "Welder", "absolute_url": "https://job-boards.greenhouse.io/acme/jobs/7"}
    done = await imported(queue, file({"jobs": [job]}, GreenhouseSource()), await user_id(ada))
    await database.execute("update public.items set title = 'lost' where url = %s", [job["absolute_url"]])
    again = await worker_of(stack, GreenhouseSource()).reprocess(source="greenhouse")
    assert (again.items, again.failed) == (1, 0)
    [item] = await rows_of(ada, "run_items", done.run_id)
    assert item["title"] == "Welder"


async def test_a_site_learns_nothing_from_an_import(
    queue: Queue, ada: AsyncClient, service: AsyncClient, database: Connection, file: Files
) -> None:
    probing = await call(service, "worker_start_import", **import_arguments(await user_id(ada)))
    await database.execute(
        "insert into worker.site_health (site, paused_until, paused_by, prober_run_id, success_rate) "
        "values ('indeed', now() - interval '1 second', 'blocked', %s, 0.5)",
        [probing["run_id"]],
    )
    health = "select to_jsonb(known) from worker.site_health as known where site = 'indeed'"
    before = await values(database, health)
    done = await imported(queue, file(rows(3)), await user_id(ada))
    assert done.status == "success"
    assert await values(database, health) == before
    assert await values(database, "select 1 from worker.site_searches where run_id = %s", done.run_id) == []


async def test_an_import_counts_for_no_quota(
    queue: Queue, ada: AsyncClient, kind: str, configure: Configure, file: Files
) -> None:
    await configure("max_per_hour_per_user", 1)
    for _ in range(2):
        assert (await imported(queue, file(rows(1)), await user_id(ada))).status == "success"
    await enqueue(ada, kind)


async def test_an_import_is_not_searched_again(queue: Queue, ada: AsyncClient, file: Files) -> None:
    done = await imported(queue, file(rows(1)), await user_id(ada))
    refused = await refusal(ada, ada.rpc("rerun_search", {"run_id": str(done.run_id)}))
    message = "run_id must be the id of a search: an import cannot be searched again"
    assert refused == Refusal(400, "22023", message)


async def test_a_search_for_the_name_of_a_file_is_not_answered_with_it(
    queue: Queue, ada: AsyncClient, file: Files
) -> None:
    await imported(queue, file(rows(1)), await user_id(ada))
    asked = await enqueue(ada, "jobs", search_term="listings.json", sites=["indeed"], results_wanted=1)
    assert (asked["status"], asked["shared_run_id"], asked["leader_run_id"]) == ("pending", None, None)


# What is refused ------------------------------------------------------------------------------------------------------


async def test_a_file_without_records_makes_no_run(queue: Queue, ada: AsyncClient, file: Files) -> None:
    errors: list[ItemError] = []
    with pytest.raises(UnreadableFileError, match="has no record that can be imported"):
        await imported(queue, file([row(1, site="google")]), await user_id(ada), errors)
    assert [error.field for error in errors] == ["site"]
    assert (await ada.table("search_runs").select("id").execute()).data == []


async def test_nobody_else_makes_an_import(ada: AsyncClient, service: AsyncClient) -> None:
    owner = await user_id(ada)
    run = {
        "user_id": owner,
        "kind": "jobs",
        "source": "import",
        "parameters": {"sites": ["indeed"], "results_wanted": 1},
    }
    refused = await refusal(service, service.table("search_runs").insert(run))
    assert (refused.status, refused.code) == (400, "23514")
    start = import_arguments(owner)
    assert (await refusal(ada, ada.rpc("worker_start_import", start))).code == "42501"
    wrong: Row
    for wrong in (
        {"kind": "flats"},
        {"sites": []},
        {"sites": ["monster"]},
        {"name": ""},
        {"records": 0},
        {"lease_seconds": 1},
    ):
        refused = await refusal(service, service.rpc("worker_start_import", start | wrong))
        assert (refused.status, refused.code) == (400, "22023"), wrong


# Interrupted ----------------------------------------------------------------------------------------------------------


def import_arguments(owner: str, **changes: Any) -> Row:
    return {
        "owner": owner, "kind": "jobs", "name": "listings.csv", "sites": ["indeed"], "records": 200,
        "idempotency_key": str(uuid4()), "worker_id": "importer", "lease_seconds": 3600, "claim_id": str(uuid4()),
        **changes,
    }  # fmt: skip


async def expire(database: Connection, run_id: object) -> None:
    await database.execute("update worker.leases set expires_at = now() - interval '1 s' where run_id = %s", [run_id])


async def test_a_lost_answer_does_not_start_an_import_twice(ada: AsyncClient, service: AsyncClient) -> None:
    arguments = import_arguments(await user_id(ada))
    first, second = await asyncio.gather(*(call(service, "worker_start_import", **arguments) for _ in range(2)))
    assert first == second
    assert first["lease_token"] is not None
    other = await call(service, "worker_start_import", **arguments | {"claim_id": str(uuid4())})
    assert other == first | {"lease_token": None}


class DyingQueue(Queue):
    """A queue that its process leaves after the first page, as a process that is killed does."""

    died_with: Lease | None = None

    async def save_page(self, lease: Lease, found: FoundPage, **options: Any) -> Any:
        if self.died_with is not None:
            raise LeaseLostError("killed")  # after which an import makes no further call
        saved = await super().save_page(lease, found, **options)
        self.died_with = lease
        return saved


async def test_an_import_that_dies_between_pages_is_never_searched(
    queue: Queue, ada: AsyncClient, service: AsyncClient, database: Connection, file: Files
) -> None:
    given = file(rows(250))
    dying = DyingQueue(service, worker_id="importer", lease_seconds=3600, outage_seconds=5)
    with pytest.raises(LeaseLostError):
        await imported(dying, given, await user_id(ada))
    assert dying.died_with is not None
    run_id = str(dying.died_with.run_id)
    assert (await run_of(ada, run_id))["status"] == "running"
    assert run_id not in [claimed["run_id"] for claimed in await claim(service, "jobs", slots=100)]

    busy = await imported(queue, given, await user_id(ada))
    assert (str(busy.run_id), busy.status, busy.was_done_before) == (run_id, "running", True)

    await expire(database, run_id)
    assert run_id not in [claimed["run_id"] for claimed in await claim(service, "jobs", slots=100)]
    run = await run_of(ada, run_id)
    assert (run["status"], run["error_code"], run["error_message"]) == (
        "failed", "worker_lost", "The import of Indeed was interrupted.",
    )  # fmt: skip
    assert (run["jobs_found"], run["rescues"]) == (100, 0)
    [site] = await rows_of(ada, "search_run_sites", run_id)
    assert (site["status"], site["jobs_found"], site["retryable"]) == ("partial", 100, False)

    done = await imported(queue, given, await user_id(ada))
    assert (str(done.run_id) != run_id, done.status, done.items) == (True, "success", 250)
    assert len(await rows_of(ada, "run_items", done.run_id)) == 250


async def test_without_a_worker_the_next_import_ends_the_one_that_died(
    queue: Queue, ada: AsyncClient, service: AsyncClient, database: Connection, file: Files
) -> None:
    given = file(rows(150))
    dying = DyingQueue(service, worker_id="importer", lease_seconds=3600, outage_seconds=5)
    with pytest.raises(LeaseLostError):
        await imported(dying, given, await user_id(ada))
    assert dying.died_with is not None
    await expire(database, dying.died_with.run_id)
    done = await imported(queue, given, await user_id(ada))
    assert (done.status, done.items) == ("success", 150)
    assert (await run_of(ada, str(dying.died_with.run_id)))["status"] == "failed"


async def test_an_import_that_is_stopped_ends_its_run(
    queue: Queue, ada: AsyncClient, file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = file([row(0, title=""), *rows(150)])

    def stop(_: ItemError) -> None:
        raise KeyboardInterrupt

    owner = await user_id(ada)
    with pytest.raises(KeyboardInterrupt):
        await import_file(queue, given, owner, heartbeat_seconds=20, on_error=stop)
    [run] = (await ada.table("search_runs").select("*").execute()).data
    assert isinstance(run, dict)
    assert (run["status"], run["error_message"]) == ("failed", "The import of Indeed was interrupted.")
    monkeypatch.undo()
    done = await imported(queue, given, owner)
    assert (str(done.run_id) != run["id"], done.status) == (True, "success")


async def test_a_file_that_grows_meanwhile_ends_as_partial(
    queue: Queue, ada: AsyncClient, file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, longer = file(rows(150)), rows(30)
    start = Queue.start_import

    async def start_and_shorten(self: Queue, *arguments: Any, **options: Any) -> Any:
        started = await start(self, *arguments, **options)
        file(longer)
        return started

    monkeypatch.setattr(Queue, "start_import", start_and_shorten)
    done = await imported(queue, given, await user_id(ada))
    assert (done.status, done.items) == ("partial", 30)
    run = await run_of(ada, str(done.run_id))
    assert run["error_message"] == "The import of Indeed was interrupted."


async def test_a_user_may_cancel_an_import(
    queue: Queue, ada: AsyncClient, file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = file(rows(250))
    save = Queue.save_page

    async def save_and_cancel(self: Queue, lease: Lease, found: FoundPage, **options: Any) -> Any:
        saved = await save(self, lease, found, **options)
        await call(ada, "cancel_search", run_id=str(lease.run_id))
        return saved

    monkeypatch.setattr(Queue, "save_page", save_and_cancel)
    with pytest.raises(LeaseLostError, match="cancelled"):
        await imported(queue, given, await user_id(ada))
    [run] = (await ada.table("search_runs").select("status,jobs_found").execute()).data
    assert run == {"status": "cancelled", "jobs_found": 100}
    monkeypatch.undo()
    assert (await imported(queue, given, await user_id(ada))).status == "success"


async def test_heartbeats_keep_a_long_import(
    *, stack: Endpoints, ada: AsyncClient, database: Connection, file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = file(rows(150))
    save = Queue.save_page

    async def slow_save(self: Queue, lease: Lease, found: FoundPage, **options: Any) -> Any:
        soon = (
            "update worker.leases set expires_at = worker.now() + interval '3 s' where run_id = %s returning expires_at"
        )
        expires_at = await scalar(database, soon, [lease.run_id])
        extended = "select expires_at > %s from worker.leases where run_id = %s"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if await scalar(database, extended, [expires_at, lease.run_id]):
                    return await save(self, lease, found, **options)
                await asyncio.sleep(0.02)

    monkeypatch.setattr(Queue, "save_page", slow_save)
    async with queue_of(stack, WORKER_LEASE_SECONDS=5) as queue:
        owner = await user_id(ada)
        done = await import_file(queue, given, owner, heartbeat_seconds=0.1, on_error=lambda _: None)
    assert done.status == "success"
