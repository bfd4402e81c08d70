-- doc: Citizens self-supporting after an offer, by unit and month of the anchor: where they came from and how many are known.
-- grain: municipality_code, unit_id, month_number
-- partition_by: municipality_code
-- definition: effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1
with
-- A participation counts by its end and by its start.
anchored as (
    select
        o.municipality_code,
        p.unit_id,
        o.citizen_id,
        o.participation_id,
        o.start_date,
        unnest([o.end_date, o.start_date]) as anchor,
        unnest([o.effect_1m, null]) as effect_1m,
        unnest([o.effect_3m, null]) as effect_3m,
        unnest([o.effect_3m_sustained, null]) as effect_3m_sustained,
        unnest([null, o.effect_7m]) as effect_7m,
        unnest([true, false]) as by_end
    from core.participation_outcome as o
    join core.participation as p
        on p.municipality_code = o.municipality_code and p.participation_id = o.participation_id
),
dated as (
    select *, date_part('year', anchor) * 12 + date_part('month', anchor) - 1 as month_number
    from anchored
    where anchor is not null
),
-- Within a unit and month a citizen counts once, by the latest.
ranked as (
    select
        *,
        row_number() over (
            partition by municipality_code, unit_id, citizen_id, by_end, month_number
            order by anchor desc, start_date desc, participation_id desc
        ) as place
    from dated
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
from ranked
where place = 1
group by municipality_code, unit_id, month_number
