-- doc: What an offer did for citizens lately, complete: for those allowed to see small cells. The published one is
--     mart.visitation_guide.
-- grain: municipality_code, offer_id, target_group
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, effect_3m_sustained@1, effect_7m@1, guide_window@1, price_per_success@1,
--     satisfaction_share@1, smiley@1, workplace_share_guide@1
-- check: shares_are_fractions: coalesce(effect_3m_sustained, 0) between 0 and 1 and coalesce(effect_7m, 0) between 0 and 1
--     and coalesce(workplace_share, 0) between 0 and 1 and coalesce(satisfaction_share, 0) between 0 and 1 and
--     coalesce(closer_to_job_share, 0) between 0 and 1
with horizon as (
    select
        municipality_code,
        complete_through,
        add_months(add_months(complete_through, -3), -12) as after_3m,
        add_months(complete_through, -3) as until_3m,
        add_months(add_months(complete_through, -7), -12) as after_7m,
        add_months(complete_through, -7) as until_7m,
        add_months(complete_through, -12) as after_12m
    from core.horizon
    where entity = 'benefit_spell'
),
reported as (
    select s.municipality_code
    from core.horizon as s
    join horizon as h on h.municipality_code = s.municipality_code
    where s.entity = 'survey_response' and s.complete_through > h.after_12m
),
participation as (
    select
        o.municipality_code,
        o.offer_id,
        o.target_group,
        o.citizen_number,
        o.start_order,
        o.end_order,
        cast(o.end_date as int) - cast(o.start_date as int) + 1 as days,
        -- 1 yes, 0 no, 2 not known.
        case o.effect_3m_sustained when 'success' then 1 when 'failure' then 0 else 2 end as state_3m,
        case o.effect_7m when 'success' then 1 when 'failure' then 0 else 2 end as state_7m,
        case when o.workplace <> 'none' then 1 when o.workplace is not null then 0 else 2 end as state_workplace,
        o.end_date > h.after_3m and o.end_date <= h.until_3m as in_3m,
        o.start_date > h.after_7m and o.start_date <= h.until_7m as in_7m,
        o.end_date > h.after_12m and o.end_date <= h.complete_through as in_12m
    from core.ranked_outcome as o
    join horizon as h on h.municipality_code = o.municipality_code
    where o.end_date > h.after_3m or o.start_date > h.after_7m
),
recent as (
    select *, unnest([target_group, 'all']) as cell_group
    from participation
    where in_3m or in_7m or in_12m
),
-- Within one cell a citizen counts once, by the latest anchor in the window. The latest and what it tells are one number, since a
-- greatest number is found much faster than a last row.
citizen as (
    select
        municipality_code,
        offer_id,
        cell_group as target_group,
        citizen_number,
        max(case when in_3m then (end_order * 4 + state_3m) * 100000 + days end) as last_3m,
        max(case when in_7m then start_order * 4 + state_7m end) as last_7m,
        max(case when in_12m then end_order * 4 + state_workplace end) as last_12m
    from recent
    group by municipality_code, offer_id, cell_group, citizen_number
),
told as (
    select
        municipality_code,
        offer_id,
        target_group,
        last_3m / 100000 % 4 as state_3m,
        last_3m % 100000 as days,
        last_7m % 4 as state_7m,
        last_12m % 4 as state_workplace
    from citizen
),
counted as (
    select
        municipality_code,
        offer_id,
        target_group,
        count(*) filter (where state_3m = 1) as success_3m,
        count(*) filter (where state_3m < 2) as n_3m,
        sum(days) filter (where state_3m < 2) as days,
        count(*) filter (where state_7m = 1) as success_7m,
        count(*) filter (where state_7m < 2) as n_7m,
        count(*) filter (where state_workplace = 1) as at_workplace,
        count(*) filter (where state_workplace < 2) as n_workplace
    from told
    group by municipality_code, offer_id, target_group
),
ever as (
    select o.municipality_code, o.offer_id, o.target_group, h.complete_through
    from (
        select distinct municipality_code, offer_id, unnest([target_group, 'all']) as target_group
        from (select distinct municipality_code, offer_id, target_group from core.ranked_outcome) as there
    ) as o
    left join horizon as h on h.municipality_code = o.municipality_code
),
answer as (
    select a.municipality_code, a.offer_id, a.target_group, a.satisfaction, a.closer_to_job
    from core.survey_answer as a
    join horizon as h on h.municipality_code = a.municipality_code
    where a.answered_date > h.after_12m and a.answered_date <= h.complete_through
),
answered as (
    select
        municipality_code,
        offer_id,
        target_group,
        count(*) filter (where satisfaction >= 4) as satisfied,
        count(satisfaction) as n_satisfied,
        count(*) filter (where closer_to_job >= 4) as closer,
        count(closer_to_job) as n_closer
    from (
        select municipality_code, offer_id, target_group, satisfaction, closer_to_job
        from answer
        where offer_id is not null and target_group is not null
        union all
        select municipality_code, offer_id, 'all' as target_group, satisfaction, closer_to_job
        from answer
        where offer_id is not null
    ) as attributed
    group by municipality_code, offer_id, target_group
),
guide as (
    select
        e.municipality_code,
        e.offer_id,
        e.target_group,
        e.complete_through,
        c.success_3m,
        c.days,
        c.success_7m,
        c.at_workplace,
        a.satisfied,
        a.closer,
        -- Zero only where it is known: nothing is counted before the municipality has a horizon, and no answers before surveys are
        -- complete into the window.
        coalesce(c.n_3m, case when e.complete_through is not null then 0 end) as n_3m,
        coalesce(c.n_7m, case when e.complete_through is not null then 0 end) as n_7m,
        coalesce(c.n_workplace, case when e.complete_through is not null then 0 end) as n_workplace,
        coalesce(a.n_satisfied, case when r.municipality_code is not null then 0 end) as n_satisfied,
        coalesce(a.n_closer, case when r.municipality_code is not null then 0 end) as n_closer
    from ever as e
    left join counted as c
        on c.municipality_code = e.municipality_code and c.offer_id = e.offer_id and c.target_group = e.target_group
    left join answered as a
        on a.municipality_code = e.municipality_code and a.offer_id = e.offer_id and a.target_group = e.target_group
    left join reported as r on r.municipality_code = e.municipality_code
)
select
    g.municipality_code,  -- Municipality.
    g.offer_id,  -- The offer.
    g.target_group,  -- Target group, or all of them together.
    o.offer_name,  -- Name of the offer.
    o.provider_name,  -- Name of the provider.
    o.package,  -- Offer package.
    o.price_per_week_dkk,  -- Price of a week, in kroner.
    o.hours_per_week_min,  -- Hours a week, at least.
    o.hours_per_week_max,  -- Hours a week, at most.
    o.weeks_min,  -- Weeks, at least.
    o.weeks_max,  -- Weeks, at most.
    o.accessible,  -- Whether citizens with a disability can use it.
    cast(g.success_3m as double) / nullif(g.n_3m, 0) as effect_3m_sustained,  -- Share self-supporting on every day of the three months after the end; ended in the 12 months up to three months before the horizon.
    g.n_3m as effect_3m_sustained_n,  -- Citizens behind it.
    wilson_low(g.success_3m, g.n_3m) as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    wilson_high(g.success_3m, g.n_3m) as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    cast(g.success_7m as double) / nullif(g.n_7m, 0) as effect_7m,  -- Share self-supporting in three of the seven months after the start; started in the 12 months up to seven months before the horizon.
    g.n_7m as effect_7m_n,  -- Citizens behind it.
    wilson_low(g.success_7m, g.n_7m) as effect_7m_low,  -- Lower end of its 95 % interval.
    wilson_high(g.success_7m, g.n_7m) as effect_7m_high,  -- Upper end of its 95 % interval.
    cast(g.at_workplace as double) / nullif(g.n_workplace, 0) as workplace_share,  -- Share at a work place (internship or wage subsidy); ended in the 12 months up to the horizon.
    g.n_workplace as workplace_share_n,  -- Citizens behind it.
    wilson_low(g.at_workplace, g.n_workplace) as workplace_share_low,  -- Lower end of its 95 % interval.
    wilson_high(g.at_workplace, g.n_workplace) as workplace_share_high,  -- Upper end of its 95 % interval.
    cast(g.satisfied as double) / nullif(g.n_satisfied, 0) as satisfaction_share,  -- Answers 4 and 5 on satisfaction, in the 12 months up to the horizon.
    g.n_satisfied as satisfaction_share_n,  -- Answers behind it.
    wilson_low(g.satisfied, g.n_satisfied) as satisfaction_share_low,  -- Lower end of its 95 % interval.
    wilson_high(g.satisfied, g.n_satisfied) as satisfaction_share_high,  -- Upper end of its 95 % interval.
    cast(g.closer as double) / nullif(g.n_closer, 0) as closer_to_job_share,  -- Answers 4 and 5 on being brought closer to a job, in the same 12 months.
    g.n_closer as closer_to_job_share_n,  -- Answers behind it.
    wilson_low(g.closer, g.n_closer) as closer_to_job_share_low,  -- Lower end of its 95 % interval.
    wilson_high(g.closer, g.n_closer) as closer_to_job_share_high,  -- Upper end of its 95 % interval.
    cast(o.price_per_week_dkk as double) * g.days / 7 / nullif(g.success_3m, 0) as price_per_success_dkk,  -- Price of the weeks of the citizens behind effect_3m_sustained, per success; null without one.
    y.smiley,  -- Smiley of the offer on the horizon.
    false as suppressed,  -- Nothing is hidden here.
    'closer_to_job_share@1, effect_3m_sustained@1, effect_7m@1, guide_window@1, price_per_success@1, satisfaction_share@1, smiley@1, workplace_share_guide@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    g.complete_through as data_through  -- Horizon of public support, which the windows are counted back from; null where none is reported.
from guide as g
left join core.offer_in_use as o on o.municipality_code = g.municipality_code and o.offer_id = g.offer_id
left join core.smiley as y
    on y.municipality_code = g.municipality_code and y.offer_id = g.offer_id and y.day = g.complete_through
