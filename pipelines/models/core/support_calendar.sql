-- doc: The days on which each citizen lived on public support, all spells merged; a citizen who never did has no row.
-- grain: citizen_id
select
    s.citizen_id,  -- Pseudonym of the citizen.
    support_calendar(s.from_date, s.to_date) as calendar  -- First and last supported day of each unbroken stretch, in turn; 9999-12-31 where it still runs.
from core.benefit_spell as s
join ref.benefit as b
    on b.code = s.benefit
    and (b.valid_from is null or b.valid_from <= s.from_date)
    and (b.valid_to is null or b.valid_to >= s.from_date)
where b.counts_as_support
group by s.citizen_id
