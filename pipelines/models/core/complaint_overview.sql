-- doc: Complaints [klager] received and closed in each half-year, complete: for those allowed to see small cells. It is not
--     called complaint like the published mart.complaint, since core.complaint is the entity's current state.
-- grain: complaint_group_id
-- partition_by: municipality_code
-- definition: complaint_median_days@1, complaints_closed@1, complaints_received@1, complaints_upheld@1
-- check: upheld_is_closed: upheld <= closed
-- check: days_are_of_closed: (median_days is not null) = (coalesce(closed, 0) > 0)
with moment as (
    select
        municipality_code,
        half_year(received_date) as period,
        offer_id,
        kind,
        authority,
        1 as received,
        0 as closed,
        0 as upheld,
        cast(null as double) as days
    from core.complaint
    union all
    select
        municipality_code,
        half_year(closed_date) as period,
        offer_id,
        kind,
        authority,
        0 as received,
        1 as closed,
        case when outcome in ('upheld', 'partly_upheld') then 1 else 0 end as upheld,
        cast(cast(closed_date as int) - cast(received_date as int) as double) as days
    from core.complaint
    where closed_date is not null
),
-- Rows for what there is would tell that each of them is one complaint at least.
listed as (
    select p.municipality_code, p.period, p.offer_id, k.kind, k.authority
    from (select distinct municipality_code, period, offer_id from moment) as p
    join (select distinct municipality_code, kind, authority from core.complaint) as k
        on k.municipality_code = p.municipality_code
),
counted as (
    select
        municipality_code,
        period,
        offer_id,
        kind,
        authority,
        sum(received) as received,
        sum(closed) as closed,
        sum(upheld) as upheld,
        median(days) as median_days
    from (
        select municipality_code, period, offer_id, kind, authority, received, closed, upheld, days from moment
        union all
        select municipality_code, period, offer_id, kind, authority, 0 as received, 0 as closed, 0 as upheld,
            cast(null as double) as days
        from listed
    ) as filled
    group by municipality_code, period, offer_id, kind, authority
)
select
    -- An offer may be missing, and a part of the grain may not.
    concat_ws(' ', c.municipality_code, c.period, c.kind, c.authority, c.offer_id) as complaint_group_id,  -- Municipality, half-year, kind, authority and, where one is named, offer.
    c.municipality_code,  -- Municipality.
    c.period,  -- Half-year, such as 2010H1.
    c.offer_id,  -- The offer complained of; null where none is named, which is never spread over offers.
    c.kind,  -- formality, merits or offer.
    c.authority,  -- provider, administration, citizens_adviser or appeals_board.
    case when c.received > 0 or h.complete_through >= half_year_start(c.period) then c.received end as received,  -- Complaints received in the period; null where none came and complaints are not known to have been read.
    case when c.closed > 0 or h.complete_through >= half_year_start(c.period) then c.closed end as closed,  -- Complaints closed in the period, whenever received; null likewise.
    case when c.closed > 0 or h.complete_through >= half_year_start(c.period) then c.upheld end as upheld,  -- Of those closed, upheld wholly or in part.
    c.median_days,  -- Days from receipt to closing of those closed, median.
    false as suppressed,  -- Nothing is hidden here.
    'complaint_median_days@1, complaints_closed@1, complaints_received@1, complaints_upheld@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    h.complete_through as data_through  -- Horizon of complaints; null where none is reported.
from counted as c
left join core.horizon as h on h.municipality_code = c.municipality_code and h.entity = 'complaint'
