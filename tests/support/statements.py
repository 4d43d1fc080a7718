"""SQL of users and workers, for connections with their rights."""

from __future__ import annotations

from typing import LiteralString

INSERT: LiteralString = """
insert into public.search_runs (kind, parameters)
values (%(kind)s, jsonb_build_object('search_term', %(term)s::text, 'sites', '["indeed", "linkedin"]'::jsonb))
returning id::text, status::text, leader_run_id::text, shared_run_id::text
"""
INSERT_MANY: LiteralString = """
insert into public.search_runs (kind, parameters)
select %(kind)s, jsonb_build_object('search_term', term, 'sites', '["indeed", "linkedin"]'::jsonb)
from unnest(%(terms)s::text[]) with ordinality as asked (term, number) order by number
returning id::text, leader_run_id::text, run_after is not null
"""
CANCEL: LiteralString = "select status::text from public.cancel_search(%(id)s)"
CANCEL_ALL: LiteralString = "update public.search_runs set cancel_requested_at = now() where completed_at is null"
FINISH: LiteralString = """
select coalesce(answer -> 'run' ->> 'status', answer ->> 'state')
from jsonb_array_elements(public.worker_finish_sites(jsonb_build_array(jsonb_build_object(
    'run_id', %(run_id)s::text, 'lease_token', %(lease_token)s::text, 'ends_run', true)))) as answer
"""
FINISH_SITE: LiteralString = """
select public.worker_finish_sites(jsonb_build_array(jsonb_build_object(
    'run_id', %(run_id)s::text, 'lease_token', %(lease_token)s::text, 'site', %(site)s::text, 'ends_run', false)))
"""
CLAIM: LiteralString = """
select run_id::text from public.worker_claim_runs('w', array[%(kind)s], 10, 60, gen_random_uuid(), '[]')
"""
DELETE_ACCOUNT: LiteralString = "delete from auth.users where id = %(user_id)s"
