-- doc: What to talk about with each provider [dialogmodel]: its results against what could be expected, complaints, supervision
--     and actions still open, complete: for those allowed to see small cells. The published one is mart.provider_dialogue.
-- grain: municipality_code, provider_id, period
-- partition_by: municipality_code
-- definition: case_mix@1, complaints@1, effect_3m@1, fair_comparison@1, provider_dialogue@1, satisfaction_share@1, smiley@1,
--     supervision_visits@1
-- check: overdue_within_open: actions_overdue <= actions_open
-- check: share_is_a_fraction: coalesce(satisfaction_share, 0) between 0 and 1
with overview as (
    select
        v.municipality_code,
        v.provider_id,
        v.period,
        sum(round(v.satisfaction_share * v.satisfaction_share_n)) as satisfied,
        sum(v.satisfaction_share_n) as answers
    from core.offer_overview as v
    where v.target_group = 'all' and v.provider_id is not null
    group by v.municipality_code, v.provider_id, v.period
),
-- What an improvement action can come from.
event as (
    select municipality_code, 'supervision_visit' as origin, visit_id as origin_id, provider_id, visit_date as day
    from core.supervision_visit
    union all
    select municipality_code, 'dialogue_meeting' as origin, meeting_id as origin_id, provider_id, held_date as day
    from core.dialogue_meeting
    union all
    select k.municipality_code, 'complaint' as origin, k.complaint_id as origin_id, o.provider_id, k.received_date as day
    from core.complaint as k
    join core.offer as o on o.offer_id = k.offer_id
),
event_count as (
    select
        municipality_code,
        provider_id,
        half_year(day) as period,
        count(*) filter (where origin = 'supervision_visit') as visits,
        count(*) filter (where origin = 'complaint') as complaints
    from event
    group by municipality_code, provider_id, half_year(day)
),
horizon as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'benefit_spell') as benefit_spell,
        max(complete_through) filter (where entity = 'complaint') as complaint,
        max(complete_through) filter (where entity = 'improvement_action') as improvement_action,
        max(complete_through) filter (where entity = 'supervision_visit') as supervision_visit
    from core.horizon
    group by municipality_code
),
provider_half as (
    select
        k.municipality_code,
        k.provider_id,
        k.period,
        cast(substr(k.period, 1, 4) as int) as year,
        d.last_day,
        case when h.complaint >= d.first_day then 0 end as no_complaints,
        case when h.supervision_visit >= d.first_day then 0 end as no_visits,
        case when h.improvement_action >= d.first_day then least(d.last_day, h.improvement_action) end as action_day,
        h.benefit_spell
    from (
        select municipality_code, provider_id, period from overview
        union
        select municipality_code, provider_id, period from event_count
    ) as k
    join core.overview_period as d on d.municipality_code = k.municipality_code and d.period = k.period
    left join horizon as h on h.municipality_code = k.municipality_code
),
compared as (
    select
        municipality_code,
        provider_id,
        year,
        sum(observed) as observed,
        sum(n) as n,
        sum(expected) as expected,
        count(*) filter (where flag in ('better', 'much_better')) as better,
        count(*) filter (where flag = 'as_expected') as as_expected,
        count(*) filter (where flag in ('worse', 'much_worse')) as worse
    from core.provider_comparison
    where indicator = 'effect_3m' and n > 0
    group by municipality_code, provider_id, year
),
action as (
    select e.municipality_code, e.provider_id, e.day, a.due_date, a.done_date
    from core.improvement_action as a
    join event as e
        on e.municipality_code = a.municipality_code and e.origin = a.origin and e.origin_id = a.origin_id
),
action_count as (
    select
        p.municipality_code,
        p.provider_id,
        p.period,
        count(*) as still_open,
        count(*) filter (where a.due_date < p.action_day) as overdue
    from provider_half as p
    join action as a on a.municipality_code = p.municipality_code and a.provider_id = p.provider_id
    where a.day <= p.action_day and (a.done_date is null or a.done_date > p.action_day)
    group by p.municipality_code, p.provider_id, p.period
),
met as (
    select p.municipality_code, p.provider_id, p.period, max(e.day) as held_date
    from provider_half as p
    join event as e
        on e.municipality_code = p.municipality_code and e.provider_id = p.provider_id and e.origin = 'dialogue_meeting'
    where e.day <= p.last_day
    group by p.municipality_code, p.provider_id, p.period
),
coloured as (
    select
        s.municipality_code,
        o.provider_id,
        s.day,
        count(*) filter (where s.smiley = 'red') as red,
        count(*) filter (where s.smiley in ('elite', 'green', 'yellow', 'red')) as coloured
    from core.smiley as s
    join core.offer_detail as o on o.municipality_code = s.municipality_code and o.offer_id = s.offer_id
    where o.valid_from <= s.day and (o.valid_to is null or o.valid_to >= s.day)
    group by s.municipality_code, o.provider_id, s.day
)
select
    p.municipality_code,  -- Municipality.
    p.provider_id,  -- The provider.
    p.period,  -- Half-year, such as 2010H1.
    n.name as provider_name,  -- Name of the provider.
    n.kind as provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    c.observed as effect_3m_observed,  -- Citizens self-supporting three months after the end, of those who ended in the year and are known, target groups added up.
    c.n as effect_3m_n,  -- Citizens whose outcome is known.
    c.expected as effect_3m_expected,  -- As many would have been, had each age and length of support done as it does with all the municipality's providers.
    100 * c.observed / nullif(c.expected, 0) as effect_3m_index,  -- Observed in per cent of expected; null where none was expected.
    c.better as target_groups_better,  -- Target groups in which the provider is better or much better than expected.
    c.as_expected as target_groups_as_expected,  -- Target groups in which it is as expected.
    c.worse as target_groups_worse,  -- Target groups in which it is worse or much worse.
    case when c.n is not null then 0 end as target_groups_hidden,  -- Target groups left out: none here.
    v.satisfied / nullif(v.answers, 0) as satisfaction_share,  -- Answers 4 and 5 among those given in the half-year about the provider's offers.
    v.answers as satisfaction_share_n,  -- Answers behind it; null where none came and surveys are not known to be complete.
    wilson_low(v.satisfied, v.answers) as satisfaction_share_low,  -- Lower end of its 95 % interval.
    wilson_high(v.satisfied, v.answers) as satisfaction_share_high,  -- Upper end of its 95 % interval.
    coalesce(nullif(e.complaints, 0), p.no_complaints) as complaints,  -- Complaints about the provider's offers received in the half-year; null where none came and complaints are not known to be complete.
    coalesce(nullif(e.visits, 0), p.no_visits) as visits,  -- Supervision visits in the half-year; null where none came and visits are not known to be complete.
    s.coloured as offers_with_smiley,  -- Offers valid on the last day that have a coloured smiley.
    s.red as offers_red,  -- Of them, those with a red one.
    coalesce(a.still_open, case when p.action_day is not null then 0 end) as actions_open,  -- Actions after the provider's visits, meetings and complaints that are open on the last day (on the horizon, in the half-year that holds it); null where actions are not known to be complete.
    coalesce(a.overdue, case when p.action_day is not null then 0 end) as actions_overdue,  -- Of them, those due before that day.
    m.held_date as last_meeting_held,  -- Day of the last dialogue meeting up to the last day; null where there was none.
    false as suppressed,  -- Nothing is hidden here.
    'case_mix@1, complaints@1, effect_3m@1, fair_comparison@1, provider_dialogue@1, satisfaction_share@1, smiley@1, supervision_visits@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    p.benefit_spell as data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from provider_half as p
left join core.provider as n on n.provider_id = p.provider_id
left join overview as v
    on v.municipality_code = p.municipality_code and v.provider_id = p.provider_id and v.period = p.period
left join event_count as e
    on e.municipality_code = p.municipality_code and e.provider_id = p.provider_id and e.period = p.period
left join compared as c
    on c.municipality_code = p.municipality_code and c.provider_id = p.provider_id and c.year = p.year
left join coloured as s
    on s.municipality_code = p.municipality_code and s.provider_id = p.provider_id and s.day = p.last_day
left join action_count as a
    on a.municipality_code = p.municipality_code and a.provider_id = p.provider_id and a.period = p.period
left join met as m
    on m.municipality_code = p.municipality_code and m.provider_id = p.provider_id and m.period = p.period
