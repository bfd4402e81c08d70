-- doc: How far each source has ever said that an entity is complete, and when it said so first. What was said before a watermark
--     was withdrawn (its record deleted) is left out.
-- grain: municipality_code, entity, source, complete_through
-- partition_by: municipality_code
with withdrawn as (
    select municipality_code, entity, max(_timestamp) as last_time
    from raw.watermark
    where _deleted
    group by municipality_code, entity
)
select
    w.municipality_code,  -- Municipality; 0 is the whole country.
    w.entity,  -- The entity that has been read in full.
    coalesce(w._source, '') as source,  -- The pipeline that said so.
    w.complete_through,  -- Last business day read in full.
    min(w._timestamp) as received_at  -- When it was said first.
from raw.watermark as w
left join withdrawn as d on d.municipality_code = w.municipality_code and d.entity = w.entity
where w._deleted is not true and (d.last_time is null or w._timestamp > d.last_time)
group by w.municipality_code, w.entity, coalesce(w._source, ''), w.complete_through
