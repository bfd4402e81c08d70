-- doc: Unemployment of citizens of non-western origin above that of all origins, by the latest register date in each month
--     and year, for the municipalities whose goals name it.
-- grain: municipality_code, yearly, month_number
-- partition_by: municipality_code
-- definition: excess_unemployment@1
with wanted as (
    select distinct municipality_code from core.goal where indicator = 'excess_unemployment'
),
labour as (
    select
        g.municipality_code,
        g.reference_date,
        date_part('year', g.reference_date) * 12 + date_part('month', g.reference_date) - 1 as month_number,
        g.unemployed as group_unemployed,
        g.labour_force as group_force,
        a.unemployed as all_unemployed,
        a.labour_force as all_force
    from core.labour_force as g
    join core.labour_force as a
        on a.municipality_code = g.municipality_code and a.reference_date = g.reference_date and a.origin = 'all'
    join wanted as w on w.municipality_code = g.municipality_code
    where g.origin = 'non_western' and g.labour_force > 0 and a.labour_force > 0
),
latest as (
    select *, false as yearly from labour
    qualify row_number() over (partition by municipality_code, month_number order by reference_date desc) = 1
    union all
    select *, true as yearly from labour
    qualify row_number() over (partition by municipality_code, month_number / 12 order by reference_date desc) = 1
),
-- The group is part of all. Its distance to all is its distance to the rest, shrunk by the rest's share of the labour force.
rest as (
    select
        *,
        1 - group_force / all_force as shrink,
        case when group_unemployed between 0 and group_force then group_unemployed end as sure_unemployed,
        case
            when all_unemployed - group_unemployed between 0 and all_force - group_force
                then all_unemployed - group_unemployed
        end as rest_unemployed,
        all_force - group_force as rest_force
    from latest
),
interval_ends as (
    select
        *,
        sure_unemployed / group_force as group_share,
        rest_unemployed / nullif(rest_force, 0) as rest_share,
        wilson_low(sure_unemployed, group_force) as group_low,
        wilson_high(sure_unemployed, group_force) as group_high,
        wilson_low(rest_unemployed, rest_force) as rest_low,
        wilson_high(rest_unemployed, rest_force) as rest_high
    from rest
)
select
    municipality_code,  -- Municipality.
    yearly,  -- Whether it stands for a year rather than a month.
    case when yearly then month_number / 12 * 12 + 11 else month_number end as month_number,  -- Year times twelve plus month less one; a year has the number of its December.
    -- One fraction rather than the difference of two: exactly 7 must not come out as a little more.
    100.0 * (group_unemployed * all_force - all_unemployed * group_force) / (group_force * all_force) as value,  -- Percentage points.
    cast(round(group_force) as bigint) as n,  -- Labour force of the group.
    100.0 * shrink * (
        group_share - rest_share - sqrt(power(group_share - group_low, 2) + power(rest_high - rest_share, 2))
    ) as low,  -- Lower end of the 95 % interval: Newcombe's of group and rest, shrunk.
    100.0 * shrink * (
        group_share - rest_share + sqrt(power(group_high - group_share, 2) + power(rest_share - rest_low, 2))
    ) as high  -- Upper end of the 95 % interval.
from interval_ends
