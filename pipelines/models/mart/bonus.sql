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
-- What an agreement counts is the sum of its offers, whose citizens other tables show by the offer: those ended by half-year,
-- those decided for a year.
half as (
    select
        municipality_code,
        agreement_id,
        year,
        offer_id,
        half_year(end_date) as period,
        count(*) filter (where state in ('triggered', 'not_triggered')) as decided,
        count(*) filter (where state = 'pending') as pending,
        count(*) filter (where state = 'lost') as lost
    from core.bonus_citizen
    group by municipality_code, agreement_id, year, offer_id, half_year(end_date)
),
offer as (
    select municipality_code, agreement_id, year, offer_id, sum(decided) as decided
    from half
    group by municipality_code, agreement_id, year, offer_id
),
decided as (
    select
        municipality_code,
        agreement_id,
        year,
        sum(decided) as decided,
        count(*) filter (where decided between 1 and 4) as small,
        sum(case when decided between 1 and 4 then decided else 0 end) as sum_small
    from offer
    group by municipality_code, agreement_id, year
),
waiting as (
    select
        municipality_code,
        agreement_id,
        year,
        count(*) filter (where pending between 1 and 4) as small_pending,
        sum(case when pending between 1 and 4 then pending else 0 end) as sum_pending,
        count(*) filter (where lost between 1 and 4) as small_lost,
        sum(case when lost between 1 and 4 then lost else 0 end) as sum_lost
    from half
    group by municipality_code, agreement_id, year
),
opening as (
    select
        b.*,
        b.triggered between 1 and 4 as small_triggered,
        d.small = 1 or d.sum_small between 1 and 4 or d.small > 0 and d.sum_small in (d.small, d.small * 4) as hide_all,
        w.small_pending = 1 or w.sum_pending between 1 and 4
            or w.small_pending > 0 and w.sum_pending in (w.small_pending, w.small_pending * 4) as small_pending,
        w.small_lost = 1 or w.sum_lost between 1 and 4
            or w.small_lost > 0 and w.sum_lost in (w.small_lost, w.small_lost * 4) as small_lost,
        suppressed_parts(b.triggered, [b.triggered_fit_full, b.triggered_fit_partial, b.triggered_self_support]) as within_triggered,
        suppressed_parts(d.decided, [
            b.triggered_fit_full, b.triggered_fit_partial, b.triggered_self_support, d.decided - b.triggered
        ]) as within_decided,
        suppressed_parts(d.decided + b.pending + b.lost, [d.decided, b.lost, b.pending]) as within_ended
    from core.bonus as b
    join decided as d
        on d.municipality_code = b.municipality_code and d.agreement_id = b.agreement_id and d.year = b.year
    join waiting as w
        on w.municipality_code = b.municipality_code and w.agreement_id = b.agreement_id and w.year = b.year
),
marked as (
    select
        *,
        hide_all or small_triggered or within_decided[4] as hide_triggered,
        hide_all or within_triggered[1] or within_decided[1] as hide_fit_full,
        hide_all or within_triggered[2] or within_decided[2] as hide_fit_partial,
        hide_all or within_triggered[3] or within_decided[3] as hide_self_support,
        small_lost or within_ended[2] as hide_lost,
        small_pending or within_ended[3] as hide_pending
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
