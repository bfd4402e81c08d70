-- doc: Complaints [klager] received and closed in each half-year, by offer, kind and authority, small cells hidden. The
--     complete one is core.complaint_overview.
-- grain: complaint_group_id
-- partition_by: municipality_code
-- definition: complaint_median_days@1, complaints_closed@1, complaints_received@1, complaints_upheld@1, small_cells@1
-- check: no_small_count: not (coalesce(received, 0) between 1 and 4 or coalesce(closed, 0) between 1 and 4 or
--     coalesce(upheld, 0) between 1 and 4 or coalesce(closed - upheld, 0) between 1 and 4)
-- check: no_days_without_closed: closed is not null or median_days is null
with received as (
    -- An unknown number is of none that came: like a zero it may have to cover others.
    select municipality_code, period, offer_id, complaint_group_id, coalesce(received, 0) as received, false as is_total
    from core.complaint_overview
    union all
    -- mart.offer_overview shows the complaints about an offer, whatever their kind and authority.
    select municipality_code, period, offer_id, 'all' as complaint_group_id, sum(received) as received, true as is_total
    from core.complaint_overview
    where offer_id is not null
    group by municipality_code, period, offer_id
),
small as (
    select
        municipality_code,
        complaint_group_id,
        is_total,
        suppressed(received, complaint_group_id, is_total) over (
            partition by municipality_code, period, offer_id
        ) as received
    from received
),
marked as (
    select
        o.*,
        s.received as hide_received,
        coalesce(o.closed between 1 and 4, false) as hide_closed,
        -- What was closed and not upheld is a count too.
        coalesce(suppressed_parts(o.closed, [o.upheld, o.closed - o.upheld])[1], false) as hide_upheld
    from core.complaint_overview as o
    join small as s on s.municipality_code = o.municipality_code and s.complaint_group_id = o.complaint_group_id
    where not s.is_total
)
select
    complaint_group_id,  -- Municipality, half-year, kind, authority and, where one is named, offer.
    municipality_code,  -- Municipality.
    period,  -- Half-year, such as 2010H1.
    offer_id,  -- The offer complained of; null where none is named, which is never spread over offers.
    kind,  -- formality, merits or offer.
    authority,  -- provider, administration, citizens_adviser or appeals_board.
    case when not hide_received then received end as received,  -- Complaints received in the period.
    case when not hide_closed then closed end as closed,  -- Complaints closed in the period, whenever received.
    case when not hide_upheld then upheld end as upheld,  -- Of those closed, upheld wholly or in part.
    case when not hide_closed then median_days end as median_days,  -- Days from receipt to closing of those closed, median.
    hide_received or hide_closed or hide_upheld as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of complaints; null where none is reported.
from marked
