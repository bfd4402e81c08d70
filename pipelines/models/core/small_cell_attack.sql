-- doc: The counts that mart.offer_overview, mart.visitation_guide and mart.contract_status give away: shown though they must not
--     be, or to be had by adding up what is shown in a row. While there is one, nothing is published. What lines tell
--     together is checked where counts are hidden (core.offer_small_cell, core.contract_small_cell).
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
-- check: nothing_is_given_away: how is null
with
-- What a row of each table tells of a count: the count itself, or a share of so many, or the counts it is the sum or difference of.
overview as (
    select
        municipality_code,
        concat(period, ' ', offer_id) as block,
        target_group as part,
        unnest([
            'age_unknown', 'aged_30_plus', 'effect_1m_n', 'effect_3m_n', 'finished', 'in_offer', 'invited', 'lost',
            'participants', 'pending', 'satisfaction_share_n', 'under_30', 'undecided_1m'
        ]) as measure,
        unnest([
            age_unknown is not null,
            aged_30_plus is not null,
            coalesce(cast(effect_1m_n as double), effect_1m, effect_1m_low) is not null,
            coalesce(cast(effect_3m_n as double), effect_3m, effect_3m_low) is not null,
            finished is not null,
            in_offer is not null,
            response_rate is not null,
            lost is not null,
            coalesce(prior_weeks_mean, prior_weeks_median) is not null
                or under_30 is not null and aged_30_plus is not null and age_unknown is not null,
            pending is not null,
            coalesce(cast(satisfaction_share_n as double), satisfaction_share, satisfaction_mean) is not null,
            under_30 is not null,
            finished is not null and effect_1m_n is not null
        ]) as is_shown
    from mart.offer_overview
),
guide as (
    select
        municipality_code,
        offer_id as block,
        target_group as part,
        unnest([
            'closer_to_job_share_n', 'effect_3m_sustained_n', 'effect_7m_n', 'satisfaction_share_n', 'workplace_share_n'
        ]) as measure,
        unnest([
            coalesce(cast(closer_to_job_share_n as double), closer_to_job_share) is not null,
            coalesce(cast(effect_3m_sustained_n as double), effect_3m_sustained, price_per_success_dkk) is not null,
            coalesce(cast(effect_7m_n as double), effect_7m) is not null,
            coalesce(cast(satisfaction_share_n as double), satisfaction_share) is not null,
            coalesce(cast(workplace_share_n as double), workplace_share) is not null
        ]) as is_shown
    from mart.visitation_guide
),
told as (
    select 'offer_overview' as mart, municipality_code, block, part, measure from overview where is_shown
    union all
    select 'visitation_guide' as mart, municipality_code, block, part, measure from guide where is_shown
    union all
    select distinct
        'contract_status' as mart,
        municipality_code,
        case when starts_with(indicator, 'interview_timeliness') then 'interview_timeliness' else indicator end as block,
        concat(indicator, ' ', coalesce(unit_id, '')) as part,
        period as measure
    from mart.contract_status
    where n is not null or value is not null
)
select
    s.mart,  -- Name of the published table without its schema.
    s.municipality_code,  -- Municipality.
    s.block,  -- Half-year and offer, the offer, or the indicator.
    s.part,  -- Target group, or indicator and unit.
    s.measure,  -- The column that holds the count, or the period of a contract value.
    'shown' as how  -- What gives it away: shown is the row it stands in.
from core.small_cell as s
join told as t
    on t.mart = s.mart
    and t.municipality_code = s.municipality_code
    and t.block = s.block
    and t.part = s.part
    and t.measure = s.measure
where s.n > 0
