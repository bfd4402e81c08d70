-- doc: Each survey invitation with the offer, target group and unit it speaks of. Those of cancelled participations are left out.
-- grain: response_id
-- partition_by: municipality_code
-- definition: response_rate@1, satisfaction_share@1
select
    r.response_id,  -- The invitation.
    r.municipality_code,  -- Municipality.
    coalesce(p.offer_id, r.offer_id) as offer_id,  -- Offer of the participation, else the one named; null when neither is known.
    p.target_group,  -- Target group of the participation; null when none is named.
    coalesce(p.unit_id, r.unit_id) as unit_id,  -- Unit of the participation, else the one named.
    r.instrument_version,  -- Version of the questionnaire; answers of different versions do not compare.
    r.invited_date,  -- Day of the invitation.
    r.answered_date,  -- Day of the answer; null while there is none.
    r.satisfaction,  -- 1 to 5.
    r.closer_to_job,  -- 1 to 5.
    r.informed,  -- 1 to 5.
    r.respected,  -- 1 to 5.
    r.moved,  -- 1 to 5.
    r.listened,  -- 1 to 5.
    r.influence  -- 1 to 5.
from core.survey_response as r
left join core.participation as p
    on p.municipality_code = r.municipality_code and p.participation_id = r.participation_id
where p.end_reason is distinct from 'cancelled'
