-- doc: What an offer did for citizens lately, to choose by, small cells hidden. The complete one is core.visitation_guide.
-- grain: municipality_code, offer_id, target_group
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, effect_3m_sustained@1, effect_7m@1, guide_window@1, price_per_success@1,
--     satisfaction_share@1, small_cells@1, smiley@1, workplace_share_guide@1
-- check: no_small_count: not (coalesce(effect_3m_sustained_n, 0) between 1 and 4 or coalesce(effect_7m_n, 0) between 1 and 4
--     or coalesce(workplace_share_n, 0) between 1 and 4 or coalesce(satisfaction_share_n, 0) between 1 and 4 or
--     coalesce(closer_to_job_share_n, 0) between 1 and 4)
with counted as (
    select
        municipality_code,
        offer_id,
        target_group,
        effect_3m_sustained_n,
        effect_7m_n,
        workplace_share_n,
        satisfaction_share_n,
        closer_to_job_share_n
    from core.visitation_guide
    union all
    -- Answers that name no target group: a part of `all` that is not shown, but could be found by subtraction.
    select
        municipality_code,
        offer_id,
        'none' as target_group,
        null as effect_3m_sustained_n,
        null as effect_7m_n,
        null as workplace_share_n,
        sum(case when target_group = 'all' then satisfaction_share_n else -satisfaction_share_n end) as satisfaction_share_n,
        sum(case when target_group = 'all' then closer_to_job_share_n else -closer_to_job_share_n end) as closer_to_job_share_n
    from core.visitation_guide
    group by municipality_code, offer_id
),
small as (
    select
        municipality_code,
        offer_id,
        target_group,
        suppressed(effect_3m_sustained_n, target_group, target_group = 'all') over offer as effect_3m_sustained,
        suppressed(effect_7m_n, target_group, target_group = 'all') over offer as effect_7m,
        suppressed(workplace_share_n, target_group, target_group = 'all') over offer as workplace_share,
        suppressed(satisfaction_share_n, target_group, target_group = 'all') over offer as satisfaction_share,
        suppressed(closer_to_job_share_n, target_group, target_group = 'all') over offer as closer_to_job_share
    from counted
    window offer as (partition by municipality_code, offer_id)
)
select
    g.municipality_code,  -- Municipality.
    g.offer_id,  -- The offer.
    g.target_group,  -- Target group, or all of them together.
    g.offer_name,  -- Name of the offer.
    g.provider_name,  -- Name of the provider.
    g.package,  -- Offer package.
    g.price_per_week_dkk,  -- Price of a week, in kroner.
    g.hours_per_week_min,  -- Hours a week, at least.
    g.hours_per_week_max,  -- Hours a week, at most.
    g.weeks_min,  -- Weeks, at least.
    g.weeks_max,  -- Weeks, at most.
    g.accessible,  -- Whether citizens with a disability can use it.
    case when not s.effect_3m_sustained then g.effect_3m_sustained end as effect_3m_sustained,  -- Share self-supporting on every day of the three months after the end; ended in the 12 months up to three months before the horizon.
    case when not s.effect_3m_sustained then g.effect_3m_sustained_n end as effect_3m_sustained_n,  -- Citizens behind it.
    case when not s.effect_3m_sustained then g.effect_3m_sustained_low end as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    case when not s.effect_3m_sustained then g.effect_3m_sustained_high end as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    case when not s.effect_7m then g.effect_7m end as effect_7m,  -- Share self-supporting in three of the seven months after the start; started in the 12 months up to seven months before the horizon.
    case when not s.effect_7m then g.effect_7m_n end as effect_7m_n,  -- Citizens behind it.
    case when not s.effect_7m then g.effect_7m_low end as effect_7m_low,  -- Lower end of its 95 % interval.
    case when not s.effect_7m then g.effect_7m_high end as effect_7m_high,  -- Upper end of its 95 % interval.
    case when not s.workplace_share then g.workplace_share end as workplace_share,  -- Share at a work place (internship or wage subsidy); ended in the 12 months up to the horizon.
    case when not s.workplace_share then g.workplace_share_n end as workplace_share_n,  -- Citizens behind it.
    case when not s.workplace_share then g.workplace_share_low end as workplace_share_low,  -- Lower end of its 95 % interval.
    case when not s.workplace_share then g.workplace_share_high end as workplace_share_high,  -- Upper end of its 95 % interval.
    case when not s.satisfaction_share then g.satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 on satisfaction, in the 12 months up to the horizon.
    case when not s.satisfaction_share then g.satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not s.satisfaction_share then g.satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not s.satisfaction_share then g.satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    case when not s.closer_to_job_share then g.closer_to_job_share end as closer_to_job_share,  -- Answers 4 and 5 on being brought closer to a job, in the same 12 months.
    case when not s.closer_to_job_share then g.closer_to_job_share_n end as closer_to_job_share_n,  -- Answers behind it.
    case when not s.closer_to_job_share then g.closer_to_job_share_low end as closer_to_job_share_low,  -- Lower end of its 95 % interval.
    case when not s.closer_to_job_share then g.closer_to_job_share_high end as closer_to_job_share_high,  -- Upper end of its 95 % interval.
    case when not s.effect_3m_sustained then g.price_per_success_dkk end as price_per_success_dkk,  -- Price of the weeks of the citizens behind effect_3m_sustained, per success; null without one.
    g.smiley,  -- Smiley of the offer on the horizon.
    s.effect_3m_sustained or s.effect_7m or s.workplace_share or s.satisfaction_share or s.closer_to_job_share as suppressed,  -- Whether anything in the row is hidden.
    concat(g.definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    g.data_through  -- Horizon of public support, which the windows are counted back from; null where none is reported.
from core.visitation_guide as g
join small as s
    on s.municipality_code = g.municipality_code and s.offer_id = g.offer_id and s.target_group = g.target_group
