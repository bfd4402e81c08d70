-- doc: How far the data of each entity is complete, per municipality; no row means that nothing is known to be complete. It
--     never goes back: of all that was ever said the furthest holds, unless it was withdrawn.
-- grain: municipality_code, entity
-- partition_by: municipality_code
with municipality as (
    select municipality_code from core.participation
    union
    select municipality_code from core.goal
    union
    select municipality_code from core.labour_force
    union
    select municipality_code from core.watermark_step
)
select
    m.municipality_code,  -- Municipality; 0 is the whole country.
    w.entity,  -- The entity that has been read in full.
    max(w.complete_through) as complete_through  -- Last business day read in full, by the municipality's own watermark or one for the whole country (0), whichever reaches further.
from municipality as m
join core.watermark_step as w on w.municipality_code = m.municipality_code or w.municipality_code = 0
group by m.municipality_code, w.entity
