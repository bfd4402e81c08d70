-- doc: Every requirement [krav] that binds an agreement or an offer: those written down, and the standard ones of own framework
--     agreements that are not.
-- grain: requirement_id
-- partition_by: municipality_code
-- definition: standard_requirement@1
-- check: limits_in_order: minimum <= maximum
with standard as (
    select
        a.agreement_id,
        a.municipality_code,
        unnest(['hours_per_week', 'duration_weeks']) as metric,
        unnest(['hours', 'duration']) as topic,
        unnest([10.0, 1.0]) as minimum,
        unnest([37.0, 13.0]) as maximum
    from core.agreement as a
    where a.kind = 'own_framework'
),
-- What is written for the whole agreement and is at least as strict says it already.
said as (
    select distinct s.agreement_id, s.metric
    from standard as s
    join core.requirement as r on r.agreement_id = s.agreement_id and r.metric = s.metric
    where r.offer_id is null and r.minimum >= s.minimum and r.maximum <= s.maximum
),
requirement as (
    select requirement_id, municipality_code, agreement_id, offer_id, topic, metric, minimum, maximum, false as standard
    from core.requirement
    union all
    select
        concat('standard:', s.agreement_id, ':', s.metric) as requirement_id,
        s.municipality_code,
        s.agreement_id,
        null as offer_id,
        s.topic,
        s.metric,
        s.minimum,
        s.maximum,
        true as standard
    from standard as s
    left join said as w on w.agreement_id = s.agreement_id and w.metric = s.metric
    where w.agreement_id is null
)
select
    r.requirement_id,  -- The requirement; standard:<agreement>:<metric> for one that nobody wrote down.
    r.municipality_code,  -- Municipality that set it.
    r.agreement_id,  -- The agreement it belongs to.
    r.offer_id,  -- The offer it binds; null when it binds all offers of the agreement.
    a.provider_id,  -- The provider bound by it.
    r.topic,  -- What it is about.
    r.metric,  -- What can be measured of it; null when only a visit can tell.
    r.minimum,  -- Least value that meets it.
    r.maximum,  -- Greatest value that meets it.
    r.standard,  -- Whether it is a standard one that is not written down.
    case when a.kind in ('state_framework', 'ordinary_education') then 'limited' else 'full' end as supervision_regime,  -- limited or full, by the kind of the agreement.
    a.valid_from,  -- First day of the agreement; null where it is not known.
    a.valid_to,  -- Last day of the agreement; null while it has no end.
    coalesce(
        r.metric in ('hours_per_week', 'duration_weeks', 'attendance_share')
        and (r.minimum is not null or r.maximum is not null),
        false
    ) as measured  -- Whether it can be checked against what happened.
from requirement as r
left join core.agreement as a on a.agreement_id = r.agreement_id
