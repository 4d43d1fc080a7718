-- What shows that two items are one thing, or two.
begin;
select plan(44);

-- The signature of a text whose words pairs set the bits of a range.
create function pg_temp.bits(first integer, last integer) returns bit(1024) language sql as $$
    select (repeat('0', first) || repeat('1', last - first) || repeat('0', 1024 - last))::bit(1024);
$$;
create function pg_temp.facts(changes jsonb default '{}', first integer default null, last integer default null)
returns worker.facts language sql as $$
    select jsonb_populate_record(
        row('alpha', 'acme', '{austin}', 'US-TX', 'US', null, pg_temp.bits(first, last), null, null, null, null, '2026-03-01',
            '2026-03-01')::worker.facts, changes);
$$;

-- Texts ----------------------------------------------------------------------------------------------------------

select is(worker.text_similarity(pg_temp.bits(0, 200), pg_temp.bits(0, 200)), 1::double precision, 'the same text');
select is(worker.text_similarity(pg_temp.bits(0, 20), pg_temp.bits(0, 400)), 1::double precision, 'an excerpt');
select is(worker.text_similarity(pg_temp.bits(0, 400), pg_temp.bits(0, 20)), 1::double precision, 'from the other side');
select ok(worker.text_similarity(pg_temp.bits(0, 200), pg_temp.bits(200, 400)) < 0, 'less in common than by chance');
select is(round(worker.text_similarity(pg_temp.bits(0, 512), pg_temp.bits(256, 768))::numeric, 2), 0.00,
    'what two texts have in common by chance does not count');
select is(worker.text_similarity(pg_temp.bits(0, 14), pg_temp.bits(0, 400)), null::double precision, 'a text too short');
select is(worker.text_similarity(null, pg_temp.bits(0, 400)), null::double precision, 'a text that is unknown');
select is(worker.text_similarity(pg_temp.bits(0, 1024), pg_temp.bits(0, 400)), null::double precision,
    'a text of so many words that it has everything in common');

-- Pay ------------------------------------------------------------------------------------------------------------

create function pg_temp.paid(lowest numeric, highest numeric, period text default 'hourly', currency text default 'USD')
returns worker.facts language sql as $$
    select pg_temp.facts(jsonb_build_object(
        'salary_min', lowest, 'salary_max', highest, 'salary_interval', period, 'currency', currency));
$$;
select is(worker.is_pay_disjoint(pg_temp.paid(lowest, highest, period), pg_temp.paid(other_lowest, other_highest, other_period)),
          expected, format('%s to %s %s, %s to %s %s', lowest, highest, period, other_lowest, other_highest, other_period))
from (values
    (17, 17, 'hourly', 17.2, 17.2, 'hourly', false), (18, 18, 'hourly', 17.2, 17.2, 'hourly', false),
    (17.25, 17.25, 'hourly', 17.5, 17.5, 'hourly', true), (17, 17, 'hourly', 18, 18, 'hourly', true),
    (15, 17, 'hourly', 16, 20, 'hourly', false), (15, 17, 'hourly', 17.5, 20, 'hourly', false),
    (15, null, 'hourly', 19, null, 'hourly', true), (null, 15, 'hourly', 12, null, 'hourly', true),
    (52000, 52000, 'yearly', 52300, 52300, 'yearly', false), (52000, 52000, 'yearly', 53000, 53000, 'yearly', true),
    (52100, 52100, 'yearly', 52300, 52300, 'yearly', true), (4200, 4200, 'monthly', 4215, 4215, 'monthly', false),
    (4200, 4200, 'monthly', 4350, 4350, 'monthly', true), (20, 20, 'hourly', 52000, 52000, 'yearly', false),
    (null, null, null, 17, 17, 'hourly', false)
) as pay (lowest, highest, period, other_lowest, other_highest, other_period, expected);
select is(worker.is_pay_disjoint(pg_temp.paid(20, 20), pg_temp.paid(30, 30, 'hourly', 'CAD')), false, 'in two currencies');

-- Apart ----------------------------------------------------------------------------------------------------------

create function pg_temp.apart(a worker.facts, b worker.facts) returns boolean language sql as $$
    select coalesce(worker.are_apart(a, b), false) and coalesce(worker.are_apart(b, a), false);
$$;
select is(pg_temp.apart(pg_temp.facts(one), pg_temp.facts(other)), expected, format('%s and %s', one, other))
from (values
    (jsonb '{}', jsonb '{}', false),
    ('{"apply_key": "acme.test/1"}', '{"apply_key": "acme.test/2"}', true),
    ('{"apply_key": "acme.test/1"}', '{"apply_key": "ats.test/2"}', false),
    ('{"apply_key": "indeed.com/1"}', '{"apply_key": "indeed.com/2"}', false),
    ('{"apply_key": "acme.test/1"}', '{"apply_key": "acme.test/1", "cities": ["paris"]}', false),
    ('{}', '{"cities": ["paris"]}', true),
    ('{}', '{"cities": ["paris", "austin"]}', false),
    ('{}', '{"cities": null}', false),
    ('{}', '{"region": "US-MN"}', true),
    ('{}', '{"region": "?"}', false),
    ('{}', '{"region": "US-MN?", "country": "CA?"}', false),
    ('{}', '{"region": null, "country": null}', false),
    ('{}', '{"region": null, "country": "CA"}', true),
    ('{}', '{"posted_at": "2020-01-01", "posted_before": "2020-01-01"}', false)
) as facts (one, other, expected);
select ok(pg_temp.apart(pg_temp.facts('{}', 0, 200), pg_temp.facts('{"site": "beta"}', 200, 400)), 'two texts');
select ok(not pg_temp.apart(pg_temp.facts('{}', 0, 200), pg_temp.facts('{"site": "beta"}', 50, 250)), 'a rewording');
select ok(pg_temp.apart(pg_temp.facts('{}', 0, 200), pg_temp.facts('{}', 50, 250)), 'of the same site is another job');
select ok(pg_temp.apart(
    pg_temp.facts('{}', 0, 200),
    pg_temp.facts('{"site": "beta", "posted_at": "2025-01-01", "posted_before": "2025-01-01"}', 90, 290)),
    'as is a similar text of another year');
select ok(not pg_temp.apart(pg_temp.facts('{}', 0, 300), pg_temp.facts('{"site": "beta"}', 280, 310)),
    'a text that is much shorter may be an excerpt of something else');
select ok(not pg_temp.apart(
    pg_temp.facts('{}', 0, 200), pg_temp.facts('{"posted_at": "2020-01-01", "posted_before": "2020-01-01"}', 0, 200)),
    'the same text of another year is the same job');

select * from finish();
rollback;
