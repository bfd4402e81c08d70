-- doc: The days on which each citizen in an offer lived on public support, all spells merged, whichever municipality paid; once for each
--     municipality that sent the citizen to an offer. A citizen who never lived on support has no row.
-- grain: municipality_code, citizen_id
-- partition_by: municipality_code
with member as (
    select distinct municipality_code, citizen_id from core.participation
)
select
    m.municipality_code,  -- Municipality that sent the citizen to an offer.
    s.citizen_id,  -- Pseudonym of the citizen.
    support_calendar(s.from_date, s.to_date) as calendar  -- First and last supported day of each unbroken stretch, in turn; 9999-12-31 where it still runs.
from member as m
join core.benefit_spell as s on s.citizen_id = m.citizen_id
join ref.benefit as b
    on b.code = s.benefit
    and (b.valid_from is null or b.valid_from <= s.from_date)
    and (b.valid_to is null or b.valid_to >= s.from_date)
where b.counts_as_support
group by m.municipality_code, s.citizen_id
