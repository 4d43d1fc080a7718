"""Each invariant of the chaos experiment notices what breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.invariants import AT_ALL_TIMES, AT_THE_END, Expectation, violations, violations_so_far
from tests.support.database import Connection
from tests.support.queue import call, claim, lease, page, save_page, search, start_search, user_id
from tests.support.stack import new_user, supabase_client
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

KEYS = ("finished", "answered", "cancelled")
IDS = {"linkedin": ["li-1", "li-2", "li-3"], "indeed": ["in-1", "in-2"]}

PLANTED = {
    "of equal searches, one runs at a time":
        "update search_runs set status = 'pending', completed_at = null, shared_run_id = null",
    "a follower waits for an active run that searches as far back as it needs": """
        update search_runs
        set status = 'pending', completed_at = null, leader_run_id = shared_run_id, shared_run_id = null
        where shared_run_id is not null
    """,
    "a run is answered by a run that searched for the same and ended in the same way":
        "update search_runs set status = 'partial' where shared_run_id is not null",
    "a run has sites if it searches itself, and only then": "delete from search_run_sites where site = 'indeed'",
    "every requested search is one run, and there are no other runs":
        "update search_runs set idempotency_key = idempotency_key || '!'",
    "a slot of a schedule starts one run at most":
        "update search_runs set saved_search_id = '00000000-0000-0000-0000-000000000001', slot_at = now()",
    "no slot of a schedule is lost": """
        insert into saved_searches (user_id, name, kind, parameters)
        select user_id, 'lost', kind, parameters from search_runs limit 1;
        insert into search_schedules (saved_search_id, time_zone, times, active_since, next_slot_at, last_slot_at)
        select id, 'UTC', '{00:00}', now() - interval '3 days', now() + interval '1 day', now() - interval '1 day'
        from saved_searches
    """,
    "every run is final": "update search_runs set status = 'pending', completed_at = null",
    "no run is final with a site that is not":
        "update search_run_sites set status = 'running', completed_at = null where site = 'indeed'",
    "only a cancelled run has skipped sites, besides fallback sites": "update search_run_sites set status = 'skipped'",
    "only an active run waits, and not beyond the maximum wait": """
        insert into worker.site_waits (run_id, site, account, bucket, waiting_since, due_at, reason, message)
        select id, 'indeed', '', 'indeed', now(), now(), 'paused', '' from search_runs
    """,
    "the run that probes a site after a pause is searching it": """
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select id, 'w', gen_random_uuid(), '5 s', now(), user_id from search_runs limit 1;
        insert into worker.site_health (site, account, prober_run_id)
        select 'indeed', 'tried', run_id from worker.leases
    """,
    "no run waits for a site, and no site is being searched": """
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select id, 'w', gen_random_uuid(), '5 s', now(), user_id from search_runs limit 1;
        insert into worker.site_searches (run_id, site, account) select run_id, 'indeed', '' from worker.leases
    """,
    "no lease is left": """
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select id, 'w', gen_random_uuid(), '5 s', now(), user_id from search_runs
    """,
    "a run has a lease while it is searched itself, and only then":
        "update search_runs set status = 'running', completed_at = null",
    "no user has more running runs than allowed": """
        update worker.settings set max_running_per_user = 1;
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select id, 'w', gen_random_uuid(), '5 s', now(), user_id from search_runs
    """,
    "a run's status follows from its sites": "update search_runs set status = 'partial'",
    "a retryable failure is retried while attempts are left": """
        update search_runs set status = 'partial' where status = 'success';
        update search_run_sites set status = 'partial', error_code = 'network', retryable = true where site = 'indeed'
    """,
    "a run fails with worker_lost only after too many rescues":
        "update search_runs set status = 'failed', error_code = 'worker_lost'",
    "attempts and rescues are within their limits, and match the events":
        "update search_runs set attempts = attempts + 1",
    "a run's jobs_found is the number of its results": "update search_runs set jobs_found = jobs_found - 1",
    "a site's jobs_found is the number of its results": "update search_run_sites set jobs_found = jobs_found + 1",
    "the progress of a run that was not cancelled ends at its total":
        "update search_runs set progress_current = progress_total - 1",
    "a completed site has each expected result once": """
        delete from search_results
        where item_id = (select item_id from item_sources where external_id = 'li-2')
    """,
    "no site has a result that its board does not list": "delete from item_sources where external_id = 'in-1'",
    "a result is on a saved page": "update search_results set page_number = 7",
    "an attempt continues after the last saved page, and saves each page once, without gaps":
        "delete from worker.raw_collections where site = 'linkedin' and page_number = 1",
    "users see each item of a run once": "update search_runs set shared_run_id = gen_random_uuid()",
    "a site fails only with an error that its board caused": """
        update search_run_sites set status = 'partial', error_code = 'blocked' where site = 'indeed'
    """,
    "a partial site has results, a failed site has none": "update search_run_sites set status = 'failed'",
    "events follow the life cycle of a run": """
        insert into run_events (run_id, event, created_at) select id, 'released', now() from search_runs
    """,
    "the last event matches the status of the run":
        """update run_events set data = '{"status": "failed"}' where event = 'finished'""",
    "the times of events are in order":
        "update run_events set created_at = created_at - interval '1 second' where event = 'site_finished'",
    "a finished site was started right before, unless it exceeded the maximum wait":
        "update run_events set site = 'glassdoor' where event = 'site_finished' and site = 'indeed'",
    "the attempts of a site are counted without gaps": "update search_run_sites set attempts = 2 where site = 'indeed'",
    "nothing is written after a run has ended":
        "update search_results set created_at = created_at + interval '1 minute' where site = 'indeed'",
    "a worker that never listened never claimed":
        """update run_events set data = data || '{"worker_id": "unheard"}' where event = 'claimed'""",
}  # fmt: skip


@pytest.fixture
async def unguarded(database: Connection) -> AsyncIterator[Connection]:
    """A transaction without constraints and triggers, which is rolled back."""
    async with database.transaction(force_rollback=True):
        for table in ("search_runs", "search_run_sites", "search_schedules"):
            await database.execute(f"alter table public.{table} disable trigger user")
        await database.execute("drop index search_runs_leader")
        yield database


@pytest.fixture(scope="module")
def expectation(stack: Endpoints) -> Expectation:
    """Runs of a user: one that finished, one that it answered, one that was cancelled during its second attempt."""
    return asyncio.run(searched(stack))


async def searched(stack: Endpoints) -> Expectation:
    async with (
        new_user(stack) as user,
        supabase_client(stack.url, stack.service_role_key) as service,
    ):
        parameters = {"search_term": "nurse", "sites": list(IDS), "results_wanted": 10}
        asking = {"kind": "jobs", "parameters": parameters}
        for key in KEYS[:2]:
            await call(user, "enqueue_search", **asking, idempotency_key=key)
        (finished,) = await claim(service, "jobs", slots=2)
        pages = {"linkedin": [IDS["linkedin"][:2], IDS["linkedin"][2:]], "indeed": [IDS["indeed"]]}
        await search(service, finished, pages)
        await call(user, "enqueue_search", **asking, idempotency_key=KEYS[2], fresh=True)
        (released,) = await claim(service, "jobs", slots=2)
        await start_search(service, released, "linkedin")
        await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(released)])
        (cancelled,) = await claim(service, "jobs", slots=2)
        await start_search(service, cancelled, "linkedin", 2)
        # The page of the first attempt waited on a disk until the second one had begun.
        for attempt in (2, 1):
            saved = page("linkedin", 1, IDS["linkedin"][:2], attempt=attempt, cursor="after page 1")
            await save_page(service, **lease(cancelled), **saved)
        await call(user, "cancel_search", run_id=cancelled["run_id"])
        return Expectation(
            asked=[(await user_id(user), key) for key in KEYS],
            wanted=[("nurse", site, external_id) for site, ids in IDS.items() for external_id in ids],
            listed=[("nurse", site, external_id.partition("-")[2]) for site, ids in IDS.items() for external_id in ids],
            possible_errors=[("linkedin", "network"), ("indeed", "network")],
            unheard=[("unheard",)],
        )


async def test_all_invariants_hold_for_what_is_sound(unguarded: Connection, expectation: Expectation) -> None:
    assert await violations(unguarded, expectation) == {}
    assert await violations_so_far(unguarded) == {}


def test_every_invariant_is_tried() -> None:
    assert set(PLANTED) == set(AT_ALL_TIMES | AT_THE_END)


@pytest.mark.parametrize("name", PLANTED)
async def test_what_breaks_an_invariant_is_named(unguarded: Connection, expectation: Expectation, name: str) -> None:
    await unguarded.execute(PLANTED[name].encode())
    broken = await violations(unguarded, expectation)
    assert broken[name]
    assert (await violations_so_far(unguarded)).keys() == broken.keys() & AT_ALL_TIMES.keys()
