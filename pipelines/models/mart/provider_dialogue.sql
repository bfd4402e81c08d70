-- doc: What to talk about with each provider [dialogmodel]: its results against what could be expected, complaints, supervision
--     and actions still open, small cells hidden. The complete one is core.provider_dialogue.
-- grain: municipality_code, provider_id, period
-- partition_by: municipality_code
-- definition: case_mix@1, complaints@1, effect_3m@1, fair_comparison@1, provider_dialogue@1, satisfaction_share@1,
--     small_cells@1, smiley@1, supervision_visits@1
-- check: no_small_count: not (coalesce(effect_3m_observed, 0) between 1 and 4 or coalesce(effect_3m_n, 0) between 1 and 4 or
--     coalesce(satisfaction_share_n, 0) between 1 and 4 or coalesce(complaints, 0) between 1 and 4)
-- check: no_share_without_n: (effect_3m_n is not null or effect_3m_index is null) and (satisfaction_share_n is not null or
--     satisfaction_share is null)
with
-- Over the target groups that are shown with everything: their sum tells nothing new.
compared as (
    select
        municipality_code,
        provider_id,
        year,
        sum(observed) filter (where flag is not null) as observed,
        sum(n) filter (where flag is not null) as n,
        sum(expected) filter (where flag is not null) as expected,
        count(*) filter (where flag in ('better', 'much_better')) as better,
        count(*) filter (where flag = 'as_expected') as as_expected,
        count(*) filter (where flag in ('worse', 'much_worse')) as worse,
        count(*) filter (where flag is null and n is distinct from 0) as hidden
    from mart.provider_comparison
    where indicator = 'effect_3m'
    group by municipality_code, provider_id, year
),
-- A sum over offers may have hidden parts, but not a single one, nor such as could only be ones or fours.
offer_answer as (
    select
        c.municipality_code,
        c.provider_id,
        c.period,
        case when m.satisfaction_share_n is null then c.satisfaction_share_n end as hidden
    from core.offer_overview as c
    join mart.offer_overview as m
        on m.municipality_code = c.municipality_code
        and m.period = c.period
        and m.offer_id = c.offer_id
        and m.target_group = c.target_group
    where c.target_group = 'all' and c.satisfaction_share_n > 0
),
answered as (
    select
        municipality_code,
        provider_id,
        period,
        count(hidden) = 1 or sum(hidden) in (count(hidden), 4 * count(hidden)) as hidden
    from offer_answer
    group by municipality_code, provider_id, period
),
-- Where mart.complaint shows zeros, each kind and authority that it hides is one complaint at least.
offer_complaint as (
    select
        k.municipality_code,
        o.provider_id,
        half_year(k.received_date) as period,
        case when count(*) <= 4 then count(*) end as hidden,
        case when count(*) <= 4 then count(distinct concat(k.kind, ' ', k.authority)) end as least
    from core.complaint as k
    join core.offer as o on o.offer_id = k.offer_id
    group by k.municipality_code, o.provider_id, half_year(k.received_date), k.offer_id
),
complained as (
    select
        municipality_code,
        provider_id,
        period,
        count(hidden) > 0 and count(hidden) filter (where least < 4) < 2
            or sum(hidden) in (sum(least), 4 * count(hidden)) as hidden
    from offer_complaint
    group by municipality_code, provider_id, period
),
marked as (
    select
        d.*,
        c.observed as shown_observed,
        c.n as shown_n,
        c.expected as shown_expected,
        case when c.n is not null or c.hidden > 0 then c.better end as shown_better,
        case when c.n is not null or c.hidden > 0 then c.as_expected end as shown_as_expected,
        case when c.n is not null or c.hidden > 0 then c.worse end as shown_worse,
        case when c.n is not null or c.hidden > 0 then c.hidden end as hidden,
        coalesce(a.hidden, false) or coalesce(d.satisfaction_share_n between 1 and 4, false) as hide_satisfaction,
        coalesce(k.hidden, false) or coalesce(d.complaints between 1 and 4, false) as hide_complaints
    from core.provider_dialogue as d
    left join compared as c
        on c.municipality_code = d.municipality_code
        and c.provider_id = d.provider_id
        and c.year = cast(substr(d.period, 1, 4) as int)
    left join answered as a
        on a.municipality_code = d.municipality_code and a.provider_id = d.provider_id and a.period = d.period
    left join complained as k
        on k.municipality_code = d.municipality_code and k.provider_id = d.provider_id and k.period = d.period
)
select
    municipality_code,  -- Municipality.
    provider_id,  -- The provider.
    period,  -- Half-year, such as 2010H1.
    provider_name,  -- Name of the provider.
    provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    shown_observed as effect_3m_observed,  -- Citizens self-supporting three months after the end, of those who ended in the year and are known, added up over the target groups that are shown.
    shown_n as effect_3m_n,  -- Citizens of these target groups whose outcome is known.
    round(shown_expected, 1) as effect_3m_expected,  -- As many would have been, had each age and length of support done as it does with all the municipality's providers. Rounded to one decimal.
    round(100 * shown_observed / nullif(shown_expected, 0), 1) as effect_3m_index,  -- Observed in per cent of expected; null where none was expected. Rounded to one decimal.
    shown_better as target_groups_better,  -- Target groups in which the provider is better or much better than expected.
    shown_as_expected as target_groups_as_expected,  -- Target groups in which it is as expected.
    shown_worse as target_groups_worse,  -- Target groups in which it is worse or much worse.
    hidden as target_groups_hidden,  -- Target groups left out, since something of them is hidden.
    case when not hide_satisfaction then satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 among those given in the half-year about the provider's offers.
    case when not hide_satisfaction then satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not hide_satisfaction then satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    case when not hide_complaints then complaints end as complaints,  -- Complaints about the provider's offers received in the half-year.
    visits,  -- Supervision visits in the half-year; null where none came and visits are not known to be complete.
    offers_with_smiley,  -- Offers valid on the last day that have a coloured smiley.
    offers_red,  -- Of them, those with a red one.
    actions_open,  -- Actions after the provider's visits, meetings and complaints that are open on the last day (on the horizon, in the half-year that holds it); null where actions are not known to be complete.
    actions_overdue,  -- Of them, those due before that day.
    last_meeting_held,  -- Day of the last dialogue meeting up to the last day; null where there was none.
    coalesce(hidden > 0, false) or hide_satisfaction or hide_complaints as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from marked
