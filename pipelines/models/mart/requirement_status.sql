-- doc: How each requirement [krav] was met in each half-year, small cells hidden. The complete one is core.requirement_status.
-- grain: municipality_code, requirement_id, period
-- partition_by: municipality_code
-- definition: overview_period@1, requirement_status@1, small_cells@1, standard_requirement@1
-- check: no_small_count: not (coalesce(checked, 0) between 1 and 4 or coalesce(breaches, 0) between 1 and 4 or
--     coalesce(checked - breaches, 0) between 1 and 4)
-- check: no_value_without_n: checked is not null and breaches is not null or value_worst is null
with
-- What a requirement of a whole agreement counts is the sum of its offers, whose citizens other tables show: where those hidden
-- there, 1 to 4, could be found by subtraction, the sum is hidden here. They could where one more part would have to be hidden,
-- whatever its size.
part as (
    select
        municipality_code,
        requirement_id,
        period,
        unnest(['checked', 'breaches']) as measure,
        unnest([checked, breaches]) as n
    from core.requirement_offer
),
small as (
    select
        municipality_code,
        requirement_id,
        period,
        measure,
        suppressed_parts(sum(n) + 1000, array_prepend(1000, array_agg(n)))[1] as tells
    from part
    where n between 1 and 4
    group by municipality_code, requirement_id, period, measure
),
told as (
    select
        municipality_code,
        requirement_id,
        period,
        bool_or(tells and measure = 'checked') as checked,
        bool_or(tells and measure = 'breaches') as breaches
    from small
    group by municipality_code, requirement_id, period
),
-- Breaches are shown offer by offer only where a requirement names one.
offer_shown as (
    select distinct municipality_code, agreement_id, metric, period
    from core.requirement_status
    where offer_id is not null
),
-- Two limits on the same participations: the breaches of one are among those of the other.
compared as (
    select
        *,
        breaches - lag(breaches) over (
            partition by municipality_code, agreement_id, offer_id, metric, period order by breaches, requirement_id
        ) as more_breaches
    from core.requirement_status
),
marked as (
    select
        s.*,
        coalesce(s.checked between 1 and 4, false) or coalesce(s.offer_id is null and t.checked, false) as hide_checked,
        coalesce(suppressed_parts(s.checked, [s.breaches, s.checked - s.breaches])[1], false)
            or coalesce(s.more_breaches between 1 and 4, false)
            or coalesce(s.offer_id is null and x.period is not null and t.breaches, false) as hide_breaches
    from compared as s
    left join told as t
        on t.municipality_code = s.municipality_code and t.requirement_id = s.requirement_id and t.period = s.period
    left join offer_shown as x
        on x.municipality_code = s.municipality_code
        and x.agreement_id = s.agreement_id
        and x.metric = s.metric
        and x.period = s.period
)
select
    municipality_code,  -- Municipality of the participations; the one that set the requirement has a row for each half-year.
    requirement_id,  -- The requirement; standard:<agreement>:<metric> for a standard one that is not written down.
    period,  -- Half-year, such as 2010H1.
    agreement_id,  -- The agreement it belongs to.
    offer_id,  -- The offer it binds; null when it binds all offers of the agreement.
    provider_id,  -- The provider bound by it.
    topic,  -- What it is about.
    metric,  -- What is measured of it; null when only a visit can tell.
    minimum,  -- Least value that meets it.
    maximum,  -- Greatest value that meets it.
    standard,  -- Whether it is a standard one that is not written down.
    supervision_regime,  -- limited under state framework agreements and ordinary education, else full.
    case when not hide_checked then checked end as checked,  -- Participations checked; null where it cannot be measured, and where there are none and participations (attendance) are not known to be complete.
    case when not hide_breaches then breaches end as breaches,  -- Of them, those outside the limits.
    case when not hide_checked and not hide_breaches then value_worst end as value_worst,  -- The value furthest outside the limits, or else least inside them; null without a check.
    hide_checked or hide_breaches as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of participations, of attendance for its share; null where none is reported.
from marked
