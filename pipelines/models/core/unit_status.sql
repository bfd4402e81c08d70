-- doc: How each unit [enhed] does, month by month, as its management sees it (LIS), complete: for those allowed to see small
--     cells. The published one is mart.unit_status.
-- grain: municipality_code, unit_id, month
-- partition_by: municipality_code
-- definition: active_participations@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, interview_timeliness@1,
--     no_show_share@1, open_actions@1, satisfaction_share@1, unit_complaints@1, workplace_share@1
-- check: shares_are_fractions: coalesce(interview_timeliness, 0) between 0 and 1 and coalesce(no_show_share, 0) between 0 and 1
--     and coalesce(workplace_share, 0) between 0 and 1 and coalesce(effect_1m, 0) between 0 and 1 and coalesce(effect_3m, 0)
--     between 0 and 1 and coalesce(effect_7m, 0) between 0 and 1 and coalesce(satisfaction_share, 0) between 0 and 1
-- check: sustained_is_harder: coalesce(effect_3m_sustained, 0) <= coalesce(effect_3m, 0)
with reported as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'benefit_spell') as benefit_spell,
        max(complete_through) filter (where entity = 'complaint') as complaint,
        max(complete_through) filter (where entity = 'improvement_action') as improvement_action,
        max(complete_through) filter (where entity = 'interview') as interview,
        max(complete_through) filter (where entity = 'participation') as participation,
        max(complete_through) filter (where entity = 'survey_response') as survey_response,
        max(complete_through) filter (where entity in (
            'benefit_spell', 'complaint', 'improvement_action', 'interview', 'participation', 'survey_response'
        )) as latest
    from core.horizon
    group by municipality_code
),
interview as (
    select
        i.municipality_code,
        i.unit_id,
        date_part('year', i.due_date) * 12 + date_part('month', i.due_date) - 1 as month_number,
        count(*) as due,
        count(*) filter (where i.held_date <= i.due_date) as in_time,
        count(i.no_show_reason) as no_show
    from core.interview as i
    join reported as r on r.municipality_code = i.municipality_code
    where i.lapsed_reason is null and i.due_date <= r.interview
    group by i.municipality_code, i.unit_id, date_part('year', i.due_date) * 12 + date_part('month', i.due_date) - 1
),
complaint as (
    select
        municipality_code,
        unit_id,
        date_part('year', received_date) * 12 + date_part('month', received_date) - 1 as month_number,
        count(*) as complaints
    from core.complaint
    where unit_id is not null
    group by municipality_code, unit_id, date_part('year', received_date) * 12 + date_part('month', received_date) - 1
),
answer as (
    select
        municipality_code,
        unit_id,
        date_part('year', answered_date) * 12 + date_part('month', answered_date) - 1 as month_number,
        count(satisfaction) as answers,
        count(*) filter (where satisfaction >= 4) as satisfied
    from core.survey_answer
    where unit_id is not null and answered_date is not null
    group by municipality_code, unit_id, date_part('year', answered_date) * 12 + date_part('month', answered_date) - 1
),
open_action as (
    select municipality_code, unit_id, month_number, count(*) as open_actions
    from core.open_action
    group by municipality_code, unit_id, month_number
),
counted as (
    select municipality_code, unit_id, month_number from interview
    union all
    select municipality_code, unit_id, month_number from complaint
    union all
    select municipality_code, unit_id, month_number from answer
    union all
    select municipality_code, unit_id, month_number from open_action
    union all
    select municipality_code, unit_id, month_number from core.unit_effect
    union all
    select municipality_code, unit_id, month_number from core.unit_workplace
),
span as (
    select
        c.municipality_code,
        c.unit_id,
        min(c.month_number) as first_month,
        max(c.month_number) as last_month,
        max(date_part('year', r.latest) * 12 + date_part('month', r.latest) - 1) as month_read
    from counted as c
    left join reported as r on r.municipality_code = c.municipality_code
    group by c.municipality_code, c.unit_id
),
month as (
    select
        municipality_code,
        unit_id,
        unnest(range(first_month, greatest(last_month, coalesce(month_read, last_month)) + 1)) as month_number
    from span
),
dated as (
    select
        municipality_code,
        unit_id,
        month_number,
        make_date(month_number / 12, month_number % 12 + 1, 1) as first_day,
        cast(add_months(make_date(month_number / 12, month_number % 12 + 1, 1), 1) - interval '1 day' as date) as last_day
    from month
),
-- Zero is known only where something of the month has been read; of a day's stock, where that day has; of effects, where no
-- window of the month is pending.
known as (
    select
        m.municipality_code,
        m.unit_id,
        m.first_day,
        r.participation,
        i.in_time,
        i.no_show,
        coalesce(i.due, case when r.interview >= m.first_day then 0 end) as due,
        w.at_workplace,
        coalesce(w.active, case when r.participation >= m.last_day then 0 end) as active,
        e.success_1m,
        coalesce(nullif(e.n_1m, 0), case when r.benefit_spell >= add_months(m.last_day, 1) then 0 end) as n_1m,
        e.success_3m,
        coalesce(nullif(e.n_3m, 0), case when r.benefit_spell >= add_months(m.last_day, 3) then 0 end) as n_3m,
        e.success_sustained,
        coalesce(nullif(e.n_sustained, 0), case when r.benefit_spell >= add_months(m.last_day, 3) then 0 end) as n_sustained,
        e.success_7m,
        coalesce(
            nullif(e.n_7m, 0), case when r.benefit_spell >= add_months(m.last_day, 7) - interval '1 day' then 0 end
        ) as n_7m,
        coalesce(k.complaints, case when r.complaint >= m.first_day then 0 end) as complaints,
        a.satisfied,
        coalesce(nullif(a.answers, 0), case when r.survey_response >= m.first_day then 0 end) as answers,
        coalesce(o.open_actions, case when r.improvement_action >= m.first_day then 0 end) as open_actions
    from dated as m
    left join reported as r on r.municipality_code = m.municipality_code
    left join interview as i
        on i.municipality_code = m.municipality_code and i.unit_id = m.unit_id and i.month_number = m.month_number
    left join core.unit_workplace as w
        on w.municipality_code = m.municipality_code and w.unit_id = m.unit_id and w.month_number = m.month_number
    left join core.unit_effect as e
        on e.municipality_code = m.municipality_code and e.unit_id = m.unit_id and e.month_number = m.month_number
    left join complaint as k
        on k.municipality_code = m.municipality_code and k.unit_id = m.unit_id and k.month_number = m.month_number
    left join answer as a
        on a.municipality_code = m.municipality_code and a.unit_id = m.unit_id and a.month_number = m.month_number
    left join open_action as o
        on o.municipality_code = m.municipality_code and o.unit_id = m.unit_id and o.month_number = m.month_number
)
select
    k.municipality_code,  -- Municipality.
    k.unit_id,  -- The unit.
    to_char(k.first_day, '%Y-%m') as month,  -- Month, such as 2010-01.
    u.name as unit_name,  -- Name of the unit.
    cast(k.in_time as double) / nullif(k.due, 0) as interview_timeliness,  -- Interviews held on or before the due date, of those due in the month.
    k.due as interview_timeliness_n,  -- Interviews due in the month and not lapsed.
    wilson_low(k.in_time, k.due) as interview_timeliness_low,  -- Lower end of its 95 % interval.
    wilson_high(k.in_time, k.due) as interview_timeliness_high,  -- Upper end of its 95 % interval.
    cast(k.no_show as double) / nullif(k.due, 0) as no_show_share,  -- Interviews the citizen did not come to, of the same.
    k.due as no_show_share_n,  -- The same interviews.
    wilson_low(k.no_show, k.due) as no_show_share_low,  -- Lower end of its 95 % interval.
    wilson_high(k.no_show, k.due) as no_show_share_high,  -- Upper end of its 95 % interval.
    k.active as active_participations,  -- Participations active on the last day of the month; null where that day has not been read.
    cast(k.at_workplace as double) / nullif(k.active, 0) as workplace_share,  -- Share of them at a work place (internship or wage subsidy).
    k.active as workplace_share_n,  -- The same participations.
    wilson_low(k.at_workplace, k.active) as workplace_share_low,  -- Lower end of its 95 % interval.
    wilson_high(k.at_workplace, k.active) as workplace_share_high,  -- Upper end of its 95 % interval.
    cast(k.success_1m as double) / nullif(k.n_1m, 0) as effect_1m,  -- Share self-supporting one month after the end, of those who ended in the month.
    k.n_1m as effect_1m_n,  -- Citizens behind it; null where there is none while windows of the month are pending.
    wilson_low(k.success_1m, k.n_1m) as effect_1m_low,  -- Lower end of its 95 % interval.
    wilson_high(k.success_1m, k.n_1m) as effect_1m_high,  -- Upper end of its 95 % interval.
    cast(k.success_3m as double) / nullif(k.n_3m, 0) as effect_3m,  -- Share self-supporting three months after the end, of those who ended in the month.
    k.n_3m as effect_3m_n,  -- Citizens behind it; null likewise.
    wilson_low(k.success_3m, k.n_3m) as effect_3m_low,  -- Lower end of its 95 % interval.
    wilson_high(k.success_3m, k.n_3m) as effect_3m_high,  -- Upper end of its 95 % interval.
    cast(k.success_sustained as double) / nullif(k.n_sustained, 0) as effect_3m_sustained,  -- Share self-supporting on every day of those three months.
    k.n_sustained as effect_3m_sustained_n,  -- Citizens behind it; null likewise.
    wilson_low(k.success_sustained, k.n_sustained) as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    wilson_high(k.success_sustained, k.n_sustained) as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    cast(k.success_7m as double) / nullif(k.n_7m, 0) as effect_7m,  -- Share self-supporting in three of the seven months after the start, of those who started in the month.
    k.n_7m as effect_7m_n,  -- Citizens behind it; null likewise.
    wilson_low(k.success_7m, k.n_7m) as effect_7m_low,  -- Lower end of its 95 % interval.
    wilson_high(k.success_7m, k.n_7m) as effect_7m_high,  -- Upper end of its 95 % interval.
    k.complaints,  -- Complaints about the unit received in the month.
    cast(k.satisfied as double) / nullif(k.answers, 0) as satisfaction_share,  -- Answers 4 and 5 on satisfaction among those given in the month.
    k.answers as satisfaction_share_n,  -- Answers behind it.
    wilson_low(k.satisfied, k.answers) as satisfaction_share_low,  -- Lower end of its 95 % interval.
    wilson_high(k.satisfied, k.answers) as satisfaction_share_high,  -- Upper end of its 95 % interval.
    k.open_actions,  -- Actions from the unit's case reviews and complaints open at the end of the month.
    false as suppressed,  -- Nothing is hidden here.
    'active_participations@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, interview_timeliness@1, no_show_share@1, open_actions@1, satisfaction_share@1, unit_complaints@1, workplace_share@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    k.participation as data_through  -- Horizon of participations; null where none is reported.
from known as k
left join core.unit as u on u.unit_id = k.unit_id
