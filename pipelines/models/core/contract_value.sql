-- doc: What the indicators named in goals came to, by month and year, for the municipality and for each unit with a goal.
-- grain: municipality_code, indicator, unit_id, period
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, excess_unemployment@1,
--     influence_share@1, informed_share@1, interview_timeliness@1, interview_timeliness_sick@1,
--     interview_timeliness_unemployed@1, listened_share@1, moved_share@1, respected_share@1, satisfaction_share@1,
--     workplace_share@1
-- check: value_is_a_percentage: indicator = 'excess_unemployment' or coalesce(value, 0) between 0 and 100
with share as (
    select municipality_code, indicator, unit_id, yearly, month_number, successes, n from core.contract_count
    union all
    select municipality_code, indicator, unit_id, yearly, month_number, successes, n from core.contract_effect
    union all
    select municipality_code, 'workplace_share' as indicator, unit_id, yearly, month_number, successes, n
    from core.contract_workplace
),
measured as (
    select
        municipality_code,
        indicator,
        unit_id,
        yearly,
        month_number,
        100.0 * successes / nullif(n, 0) as value,
        n,
        100.0 * wilson_low(successes, n) as low,
        100.0 * wilson_high(successes, n) as high
    from share
    union all
    select municipality_code, 'excess_unemployment' as indicator, '' as unit_id, yearly, month_number, value, n, low, high
    from core.contract_excess
),
dated as (
    select
        *,
        cast(add_months(make_date(month_number / 12, month_number % 12 + 1, 1), 1) - interval '1 day' as date) as last_day,
        case
            when starts_with(indicator, 'interview_') then 'interview'
            when starts_with(indicator, 'effect_') then 'benefit_spell'
            when indicator = 'workplace_share' then 'participation'
            when indicator = 'excess_unemployment' then 'labour_force'
            else 'survey_response'
        end as entity
    from measured
)
select
    d.municipality_code,  -- Municipality.
    d.indicator,  -- The indicator, by the name used in goals.
    d.unit_id,  -- Unit with a goal; empty for the whole municipality.
    case when d.yearly then concat(d.month_number / 12) else to_char(d.last_day, '%Y-%m') end as period,  -- Year such as 2010, or month such as 2010-01.
    d.yearly,  -- Whether the period is a year.
    d.month_number,  -- Year times twelve plus month less one; a year has the number of its December.
    d.value,  -- Per cent; percentage points for excess_unemployment. Null when nothing is counted.
    d.n,  -- Interviews, answers, citizens or participations counted; the labour force of the group for excess_unemployment.
    d.low,  -- Lower end of the 95 % interval, in the unit of the value.
    d.high,  -- Upper end of the 95 % interval.
    case
        when d.indicator = 'effect_1m' then add_months(d.last_day, 1)
        when d.indicator in ('effect_3m', 'effect_3m_sustained') then add_months(d.last_day, 3)
        when d.indicator = 'effect_7m' then cast(add_months(d.last_day, 7) - interval '1 day' as date)
        else d.last_day
    end <= h.complete_through as final  -- Whether the period is over and everything it needs has been read.
from dated as d
join core.horizon as h on h.municipality_code = d.municipality_code and h.entity = d.entity
