-- doc: The bonuses [resultatbonus] each agreement has triggered in a year, small cells hidden. The complete ones are in
--     core.bonus.
-- grain: municipality_code, agreement_id, year
-- partition_by: municipality_code
-- definition: bonus@1, effect_3m_sustained@1, small_cells@1
-- check: no_small_count: not (coalesce(triggered, 0) between 1 and 4 or coalesce(triggered_self_support, 0) between 1 and 4 or
--     coalesce(triggered_fit_full, 0) between 1 and 4 or coalesce(triggered_fit_partial, 0) between 1 and 4 or
--     coalesce(pending, 0) between 1 and 4 or coalesce(lost, 0) between 1 and 4)
-- check: no_amount_without_n: triggered is not null and triggered_self_support is not null and triggered_fit_full is not null
--     and triggered_fit_partial is not null or amount_dkk is null
with
-- What an agreement counts is the sum of its offers, whose citizens other tables show: those decided for a year, the others by
-- half-year. Where those hidden there, 1 to 4, could be found by subtraction, the sum is hidden here. They could where one more
-- part would have to be hidden, whatever its size.
part as (
    select municipality_code, agreement_id, year, 'decided' as measure, count(*) as n
    from core.bonus_citizen
    where state in ('triggered', 'not_triggered')
    group by municipality_code, agreement_id, year, offer_id
    union all
    select municipality_code, agreement_id, year, state as measure, count(*) as n
    from core.bonus_citizen
    where state in ('pending', 'lost')
    group by municipality_code, agreement_id, year, state, offer_id, half_year(end_date)
),
small as (
    select
        municipality_code,
        agreement_id,
        year,
        measure,
        sum(n) as n,
        suppressed_parts(
            sum(n) filter (where n <= 4) + 1000, array_prepend(1000, array_agg(n) filter (where n <= 4))
        )[1] as tells
    from part
    group by municipality_code, agreement_id, year, measure
),
told as (
    select
        municipality_code,
        agreement_id,
        year,
        coalesce(max(n) filter (where measure = 'decided'), 0) as decided,
        bool_or(coalesce(tells, false) and measure = 'decided') as tells_decided,
        bool_or(coalesce(tells, false) and measure = 'pending') as tells_pending,
        bool_or(coalesce(tells, false) and measure = 'lost') as tells_lost
    from small
    group by municipality_code, agreement_id, year
),
opening as (
    select
        b.*,
        t.tells_decided,
        t.tells_pending,
        t.tells_lost,
        suppressed_parts(b.triggered, [b.triggered_fit_full, b.triggered_fit_partial, b.triggered_self_support]) as within_triggered,
        suppressed_parts(t.decided, [
            b.triggered_fit_full, b.triggered_fit_partial, b.triggered_self_support, t.decided - b.triggered
        ]) as within_decided,
        suppressed_parts(t.decided + b.pending + b.lost, [t.decided, b.lost, b.pending]) as within_ended
    from core.bonus as b
    join told as t
        on t.municipality_code = b.municipality_code and t.agreement_id = b.agreement_id and t.year = b.year
),
marked as (
    select
        *,
        tells_decided or coalesce(triggered between 1 and 4, false) or within_decided[4] as hide_triggered,
        tells_decided or within_triggered[1] or within_decided[1] as hide_fit_full,
        tells_decided or within_triggered[2] or within_decided[2] as hide_fit_partial,
        tells_decided or within_triggered[3] or within_decided[3] as hide_self_support,
        tells_lost or within_ended[2] as hide_lost,
        tells_pending or within_ended[3] as hide_pending
    from opening
),
-- Null is unknown, and nothing unknown is hidden.
hidden as (
    select
        *,
        triggered is not null and (hide_triggered or hide_fit_full or hide_fit_partial or hide_self_support) as hide_amount
    from marked
)
select
    municipality_code,  -- Municipality that ordered the participations.
    agreement_id,  -- The agreement.
    year,  -- Year in which the participations ended.
    provider_id,  -- Who the bonus goes to.
    case when not hide_triggered then triggered end as triggered,  -- Citizens who triggered a bonus, each once; null while everybody is pending.
    case when not hide_self_support then triggered_self_support end as triggered_self_support,  -- Of them, those paid for being self-supporting.
    case when not hide_fit_full then triggered_fit_full end as triggered_fit_full,  -- Of them, those paid for being reported fully fit.
    case when not hide_fit_partial then triggered_fit_partial end as triggered_fit_partial,  -- Of them, those paid for being reported partly fit.
    case when not hide_amount then amount_dkk end as amount_dkk,  -- What the agreement pays for them, in kroner; hidden with any of them, since it tells how many there are.
    case when not hide_pending then pending end as pending,  -- Citizens without a bonus whose three months are not over by the horizon.
    case when not hide_lost then lost end as lost,  -- Citizens without a bonus who died, emigrated or were pensioned within the three months.
    hide_amount or hide_pending or hide_lost as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of public support; null where none is reported.
from hidden
