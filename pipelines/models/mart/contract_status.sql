-- doc: How each goal of the quality and result contracts stands, by month and year, small cells hidden. The complete one is
--     core.contract_status.
-- grain: goal_id, period
-- partition_by: municipality_code
-- definition: goal_forecast@1, goal_status@1, small_cells@1
-- check: no_small_count: coalesce(n, 0) not between 1 and 4
-- check: no_value_without_n: n is not null or value is null
with hidden as (
    select
        v.municipality_code,
        v.indicator,
        v.unit_id,
        v.period,
        v.yearly,
        v.month_number
    from core.small_cell as s
    join core.contract_value as v
        on v.municipality_code = s.municipality_code
        and concat(v.indicator, ' ', v.unit_id) = s.part
        and v.period = s.measure
    where s.mart = 'contract_status'
),
-- A forecast is a sum of the values behind it, so one with a hidden value among them would give it away.
hidden_line as (
    select distinct t.municipality_code, t.indicator, t.unit_id, t.month_number
    from core.contract_trend as t
    join hidden as h
        on h.municipality_code = t.municipality_code
        and h.indicator = t.indicator
        and h.unit_id = t.unit_id
        and h.month_number between t.first_month and t.last_month
    where not h.yearly
),
marked as (
    select
        c.*,
        h.period is not null as hide_value,
        c.forecast is not null and l.month_number is not null as hide_forecast
    from core.contract_status as c
    left join hidden as h
        on h.municipality_code = c.municipality_code
        and h.indicator = c.indicator
        and h.unit_id = coalesce(c.unit_id, '')
        and h.period = c.period
    left join hidden_line as l
        on l.municipality_code = c.municipality_code
        and l.indicator = c.indicator
        and l.unit_id = coalesce(c.unit_id, '')
        and l.month_number = case
            when length(c.period) = 4 then cast(c.period as int) * 12 + 11
            else cast(substr(c.period, 1, 4) as int) * 12 + cast(substr(c.period, 6, 2) as int) - 1
        end
)
select
    goal_id,  -- The goal.
    period,  -- Year such as 2010, or month such as 2010-01.
    municipality_code,  -- Municipality.
    contract,  -- quality_contract or result_contract.
    unit_id,  -- Unit bound by the goal; null when the municipality is.
    focus_area,  -- The part of the contract it stands in.
    indicator,  -- What is measured.
    target,  -- The promised value, in per cent (percentage points for excess_unemployment).
    comparator,  -- at_least or at_most.
    case when not hide_value then value end as value,  -- What it came to in the period, in the same unit; null while nothing is known, and where it is hidden.
    case when not hide_value then n end as n,  -- Interviews, answers, citizens or participations behind it; the labour force of the group for excess_unemployment.
    case when not hide_value then low end as low,  -- Lower end of its 95 % interval.
    case when not hide_value then high end as high,  -- Upper end of its 95 % interval.
    case when hide_value or hide_forecast then 'no_data' else status end as status,  -- met or missed once final; on_track or at_risk by the forecast before that; no_data, also where what it rests on is hidden.
    case when not hide_value then certain end as certain,  -- False where the interval straddles the target; null without a value.
    case when not hide_value and not hide_forecast then forecast end as forecast,  -- Where the line through the last twelve months leads on the goal's last day; null once judged, with fewer than three, or where one of them is hidden.
    hide_value or hide_forecast as suppressed,  -- Whether anything in the row is hidden.
    definition_version || ', small_cells@1' as definition_version,  -- Definitions behind the row, as in ref.definition; null where the indicator has none.
    data_through  -- Horizon of what the indicator needs; null where none is reported.
from marked
