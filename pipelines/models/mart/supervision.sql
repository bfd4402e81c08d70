-- doc: What the external supervision [eksternt tilsyn] saw of each offer in a half-year, small cells hidden. The complete one
--     is core.supervision.
-- grain: municipality_code, offer_id, period
-- partition_by: municipality_code
-- definition: follow_ups_open@1, overview_period@1, presence_gap@1, small_cells@1, smiley@1, supervision_coverage@1,
--     supervision_visits@1
-- check: no_small_count: not (coalesce(abs(presence_gap_enrolled), 0) between 1 and 4 or coalesce(presence_gap_enrolled_of, 0)
--     between 1 and 4 or coalesce(abs(presence_gap_protocol), 0) between 1 and 4 or coalesce(presence_gap_protocol_of, 0)
--     between 1 and 4)
-- check: no_small_rest: not (coalesce(abs(presence_gap_enrolled_of - presence_gap_enrolled), 0) between 1 and 4 or
--     coalesce(abs(presence_gap_protocol_of - presence_gap_protocol), 0) between 1 and 4)
with
-- A visit to the whole provider stands at each of its offers, so the sums of two offers can differ by a single visit: what
-- is hidden is decided visit by visit, and a sum is shown only where each visit in it could be.
counted as (
    select
        municipality_code,
        offer_id,
        half_year(visit_date) as period,
        persons_enrolled,
        persons_on_protocol,
        persons_present,
        abs(persons_enrolled - persons_present) as enrolled_gap,
        abs(persons_on_protocol - persons_present) as protocol_gap,
        case when persons_present is not null then abs(persons_enrolled - persons_on_protocol) end as between_them
    from core.offer_visit
),
small as (
    select
        municipality_code,
        offer_id,
        period,
        bool_or(enrolled_gap is not null and (
            enrolled_gap between 1 and 4 or persons_enrolled between 1 and 4 or persons_present between 1 and 4
        )) as enrolled,
        bool_or(protocol_gap is not null and (
            protocol_gap between 1 and 4 or persons_on_protocol between 1 and 4 or persons_present between 1 and 4
        )) as protocol,
        bool_or(between_them between 1 and 4) as between_them
    from counted
    group by municipality_code, offer_id, period
),
opening as (
    select
        s.*,
        coalesce(x.enrolled or abs(s.presence_gap_enrolled) between 1 and 4, false) as hide_enrolled,
        coalesce(x.protocol or abs(s.presence_gap_protocol) between 1 and 4, false) as small_protocol,
        coalesce(x.between_them, false) as small_between
    from core.supervision as s
    left join small as x
        on x.municipality_code = s.municipality_code and x.offer_id = s.offer_id and x.period = s.period
),
-- Both gaps together tell how many are enrolled and not on the record.
marked as (
    select *, small_protocol or small_between and not hide_enrolled as hide_protocol
    from opening
)
select
    municipality_code,  -- Municipality.
    offer_id,  -- The offer.
    period,  -- Half-year, such as 2010H1.
    offer_name,  -- Name of the offer.
    provider_id,  -- Who delivers it.
    provider_name,  -- Name of the provider.
    supervision_regime,  -- limited under state framework agreements and ordinary education, which are seen only upon complaints; else full.
    in_use,  -- Whether somebody was in the offer on some day of the period.
    visits,  -- Visits in the period, those to the provider as a whole included; null where none came and visits are not known to be complete.
    visits_unannounced,  -- Of them, unannounced ones.
    visits_announced,  -- Of them, announced ones.
    visits_follow_up,  -- Of them, follow-ups of an earlier visit.
    visits_complaint_driven,  -- Of them, those that a complaint led to.
    visits_to_provider,  -- Of them, those to the provider as a whole, which stand at each of its offers.
    covered,  -- Whether an unannounced visit came in the 12 months up to the last day of the period; null where supervision is limited, and while it can still come.
    smiley,  -- Smiley of the offer on the last day of the period.
    checks_made,  -- Checks made in the visits, at most eight in each.
    checks_remarked,  -- Of them, those with a remark.
    checks_in_breach,  -- Of them, those in breach.
    case when not hide_enrolled then presence_gap_enrolled end as presence_gap_enrolled,  -- Citizens enrolled less citizens present, summed over the visits that report both; below zero where more were present.
    case when not hide_enrolled then presence_gap_enrolled_of end as presence_gap_enrolled_of,  -- Citizens enrolled in those visits.
    case when not hide_protocol then presence_gap_protocol end as presence_gap_protocol,  -- Citizens on the attendance record less citizens present, likewise.
    case when not hide_protocol then presence_gap_protocol_of end as presence_gap_protocol_of,  -- Citizens on the record in those visits.
    follow_ups_open,  -- Visits up to the last day of the period whose follow-up has not come by then; null where visits are not known to be complete.
    follow_ups_overdue,  -- Of them, those due before that day (before the horizon, in the period that holds it).
    hide_enrolled or hide_protocol as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of supervision visits; null where none is reported.
from marked
