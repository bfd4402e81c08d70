-- doc: How far offers moved citizens [progression], by package, length and instrument, small cells hidden. The complete one is
--     core.progression.
-- grain: municipality_code, package, duration_band, instrument_version
-- partition_by: municipality_code
-- definition: effect_3m_sustained@1, progression@1, small_cells@1
-- check: no_small_count: not (coalesce(measured_once, 0) between 1 and 4 or coalesce(measured_twice, 0) between 1 and 4 or
--     coalesce(effect_3m_sustained_n, 0) between 1 and 4 or coalesce(pending, 0) between 1 and 4 or coalesce(lost, 0) between
--     1 and 4)
-- check: no_share_without_n: (measured_twice is not null or change_mean is null) and (effect_3m_sustained_n is not null or
--     effect_3m_sustained is null)
-- check: no_small_numerator: effect_3m_sustained is null or not (round(effect_3m_sustained * effect_3m_sustained_n) between 1
--     and 4 or round((1 - effect_3m_sustained) * effect_3m_sustained_n) between 1 and 4)
with
-- mart.coverage shows how many were measured twice in all, half-year by half-year, which is the total of these cells.
cell as (
    select
        municipality_code,
        package,
        duration_band,
        instrument_version,
        concat(package, ' ', duration_band, ' ', instrument_version) as part,
        measured_twice,
        false as is_total
    from core.progression
    union all
    select
        municipality_code,
        null as package,
        null as duration_band,
        null as instrument_version,
        '' as part,
        sum(measured_twice) as measured_twice,
        true as is_total
    from core.progression
    group by municipality_code
),
small as (
    select
        municipality_code,
        package,
        duration_band,
        instrument_version,
        suppressed(measured_twice, part, is_total) over (partition by municipality_code) as measured_twice
    from cell
),
counted as (
    select
        p.*,
        cast(round(p.effect_3m_sustained * p.effect_3m_sustained_n) as bigint) as success,
        s.measured_twice as hide_twice,
        suppressed_parts(p.measured_twice, [p.effect_3m_sustained_n, p.lost, p.pending]) as outcomes
    from core.progression as p
    join small as s
        on s.municipality_code = p.municipality_code
        and s.package = p.package
        and s.duration_band = p.duration_band
        and s.instrument_version = p.instrument_version
),
marked as (
    select
        *,
        measured_once between 1 and 4 as hide_once,
        hide_twice or outcomes[1] as hide_n,
        hide_twice or outcomes[1] or coalesce(
            suppressed_parts(effect_3m_sustained_n, [success, effect_3m_sustained_n - success])[1], false
        ) as hide_effect,
        hide_twice or outcomes[2] as hide_lost,
        hide_twice or outcomes[3] as hide_pending
    from counted
)
select
    municipality_code,  -- Municipality.
    package,  -- Offer package; unknown where the offer is.
    duration_band,  -- Weeks from the first day to the last: 0-4, 4-13, 13-26 or 26+; the upper end is inside, so 13 weeks are in 4-13.
    instrument_version,  -- The instrument and its version.
    case when not hide_once then measured_once end as measured_once,  -- Citizens measured but never twice: nothing is known of their change.
    case when not hide_twice then measured_twice end as measured_twice,  -- Citizens measured on two days or more; null where there are none and measurements are not known to be complete.
    case when not hide_twice then change_mean end as change_mean,  -- Mean change of those, last score less first, on the instrument's scale.
    case when not hide_twice then change_mean_low end as change_mean_low,  -- Lower end of its 95 % interval.
    case when not hide_twice then change_mean_high end as change_mean_high,  -- Upper end of its 95 % interval.
    case when not hide_effect then effect_3m_sustained end as effect_3m_sustained,  -- Share of the same citizens self-supporting on every day of the three months after the end.
    case when not hide_n then effect_3m_sustained_n end as effect_3m_sustained_n,  -- Citizens behind it.
    case when not hide_effect then effect_3m_sustained_low end as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    case when not hide_effect then effect_3m_sustained_high end as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    case when not hide_pending then pending end as pending,  -- Of those measured twice, citizens whose three months are not over by the horizon of public support.
    case when not hide_lost then lost end as lost,  -- Of those measured twice, citizens who died, emigrated or were pensioned within the three months.
    hide_once or hide_twice or hide_effect or hide_lost or hide_pending as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of progress measurements; null where none is reported.
from marked
