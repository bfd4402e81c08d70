-- doc: The half-yearly overview of offer quality, complete: for those allowed to see small cells. The published one is
--     mart.offer_overview.
-- grain: municipality_code, period, offer_id, target_group
-- partition_by: municipality_code
-- definition: age_group@1, complaints@1, complaints_per_100@1, effect_1m@1, effect_3m@1, finished@1, in_offer@1,
--     overview_period@1, prior_weeks@1, response_rate@1, satisfaction_mean@1, satisfaction_share@1, smiley@1
-- check: finished_adds_up: finished = effect_3m_n + pending + lost
-- check: shares_are_fractions: coalesce(effect_1m, 0) between 0 and 1 and coalesce(effect_3m, 0) between 0 and 1 and
--     coalesce(satisfaction_share, 0) between 0 and 1 and coalesce(response_rate, 0) between 0 and 1
with last_period as (
    select municipality_code, max(half_number) as half_number
    from core.overview_period
    group by municipality_code
),
span as (
    select
        o.*,
        l.half_number as last_half,
        least(o.end_date, cast(o.exit_date - interval '1 day' as date)) as last_day,
        date_part('year', o.end_date) * 2 + (date_part('month', o.end_date) - 1) / 6 as end_half
    from core.ranked_outcome as o
    join last_period as l on l.municipality_code = o.municipality_code
),
-- One row for each half-year in which the participation runs on some day. One that nobody ended is over when the citizen is gone;
-- one that was ended later counts until then, so that all who finished stand in the half-year of the end.
running as (
    select
        municipality_code,
        offer_id,
        target_group,
        citizen_number,
        start_date,
        last_day,
        end_half,
        start_order,
        end_order,
        unnest(range(
            date_part('year', start_date) * 2 + (date_part('month', start_date) - 1) / 6,
            least(
                coalesce(end_half, date_part('year', last_day) * 2 + (date_part('month', last_day) - 1) / 6, last_half),
                last_half
            ) + 1
        )) as half_number
    from span
),
-- Each participation stands in its target group and among all.
standing as (
    select *, unnest([target_group, 'all']) as cell_group from running
),
-- A citizen counts once in a cell: the latest start says what was known before, the latest end what came after.
member as (
    select
        r.municipality_code,
        r.half_number,
        r.offer_id,
        r.cell_group as target_group,
        r.citizen_number,
        bool_or(r.start_date <= d.stock_day and (r.last_day is null or r.last_day >= d.stock_day)) as in_offer,
        max(r.start_order) as start_order,
        max(case when r.end_half = r.half_number then r.end_order end) as end_order
    from standing as r
    join core.overview_period as d on d.municipality_code = r.municipality_code and d.half_number = r.half_number
    group by r.municipality_code, r.half_number, r.offer_id, r.cell_group, r.citizen_number
),
counted as (
    select
        m.municipality_code,
        m.half_number,
        m.offer_id,
        m.target_group,
        count(*) as participants,
        count(*) filter (where m.in_offer) as in_offer,
        count(m.end_order) as finished,
        count(*) filter (where s.age_group = '<30') as under_30,
        count(*) filter (where s.age_group = '30+') as aged_30_plus,
        count(*) filter (where s.age_group = 'unknown') as age_unknown,
        avg(s.prior_weeks) as prior_weeks_mean,
        median(s.prior_weeks) as prior_weeks_median,
        count(*) filter (where e.effect_1m = 'success') as success_1m,
        count(*) filter (where e.effect_1m in ('success', 'failure')) as effect_1m_n,
        count(*) filter (where e.effect_3m = 'success') as success_3m,
        count(*) filter (where e.effect_3m in ('success', 'failure')) as effect_3m_n,
        count(*) filter (where e.effect_3m = 'pending') as pending,
        count(*) filter (where e.effect_3m = 'lost') as lost
    -- The first of a join is held in memory: participations, of which there are fewer than members.
    from core.ranked_outcome as e
    right join (core.ranked_outcome as s
        join member as m on m.municipality_code = s.municipality_code and m.start_order = s.start_order)
        on m.municipality_code = e.municipality_code and m.end_order = e.end_order
    group by m.municipality_code, m.half_number, m.offer_id, m.target_group
),
cell as (
    select
        *,
        max(case when target_group = 'all' then participants end) over (
            partition by municipality_code, half_number, offer_id
        ) as all_participants
    from counted
),
answer as (
    select municipality_code, offer_id, target_group, invited_date, answered_date, satisfaction
    from core.survey_answer
    where offer_id is not null and target_group is not null
    union all
    select municipality_code, offer_id, 'all' as target_group, invited_date, answered_date, satisfaction
    from core.survey_answer
    where offer_id is not null
),
satisfied as (
    select
        municipality_code,
        half_year(answered_date) as period,
        offer_id,
        target_group,
        count(*) filter (where satisfaction >= 4) as satisfied,
        count(satisfaction) as answers,
        avg(satisfaction) as satisfaction_mean
    from answer
    where answered_date is not null
    group by municipality_code, half_year(answered_date), offer_id, target_group
),
invited as (
    select
        municipality_code,
        half_year(invited_date) as period,
        offer_id,
        target_group,
        cast(count(answered_date) as double) / count(*) as response_rate
    from answer
    group by municipality_code, half_year(invited_date), offer_id, target_group
),
complaint as (
    select municipality_code, half_year(received_date) as period, offer_id, count(*) as complaints
    from core.complaint
    where offer_id is not null
    group by municipality_code, half_year(received_date), offer_id
),
reported as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'benefit_spell') as benefit_spell,
        max(complete_through) filter (where entity = 'complaint') as complaint,
        max(complete_through) filter (where entity = 'survey_response') as survey_response
    from core.horizon
    group by municipality_code
)
select
    c.municipality_code,  -- Municipality.
    d.period,  -- Half-year, such as 2010H1.
    c.offer_id,  -- The offer.
    c.target_group,  -- Target group, or all of them together.
    o.offer_name,  -- Name of the offer.
    o.provider_id,  -- Who delivers it.
    o.provider_name,  -- Name of the provider.
    o.provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    o.package,  -- Offer package.
    c.in_offer,  -- Citizens in the offer on the last day of the period (on the horizon, in the period that holds it).
    c.finished,  -- Citizens who ended in the period.
    c.under_30,  -- Citizens in the offer on some day of the period who were under 30 at the start.
    c.aged_30_plus,  -- The same, 30 or more.
    c.age_unknown,  -- The same, birth year unknown.
    c.prior_weeks_mean,  -- Weeks of public support before the start, mean over the same citizens.
    c.prior_weeks_median,  -- The same, median.
    cast(c.success_1m as double) / nullif(c.effect_1m_n, 0) as effect_1m,  -- Share self-supporting one month after the end, of those who ended in the period.
    c.effect_1m_n,  -- Citizens behind effect_1m.
    wilson_low(c.success_1m, c.effect_1m_n) as effect_1m_low,  -- Lower end of its 95 % interval.
    wilson_high(c.success_1m, c.effect_1m_n) as effect_1m_high,  -- Upper end of its 95 % interval.
    cast(c.success_3m as double) / nullif(c.effect_3m_n, 0) as effect_3m,  -- Share self-supporting three months after the end, of those who ended in the period.
    c.effect_3m_n,  -- Citizens behind effect_3m.
    wilson_low(c.success_3m, c.effect_3m_n) as effect_3m_low,  -- Lower end of its 95 % interval.
    wilson_high(c.success_3m, c.effect_3m_n) as effect_3m_high,  -- Upper end of its 95 % interval.
    c.pending,  -- Citizens whose three months are not over by the horizon.
    c.lost,  -- Citizens who died, emigrated or were pensioned within the three months.
    cast(s.satisfied as double) / nullif(s.answers, 0) as satisfaction_share,  -- Answers 4 and 5 among those given in the period.
    coalesce(s.answers, case when r.survey_response >= d.first_day then 0 end) as satisfaction_share_n,  -- Answers behind it; null where none came and surveys are not complete into the period.
    wilson_low(s.satisfied, s.answers) as satisfaction_share_low,  -- Lower end of its 95 % interval.
    wilson_high(s.satisfied, s.answers) as satisfaction_share_high,  -- Upper end of its 95 % interval.
    s.satisfaction_mean,  -- Mean of the same answers, 1 to 5.
    i.response_rate,  -- Share answered of the invitations sent in the period.
    coalesce(k.complaints, case when r.complaint >= d.first_day then 0 end) as complaints,  -- Complaints about the offer received in the period, whatever the target group; null where none came and complaints are not complete into the period.
    100.0 * coalesce(k.complaints, case when r.complaint >= d.first_day then 0 end) / c.all_participants as complaints_per_100,  -- The same per 100 citizens in the offer in the period.
    y.smiley,  -- Smiley of the offer on the last day of the period.
    false as suppressed,  -- Nothing is hidden here.
    'age_group@1, complaints@1, complaints_per_100@1, effect_1m@1, effect_3m@1, finished@1, in_offer@1, overview_period@1, prior_weeks@1, response_rate@1, satisfaction_mean@1, satisfaction_share@1, smiley@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    r.benefit_spell as data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from cell as c
join core.overview_period as d on d.municipality_code = c.municipality_code and d.half_number = c.half_number
left join core.offer_in_use as o on o.municipality_code = c.municipality_code and o.offer_id = c.offer_id
left join satisfied as s
    on s.municipality_code = c.municipality_code
    and s.period = d.period
    and s.offer_id = c.offer_id
    and s.target_group = c.target_group
left join invited as i
    on i.municipality_code = c.municipality_code
    and i.period = d.period
    and i.offer_id = c.offer_id
    and i.target_group = c.target_group
left join complaint as k
    on k.municipality_code = c.municipality_code and k.period = d.period and k.offer_id = c.offer_id
left join core.smiley as y
    on y.municipality_code = c.municipality_code and y.offer_id = c.offer_id and y.day = d.last_day
left join reported as r on r.municipality_code = c.municipality_code
