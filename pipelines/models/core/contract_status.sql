-- doc: How each goal of the quality and result contracts stands, by month and year, complete. The published one is
--     mart.contract_status.
-- grain: goal_id, period
-- partition_by: municipality_code
-- definition: goal_status@1, goal_forecast@1
-- check: judged_has_value: status not in ('met', 'missed') or value is not null
with goal as (
    select
        *,
        coalesce(unit_id, '') as scope,
        case
            when indicator in ('interview_timeliness', 'interview_timeliness_unemployed', 'interview_timeliness_sick')
                then 'interview'
            when indicator in ('effect_1m', 'effect_3m', 'effect_3m_sustained', 'effect_7m') then 'benefit_spell'
            when indicator = 'workplace_share' then 'participation'
            when indicator = 'excess_unemployment' then 'labour_force'
            when indicator in (
                'satisfaction_share', 'closer_to_job_share', 'informed_share', 'respected_share', 'moved_share',
                'listened_share', 'influence_share'
            ) then 'survey_response'
        end as entity
    from core.goal
),
known_goal as (
    select
        g.*,
        h.complete_through,
        date_part('year', g.valid_from) as first_year,
        date_part('year', g.valid_to) as last_year,
        date_part('year', g.valid_from) * 12 + date_part('month', g.valid_from) - 1 as first_month,
        date_part('year', g.valid_to) * 12 + date_part('month', g.valid_to) - 1 as last_month,
        date_part('year', h.complete_through) as year_read,
        date_part('year', h.complete_through) * 12 + date_part('month', h.complete_through) - 1 as month_read
    from goal as g
    left join core.horizon as h on h.municipality_code = g.municipality_code and h.entity = g.entity
),
-- Every year and month of the goal that has begun by the horizon; its first year in any case.
goal_period as (
    select
        *,
        true as yearly,
        unnest(range(first_year, greatest(first_year, least(last_year, coalesce(year_read, first_year))) + 1)) * 12 + 11
            as month_number
    from known_goal
    union all
    select *, false as yearly, unnest(range(first_month, least(last_month, month_read) + 1)) as month_number
    from known_goal
    where month_read is not null
),
measured as (
    select
        g.*,
        case
            when g.yearly then concat(g.month_number / 12)
            else to_char(make_date(g.month_number / 12, g.month_number % 12 + 1, 1), '%Y-%m')
        end as period,
        v.value,
        v.n,
        v.low,
        v.high,
        -- A yearly goal is judged year by year, the other kind once: in the period that holds its last day.
        coalesce(v.final and v.value is not null, false) and case
            when g.cadence = 'every_year' then g.yearly
            else g.month_number >= g.last_month
        end as judged,
        round(t.intercept + t.slope * g.last_month, 6) as line_at_end,
        t.points
    from goal_period as g
    left join core.contract_value as v
        on v.municipality_code = g.municipality_code
        and v.indicator = g.indicator
        and v.unit_id = g.scope
        and v.yearly = g.yearly
        and v.month_number = g.month_number
    left join core.contract_trend as t
        on t.municipality_code = g.municipality_code
        and t.indicator = g.indicator
        and t.unit_id = g.scope
        and t.month_number = g.month_number
),
forecasted as (
    select *, case when not judged and points >= 3 then line_at_end end as forecast
    from measured
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
    value,  -- What it came to in the period, in the same unit; null while nothing is known.
    n,  -- Interviews, answers, citizens or participations behind it; the labour force of the group for excess_unemployment.
    low,  -- Lower end of its 95 % interval.
    high,  -- Upper end of its 95 % interval.
    case
        when judged and comparator = 'at_least' then case when value >= target then 'met' else 'missed' end
        when judged then case when value <= target then 'met' else 'missed' end
        when forecast is null then 'no_data'
        when comparator = 'at_least' then case when forecast >= target then 'on_track' else 'at_risk' end
        else case when forecast <= target then 'on_track' else 'at_risk' end
    end as status,  -- met or missed once final; on_track or at_risk by the forecast before that; no_data.
    not (low < target and high > target) as certain,  -- False where the interval straddles the target; null without a value.
    forecast,  -- Where the line through the last twelve months leads on the goal's last day; null once judged, or with fewer than three.
    false as suppressed,  -- Nothing is hidden here.
    case when entity is not null then concat(indicator, '@1, goal_forecast@1, goal_status@1') end as definition_version,  -- Definitions behind the row, as in ref.definition; null where the indicator has none.
    complete_through as data_through  -- Horizon of what the indicator needs; null where none is reported.
from forecasted
