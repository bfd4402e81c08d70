-- doc: What became of each participation: age and support before it, self-support after it. Cancelled ones are left out.
-- grain: participation_id
-- partition_by: municipality_code
-- definition: effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, age_group@1, prior_weeks@1
-- check: sustained_within_point: (effect_3m_sustained is distinct from 'success') or effect_3m = 'success'
-- check: decided_in_order: effect_3m is null or effect_3m in ('pending', 'lost') or effect_1m in ('success', 'failure')
select
    p.participation_id,  -- The participation.
    p.municipality_code,  -- Municipality that ordered it.
    p.citizen_id,  -- Pseudonym of the citizen.
    p.offer_id,  -- The offer.
    p.unit_id,  -- Unit that ordered it.
    p.workplace,  -- none, internship or wage_subsidy.
    p.target_group,  -- Target group of the citizen in this participation.
    p.start_date,  -- First day.
    p.end_date,  -- Last day; null while it runs.
    c.birth_year,  -- The citizen's year of birth; null where it is not known.
    c.exit_date,  -- Day on which the citizen died, emigrated or was pensioned.
    age_group(c.birth_year, p.start_date) as age_group,  -- <30, 30+ or unknown, at the start.
    prior_weeks(k.calendar, p.start_date) as prior_weeks,  -- Weeks of unbroken public support before the start.
    outcome_at(k.calendar, c.exit_date, h.complete_through, p.end_date, 1) as effect_1m,  -- Self-supporting one month after the end: success, failure, pending or lost; null while it runs.
    outcome_at(k.calendar, c.exit_date, h.complete_through, p.end_date, 3) as effect_3m,  -- Self-supporting three months after the end.
    outcome_throughout(k.calendar, c.exit_date, h.complete_through, p.end_date, 3) as effect_3m_sustained,  -- Self-supporting on every day of the three months after the end.
    outcome_windows(k.calendar, c.exit_date, h.complete_through, p.start_date, 7, 3) as effect_7m  -- Self-supporting in at least three of the seven months after the start.
from core.participation as p
left join core.offer_citizen as c on c.municipality_code = p.municipality_code and c.citizen_id = p.citizen_id
left join core.support_calendar as k on k.municipality_code = p.municipality_code and k.citizen_id = p.citizen_id
left join core.horizon as h on h.municipality_code = p.municipality_code and h.entity = 'benefit_spell'
where p.end_reason is distinct from 'cancelled'
