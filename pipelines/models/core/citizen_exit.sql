-- doc: Citizens in offers who died, emigrated or were pensioned; once for each municipality that sent the citizen to an offer.
-- grain: municipality_code, citizen_id
-- partition_by: municipality_code
with member as (
    select distinct municipality_code, citizen_id from core.participation
)
select
    m.municipality_code,  -- Municipality that sent the citizen to an offer.
    c.citizen_id,  -- Pseudonym of the citizen.
    c.exit_date  -- The day it happened: gone from that day on.
from member as m
join core.citizen as c on c.citizen_id = m.citizen_id
where c.exit_date is not null
