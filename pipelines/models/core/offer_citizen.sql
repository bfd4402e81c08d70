-- doc: The citizens in offers; once for each municipality that sent the citizen to one, so that what is asked of them stays within the
--     municipality.
-- grain: municipality_code, citizen_id
-- partition_by: municipality_code
with member as (
    select distinct municipality_code, citizen_id from core.participation
)
select
    m.municipality_code,  -- Municipality that sent the citizen to an offer.
    c.citizen_id,  -- Pseudonym of the citizen.
    c.birth_year,  -- Year of birth; null where it is not known.
    c.exit_date  -- Day of death, emigration or pension: gone from that day on.
from member as m
join core.citizen as c on c.citizen_id = m.citizen_id
