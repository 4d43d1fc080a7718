-- Which facts show that two items are one thing, or two? Two addresses on one employer's site, texts that disagree,
-- disjoint pay or two places are two things. What is unknown shows nothing.
-- Calls: nothing.

create type worker.facts as (
    site text, organization_key text, cities text[], region text, country text, apply_key text,
    text_signature bit(1024), salary_min numeric, salary_max numeric, salary_interval text, currency text,
    posted_at timestamptz, posted_before timestamptz
);
comment on type worker.facts is
    'What shows whether two items are one thing. A region or a country that ends with ? is guessed, and keeps nothing '
    'apart. posted_before is when an item was published or, if that is unknown, last seen.';

create view worker.item_facts with (security_invoker = true) as
select item.id, item.kind, item.owner_id, item.match_key, item.duplicate_of, item.first_seen_at, row(
        split_part(item.canonical_key, ':', 1), item.organization_key,
        string_to_array(split_part(item.place_key, '|', 1), '; '), nullif(split_part(item.place_key, '|', 2), ''),
        nullif(split_part(item.place_key, '|', 3), ''), item.apply_key, item.text_signature, item.salary_min,
        item.salary_max, item.salary_interval, item.currency, item.posted_at,
        coalesce(item.posted_at, item.last_seen_at)
    )::worker.facts as facts
from public.items as item;
comment on view worker.item_facts is 'The facts of each item.';

-- Measured on 344 listings and their variants (scripts/bench/dedupe): the same text in another format has 0.98 to 1,
-- its first 150 to 600 characters 0.84 to 1, a rewording 0.56 to 0.96. Of unrelated texts 99.9 % have less than 0.31.
create function worker.text_similarity(signature bit, other bit) returns double precision
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    pairs double precision := bit_count(signature);
    other_pairs double precision := bit_count(other);
    by_chance double precision := pairs * other_pairs / 1024;
begin
    -- A text of fewer word pairs than this looks similar or different by chance.
    if least(pairs, other_pairs) >= 15 then
        return (bit_count(signature & other) - by_chance) / nullif(least(pairs, other_pairs) - by_chance, 0);
    end if;
    return null;
end;
$$;
comment on function worker.text_similarity is
    'Returns which share of the word pairs of the shorter text is in the other text: about 1 for the same text or an '
    'excerpt, about 0 for an unrelated text, null if one is unknown or too short.';

create function worker.are_two_postings(apply_key text, other_key text) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
begin
    return apply_key <> other_key
       and split_part(apply_key, '/', 1) = split_part(other_key, '/', 1)
       -- A job board may list one job twice.
       and split_part(apply_key, '/', 1) not in ('linkedin.com', 'indeed.com');
end;
$$;
comment on function worker.are_two_postings is
    'Whether two addresses to apply at are two postings on one employer''s site. Null if one is unknown.';

create function worker.is_pay_disjoint(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    -- Boards round pay, such as 17.20 an hour to 17 and 52,300 a year to 52,000.
    unit numeric := case item.salary_interval when 'yearly' then 1000 when 'monthly' then 100 else 1 end;
    lower_most numeric;
    upper_least numeric;
begin
    if (item.currency = other.currency and item.salary_interval = other.salary_interval) is not true then
        return false;
    end if;
    lower_most := least(coalesce(item.salary_max, item.salary_min), coalesce(other.salary_max, other.salary_min));
    upper_least := greatest(coalesce(item.salary_min, item.salary_max), coalesce(other.salary_min, other.salary_max));
    return upper_least > lower_most
       and (upper_least - lower_most >= unit or (lower_most % unit <> 0 and upper_least % unit <> 0));
end;
$$;
comment on function worker.is_pay_disjoint is
    'Whether two ranges of pay in one currency and interval are apart by more than rounding. Null if an amount is '
    'unknown.';

create function worker.are_dates_apart(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
begin
    -- A vacancy is open for a month. What a site shows without a date was published before it was last seen.
    return greatest(item.posted_at, other.posted_at)
        > least(item.posted_before, other.posted_before) + interval '30 days';
end;
$$;
comment on function worker.are_dates_apart is
    'Whether two items were published more than 30 days apart. Null if neither has a date.';

create function worker.are_apart(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    similarity double precision;
    is_excerpt boolean;
begin
    if item.apply_key = other.apply_key then
        return false;
    end if;
    if worker.are_two_postings(item.apply_key, other.apply_key) or worker.is_pay_disjoint(item, other)
       or not item.cities && other.cities
       or (item.country <> other.country and item.country || other.country not like '%?%')
       or (item.region <> other.region and item.region || other.region not like '%?%') then
        return true;
    end if;
    similarity := worker.text_similarity(item.text_signature, other.text_signature);
    is_excerpt := 3 * least(bit_count(item.text_signature), bit_count(other.text_signature))
        < greatest(bit_count(item.text_signature), bit_count(other.text_signature));
    return (similarity < 0.5 and not is_excerpt)
        -- A site that lists a job twice does not reword it.
        or (similarity < 0.8 and item.site = other.site)
        or (similarity < 0.6 and worker.are_dates_apart(item, other));
end;
$$;
comment on function worker.are_apart is
    'Whether the facts of two items show that they are two things. With one address to apply at they are one.';

create function worker.are_alike(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    similarity double precision;
    is_named_alike boolean := item.organization_key is not distinct from other.organization_key
        and rtrim(item.country, '?') is not distinct from rtrim(other.country, '?')
        and coalesce(rtrim(item.region, '?') = rtrim(other.region, '?'), true);
begin
    -- A part of a company's name may stand for it: ING, ING Bank.
    if item.organization_key <> other.organization_key
       and not starts_with(item.organization_key, other.organization_key || ' ')
       and not starts_with(other.organization_key, item.organization_key || ' ') then
        return false;
    end if;
    similarity := worker.text_similarity(item.text_signature, other.text_signature);
    return coalesce(similarity >= 0.8, false)
        or (worker.are_dates_apart(item, other) is not true and (is_named_alike or coalesce(similarity >= 0.6, false)));
end;
$$;
comment on function worker.are_alike is
    'Whether two items with one match_key are one thing, unless they are apart. Their texts confirm it if the name of '
    'the company or the place is incomplete, or if they were published more than 30 days apart.';

-- Of a group of thousands, the newest: then the work for each group that may join it is bounded. PL/pgSQL, because it
-- keeps the plan.
create function worker.group_facts(group_id uuid, addresses_only boolean) returns worker.facts[]
language plpgsql stable set search_path = '' as $$
begin
    return (
        select array_agg(
            case when addresses_only then
                row(null, null, null, null, null, (newest.facts).apply_key, null, null, null, null, null, null,
                    null)::worker.facts
            else
                newest.facts
            end)
        from (
            select item.facts from worker.item_facts as item
            where item.id = group_facts.group_id or item.duplicate_of = group_facts.group_id
            order by item.first_seen_at desc, item.id
            limit 30
        ) as newest
    );
end;
$$;
comment on function worker.group_facts is
    'Returns the facts of the up to 30 newest items of a group, or of these the addresses_only.';

create function worker.groups_are_apart(facts worker.facts[], other_facts worker.facts[]) returns boolean
language plpgsql immutable strict parallel safe set search_path = '' as $$
declare
    item worker.facts;
    other worker.facts;
begin
    foreach item in array facts loop
        foreach other in array other_facts loop
            if worker.are_apart(item, other) then
                return true;
            end if;
        end loop;
    end loop;
    return false;
end;
$$;
comment on function worker.groups_are_apart is 'Whether the facts of two groups show that they are two things.';
