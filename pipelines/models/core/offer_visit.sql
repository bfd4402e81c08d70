-- doc: Each supervision visit [tilsynsbesøg] once for every offer it speaks of: the one it names, or all offers of the
--     provider where it names none.
-- grain: municipality_code, offer_id, visit_id
-- partition_by: municipality_code
-- definition: presence_gap@1, smiley@1, supervision_visits@1
-- check: checks_are_counted_once: breaches + remarks <= checks_made and checks_made <= 8
with visit as (
    select
        municipality_code,
        provider_id,
        offer_id,
        visit_id,
        visit_date,
        kind,
        -- A check somebody forgot to answer is one that was not made.
        [
            coalesce(agreement, 'not_checked'),
            coalesce(working_environment, 'not_checked'),
            coalesce("values", 'not_checked'),
            coalesce(ethnic_equality, 'not_checked'),
            coalesce(attendance_record, 'not_checked'),
            coalesce(physical_presence, 'not_checked'),
            coalesce(planned_content, 'not_checked'),
            coalesce(facilities, 'not_checked')
        ] as checks,
        persons_enrolled,
        persons_on_protocol,
        persons_present,
        follow_up_due
    from core.supervision_visit
),
counted as (
    select
        *,
        8 - cardinality(array_remove_all(checks, 'breach')) as breaches,
        8 - cardinality(array_remove_all(checks, 'remark')) as remarks,
        cardinality(array_remove_all(checks, 'not_checked')) as checks_made
    from visit
),
-- Two joins, each on equality: visits that name the offer, and visits to the whole provider.
relevant as (
    select offer_id as seen_offer_id, false as to_provider, *
    from counted
    where offer_id is not null
    union all
    select o.offer_id as seen_offer_id, true as to_provider, v.*
    from counted as v
    join core.offer as o on o.provider_id = v.provider_id
    where v.offer_id is null
)
select
    municipality_code,  -- Municipality that made the visit.
    seen_offer_id as offer_id,  -- An offer the visit speaks of.
    visit_id,  -- The visit.
    visit_date,  -- Day of the visit.
    kind,  -- unannounced, announced, follow_up or complaint_driven.
    to_provider,  -- Whether it was to the provider as a whole.
    cast(checks_made as bigint) as checks_made,  -- Checks made, of eight.
    cast(remarks as bigint) as remarks,  -- Of them, those with a remark.
    cast(breaches as bigint) as breaches,  -- Of them, those in breach.
    case when breaches > 0 then 'red' when remarks >= 2 then 'yellow' else 'green' end as colour,  -- What the visit alone would colour the smiley.
    persons_enrolled,  -- Citizens enrolled that day; null when not reported.
    persons_on_protocol,  -- Citizens on the day's attendance record.
    persons_present,  -- Citizens counted on the spot.
    follow_up_due,  -- When a follow-up is due; null when none is needed.
    min(case when kind = 'follow_up' then visit_date end) over (
        partition by municipality_code, seen_offer_id
        order by visit_date, visit_id
        rows between 1 following and unbounded following
    ) as followed_up_on  -- Day of the next follow-up visit after it (by date, then visit_id); null while there is none.
from relevant
