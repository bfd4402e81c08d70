-- doc: Citizens with a known outcome by what was known of them before the start [opgavens tyngde], for each municipality and
--     each of its providers: what fair comparisons are made from.
-- grain: municipality_code, provider_id, year, indicator, target_group, age_band, prior_weeks_band
-- partition_by: municipality_code
-- definition: case_mix@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1
-- check: successes_within_n: successes between 0 and n
with
participation as (
    select
        o.municipality_code,
        f.provider_id,
        o.citizen_number,
        o.target_group,
        date_part('year', o.start_date) as start_year,
        date_part('year', o.end_date) as end_year,
        case
            when o.birth_year is null then 'unknown'
            when date_part('year', o.start_date) - o.birth_year < 30 then '<30'
            when date_part('year', o.start_date) - o.birth_year < 50 then '30-49'
            else '50+'
        end as age_band,
        case
            when o.prior_weeks < 26 then '<26'
            when o.prior_weeks < 52 then '26-52'
            when o.prior_weeks < 104 then '52-104'
            else '104+'
        end as prior_weeks_band,
        o.effect_1m,
        o.effect_3m,
        o.effect_3m_sustained,
        o.effect_7m,
        o.start_order,
        o.end_order
    from core.ranked_outcome as o
    left join core.offer_in_use as f on f.municipality_code = o.municipality_code and f.offer_id = o.offer_id
),
scoped as (
    select
        municipality_code,
        unnest(case when provider_id is null then [''] else ['', provider_id] end) as scope,
        citizen_number,
        target_group,
        start_year,
        end_year,
        start_order,
        end_order
    from participation
),
-- Within one cell a citizen counts once, so providers do not add up to the municipality.
ended as (
    select municipality_code, scope, end_year as year, target_group, max(end_order) as end_order
    from scoped
    where end_year is not null
    group by municipality_code, scope, citizen_number, end_year, target_group
),
started as (
    select municipality_code, scope, start_year as year, target_group, max(start_order) as start_order
    from scoped
    group by municipality_code, scope, citizen_number, start_year, target_group
),
counted as (
    select
        e.municipality_code,
        e.scope,
        e.year,
        e.target_group,
        p.age_band,
        p.prior_weeks_band,
        count(*) filter (where p.effect_1m = 'success') as success_1m,
        count(*) filter (where p.effect_1m in ('success', 'failure')) as n_1m,
        count(*) filter (where p.effect_3m = 'success') as success_3m,
        count(*) filter (where p.effect_3m in ('success', 'failure')) as n_3m,
        count(*) filter (where p.effect_3m_sustained = 'success') as success_sustained,
        count(*) filter (where p.effect_3m_sustained in ('success', 'failure')) as n_sustained
    from ended as e
    join participation as p on p.municipality_code = e.municipality_code and p.end_order = e.end_order
    group by e.municipality_code, e.scope, e.year, e.target_group, p.age_band, p.prior_weeks_band
),
counted_7m as (
    select
        s.municipality_code,
        s.scope,
        s.year,
        s.target_group,
        p.age_band,
        p.prior_weeks_band,
        count(*) filter (where p.effect_7m = 'success') as success_7m,
        count(*) filter (where p.effect_7m in ('success', 'failure')) as n_7m
    from started as s
    join participation as p on p.municipality_code = s.municipality_code and p.start_order = s.start_order
    group by s.municipality_code, s.scope, s.year, s.target_group, p.age_band, p.prior_weeks_band
),
stratum as (
    select
        municipality_code,
        scope,
        year,
        target_group,
        age_band,
        prior_weeks_band,
        unnest(['effect_1m', 'effect_3m', 'effect_3m_sustained']) as indicator,
        unnest([success_1m, success_3m, success_sustained]) as successes,
        unnest([n_1m, n_3m, n_sustained]) as n
    from counted
    union all
    select
        municipality_code,
        scope,
        year,
        target_group,
        age_band,
        prior_weeks_band,
        'effect_7m' as indicator,
        success_7m as successes,
        n_7m as n
    from counted_7m
)
select
    municipality_code,  -- Municipality.
    scope as provider_id,  -- Provider of the offer; empty for the whole municipality.
    year,  -- Year of the end, or of the start for effect_7m.
    indicator,  -- effect_1m, effect_3m, effect_3m_sustained or effect_7m.
    target_group,  -- Target group.
    age_band,  -- <30, 30-49, 50+ or unknown, at the start.
    prior_weeks_band,  -- Weeks of public support before the start: <26, 26-52, 52-104 or 104+.
    successes,  -- Citizens self-supporting.
    n  -- Citizens whose outcome is known; 0 where all are pending or lost.
from stratum
