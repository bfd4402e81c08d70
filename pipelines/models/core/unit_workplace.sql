-- doc: Participations active on the last day of each month, and how many of them at a work place, by unit.
-- grain: municipality_code, unit_id, month_number
-- partition_by: municipality_code
-- definition: active_participations@1, workplace_share@1
with active as (
    select
        municipality_code,
        unit_id,
        cast(workplace <> 'none' as int) as at_workplace,
        date_part('year', start_date) * 12 + date_part('month', start_date) - 1 as first_month,
        -- An end on the last day of a month is still active that day, so it is gone the month after.
        date_part('year', end_date + interval '1 day') * 12
            + date_part('month', end_date + interval '1 day') - 1 as gone_month
    from core.participation
    where end_reason is distinct from 'cancelled'
),
-- Counting what starts and what is gone month by month costs two rows a participation, however long it runs.
change as (
    select municipality_code, unit_id, first_month as month_number, at_workplace, 1 as active from active
    union all
    select municipality_code, unit_id, gone_month as month_number, -at_workplace as at_workplace, -1 as active
    from active
    where gone_month is not null
),
month_change as (
    select municipality_code, unit_id, month_number, sum(at_workplace) as at_workplace, sum(active) as active
    from change
    group by municipality_code, unit_id, month_number
),
span as (
    select
        c.municipality_code,
        c.unit_id,
        min(c.month_number) as first_month,
        -- The last month whose last day has been read.
        max(
            date_part('year', h.complete_through + interval '1 day') * 12
            + date_part('month', h.complete_through + interval '1 day') - 2
        ) as last_month
    from month_change as c
    join core.horizon as h on h.municipality_code = c.municipality_code and h.entity = 'participation'
    group by c.municipality_code, c.unit_id
),
month as (
    select municipality_code, unit_id, unnest(range(first_month, last_month + 1)) as month_number from span
)
select
    m.municipality_code,  -- Municipality.
    m.unit_id,  -- The unit.
    m.month_number,  -- Year times twelve plus month less one; only months whose last day has been read.
    sum(coalesce(c.at_workplace, 0)) over unit as at_workplace,  -- Participations at a work place on the last day.
    sum(coalesce(c.active, 0)) over unit as active  -- Participations active on the last day.
from month as m
left join month_change as c
    on c.municipality_code = m.municipality_code and c.unit_id = m.unit_id and c.month_number = m.month_number
window unit as (partition by m.municipality_code, m.unit_id order by m.month_number)
