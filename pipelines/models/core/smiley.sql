-- doc: The smiley of every offer on the days where one is published: the last day of each half-year, and the horizon of
--     benefit_spell; for each municipality that owns, uses or visits the offer. Whoever made the latest visit, it is the offer's.
-- grain: municipality_code, offer_id, day
-- partition_by: municipality_code
-- definition: smiley@1
with published as (
    select municipality_code, last_day as day from core.overview_period
    union
    select municipality_code, complete_through as day from core.horizon where entity = 'benefit_spell'
),
concerned as (
    select municipality_code, offer_id from core.offer_detail
    union
    select municipality_code, offer_id from core.offer_in_use
    union
    select municipality_code, offer_id from core.offer_visit
),
offer_day as (
    select
        c.municipality_code,
        c.offer_id,
        d.day,
        coalesce(o.agreement_kind in ('state_framework', 'ordinary_education'), false) as limited
    from concerned as c
    join published as d on d.municipality_code = c.municipality_code
    left join core.offer_detail as o on o.offer_id = c.offer_id
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
    join core.offer_visit as v on v.offer_id = d.offer_id
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
    d.municipality_code,  -- Municipality that owns, uses or visits it.
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
