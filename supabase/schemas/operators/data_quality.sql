-- How complete are the items of each source, by day?
-- Calls: nothing.

create view worker.data_quality with (security_invoker = true) as
with page as (
    select raw.id, raw.source, raw.site, (raw.fetched_at at time zone 'UTC')::date as day, raw.status, raw.item_count,
           raw.invalid_count, raw.completeness
    from worker.raw_collections as raw
), field as (
    select page.source, page.site, page.day, field.key as name,
           sum(field.value::numeric * page.item_count) / sum(page.item_count) as share
    from page, jsonb_each(page.completeness) as field
    where page.item_count > 0
    group by page.source, page.site, page.day, field.key
)
select
    page.source,
    page.site,
    page.day,
    count(*) as pages,
    count(*) filter (where page.status = 'failed') as failed_pages,
    coalesce(sum(page.item_count), 0) as items,
    coalesce(sum(page.invalid_count), 0) as invalid_items,
    round(sum(page.invalid_count)::numeric / nullif(sum(page.item_count + page.invalid_count), 0), 4) as invalid_share,
    (select jsonb_object_agg(field.name, round(field.share, 4)) from field
     where (field.source, field.site, field.day) = (page.source, page.site, page.day)) as completeness
from page
group by page.source, page.site, page.day;
comment on view worker.data_quality is
    'What each source made of each site''s pages, by day (UTC), as long as pages are kept.';
comment on column worker.data_quality.invalid_share is
    'Share of all items on the pages, from 0 to 1; null without items.';
comment on column worker.data_quality.completeness is
    'Share of the valid items, from 0 to 1, that have each of the main fields.';
