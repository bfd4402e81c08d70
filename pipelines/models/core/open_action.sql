-- doc: Improvement actions [handlinger] that a unit's case reviews and complaints led to, in each month at whose end they are
--     open.
-- grain: action_id, month_number
-- partition_by: municipality_code
-- definition: open_actions@1
with led_to as (
    select municipality_code, 'case_review' as origin, review_id as origin_id, unit_id, theme, review_date as first_day
    from core.case_review
    union all
    select municipality_code, 'complaint' as origin, complaint_id as origin_id, unit_id, null as theme,
        received_date as first_day
    from core.complaint
    where unit_id is not null
),
-- An end after the horizon is not known yet: what is read to that day is open on it.
action as (
    select
        a.municipality_code,
        a.action_id,
        l.unit_id,
        l.theme,
        date_part('year', l.first_day) * 12 + date_part('month', l.first_day) - 1 as first_month,
        date_part('year', h.complete_through) * 12 + date_part('month', h.complete_through) - 1 as month_read,
        case
            when a.done_date <= h.complete_through
                then date_part('year', a.done_date) * 12 + date_part('month', a.done_date) - 1
        end as done_month
    from core.improvement_action as a
    join led_to as l
        on l.municipality_code = a.municipality_code and l.origin = a.origin and l.origin_id = a.origin_id
    join core.horizon as h on h.municipality_code = a.municipality_code and h.entity = 'improvement_action'
    where l.first_day <= h.complete_through
)
select
    municipality_code,  -- Municipality.
    action_id,  -- The action.
    unit_id,  -- Unit of the case or complaint that led to it.
    theme,  -- Theme of the case review; null for a complaint.
    unnest(range(first_month, coalesce(done_month, month_read + 1))) as month_number  -- Year times twelve plus month less one; open on its last day, or on the horizon in the month that holds it.
from action
