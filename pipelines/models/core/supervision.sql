-- doc: What the external supervision [eksternt tilsyn] saw of each offer in a half-year, complete: for those allowed to see
--     small cells. The published one is mart.supervision.
-- grain: municipality_code, offer_id, period
-- partition_by: municipality_code
-- definition: follow_ups_open@1, overview_period@1, presence_gap@1, smiley@1, supervision_coverage@1,
--     supervision_visits@1
-- check: visits_add_up: visits = visits_unannounced + visits_announced + visits_follow_up + visits_complaint_driven
-- check: parts_within_whole: visits_to_provider <= visits and follow_ups_overdue <= follow_ups_open and checks_in_breach +
--     checks_remarked <= checks_made
with half as (
    select municipality_code, period, half_number, first_day, last_day from core.overview_period
),
last_half as (
    select municipality_code, max(half_number) as half_number from half group by municipality_code
),
-- One row for each half-year with somebody in the offer.
used as (
    select
        p.municipality_code,
        p.offer_id,
        unnest(range(
            date_part('year', p.start_date) * 2 + (date_part('month', p.start_date) - 1) / 6,
            least(
                coalesce(date_part('year', p.end_date) * 2 + (date_part('month', p.end_date) - 1) / 6, l.half_number),
                l.half_number
            ) + 1
        )) as half_number
    from core.participation as p
    join last_half as l on l.municipality_code = p.municipality_code
    where p.end_reason is distinct from 'cancelled'
),
visit as (
    select *, date_part('year', visit_date) * 2 + (date_part('month', visit_date) - 1) / 6 as half_number
    from core.offer_visit
),
offer_half as (
    select municipality_code, offer_id, half_number, bool_or(in_use) as in_use
    from (
        select municipality_code, offer_id, half_number, true as in_use from used
        union all
        select municipality_code, offer_id, half_number, false as in_use from visit where not to_provider
        union all
        select o.municipality_code, o.offer_id, d.half_number, false as in_use
        from core.offer_detail as o
        join half as d on d.municipality_code = o.municipality_code
        where o.valid_from <= d.last_day and (o.valid_to is null or o.valid_to >= d.first_day)
    ) as seen
    group by municipality_code, offer_id, half_number
),
visited as (
    select
        municipality_code,
        offer_id,
        half_number,
        count(*) as visits,
        count(*) filter (where kind = 'unannounced') as unannounced,
        count(*) filter (where kind = 'announced') as announced,
        count(*) filter (where kind = 'follow_up') as follow_up,
        count(*) filter (where kind = 'complaint_driven') as complaint_driven,
        count(*) filter (where to_provider) as to_provider,
        sum(checks_made) as checks_made,
        sum(remarks) as remarks,
        sum(breaches) as breaches,
        sum(case when persons_present is not null then persons_enrolled end) as enrolled,
        sum(persons_enrolled - persons_present) as enrolled_gap,
        sum(case when persons_present is not null then persons_on_protocol end) as on_protocol,
        sum(persons_on_protocol - persons_present) as protocol_gap
    from visit
    group by municipality_code, offer_id, half_number
),
-- The last day of a half-year and that of the one before are the last twelve months.
unannounced as (
    select distinct municipality_code, offer_id, unnest([half_number, half_number + 1]) as half_number
    from visit
    where kind = 'unannounced'
),
-- A follow-up is open at the end of every half-year from the visit's to the one before that of the follow-up visit.
waiting as (
    select
        v.municipality_code,
        v.offer_id,
        v.follow_up_due,
        unnest(range(
            v.half_number,
            least(
                coalesce(
                    date_part('year', v.followed_up_on) * 2 + (date_part('month', v.followed_up_on) - 1) / 6,
                    l.half_number + 1
                ),
                l.half_number + 1
            )
        )) as half_number
    from visit as v
    join last_half as l on l.municipality_code = v.municipality_code
    where v.follow_up_due is not null and v.half_number <= l.half_number
),
reported as (
    select municipality_code, complete_through from core.horizon where entity = 'supervision_visit'
),
follow_up as (
    select
        w.municipality_code,
        w.offer_id,
        w.half_number,
        count(*) as still_open,
        count(*) filter (where w.follow_up_due < least(d.last_day, r.complete_through)) as overdue
    from waiting as w
    join half as d on d.municipality_code = w.municipality_code and d.half_number = w.half_number
    join reported as r on r.municipality_code = w.municipality_code
    group by w.municipality_code, w.offer_id, w.half_number
),
row_of_offer as (
    select
        x.municipality_code,
        x.offer_id,
        x.in_use,
        x.half_number,
        d.period,
        d.last_day,
        o.offer_name,
        o.provider_id,
        o.provider_name,
        coalesce(o.agreement_kind in ('state_framework', 'ordinary_education'), false) as limited,
        r.complete_through,
        -- Zero only where it is known.
        case when r.complete_through >= d.first_day then 0 end as zero
    from offer_half as x
    join half as d on d.municipality_code = x.municipality_code and d.half_number = x.half_number
    left join core.offer_detail as o on o.offer_id = x.offer_id
    left join reported as r on r.municipality_code = x.municipality_code
)
select
    x.municipality_code,  -- Municipality.
    x.offer_id,  -- The offer.
    x.period,  -- Half-year, such as 2010H1.
    x.offer_name,  -- Name of the offer.
    x.provider_id,  -- Who delivers it.
    x.provider_name,  -- Name of the provider.
    case when x.limited then 'limited' else 'full' end as supervision_regime,  -- limited under state framework agreements and ordinary education, which are seen only upon complaints; else full.
    x.in_use,  -- Whether somebody was in the offer on some day of the period.
    coalesce(v.visits, x.zero) as visits,  -- Visits in the period, those to the provider as a whole included; null where none came and visits are not known to be complete.
    coalesce(nullif(v.unannounced, 0), x.zero) as visits_unannounced,  -- Of them, unannounced ones.
    coalesce(nullif(v.announced, 0), x.zero) as visits_announced,  -- Of them, announced ones.
    coalesce(nullif(v.follow_up, 0), x.zero) as visits_follow_up,  -- Of them, follow-ups of an earlier visit.
    coalesce(nullif(v.complaint_driven, 0), x.zero) as visits_complaint_driven,  -- Of them, those that a complaint led to.
    coalesce(nullif(v.to_provider, 0), x.zero) as visits_to_provider,  -- Of them, those to the provider as a whole, which stand at each of its offers.
    case
        when x.limited then null
        when u.offer_id is not null then true
        when x.complete_through >= x.last_day then false
    end as covered,  -- Whether an unannounced visit came in the 12 months up to the last day of the period; null where supervision is limited, and while it can still come.
    s.smiley,  -- Smiley of the offer on the last day of the period.
    coalesce(v.checks_made, x.zero) as checks_made,  -- Checks made in the visits, at most eight in each.
    coalesce(v.remarks, x.zero) as checks_remarked,  -- Of them, those with a remark.
    coalesce(v.breaches, x.zero) as checks_in_breach,  -- Of them, those in breach.
    v.enrolled_gap as presence_gap_enrolled,  -- Citizens enrolled less citizens present, summed over the visits that report both; below zero where more were present.
    v.enrolled as presence_gap_enrolled_of,  -- Citizens enrolled in those visits.
    v.protocol_gap as presence_gap_protocol,  -- Citizens on the attendance record less citizens present, likewise.
    v.on_protocol as presence_gap_protocol_of,  -- Citizens on the record in those visits.
    coalesce(f.still_open, 0) + x.zero as follow_ups_open,  -- Visits up to the last day of the period whose follow-up has not come by then; null where visits are not known to be complete.
    coalesce(f.overdue, 0) + x.zero as follow_ups_overdue,  -- Of them, those due before that day (before the horizon, in the period that holds it).
    false as suppressed,  -- Nothing is hidden here.
    'follow_ups_open@1, overview_period@1, presence_gap@1, smiley@1, supervision_coverage@1, supervision_visits@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    x.complete_through as data_through  -- Horizon of supervision visits; null where none is reported.
from row_of_offer as x
left join visited as v
    on v.municipality_code = x.municipality_code and v.offer_id = x.offer_id and v.half_number = x.half_number
left join unannounced as u
    on u.municipality_code = x.municipality_code and u.offer_id = x.offer_id and u.half_number = x.half_number
left join follow_up as f
    on f.municipality_code = x.municipality_code and f.offer_id = x.offer_id and f.half_number = x.half_number
left join core.smiley as s
    on s.municipality_code = x.municipality_code and s.offer_id = x.offer_id and s.day = x.last_day
