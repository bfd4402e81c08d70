-- doc: The smiley of every offer on the days where one is published: the last day of each half-year, and the horizon of
--     benefit_spell.
-- grain: municipality_code, offer_id, day
-- partition_by: municipality_code
-- definition: smiley@1
with published as (
    select municipality_code, last_day as day from core.overview_period
    union
    select municipality_code, complete_through as day from core.horizon where entity = 'benefit_spell'
),
offer_day as (
    select
        o.municipality_code,
        o.offer_id,
        o.provider_id,
        d.day,
        coalesce(a.kind in ('state_framework', 'ordinary_education'), false) as limited
    from core.offer as o
    join published as d on d.municipality_code = o.municipality_code
    left join core.agreement as a on a.agreement_id = o.agreement_id
),
visit as (
    select
        v.municipality_code,
        v.provider_id,
        v.offer_id,
        v.visit_id,
        v.visit_date,
        v.kind,
        v.agreement = 'breach' or v.working_environment = 'breach' or v."values" = 'breach'
            or v.ethnic_equality = 'breach' or v.attendance_record = 'breach' or v.physical_presence = 'breach'
            or v.planned_content = 'breach' or v.facilities = 'breach' as breach,
        case when v.agreement = 'remark' then 1 else 0 end
            + case when v.working_environment = 'remark' then 1 else 0 end
            + case when v."values" = 'remark' then 1 else 0 end
            + case when v.ethnic_equality = 'remark' then 1 else 0 end
            + case when v.attendance_record = 'remark' then 1 else 0 end
            + case when v.physical_presence = 'remark' then 1 else 0 end
            + case when v.planned_content = 'remark' then 1 else 0 end
            + case when v.facilities = 'remark' then 1 else 0 end as remarks
    from core.supervision_visit as v
),
coloured as (
    select
        municipality_code,
        provider_id,
        offer_id,
        visit_id,
        visit_date,
        kind,
        case when coalesce(breach, false) then 'red' when remarks >= 2 then 'yellow' else 'green' end as colour
    from visit
),
-- Two joins, each on equality: visits that name the offer, and visits to the whole provider.
relevant as (
    select d.municipality_code, d.offer_id, d.day, v.visit_id, v.visit_date, v.kind, v.colour
    from offer_day as d
    join coloured as v on v.municipality_code = d.municipality_code and v.offer_id = d.offer_id
    union all
    select d.municipality_code, d.offer_id, d.day, v.visit_id, v.visit_date, v.kind, v.colour
    from offer_day as d
    join coloured as v on v.municipality_code = d.municipality_code and v.provider_id = d.provider_id
    where v.offer_id is null
),
recent as (
    select
        municipality_code,
        offer_id,
        day,
        kind,
        colour,
        row_number() over (
            partition by municipality_code, offer_id, day order by visit_date desc, visit_id desc
        ) as place
    from relevant
    where visit_date <= day and visit_date > add_months(day, -24)
),
judged as (
    select
        municipality_code,
        offer_id,
        day,
        max(case when place = 1 then colour end) as colour,
        count(case when place <= 4 and colour = 'green' then 1 end) = 4 as elite,
        bool_or(kind = 'complaint_driven') as complaint_driven
    from recent
    group by municipality_code, offer_id, day
)
select
    d.municipality_code,  -- Municipality.
    d.offer_id,  -- The offer.
    d.day,  -- The day it is seen from.
    case
        when d.limited and not coalesce(j.complaint_driven, false) then 'limited_supervision'
        when j.colour is null then 'not_visited'
        when j.elite then 'elite'
        else j.colour
    end as smiley  -- elite, green, yellow, red, not_visited or limited_supervision.
from offer_day as d
left join judged as j on j.municipality_code = d.municipality_code and j.offer_id = d.offer_id and j.day = d.day
