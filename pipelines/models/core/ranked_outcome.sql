-- doc: What became of each participation, with the numbers it is counted by: within one cell a citizen counts once, by the latest start
--     or the latest end, and the latest is the greatest number.
-- grain: participation_id
-- partition_by: municipality_code
select
    municipality_code,  -- Municipality that ordered it.
    participation_id,  -- The participation.
    dense_rank() over (partition by municipality_code order by citizen_id) as citizen_number,  -- The citizen, among the municipality's; another number in another publication.
    row_number() over (partition by municipality_code order by start_date, participation_id) as start_order,  -- Its place among the municipality's by start; of two that start together the greater id is the later.
    row_number() over (
        partition by municipality_code order by end_date, start_date, participation_id
    ) as end_order,  -- The same by end, then by start; those that run stand last.
    offer_id,  -- The offer.
    unit_id,  -- Unit that ordered it.
    workplace,  -- none, internship or wage_subsidy.
    target_group,  -- Target group of the citizen in this participation.
    start_date,  -- First day.
    end_date,  -- Last day; null while it runs.
    exit_date,  -- Day on which the citizen died, emigrated or was pensioned.
    birth_year,  -- The citizen's year of birth; null where it is not known.
    age_group,  -- <30, 30+ or unknown, at the start.
    prior_weeks,  -- Weeks of unbroken public support before the start.
    effect_1m,  -- Self-supporting one month after the end: success, failure, pending or lost; null while it runs.
    effect_3m,  -- The same three months after the end.
    effect_3m_sustained,  -- The same on every day of the three months.
    effect_7m  -- The same in three of the seven months after the start.
from core.participation_outcome
