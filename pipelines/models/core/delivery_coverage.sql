-- doc: What has come, which business days it covers, and when it came first; repetitions and corrections move nothing. The
--     evidence that ops.delivery_calendar holds against pipelines/calendar.yaml. When a thing came says nothing of its period.
-- grain: coverage_id
-- partition_by: municipality_code
-- check: ends_after_it_begins: first_day <= last_day
with delivered as (
    select *, rows_accepted = 0 and rows_quarantined > 0 as refused
    from raw.delivery
    where _deleted is not true
),
file as (
    select *, row_number() over (partition by delivery_id order by refused, received_at) as turn
    from delivered
),
dated as (
    select municipality_code, 'benchmark' as entity, _source, period_start(period) as first_day, period_end(period) as last_day,
        measure as thing, _timestamp
    from raw.benchmark
    where _deleted is not true
    union all
    select municipality_code, 'case_review', _source, review_date as first_day, review_date as last_day, review_id, _timestamp
    from raw.case_review
    where _deleted is not true
    union all
    select municipality_code, 'labour_force', _source, reference_date as first_day, reference_date as last_day, origin, _timestamp
    from raw.labour_force
    where _deleted is not true
    union all
    select municipality_code, 'survey_response', _source, answered_date as first_day, answered_date as last_day, response_id, _timestamp
    from raw.survey_response
    where _deleted is not true
),
spoken_of as (
    select municipality_code, entity, coalesce(_source, '') as source, first_day, last_day,
        min(_timestamp) as received_at, count(distinct thing) as row_count
    from dated
    where last_day is not null
    group by municipality_code, entity, coalesce(_source, ''), first_day, last_day
)
select
    delivery_id as coverage_id,  -- The delivery's id, or one put together from what it is.
    municipality_code,  -- Municipality; 0 is the whole country.
    entity,  -- What it is about.
    'file' as proof,  -- file: the period in a delivered file's name; watermark: the source said so; rows: rows speak of the days.
    coalesce(_source, '') as source,  -- The pipeline that read it.
    file_name,  -- The file; null where it is none.
    period_start(period) as first_day,  -- First day covered; null for a watermark, which covers everything before.
    period_end(period) as last_day,  -- Last day covered; null where a file names no period.
    received_at,  -- When it came first.
    rows_accepted as row_count,  -- Rows taken in; null for a watermark.
    refused  -- Whether all there was in it was set aside, so that it covers nothing.
from file
where turn = 1
union all
select
    concat_ws('/', 'watermark', municipality_code, entity, source, complete_through),
    municipality_code, entity, 'watermark', source, null, null, complete_through, received_at, null, false
from core.watermark_step
union all
select
    concat_ws('/', 'rows', municipality_code, entity, source, first_day, last_day),
    municipality_code, entity, 'rows', source, null, first_day, last_day, received_at, row_count, false
from spoken_of
