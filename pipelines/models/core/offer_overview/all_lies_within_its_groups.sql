-- doc: All who finished in an offer are no more than its target groups have together, and no fewer than any of them has.
select
    municipality_code,
    period,
    offer_id,
    max(finished) filter (where target_group = 'all') as finished,
    sum(finished) filter (where target_group <> 'all') as together,
    max(finished) filter (where target_group <> 'all') as largest
from core.offer_overview
group by municipality_code, period, offer_id
having not (
    max(finished) filter (where target_group = 'all')
    between max(finished) filter (where target_group <> 'all') and sum(finished) filter (where target_group <> 'all')
)
