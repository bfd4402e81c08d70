-- doc: How far the participations of a half-year met each requirement, offer by offer.
-- grain: municipality_code, requirement_id, period, offer_id
-- partition_by: municipality_code
-- definition: requirement_status@1
-- check: breaches_within_checked: breaches <= checked
with last_half as (
    select municipality_code, max(half_number) as half_number
    from core.overview_period
    group by municipality_code
),
binding as (
    select r.requirement_id, r.metric, r.minimum, r.maximum, r.valid_from, r.valid_to, o.offer_id
    from core.requirement_bound as r
    join core.offer as o on o.agreement_id = r.agreement_id
    where r.measured and r.offer_id is null
    union all
    select requirement_id, metric, minimum, maximum, valid_from, valid_to, offer_id
    from core.requirement_bound
    where measured and offer_id is not null
),
bound_offer as (
    select offer_id, bool_or(metric = 'attendance_share') as attendance from binding group by offer_id
),
participation as (
    select
        p.municipality_code,
        p.participation_id,
        p.offer_id,
        p.start_date,
        p.end_date,
        p.hours_per_week,
        date_part('year', p.start_date) * 2 + (date_part('month', p.start_date) - 1) / 6 as start_half,
        date_part('year', p.end_date) * 2 + (date_part('month', p.end_date) - 1) / 6 as end_half,
        b.attendance
    from core.participation as p
    join bound_offer as b on b.offer_id = p.offer_id
    where p.end_reason is distinct from 'cancelled'
),
-- Of what several say about a day, a count on the spot goes before the provider's protocol, and that before a system.
day as (
    select
        a.municipality_code,
        a.participation_id,
        a.date,
        first_value(a.planned_hours order by case a.source when 'physical' then 1 when 'protocol' then 2 else 3 end) as planned,
        first_value(a.attended_hours order by case a.source when 'physical' then 1 when 'protocol' then 2 else 3 end) as attended
    from core.attendance as a
    join participation as p on p.municipality_code = a.municipality_code and p.participation_id = a.participation_id
    where p.attendance
    group by a.municipality_code, a.participation_id, a.date
),
attended as (
    select
        municipality_code,
        participation_id,
        date_part('year', date) * 2 + (date_part('month', date) - 1) / 6 as half_number,
        -- Hours have decimals: 0.8 of them must not come out as a little less.
        round(sum(attended) / sum(planned), 9) as share
    from day
    where planned > 0
    group by municipality_code, participation_id, date_part('year', date) * 2 + (date_part('month', date) - 1) / 6
),
happened as (
    select
        p.municipality_code,
        p.offer_id,
        p.start_date,
        'hours_per_week' as metric,
        p.hours_per_week as value,
        unnest(range(p.start_half, least(coalesce(p.end_half, l.half_number), l.half_number) + 1)) as half_number
    from participation as p
    join last_half as l on l.municipality_code = p.municipality_code
    where p.hours_per_week is not null
    union all
    select
        municipality_code,
        offer_id,
        start_date,
        'duration_weeks' as metric,
        cast(cast(end_date as int) - cast(start_date as int) + 1 as double) / 7 as value,
        end_half as half_number
    from participation
    where end_date is not null
    union all
    select p.municipality_code, p.offer_id, p.start_date, 'attendance_share' as metric, a.share as value, a.half_number
    from attended as a
    join participation as p on p.municipality_code = a.municipality_code and p.participation_id = a.participation_id
),
-- How far inside the limits a value is; below zero is a breach.
judged as (
    select
        h.municipality_code,
        b.requirement_id,
        h.offer_id,
        h.half_number,
        h.value,
        least(h.value - b.minimum, b.maximum - h.value) as margin
    from happened as h
    join binding as b on b.offer_id = h.offer_id and b.metric = h.metric
    where (b.valid_from is null or b.valid_from <= h.start_date) and (b.valid_to is null or b.valid_to >= h.start_date)
)
select
    j.municipality_code,  -- Municipality of the participations.
    j.requirement_id,  -- The requirement.
    d.period,  -- Half-year, such as 2010H1.
    j.offer_id,  -- The offer.
    count(*) as checked,  -- Participations checked.
    count(*) filter (where j.margin < 0) as breaches,  -- Of them, those outside the limits.
    first_value(j.value order by j.margin, j.value) as value_worst,  -- The value least inside or furthest outside the limits.
    min(j.margin) as margin_worst  -- How far inside the limits it is; below zero outside.
from judged as j
join core.overview_period as d on d.municipality_code = j.municipality_code and d.half_number = j.half_number
group by j.municipality_code, j.requirement_id, d.period, j.offer_id
