-- doc: The half-yearly overview of offer quality, small cells hidden. The complete one is core.offer_overview.
-- grain: municipality_code, period, offer_id, target_group
-- partition_by: municipality_code
-- definition: age_group@1, complaints@1, complaints_per_100@1, effect_1m@1, effect_3m@1, finished@1, in_offer@1,
--     overview_period@1, prior_weeks@1, response_rate@1, satisfaction_mean@1, satisfaction_share@1, small_cells@1, smiley@1
-- check: no_small_count: not (coalesce(in_offer, 0) between 1 and 4 or coalesce(finished, 0) between 1 and 4 or
--     coalesce(under_30, 0) between 1 and 4 or coalesce(aged_30_plus, 0) between 1 and 4 or coalesce(age_unknown, 0) between
--     1 and 4 or coalesce(effect_1m_n, 0) between 1 and 4 or coalesce(effect_3m_n, 0) between 1 and 4 or coalesce(pending, 0)
--     between 1 and 4 or coalesce(lost, 0) between 1 and 4 or coalesce(satisfaction_share_n, 0) between 1 and 4 or
--     coalesce(complaints, 0) between 1 and 4)
-- check: no_share_without_n: (effect_1m_n is not null or effect_1m is null) and (effect_3m_n is not null or effect_3m is
--     null) and (satisfaction_share_n is not null or satisfaction_share is null and satisfaction_mean is null)
with small as (
    select
        municipality_code,
        block,
        part,
        bool_or(measure = 'participants') as participants,
        bool_or(measure = 'in_offer') as in_offer,
        bool_or(measure = 'finished') as finished,
        bool_or(measure = 'under_30') as under_30,
        bool_or(measure = 'aged_30_plus') as aged_30_plus,
        bool_or(measure = 'age_unknown') as age_unknown,
        bool_or(measure = 'effect_1m_n') as effect_1m_n,
        bool_or(measure = 'effect_3m_n') as effect_3m_n,
        bool_or(measure = 'pending') as pending,
        bool_or(measure = 'lost') as lost,
        bool_or(measure = 'satisfaction_share_n') as satisfaction_share_n,
        bool_or(measure = 'invited') as invited
    from core.small_cell
    where mart = 'offer_overview'
    group by municipality_code, block, part
),
marked as (
    select
        o.*,
        coalesce(s.participants, false) as hide_participants,
        coalesce(s.in_offer, false) as hide_in_offer,
        coalesce(s.finished, false) as hide_finished,
        coalesce(s.under_30, false) as hide_under_30,
        coalesce(s.aged_30_plus, false) as hide_aged_30_plus,
        coalesce(s.age_unknown, false) as hide_age_unknown,
        coalesce(s.effect_1m_n, false) as hide_effect_1m,
        coalesce(s.effect_3m_n, false) as hide_effect_3m,
        coalesce(s.pending, false) as hide_pending,
        coalesce(s.lost, false) as hide_lost,
        coalesce(s.satisfaction_share_n, false) as hide_satisfaction,
        coalesce(s.invited, false) as hide_response_rate,
        coalesce(o.complaints between 1 and 4, false) as hide_complaints,
        coalesce(o.complaints between 1 and 4, false) or coalesce(t.participants, false) as hide_complaints_per_100
    from core.offer_overview as o
    left join small as s
        on s.municipality_code = o.municipality_code
        and s.block = concat(o.period, ' ', o.offer_id)
        and s.part = o.target_group
    left join small as t
        on t.municipality_code = o.municipality_code
        and t.block = concat(o.period, ' ', o.offer_id)
        and t.part = 'all'
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year, such as 2010H1.
    offer_id,  -- The offer.
    target_group,  -- Target group, or all of them together.
    offer_name,  -- Name of the offer.
    provider_id,  -- Who delivers it.
    provider_name,  -- Name of the provider.
    provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    package,  -- Offer package.
    case when not hide_in_offer then in_offer end as in_offer,  -- Citizens in the offer on the last day of the period (on the horizon, in the period that holds it).
    case when not hide_finished then finished end as finished,  -- Citizens who ended in the period.
    case when not hide_under_30 then under_30 end as under_30,  -- Citizens in the offer on some day of the period who were under 30 at the start.
    case when not hide_aged_30_plus then aged_30_plus end as aged_30_plus,  -- The same, 30 or more.
    case when not hide_age_unknown then age_unknown end as age_unknown,  -- The same, birth year unknown.
    case when not hide_participants then prior_weeks_mean end as prior_weeks_mean,  -- Weeks of public support before the start, mean over the same citizens.
    case when not hide_participants then prior_weeks_median end as prior_weeks_median,  -- The same, median.
    case when not hide_effect_1m then effect_1m end as effect_1m,  -- Share self-supporting one month after the end, of those who ended in the period.
    case when not hide_effect_1m then effect_1m_n end as effect_1m_n,  -- Citizens behind effect_1m.
    case when not hide_effect_1m then effect_1m_low end as effect_1m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_1m then effect_1m_high end as effect_1m_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_3m then effect_3m end as effect_3m,  -- Share self-supporting three months after the end, of those who ended in the period.
    case when not hide_effect_3m then effect_3m_n end as effect_3m_n,  -- Citizens behind effect_3m.
    case when not hide_effect_3m then effect_3m_low end as effect_3m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_3m then effect_3m_high end as effect_3m_high,  -- Upper end of its 95 % interval.
    case when not hide_pending then pending end as pending,  -- Citizens whose three months are not over by the horizon.
    case when not hide_lost then lost end as lost,  -- Citizens who died, emigrated or were pensioned within the three months.
    case when not hide_satisfaction then satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 among those given in the period.
    case when not hide_satisfaction then satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not hide_satisfaction then satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_mean end as satisfaction_mean,  -- Mean of the same answers, 1 to 5.
    case when not hide_response_rate then response_rate end as response_rate,  -- Share answered of the invitations sent in the period.
    case when not hide_complaints then complaints end as complaints,  -- Complaints about the offer received in the period, whatever the target group.
    case when not hide_complaints_per_100 then complaints_per_100 end as complaints_per_100,  -- The same per 100 citizens in the offer in the period.
    smiley,  -- Smiley of the offer on the last day of the period.
    hide_participants or hide_in_offer or hide_finished or hide_under_30 or hide_aged_30_plus or hide_age_unknown
        or hide_effect_1m or hide_effect_3m or hide_pending or hide_lost or hide_satisfaction or hide_response_rate
        or hide_complaints or hide_complaints_per_100 as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from marked
