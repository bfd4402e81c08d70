-- doc: What an offer did for citizens lately, to choose by, small cells hidden. The complete one is core.visitation_guide.
-- grain: municipality_code, offer_id, target_group
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, effect_3m_sustained@1, effect_7m@1, guide_window@1, price_per_success@1,
--     satisfaction_share@1, small_cells@1, smiley@1, workplace_share_guide@1
-- check: no_small_count: not (coalesce(effect_3m_sustained_n, 0) between 1 and 4 or coalesce(effect_7m_n, 0) between 1 and 4
--     or coalesce(workplace_share_n, 0) between 1 and 4 or coalesce(satisfaction_share_n, 0) between 1 and 4 or
--     coalesce(closer_to_job_share_n, 0) between 1 and 4)
with small as (
    select
        municipality_code,
        block as offer_id,
        part as target_group,
        bool_or(measure = 'effect_3m_sustained_n') as effect_3m_sustained,
        bool_or(measure = 'effect_7m_n') as effect_7m,
        bool_or(measure = 'workplace_share_n') as workplace_share,
        bool_or(measure = 'satisfaction_share_n') as satisfaction_share,
        bool_or(measure = 'closer_to_job_share_n') as closer_to_job_share
    from core.small_cell
    where mart = 'visitation_guide'
    group by municipality_code, block, part
),
marked as (
    select
        g.*,
        coalesce(s.effect_3m_sustained, false) as hide_effect_3m,
        coalesce(s.effect_7m, false) as hide_effect_7m,
        coalesce(s.workplace_share, false) as hide_workplace,
        coalesce(s.satisfaction_share, false) as hide_satisfaction,
        coalesce(s.closer_to_job_share, false) as hide_closer
    from core.visitation_guide as g
    left join small as s
        on s.municipality_code = g.municipality_code and s.offer_id = g.offer_id and s.target_group = g.target_group
)
select
    municipality_code,  -- Municipality.
    offer_id,  -- The offer.
    target_group,  -- Target group, or all of them together.
    offer_name,  -- Name of the offer.
    provider_name,  -- Name of the provider.
    package,  -- Offer package.
    price_per_week_dkk,  -- Price of a week, in kroner.
    hours_per_week_min,  -- Hours a week, at least.
    hours_per_week_max,  -- Hours a week, at most.
    weeks_min,  -- Weeks, at least.
    weeks_max,  -- Weeks, at most.
    accessible,  -- Whether citizens with a disability can use it.
    case when not hide_effect_3m then effect_3m_sustained end as effect_3m_sustained,  -- Share self-supporting on every day of the three months after the end; ended in the 12 months up to three months before the horizon.
    case when not hide_effect_3m then effect_3m_sustained_n end as effect_3m_sustained_n,  -- Citizens behind it.
    case when not hide_effect_3m then effect_3m_sustained_low end as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_3m then effect_3m_sustained_high end as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_7m then effect_7m end as effect_7m,  -- Share self-supporting in three of the seven months after the start; started in the 12 months up to seven months before the horizon.
    case when not hide_effect_7m then effect_7m_n end as effect_7m_n,  -- Citizens behind it.
    case when not hide_effect_7m then effect_7m_low end as effect_7m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_7m then effect_7m_high end as effect_7m_high,  -- Upper end of its 95 % interval.
    case when not hide_workplace then workplace_share end as workplace_share,  -- Share at a work place (internship or wage subsidy); ended in the 12 months up to the horizon.
    case when not hide_workplace then workplace_share_n end as workplace_share_n,  -- Citizens behind it.
    case when not hide_workplace then workplace_share_low end as workplace_share_low,  -- Lower end of its 95 % interval.
    case when not hide_workplace then workplace_share_high end as workplace_share_high,  -- Upper end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 on satisfaction, in the 12 months up to the horizon.
    case when not hide_satisfaction then satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not hide_satisfaction then satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    case when not hide_closer then closer_to_job_share end as closer_to_job_share,  -- Answers 4 and 5 on being brought closer to a job, in the same 12 months.
    case when not hide_closer then closer_to_job_share_n end as closer_to_job_share_n,  -- Answers behind it.
    case when not hide_closer then closer_to_job_share_low end as closer_to_job_share_low,  -- Lower end of its 95 % interval.
    case when not hide_closer then closer_to_job_share_high end as closer_to_job_share_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_3m then price_per_success_dkk end as price_per_success_dkk,  -- Price of the weeks of the citizens behind effect_3m_sustained, per success; null without one.
    smiley,  -- Smiley of the offer on the horizon.
    hide_effect_3m or hide_effect_7m or hide_workplace or hide_satisfaction or hide_closer as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of public support, which the windows are counted back from; null where none is reported.
from marked
