-- doc: Participations active on the last day of each month, and how many of them at a work place, for the municipalities and
--     units whose goals name it. A year is its December.
-- grain: municipality_code, unit_id, yearly, month_number
-- definition: workplace_share@1
with wanted as (
    select distinct municipality_code from core.goal where indicator = 'workplace_share'
),
wanted_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
active as (
    select
        p.municipality_code,
        p.unit_id,
        cast(p.workplace <> 'none' as int) as at_workplace,
        date_part('year', p.start_date) * 12 + date_part('month', p.start_date) - 1 as first_month,
        -- An end on the last day of a month is still active that day, so it is gone the month after.
        date_part('year', p.end_date + interval '1 day') * 12
            + date_part('month', p.end_date + interval '1 day') - 1 as gone_month
    from core.participation as p
    join wanted as w on w.municipality_code = p.municipality_code
    where p.end_reason is distinct from 'cancelled'
),
-- Counting what starts and what is gone month by month costs two rows a participation, however long it runs.
change as (
    select municipality_code, unit_id, first_month as month_number, at_workplace as successes, 1 as n from active
    union all
    select municipality_code, unit_id, gone_month as month_number, -at_workplace as successes, -1 as n
    from active
    where gone_month is not null
),
scope_change as (
    select municipality_code, '' as unit_id, month_number, successes, n from change
    union all
    select c.municipality_code, c.unit_id, c.month_number, c.successes, c.n
    from change as c
    join wanted_unit as u on u.municipality_code = c.municipality_code and u.unit_id = c.unit_id
),
month_change as (
    select municipality_code, unit_id, month_number, sum(successes) as successes, sum(n) as n
    from scope_change
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
),
stock as (
    select
        m.municipality_code,
        m.unit_id,
        m.month_number,
        sum(coalesce(c.successes, 0)) over (
            partition by m.municipality_code, m.unit_id order by m.month_number
        ) as successes,
        sum(coalesce(c.n, 0)) over (partition by m.municipality_code, m.unit_id order by m.month_number) as n
    from month as m
    left join month_change as c
        on c.municipality_code = m.municipality_code and c.unit_id = m.unit_id and c.month_number = m.month_number
),
period as (
    select municipality_code, unit_id, false as yearly, month_number, successes, n from stock
    union all
    select municipality_code, unit_id, true as yearly, month_number, successes, n from stock where month_number % 12 = 11
)
select
    municipality_code,  -- Municipality.
    unit_id,  -- Unit with a goal; empty for the whole municipality.
    yearly,  -- Whether it stands for a year rather than a month.
    month_number,  -- Year times twelve plus month less one; a year has the number of its December.
    successes,  -- Participations at a work place on the last day.
    n  -- Participations active on the last day.
from period
