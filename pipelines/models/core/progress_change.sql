-- doc: How far each participation moved its citizen [progression]: last score less first, over the dimensions of one instrument.
--     Only measurements that name the participation; cancelled ones are left out.
-- grain: municipality_code, participation_id, instrument_version
-- partition_by: municipality_code
-- definition: progression@1
-- check: change_needs_dimensions: (change is null) = (dimensions = 0)
with
-- Of several scores of one day the one with the greatest measurement_id holds.
dimension as (
    select
        m.municipality_code,
        m.participation_id,
        m.instrument_version,
        m.dimension,
        first_value(m.score order by m.measured_date, m.measurement_id desc) as first_score,
        last_value(m.score order by m.measured_date, m.measurement_id) as last_score,
        min(m.measured_date) as first_day,
        max(m.measured_date) as last_day
    from core.progress_measurement as m
    join core.participation as p on p.municipality_code = m.municipality_code and p.participation_id = m.participation_id
    where p.end_reason is distinct from 'cancelled'
    group by m.municipality_code, m.participation_id, m.instrument_version, m.dimension
)
select
    municipality_code,  -- Municipality.
    participation_id,  -- The participation.
    instrument_version,  -- The instrument; scores of different ones are never compared.
    count(*) filter (where last_day > first_day) as dimensions,  -- Dimensions measured on two days or more.
    avg(last_score - first_score) filter (where last_day > first_day) as change  -- Mean over them of the last score less the first; null where nothing was measured twice.
from dimension
group by municipality_code, participation_id, instrument_version
