-- doc: Citizens self-supporting after an offer, by month and year, for the municipalities and units whose goals name an effect.
-- grain: municipality_code, indicator, unit_id, yearly, month_number
-- definition: effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1
with wanted as (
    select distinct municipality_code from core.goal where starts_with(indicator, 'effect_')
),
wanted_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
participation as (
    select
        o.municipality_code,
        p.unit_id,
        o.citizen_id,
        o.participation_id,
        o.start_date,
        o.end_date,
        o.effect_1m,
        o.effect_3m,
        o.effect_3m_sustained,
        o.effect_7m
    from core.participation_outcome as o
    join wanted as w on w.municipality_code = o.municipality_code
    join core.participation as p on p.participation_id = o.participation_id
),
scoped as (
    select
        municipality_code, '' as scope, citizen_id, participation_id, start_date, end_date,
        effect_1m, effect_3m, effect_3m_sustained, effect_7m
    from participation
    union all
    select
        p.municipality_code, p.unit_id as scope, p.citizen_id, p.participation_id, p.start_date, p.end_date,
        p.effect_1m, p.effect_3m, p.effect_3m_sustained, p.effect_7m
    from participation as p
    join wanted_unit as u on u.municipality_code = p.municipality_code and u.unit_id = p.unit_id
),
anchored as (
    select *, end_date as anchor, false as from_start from scoped where end_date is not null
    union all
    select *, start_date as anchor, true as from_start from scoped
),
period as (
    select *, false as yearly, date_part('year', anchor) * 12 + date_part('month', anchor) - 1 as month_number from anchored
    union all
    select *, true as yearly, date_part('year', anchor) * 12 + 11 as month_number from anchored
),
-- Within one cell a citizen counts once, so months do not add up to years, nor units to the municipality.
citizen as (
    select
        municipality_code,
        scope,
        yearly,
        month_number,
        from_start,
        last_value(effect_1m order by anchor, start_date, participation_id) as effect_1m,
        last_value(effect_3m order by anchor, start_date, participation_id) as effect_3m,
        last_value(effect_3m_sustained order by anchor, start_date, participation_id) as effect_3m_sustained,
        last_value(effect_7m order by anchor, start_date, participation_id) as effect_7m
    from period
    group by municipality_code, scope, yearly, month_number, from_start, citizen_id
),
outcome as (
    select municipality_code, scope, yearly, month_number, 'effect_1m' as indicator, effect_1m as outcome
    from citizen where not from_start
    union all
    select municipality_code, scope, yearly, month_number, 'effect_3m' as indicator, effect_3m as outcome
    from citizen where not from_start
    union all
    select municipality_code, scope, yearly, month_number, 'effect_3m_sustained' as indicator, effect_3m_sustained as outcome
    from citizen where not from_start
    union all
    select municipality_code, scope, yearly, month_number, 'effect_7m' as indicator, effect_7m as outcome
    from citizen where from_start
)
select
    municipality_code,  -- Municipality.
    indicator,  -- The indicator, by the name used in goals.
    scope as unit_id,  -- Unit with a goal; empty for the whole municipality.
    yearly,  -- Whether it counts a year rather than a month.
    month_number,  -- Year times twelve plus month less one, of the anchor; a year has the number of its December.
    count(*) filter (where outcome = 'success') as successes,  -- Citizens self-supporting.
    count(*) filter (where outcome in ('success', 'failure')) as n  -- Citizens whose outcome is known.
from outcome
group by municipality_code, indicator, scope, yearly, month_number
