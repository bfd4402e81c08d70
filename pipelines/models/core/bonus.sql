-- doc: The bonuses [resultatbonus] each agreement has triggered in a year, complete: for those allowed to see small cells. The
--     published ones are in mart.bonus.
-- grain: municipality_code, agreement_id, year
-- partition_by: municipality_code
-- definition: bonus@1, effect_3m_sustained@1
-- check: kinds_add_up: triggered = triggered_self_support + triggered_fit_full + triggered_fit_partial
-- check: nobody_nothing: triggered <> 0 or amount_dkk = 0
with counted as (
    select
        municipality_code,
        agreement_id,
        year,
        count(*) filter (where state = 'triggered') as triggered,
        count(*) filter (where kind = 'self_support') as self_support,
        count(*) filter (where kind = 'fit_full') as fit_full,
        count(*) filter (where kind = 'fit_partial') as fit_partial,
        coalesce(sum(amount_dkk), 0) as amount_dkk,
        count(*) filter (where state = 'pending') as pending,
        count(*) filter (where state = 'lost') as lost,
        -- Zero only where it is known.
        count(*) filter (where state in ('triggered', 'not_triggered')) > 0
            or count(*) filter (where state = 'pending') = 0 as known
    from core.bonus_citizen
    group by municipality_code, agreement_id, year
)
select
    c.municipality_code,  -- Municipality that ordered the participations.
    c.agreement_id,  -- The agreement.
    c.year,  -- Year in which the participations ended.
    a.provider_id,  -- Who the bonus goes to.
    case when c.known then c.triggered end as triggered,  -- Citizens who triggered a bonus, each once; null while everybody is pending.
    case when c.known then c.self_support end as triggered_self_support,  -- Of them, those paid for being self-supporting.
    case when c.known then c.fit_full end as triggered_fit_full,  -- Of them, those paid for being reported fully fit.
    case when c.known then c.fit_partial end as triggered_fit_partial,  -- Of them, those paid for being reported partly fit.
    case when c.known then c.amount_dkk end as amount_dkk,  -- What the agreement pays for them, in kroner.
    c.pending,  -- Citizens without a bonus whose three months are not over by the horizon.
    c.lost,  -- Citizens without a bonus who died, emigrated or were pensioned within the three months.
    false as suppressed,  -- Nothing is hidden here.
    'bonus@1, effect_3m_sustained@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    h.complete_through as data_through  -- Horizon of public support; null where none is reported.
from counted as c
left join core.agreement as a on a.agreement_id = c.agreement_id
left join core.horizon as h on h.municipality_code = c.municipality_code and h.entity = 'benefit_spell'
