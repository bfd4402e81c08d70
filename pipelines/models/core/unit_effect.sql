-- doc: Citizens self-supporting after an offer, by unit and month of the anchor: where they came from and how many are known.
-- grain: municipality_code, unit_id, month_number
-- partition_by: municipality_code
-- definition: effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1
with
-- Within a unit and month a citizen counts once, by the latest.
ended as (
    select
        municipality_code,
        unit_id,
        date_part('year', end_date) * 12 + date_part('month', end_date) - 1 as month_number,
        max(end_order) as end_order
    from core.ranked_outcome
    where end_date is not null
    group by
        municipality_code, unit_id, citizen_number, date_part('year', end_date) * 12 + date_part('month', end_date) - 1
),
started as (
    select
        municipality_code,
        unit_id,
        date_part('year', start_date) * 12 + date_part('month', start_date) - 1 as month_number,
        max(start_order) as start_order
    from core.ranked_outcome
    group by
        municipality_code, unit_id, citizen_number, date_part('year', start_date) * 12 + date_part('month', start_date) - 1
),
latest as (
    select
        e.municipality_code,
        e.unit_id,
        e.month_number,
        p.effect_1m,
        p.effect_3m,
        p.effect_3m_sustained,
        null as effect_7m
    from ended as e
    join core.ranked_outcome as p on p.municipality_code = e.municipality_code and p.end_order = e.end_order
    union all
    select
        s.municipality_code,
        s.unit_id,
        s.month_number,
        null as effect_1m,
        null as effect_3m,
        null as effect_3m_sustained,
        p.effect_7m
    from started as s
    join core.ranked_outcome as p on p.municipality_code = s.municipality_code and p.start_order = s.start_order
)
select
    municipality_code,  -- Municipality.
    unit_id,  -- The unit.
    month_number,  -- Year times twelve plus month less one: of the end, and of the start for effect_7m.
    count(*) filter (where effect_1m = 'success') as success_1m,  -- Citizens self-supporting one month after the end.
    count(*) filter (where effect_1m in ('success', 'failure')) as n_1m,  -- Citizens of whom that is known.
    count(*) filter (where effect_3m = 'success') as success_3m,  -- The same three months after the end.
    count(*) filter (where effect_3m in ('success', 'failure')) as n_3m,  -- Citizens of whom that is known.
    count(*) filter (where effect_3m_sustained = 'success') as success_sustained,  -- The same on every day of the three months.
    count(*) filter (where effect_3m_sustained in ('success', 'failure')) as n_sustained,  -- Citizens of whom that is known.
    count(*) filter (where effect_7m = 'success') as success_7m,  -- The same in three of the seven months after the start.
    count(*) filter (where effect_7m in ('success', 'failure')) as n_7m  -- Citizens of whom that is known.
from latest
group by municipality_code, unit_id, month_number
