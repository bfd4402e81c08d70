-- doc: What bonus [resultatbonus] each citizen triggers under an agreement in a year, once and the highest only; also those
--     who trigger none, or not yet.
-- grain: municipality_code, agreement_id, year, citizen_id
-- partition_by: municipality_code
-- definition: bonus@1, effect_3m_sustained@1
-- check: amount_with_kind: (amount_dkk is null) = (kind is null) and (kind is null) = (state <> 'triggered')
with rated as (
    select municipality_code, offer_id, agreement_id, agreement_from, agreement_to, bonus_self_support_dkk, bonus_fit_full_dkk,
        bonus_fit_partial_dkk
    from core.offer_in_use
    where coalesce(bonus_self_support_dkk, bonus_fit_full_dkk, bonus_fit_partial_dkk) is not null
),
ended as (
    select
        o.municipality_code,
        r.agreement_id,
        date_part('year', o.end_date) as year,
        o.citizen_id,
        o.participation_id,
        o.offer_id,
        o.target_group = 'sickness_benefit' as sick,
        o.start_date,
        o.end_date,
        o.effect_3m_sustained,
        r.bonus_self_support_dkk,
        r.bonus_fit_full_dkk,
        r.bonus_fit_partial_dkk
    from core.participation_outcome as o
    join rated as r on r.municipality_code = o.municipality_code and r.offer_id = o.offer_id
    where o.end_date is not null
        and r.agreement_from <= o.start_date
        and (r.agreement_to is null or r.agreement_to >= o.start_date)
        and (r.bonus_self_support_dkk is not null or o.target_group = 'sickness_benefit')
),
-- How the sickness spell that ran at the end of a participation ended, where that was within the three months.
recovered as (
    select
        e.municipality_code,
        e.citizen_id,
        e.participation_id,
        bool_or(s.end_reason = 'fit_full') as fit_full,
        bool_or(s.end_reason = 'fit_partial') as fit_partial
    from ended as e
    join core.benefit_spell as s on s.citizen_id = e.citizen_id
    where e.sick
        and s.benefit = 'sickness_benefit'
        and s.from_date <= e.end_date
        and s.to_date >= e.end_date
        and s.to_date <= add_months(e.end_date, 3)
        and s.end_reason in ('fit_full', 'fit_partial')
    group by e.municipality_code, e.citizen_id, e.participation_id
),
-- An outcome that is pending or lost triggers nothing, even where the recovery is known already.
due as (
    select
        e.*,
        case when e.effect_3m_sustained = 'success' then e.bonus_self_support_dkk end as self_support,
        case when e.effect_3m_sustained in ('success', 'failure') and r.fit_full then e.bonus_fit_full_dkk end as fit_full,
        case when e.effect_3m_sustained in ('success', 'failure') and r.fit_partial then e.bonus_fit_partial_dkk end as fit_partial
    -- The first of a join is held in memory: those who recovered, few of all who ended.
    from recovered as r
    right join ended as e
        on r.municipality_code = e.municipality_code
        and r.citizen_id = e.citizen_id
        and r.participation_id = e.participation_id
),
judged as (
    select
        *,
        greatest(self_support, fit_full, fit_partial) as amount,
        case
            when coalesce(self_support, fit_full, fit_partial) is not null then 1
            when effect_3m_sustained = 'pending' then 2
            when effect_3m_sustained = 'failure' or effect_3m_sustained = 'success' then 3
            else 4
        end as standing
    from due
),
placed as (
    select
        *,
        row_number() over (
            partition by municipality_code, agreement_id, year, citizen_id
            order by standing, amount desc, end_date desc, start_date desc, participation_id desc
        ) as place
    from judged
)
select
    municipality_code,  -- Municipality that ordered the participation.
    agreement_id,  -- The agreement.
    cast(year as bigint) as year,  -- Year of the end of the participation.
    citizen_id,  -- Pseudonym of the citizen.
    participation_id,  -- The participation that counts: the one with the highest bonus, else the latest that is still pending, decided or lost.
    offer_id,  -- Its offer.
    end_date,  -- Its last day.
    (['triggered', 'pending', 'not_triggered', 'lost'])[standing] as state,  -- triggered, pending, not_triggered or lost.
    case
        when amount is null then null
        when self_support = amount then 'self_support'
        when fit_full = amount then 'fit_full'
        else 'fit_partial'
    end as kind,  -- self_support, fit_full or fit_partial; null where none is triggered.
    amount as amount_dkk  -- The bonus, in kroner; null where none is triggered.
from placed
where place = 1
