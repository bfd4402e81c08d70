-- doc: How far the auditor's remarks [revisionsbemærkninger] have come at the end of each half-year, complete. Remarks are no
--     people, so the published mart.audit_follow_up says the same.
-- grain: municipality_code, period
-- partition_by: municipality_code
-- definition: audit_follow_up@1
-- check: open_ones_are_parted: coalesce(remarks_planned, 0) + coalesce(remarks_overdue, 0) <= coalesce(remarks_open, 0)
with action as (
    select municipality_code, origin_id as remark_id, max(due_date) as due_date
    from core.improvement_action
    where origin = 'audit_remark'
    group by municipality_code, origin_id
),
remark as (
    select
        r.municipality_code,
        r.raised_date,
        coalesce(r.due_date, a.due_date) as due_date,
        r.implemented_date,
        h.complete_through
    from core.audit_remark as r
    left join action as a on a.municipality_code = r.municipality_code and a.remark_id = r.remark_id
    left join core.horizon as h on h.municipality_code = r.municipality_code and h.entity = 'audit_remark'
),
span as (
    select
        municipality_code,
        max(complete_through) as complete_through,
        date_part('year', min(raised_date)) * 2 + (date_part('month', min(raised_date)) - 1) / 6 as first_half,
        coalesce(max(complete_through), max(greatest(raised_date, coalesce(implemented_date, raised_date)))) as last_day
    from remark
    group by municipality_code
),
half as (
    select
        municipality_code,
        complete_through,
        unnest(range(
            first_half, date_part('year', last_day) * 2 + (date_part('month', last_day) - 1) / 6 + 1
        )) as half_number
    from span
),
dated as (
    select
        municipality_code,
        complete_through,
        half_year(make_date(half_number / 2, half_number % 2 * 6 + 1, 1)) as period,
        -- The last day of the half-year, or the horizon where that comes first.
        least(half_year_end(half_year(make_date(half_number / 2, half_number % 2 * 6 + 1, 1))), complete_through) as day
    from half
),
counted as (
    select
        d.municipality_code,
        d.period,
        d.complete_through,
        count(r.raised_date) filter (where coalesce(r.implemented_date > d.day, true)) as remarks_open,
        count(r.raised_date) filter (
            where coalesce(r.implemented_date > d.day, true) and r.due_date >= d.day
        ) as remarks_planned,
        count(r.raised_date) filter (where r.implemented_date <= d.day) as remarks_implemented,
        count(r.raised_date) filter (
            where coalesce(r.implemented_date > d.day, true) and r.due_date < d.day
        ) as remarks_overdue,
        case when d.complete_through is not null then 0 end as nothing
    from dated as d
    left join remark as r on r.municipality_code = d.municipality_code and r.raised_date <= d.day
    group by d.municipality_code, d.period, d.complete_through
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year, such as 2010H1.
    coalesce(nullif(remarks_open, 0), nothing) as remarks_open,  -- Remarks raised and not implemented by the last day of the period (by the horizon, in the period that holds it); null where there is none and none are known to have been read.
    coalesce(nullif(remarks_planned, 0), nothing) as remarks_planned,  -- Open ones with a due date, of their own or of an action they led to, that has not passed that day; null likewise.
    coalesce(nullif(remarks_implemented, 0), nothing) as remarks_implemented,  -- Remarks implemented by that day, whenever raised; null likewise.
    coalesce(nullif(remarks_overdue, 0), nothing) as remarks_overdue,  -- Open ones whose due date has passed that day; null likewise.
    false as suppressed,  -- Nothing is hidden here.
    'audit_follow_up@1' as definition_version,  -- Definition behind the row, as in ref.definition.
    complete_through as data_through  -- Horizon of audit remarks; null where none is reported.
from counted
