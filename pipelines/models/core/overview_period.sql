-- doc: The half-years that each municipality's overview covers: from its first participation to the half-year that holds the
--     horizon of participation.
-- grain: municipality_code, period
-- partition_by: municipality_code
-- definition: overview_period@1
with seen as (
    select
        p.municipality_code,
        min(p.start_date) as first_day,
        max(greatest(p.start_date, coalesce(p.end_date, p.start_date))) as last_day
    from core.participation as p
    where p.end_reason is distinct from 'cancelled'
    group by p.municipality_code
),
span as (
    select
        s.municipality_code,
        h.complete_through,
        date_part('year', s.first_day) * 2 + (date_part('month', s.first_day) - 1) / 6 as first_half,
        date_part('year', coalesce(h.complete_through, s.last_day)) * 2
            + (date_part('month', coalesce(h.complete_through, s.last_day)) - 1) / 6 as last_half
    from seen as s
    left join core.horizon as h on h.municipality_code = s.municipality_code and h.entity = 'participation'
),
half as (
    select municipality_code, complete_through, unnest(range(first_half, last_half + 1)) as half_number
    from span
)
select
    municipality_code,  -- Municipality.
    half_year(make_date(half_number / 2, half_number % 2 * 6 + 1, 1)) as period,  -- Half-year, such as 2010H1.
    half_number,  -- Year times two, plus one for the second half; counts half-years in a row.
    make_date(half_number / 2, half_number % 2 * 6 + 1, 1) as first_day,  -- First day of the half-year.
    half_year_end(half_year(make_date(half_number / 2, half_number % 2 * 6 + 1, 1))) as last_day,  -- Last day of the half-year.
    least(
        half_year_end(half_year(make_date(half_number / 2, half_number % 2 * 6 + 1, 1))),
        complete_through
    ) as stock_day  -- Day on which in_offer is counted: the last day, or the horizon of participation where that comes first.
from half
