-- Who may read embeddings and call their functions?
-- Calls: nothing.

revoke all on public.item_embeddings, worker.embedding_backfill, worker.near_duplicate_queue
    from public, anon, authenticated, service_role;
grant select on public.item_embeddings to authenticated, service_role;
alter table public.item_embeddings enable row level security;
alter table worker.embedding_backfill enable row level security;
alter table worker.near_duplicate_queue enable row level security;
create policy "Embeddings of public items and own items" on public.item_embeddings
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));

revoke all on function
    worker.change_embedding_model(text), worker.check_embedding_model(text), worker.continue_embedding_backfill(integer),
    worker.near_pairs(uuid[]),
    public.worker_claim_embeddings(text, integer), public.worker_save_embeddings(text, timestamptz, jsonb),
    public.worker_fail_embeddings(timestamptz, jsonb), public.worker_near_duplicates(integer),
    public.worker_finish_near_duplicates(timestamptz, uuid[]), public.worker_claim_near_duplicates(integer),
    public.worker_near_duplicate_texts(uuid[], integer),
    public.worker_merge_near_duplicates(timestamptz, uuid[], jsonb), public.similar_items(uuid, integer),
    public.match_items(text, text, double precision, integer)
    from public, anon, authenticated, service_role;
grant execute on function
    public.worker_claim_embeddings(text, integer), public.worker_save_embeddings(text, timestamptz, jsonb),
    public.worker_fail_embeddings(timestamptz, jsonb), public.worker_near_duplicates(integer),
    public.worker_finish_near_duplicates(timestamptz, uuid[]), public.worker_claim_near_duplicates(integer),
    public.worker_near_duplicate_texts(uuid[], integer),
    public.worker_merge_near_duplicates(timestamptz, uuid[], jsonb)
    to service_role;
grant execute on function
    public.similar_items(uuid, integer), public.match_items(text, text, double precision, integer)
    to authenticated;
