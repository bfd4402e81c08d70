-- doc: The effects of each municipality against what could be expected of its citizens, small cells hidden. The complete one
--     is core.municipal_comparison. Municipalities are never ranked by it.
-- grain: municipality_code, year, indicator, target_group
-- partition_by: municipality_code
-- definition: case_mix@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, fair_comparison@1, small_cells@1
-- check: no_small_count: not (coalesce(n, 0) between 1 and 4 or coalesce(observed, 0) between 1 and 4 or coalesce(n - observed,
--     0) between 1 and 4)
-- check: no_share_without_n: n is not null or observed is null and crude_rate is null and expected is null
-- check: no_comparison_without_observed: observed is not null or index is null and z is null and flag is null
-- check: no_comparison_without_rate: national_rate is not null or index is null and z is null and expected is null
with municipality as (
    select municipality_code, year, indicator, target_group, hide_n
    from core.comparison_small_cell
    where level = 'municipality'
),
pool as (
    select year, indicator, target_group
    from core.comparison_small_cell
    where level = 'nation'
),
marked as (
    select
        c.*,
        coalesce(s.hide_n, false) as hide_n,
        s.year is not null as hide_observed,
        p.year is not null as hide_rate
    from core.municipal_comparison as c
    left join municipality as s
        on s.municipality_code = c.municipality_code
        and s.year = c.year
        and s.indicator = c.indicator
        and s.target_group = c.target_group
    left join pool as p
        on p.year = c.year and p.indicator = c.indicator and p.target_group = c.target_group
)
select
    municipality_code,  -- Municipality.
    year,  -- Year of the end, or of the start for effect_7m.
    indicator,  -- effect_1m, effect_3m, effect_3m_sustained or effect_7m.
    target_group,  -- Target group.
    case when not hide_observed then observed end as observed,  -- Citizens self-supporting.
    case when not hide_n then n end as n,  -- Citizens whose outcome is known.
    case when not hide_observed and not hide_rate then round(expected, 1) end as expected,  -- As many would have been, had each age and length of support done as it does in all municipalities together. Rounded to one decimal.
    case when not hide_observed and not hide_rate then round(index, 1) end as index,  -- Observed in per cent of expected; null where none was expected. Rounded to one decimal.
    case when not hide_observed and not hide_rate then round(z, 2) end as z,  -- Difference in standard deviations; null where nothing could have turned out otherwise. Rounded to two decimals.
    case when not hide_observed and not hide_rate then flag end as flag,  -- much_better, better, as_expected, worse or much_worse.
    case when not hide_observed then crude_rate end as crude_rate,  -- Share self-supporting as it is, not compared.
    case when not hide_observed then crude_rate_low end as crude_rate_low,  -- Lower end of its 95 % interval.
    case when not hide_observed then crude_rate_high end as crude_rate_high,  -- Upper end of its 95 % interval.
    case when not hide_rate then national_rate end as national_rate,  -- The same share over all municipalities.
    hide_observed or hide_rate as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from marked
