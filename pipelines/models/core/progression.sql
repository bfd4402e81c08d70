-- doc: How far offers moved citizens [progression], by package, length and instrument, complete: for those allowed to see small
--     cells. The published one is mart.progression.
-- grain: municipality_code, package, duration_band, instrument_version
-- partition_by: municipality_code
-- definition: effect_3m_sustained@1, progression@1
-- check: citizens_add_up: measured_twice = effect_3m_sustained_n + pending + lost
-- check: effect_is_a_share: effect_3m_sustained between 0 and 1
-- check: interval_holds_mean: change_mean between change_mean_low and change_mean_high
with measured as (
    select
        c.municipality_code,
        coalesce(f.package, 'unknown') as package,
        cast(o.end_date as int) - cast(o.start_date as int) + 1 as days,
        c.instrument_version,
        o.citizen_id,
        o.participation_id,
        o.start_date,
        o.end_date,
        c.change,
        o.effect_3m_sustained
    from core.progress_change as c
    join core.participation_outcome as o
        on o.municipality_code = c.municipality_code and o.participation_id = c.participation_id
    left join core.offer_in_use as f on f.municipality_code = c.municipality_code and f.offer_id = o.offer_id
    where o.end_date is not null
),
banded as (
    select
        *,
        case when days <= 28 then '0-4' when days <= 91 then '4-13' when days <= 182 then '13-26' else '26+' end as duration_band
    from measured
),
-- A citizen counts once, by the latest participation measured twice, if there is one.
placed as (
    select
        *,
        row_number() over (
            partition by municipality_code, package, duration_band, instrument_version, citizen_id
            order by change is null, end_date desc, start_date desc, participation_id desc
        ) as place
    from banded
),
counted as (
    select
        municipality_code,
        package,
        duration_band,
        instrument_version,
        count(*) filter (where change is null) as measured_once,
        count(change) as measured_twice,
        avg(change) as change_mean,
        stddev_samp(change) / sqrt(count(change)) as standard_error,
        count(*) filter (where change is not null and effect_3m_sustained = 'success') as success,
        count(*) filter (where change is not null and effect_3m_sustained in ('success', 'failure')) as n,
        count(*) filter (where change is not null and effect_3m_sustained = 'pending') as pending,
        count(*) filter (where change is not null and effect_3m_sustained = 'lost') as lost
    from placed
    where place = 1
    group by municipality_code, package, duration_band, instrument_version
),
reported as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'progress_measurement') as progress_measurement
    from core.horizon
    group by municipality_code
)
select
    c.municipality_code,  -- Municipality.
    c.package,  -- Offer package; unknown where the offer is.
    c.duration_band,  -- Weeks from the first day to the last: 0-4, 4-13, 13-26 or 26+; the upper end is inside, so 13 weeks are in 4-13.
    c.instrument_version,  -- The instrument and its version.
    c.measured_once,  -- Citizens measured but never twice: nothing is known of their change.
    coalesce(
        nullif(c.measured_twice, 0),
        case when r.progress_measurement is not null then 0 end
    ) as measured_twice,  -- Citizens measured on two days or more; null where there are none and measurements are not known to be complete.
    c.change_mean,  -- Mean change of those, last score less first, on the instrument's scale.
    c.change_mean - 1.959964 * c.standard_error as change_mean_low,  -- Lower end of its 95 % interval; null with one citizen.
    c.change_mean + 1.959964 * c.standard_error as change_mean_high,  -- Upper end of its 95 % interval.
    cast(c.success as double) / nullif(c.n, 0) as effect_3m_sustained,  -- Share of the same citizens self-supporting on every day of the three months after the end.
    c.n as effect_3m_sustained_n,  -- Citizens behind it.
    wilson_low(c.success, c.n) as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    wilson_high(c.success, c.n) as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    c.pending,  -- Of those measured twice, citizens whose three months are not over by the horizon of public support.
    c.lost,  -- Of those measured twice, citizens who died, emigrated or were pensioned within the three months.
    false as suppressed,  -- Nothing is hidden here.
    'effect_3m_sustained@1, progression@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    r.progress_measurement as data_through  -- Horizon of progress measurements; null where none is reported.
from counted as c
left join reported as r on r.municipality_code = c.municipality_code
