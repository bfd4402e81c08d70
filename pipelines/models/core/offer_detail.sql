-- doc: Every offer with its provider and the agreement it is bought under.
-- grain: municipality_code, offer_id
-- partition_by: municipality_code
select
    o.municipality_code,  -- Municipality that has the offer.
    o.offer_id,  -- The offer.
    o.name as offer_name,  -- Name of the offer.
    o.package,  -- Offer package.
    o.provider_id,  -- Who delivers it.
    p.name as provider_name,  -- Name of the provider.
    p.kind as provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    o.agreement_id,  -- The agreement; null where none is named.
    a.kind as agreement_kind,  -- Kind of the agreement.
    a.sanction_terms,  -- Whether it has terms for sanctions.
    a.valid_from as agreement_from,  -- First day of the agreement.
    a.valid_to as agreement_to,  -- Its last day; null while it has no end.
    a.bonus_self_support_dkk,  -- Bonus for a citizen who supports themselves.
    a.bonus_fit_full_dkk,  -- Bonus for a citizen back at work in full.
    a.bonus_fit_partial_dkk,  -- Bonus for a citizen back at work in part.
    o.price_per_week_dkk,  -- Price of a week, in kroner.
    o.hours_per_week_min,  -- Hours a week, at least.
    o.hours_per_week_max,  -- Hours a week, at most.
    o.weeks_min,  -- Weeks, at least.
    o.weeks_max,  -- Weeks, at most.
    o.accessible,  -- Whether citizens with a disability can use it.
    o.valid_from,  -- First day it can be used.
    o.valid_to  -- Last day; null while it has no end.
from core.offer as o
left join core.provider as p on p.provider_id = o.provider_id
left join core.agreement as a on a.agreement_id = o.agreement_id
