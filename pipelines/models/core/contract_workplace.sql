-- doc: Participations active on the last day of each month, and how many of them at a work place, for the municipalities and
--     units whose goals name it. A year is its December.
-- grain: municipality_code, unit_id, yearly, month_number
-- partition_by: municipality_code
-- definition: workplace_share@1
with wanted as (
    select distinct municipality_code from core.goal where indicator = 'workplace_share'
),
wanted_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
stock as (
    select u.municipality_code, '' as unit_id, u.month_number, sum(u.at_workplace) as successes, sum(u.active) as n
    from core.unit_workplace as u
    join wanted as w on w.municipality_code = u.municipality_code
    group by u.municipality_code, u.month_number
    union all
    select u.municipality_code, u.unit_id, u.month_number, u.at_workplace as successes, u.active as n
    from core.unit_workplace as u
    join wanted as w on w.municipality_code = u.municipality_code
    join wanted_unit as g on g.municipality_code = u.municipality_code and g.unit_id = u.unit_id
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
