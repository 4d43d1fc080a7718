"""What users read when a site fails or waits: a sentence for each code, and nothing that is for the operator."""

from __future__ import annotations

from supabase import AsyncClient

from tests.support.database import Connection, rows, scalar
from tests.support.queue import claim, enqueue, finish_run, finish_site, run_of, start_site
from worker.errors import ErrorCode

PROXIED = "HTTP 403 through the proxy http://user@10.0.0.1"


async def test_every_code_and_every_wait_has_a_sentence(database: Connection) -> None:
    reasons = await scalar(
        database, "select pg_get_constraintdef(oid) from pg_constraint where conname = 'site_waits_reason'"
    )
    codes = [*ErrorCode, "worker_lost", *reasons.split("'")[1::2]]
    assert {"paused", "searches"} <= set(codes)
    known = {code for (code,) in await rows(database, "select code from worker.messages")}
    assert set(codes) <= known
    sentences = await rows(
        database, "select worker.message_for_user(code, 'linkedin') from unnest(%s::text[]) as code", [codes]
    )
    for (sentence,) in sentences:
        assert "LinkedIn" in sentence
        assert sentence.endswith(".")


async def test_every_site_that_can_be_searched_has_a_name(database: Connection) -> None:
    unnamed = """
    select distinct site from worker.parameter_rules as rule, unnest(rule.allowed) as site
    where rule.name = 'sites' and rule.kind in ('jobs', 'people', 'creators')
      and site not in (select known.site from worker.sites as known)
    """
    assert await rows(database, unnamed) == []


async def test_the_user_reads_a_sentence_and_the_operator_what_happened(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["linkedin", "indeed"])
    (claimed,) = await claim(service, kind)
    for site, code, retryable in (("linkedin", "blocked", True), ("indeed", "unauthorized", False)):
        await start_site(service, claimed, site)
        failure = {"error_code": code, "error_message": PROXIED, "retryable": retryable}
        await finish_site(service, claimed, site=site, **failure)
    await finish_run(service, claimed)

    waiting = await run_of(ada, run["id"])
    at = await scalar(database, "select worker.time_for_user(%s)", [waiting["run_after"]])
    linkedin = f"LinkedIn is not answering at the moment; it will be tried again at {at}."
    indeed = "Indeed cannot be searched: its account or key is missing, or was refused."
    assert waiting["error_message"] == f"{linkedin} {indeed}"
    sites = ada.table("run_sites").select("site, error_message").eq("run_id", run["id"]).order("position")
    assert (await sites.execute()).data == [
        {"site": "linkedin", "error_message": linkedin},
        {"site": "indeed", "error_message": indeed},
    ]
    events = database.execute(
        "select data ->> 'message' from public.run_events where run_id = %s and event = 'site_finished'", [run["id"]]
    )
    assert await (await events).fetchall() == [(PROXIED,)] * 2
