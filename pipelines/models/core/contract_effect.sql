-- doc: Citizens self-supporting after an offer, by month and year, for the municipalities and units whose goals name an effect.
-- grain: municipality_code, indicator, unit_id, yearly, month_number
-- partition_by: municipality_code
-- definition: effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1
with wanted as (
    select
        municipality_code,
        bool_or(indicator <> 'effect_7m') as from_end,
        bool_or(indicator = 'effect_7m') as from_start
    from core.goal
    where starts_with(indicator, 'effect_')
    group by municipality_code
),
wanted_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
scoped as (
    select
        p.municipality_code,
        p.citizen_number,
        p.start_order,
        p.end_order,
        p.end_date,
        w.from_end,
        w.from_start,
        unnest(case when u.unit_id is null then [''] else ['', p.unit_id] end) as scope,
        date_part('year', p.start_date) * 12 + date_part('month', p.start_date) - 1 as start_month,
        date_part('year', p.end_date) * 12 + date_part('month', p.end_date) - 1 as end_month
    from core.ranked_outcome as p
    join wanted as w on w.municipality_code = p.municipality_code
    left join wanted_unit as u on u.municipality_code = p.municipality_code and u.unit_id = p.unit_id
),
-- Within one cell a citizen counts once, so months do not add up to years, nor units to the municipality.
ended as (
    select
        municipality_code,
        scope,
        yearly,
        case when yearly then end_month / 12 * 12 + 11 else end_month end as month_number,
        max(end_order) as end_order
    from (select *, unnest([false, true]) as yearly from scoped where from_end and end_date is not null)
    group by
        municipality_code, scope, citizen_number, yearly, case when yearly then end_month / 12 * 12 + 11 else end_month end
),
started as (
    select
        municipality_code,
        scope,
        yearly,
        case when yearly then start_month / 12 * 12 + 11 else start_month end as month_number,
        max(start_order) as start_order
    from (select *, unnest([false, true]) as yearly from scoped where from_start)
    group by
        municipality_code, scope, citizen_number, yearly, case when yearly then start_month / 12 * 12 + 11 else start_month end
),
counted as (
    select
        e.municipality_code,
        e.scope,
        e.yearly,
        e.month_number,
        count(*) filter (where p.effect_1m = 'success') as success_1m,
        count(*) filter (where p.effect_1m in ('success', 'failure')) as n_1m,
        count(*) filter (where p.effect_3m = 'success') as success_3m,
        count(*) filter (where p.effect_3m in ('success', 'failure')) as n_3m,
        count(*) filter (where p.effect_3m_sustained = 'success') as success_sustained,
        count(*) filter (where p.effect_3m_sustained in ('success', 'failure')) as n_sustained
    from ended as e
    join core.ranked_outcome as p on p.municipality_code = e.municipality_code and p.end_order = e.end_order
    group by e.municipality_code, e.scope, e.yearly, e.month_number
),
counted_7m as (
    select
        s.municipality_code,
        s.scope,
        s.yearly,
        s.month_number,
        count(*) filter (where p.effect_7m = 'success') as success_7m,
        count(*) filter (where p.effect_7m in ('success', 'failure')) as n_7m
    from started as s
    join core.ranked_outcome as p on p.municipality_code = s.municipality_code and p.start_order = s.start_order
    group by s.municipality_code, s.scope, s.yearly, s.month_number
),
effect as (
    select
        municipality_code,
        scope,
        yearly,
        month_number,
        unnest(['effect_1m', 'effect_3m', 'effect_3m_sustained']) as indicator,
        unnest([success_1m, success_3m, success_sustained]) as successes,
        unnest([n_1m, n_3m, n_sustained]) as n
    from counted
    union all
    select municipality_code, scope, yearly, month_number, 'effect_7m' as indicator, success_7m as successes, n_7m as n
    from counted_7m
)
select
    municipality_code,  -- Municipality.
    indicator,  -- The indicator, by the name used in goals.
    scope as unit_id,  -- Unit with a goal; empty for the whole municipality.
    yearly,  -- Whether it counts a year rather than a month.
    month_number,  -- Year times twelve plus month less one, of the anchor; a year has the number of its December.
    successes,  -- Citizens self-supporting.
    n  -- Citizens whose outcome is known.
from effect
