-- doc: Share of participations that each indicator can say anything about, by target group, complete: for those allowed to see
--     small cells. The published one is mart.coverage.
-- grain: municipality_code, target_group, indicator, period
-- partition_by: municipality_code
-- definition: coverage@1
-- check: states_add_up: participations = share_n + pending
-- check: share_is_a_fraction: share between 0 and 1
with counted as (
    select
        municipality_code,
        target_group,
        indicator,
        period,
        sum(participations) as participations,
        sum(covered) as covered,
        sum(covered) + sum(uncovered) as n,
        sum(pending) as pending
    from core.coverage_offer
    group by municipality_code, target_group, indicator, period
)
select
    c.municipality_code,  -- Municipality.
    c.target_group,  -- Target group, or all of them together.
    c.indicator,  -- age_group, attendance_share, closer_to_job_share, effect_3m, effect_7m, progression, satisfaction_share or smiley.
    c.period,  -- Half-year in which the participations ended (started, for effect_7m).
    c.participations,  -- Participations that did.
    c.covered,  -- Of them, those the indicator says something of.
    c.pending,  -- Of them, those of which nothing is known yet.
    cast(c.covered as double) / nullif(c.n, 0) as share,  -- Share covered of those that are not pending.
    c.n as share_n,  -- Participations behind it.
    wilson_low(c.covered, c.n) as share_low,  -- Lower end of its 95 % interval.
    wilson_high(c.covered, c.n) as share_high,  -- Upper end of its 95 % interval.
    false as suppressed,  -- Nothing is hidden here.
    'coverage@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    h.complete_through as data_through  -- Horizon of what the indicator needs; null where none is reported.
from counted as c
left join core.horizon as h
    on h.municipality_code = c.municipality_code
    and h.entity = case c.indicator
        when 'age_group' then 'citizen'
        when 'attendance_share' then 'attendance'
        when 'progression' then 'progress_measurement'
        when 'smiley' then 'supervision_visit'
        when 'closer_to_job_share' then 'survey_response'
        when 'satisfaction_share' then 'survey_response'
        else 'benefit_spell'
    end
