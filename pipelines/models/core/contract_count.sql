-- doc: Interviews held in time and answers of 4 or 5, by month, for the indicators and units named in goals. Months, units
--     and populations add up.
-- grain: municipality_code, indicator, unit_id, yearly, month_number
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, influence_share@1, informed_share@1, interview_timeliness@1,
--     interview_timeliness_sick@1, interview_timeliness_unemployed@1, listened_share@1, moved_share@1, respected_share@1,
--     satisfaction_share@1
with wanted as (
    select distinct
        municipality_code,
        case when starts_with(indicator, 'interview_timeliness') then 'interview_timeliness' else indicator end as indicator
    from core.goal
),
wanted_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
interview as (
    select
        i.municipality_code,
        concat('interview_timeliness_', i.population) as indicator,
        i.unit_id,
        date_part('year', i.due_date) * 12 + date_part('month', i.due_date) - 1 as month_number,
        coalesce(i.held_date <= i.due_date, false) as success
    from core.interview as i
    join wanted as w on w.municipality_code = i.municipality_code and w.indicator = 'interview_timeliness'
    join core.horizon as h on h.municipality_code = i.municipality_code and h.entity = 'interview'
    where i.lapsed_reason is null and i.due_date <= h.complete_through
),
answer as (
    select
        a.municipality_code,
        w.indicator,
        a.unit_id,
        date_part('year', a.answered_date) * 12 + date_part('month', a.answered_date) - 1 as month_number,
        case w.indicator
            when 'satisfaction_share' then a.satisfaction
            when 'closer_to_job_share' then a.closer_to_job
            when 'informed_share' then a.informed
            when 'respected_share' then a.respected
            when 'moved_share' then a.moved
            when 'listened_share' then a.listened
            when 'influence_share' then a.influence
        end >= 4 as success
    from core.survey_answer as a
    join wanted as w on w.municipality_code = a.municipality_code
    join core.horizon as h on h.municipality_code = a.municipality_code and h.entity = 'survey_response'
    where a.answered_date is not null
),
counted as (
    select municipality_code, indicator, unit_id, month_number, success from interview
    union all
    select municipality_code, 'interview_timeliness' as indicator, unit_id, month_number, success from interview
    union all
    select municipality_code, indicator, unit_id, month_number, success from answer where success is not null
),
unit_month as (
    select
        municipality_code,
        indicator,
        unit_id,
        month_number,
        count(*) filter (where success) as successes,
        count(*) as n
    from counted
    group by municipality_code, indicator, unit_id, month_number
),
scope_month as (
    select municipality_code, indicator, '' as unit_id, month_number, successes, n from unit_month
    union all
    select m.municipality_code, m.indicator, m.unit_id, m.month_number, m.successes, m.n
    from unit_month as m
    join wanted_unit as u on u.municipality_code = m.municipality_code and u.unit_id = m.unit_id
),
scope_period as (
    select municipality_code, indicator, unit_id, false as yearly, month_number, successes, n from scope_month
    union all
    select municipality_code, indicator, unit_id, true as yearly, month_number / 12 * 12 + 11 as month_number, successes, n
    from scope_month
)
select
    municipality_code,  -- Municipality.
    indicator,  -- The indicator, by the name used in goals.
    unit_id,  -- Unit with a goal; empty for the whole municipality.
    yearly,  -- Whether it counts a year rather than a month.
    month_number,  -- Year times twelve plus month less one; a year has the number of its December.
    sum(successes) as successes,  -- Interviews held in time, or answers of 4 or 5.
    sum(n) as n  -- Interviews due, or answers of 1 to 5.
from scope_period
group by municipality_code, indicator, unit_id, yearly, month_number
