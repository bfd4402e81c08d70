-- doc: The offers that each municipality's citizens have been in, its own and those of others, with provider and agreement.
-- grain: municipality_code, offer_id
-- partition_by: municipality_code
with used as (
    select distinct municipality_code, offer_id from core.participation_outcome
)
select
    u.municipality_code,  -- Municipality whose citizens were in it.
    d.offer_id,  -- The offer.
    d.offer_name,  -- Name of the offer.
    d.package,  -- Offer package.
    d.provider_id,  -- Who delivers it.
    d.provider_name,  -- Name of the provider.
    d.provider_kind,  -- external_supplier, other_actor, employment_centre or education.
    d.agreement_id,  -- The agreement; null where none is named.
    d.agreement_from,  -- First day of the agreement.
    d.agreement_to,  -- Its last day; null while it has no end.
    d.bonus_self_support_dkk,  -- Bonus for a citizen who supports themselves.
    d.bonus_fit_full_dkk,  -- Bonus for a citizen back at work in full.
    d.bonus_fit_partial_dkk,  -- Bonus for a citizen back at work in part.
    d.price_per_week_dkk,  -- Price of a week, in kroner.
    d.hours_per_week_min,  -- Hours a week, at least.
    d.hours_per_week_max,  -- Hours a week, at most.
    d.weeks_min,  -- Weeks, at least.
    d.weeks_max,  -- Weeks, at most.
    d.accessible  -- Whether citizens with a disability can use it.
from used as u
join core.offer_detail as d on d.offer_id = u.offer_id
