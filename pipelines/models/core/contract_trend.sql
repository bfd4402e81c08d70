-- doc: The straight line through the last twelve final monthly values of each indicator, as it stood in each month.
-- grain: municipality_code, indicator, unit_id, month_number
-- partition_by: municipality_code
-- definition: goal_forecast@1
with line as (
    select
        municipality_code,
        indicator,
        unit_id,
        month_number,
        count(*) over twelve as points,
        regr_slope(value, month_number) over twelve as slope,
        regr_intercept(value, month_number) over twelve as intercept,
        min(month_number) over twelve as first_month,
        lead(month_number) over (partition by municipality_code, indicator, unit_id order by month_number) as next_month
    from core.contract_value
    where final and not yearly and value is not null
    window twelve as (
        partition by municipality_code, indicator, unit_id order by month_number rows between 11 preceding and current row
    )
),
last_year as (
    select municipality_code, max(date_part('year', complete_through)) as year_number
    from core.horizon
    group by municipality_code
),
-- A line holds until the next final month, the last one to the end of the last year read.
held as (
    select
        l.*,
        unnest(range(l.month_number, coalesce(l.next_month, greatest(y.year_number * 12 + 12, l.month_number + 1)))) as held_month
    from line as l
    join last_year as y on y.municipality_code = l.municipality_code
)
select
    municipality_code,  -- Municipality.
    indicator,  -- The indicator, by the name used in goals.
    unit_id,  -- Unit with a goal; empty for the whole municipality.
    held_month as month_number,  -- Year times twelve plus month less one.
    points,  -- Values behind the line, at most twelve.
    slope,  -- Change per month.
    intercept,  -- Value at month number 0.
    first_month,  -- Month number of the first value behind the line.
    month_number as last_month  -- Month number of the last value behind the line.
from held
