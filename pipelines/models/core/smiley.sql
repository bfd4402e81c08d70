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
        d.day,
        coalesce(o.agreement_kind in ('state_framework', 'ordinary_education'), false) as limited
    from core.offer_detail as o
    join published as d on d.municipality_code = o.municipality_code
),
recent as (
    select
        d.municipality_code,
        d.offer_id,
        d.day,
        v.kind,
        v.colour,
        row_number() over (
            partition by d.municipality_code, d.offer_id, d.day order by v.visit_date desc, v.visit_id desc
        ) as place
    from offer_day as d
    join core.offer_visit as v on v.municipality_code = d.municipality_code and v.offer_id = d.offer_id
    where v.visit_date <= d.day and v.visit_date > add_months(d.day, -24)
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
