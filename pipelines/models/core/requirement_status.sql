-- doc: How each requirement [krav] was met in each half-year, complete: for those allowed to see small cells. The published
--     one is mart.requirement_status.
-- grain: municipality_code, requirement_id, period
-- partition_by: municipality_code
-- definition: overview_period@1, requirement_status@1, standard_requirement@1
-- check: breaches_within_checked: breaches <= checked
-- check: worst_tells_breaches: (breaches > 0) = (value_worst < minimum or value_worst > maximum)
with summed as (
    select
        municipality_code,
        requirement_id,
        period,
        sum(checked) as checked,
        sum(breaches) as breaches,
        first_value(value_worst order by margin_worst, value_worst) as value_worst
    from core.requirement_offer
    group by municipality_code, requirement_id, period
),
due as (
    select r.municipality_code, r.requirement_id, d.period
    from core.requirement_bound as r
    join core.overview_period as d on d.municipality_code = r.municipality_code
    where (r.valid_from is null or r.valid_from <= d.last_day) and (r.valid_to is null or r.valid_to >= d.first_day)
    union
    select municipality_code, requirement_id, period from summed
),
known as (
    select
        x.municipality_code,
        x.requirement_id,
        x.period,
        h.complete_through,
        -- Zero only where it is known.
        case when r.measured and h.complete_through >= d.first_day then 0 end as zero
    from due as x
    join core.overview_period as d on d.municipality_code = x.municipality_code and d.period = x.period
    join core.requirement_bound as r on r.requirement_id = x.requirement_id
    left join core.horizon as h
        on h.municipality_code = x.municipality_code
        and h.entity = case when r.metric = 'attendance_share' then 'attendance' else 'participation' end
)
select
    k.municipality_code,  -- Municipality of the participations; the one that set the requirement has a row for each half-year.
    k.requirement_id,  -- The requirement; standard:<agreement>:<metric> for a standard one that is not written down.
    k.period,  -- Half-year, such as 2010H1.
    r.agreement_id,  -- The agreement it belongs to.
    r.offer_id,  -- The offer it binds; null when it binds all offers of the agreement.
    r.provider_id,  -- The provider bound by it.
    r.topic,  -- What it is about.
    r.metric,  -- What is measured of it; null when only a visit can tell.
    r.minimum,  -- Least value that meets it.
    r.maximum,  -- Greatest value that meets it.
    r.standard,  -- Whether it is a standard one that is not written down.
    r.supervision_regime,  -- limited under state framework agreements and ordinary education, else full.
    coalesce(s.checked, k.zero) as checked,  -- Participations checked; null where it cannot be measured, and where there are none and participations (attendance) are not known to be complete.
    coalesce(s.breaches, k.zero) as breaches,  -- Of them, those outside the limits.
    s.value_worst,  -- The value furthest outside the limits, or else least inside them; null without a check.
    false as suppressed,  -- Nothing is hidden here.
    'overview_period@1, requirement_status@1, standard_requirement@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    k.complete_through as data_through  -- Horizon of participations, of attendance for its share; null where none is reported.
from known as k
join core.requirement_bound as r on r.requirement_id = k.requirement_id
left join summed as s
    on s.municipality_code = k.municipality_code and s.requirement_id = k.requirement_id and s.period = k.period
