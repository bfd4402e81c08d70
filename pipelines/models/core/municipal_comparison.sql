-- doc: The effects of each municipality against what could be expected of its citizens, complete: for those allowed to see
--     small cells. The published one is mart.municipal_comparison. Municipalities are never ranked by it.
-- grain: municipality_code, year, indicator, target_group
-- partition_by: municipality_code
-- definition: case_mix@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, fair_comparison@1
-- check: observed_within_n: observed between 0 and n
-- check: rates_are_fractions: coalesce(crude_rate, 0) between 0 and 1 and coalesce(national_rate, 0) between 0 and 1
-- check: expected_within_n: expected between 0 and n + 0.000001
with municipality as (
    select municipality_code, year, indicator, target_group, age_band, prior_weeks_band, successes, n
    from core.case_mix_stratum
    where provider_id = ''
),
pooled_stratum as (
    select
        year,
        indicator,
        target_group,
        age_band,
        prior_weeks_band,
        cast(sum(successes) as double) / nullif(sum(n), 0) as rate
    from municipality
    group by year, indicator, target_group, age_band, prior_weeks_band
),
nation as (
    select year, indicator, target_group, cast(sum(successes) as double) / nullif(sum(n), 0) as rate
    from municipality
    group by year, indicator, target_group
),
standardised as (
    select
        m.municipality_code,
        m.year,
        m.indicator,
        m.target_group,
        sum(m.successes) as successes,
        sum(m.n) as n,
        sum(m.n * s.rate) as expected,
        sum(m.n * s.rate * (1 - s.rate)) as variance
    from municipality as m
    join pooled_stratum as s
        on s.year = m.year
        and s.indicator = m.indicator
        and s.target_group = m.target_group
        and s.age_band = m.age_band
        and s.prior_weeks_band = m.prior_weeks_band
    group by m.municipality_code, m.year, m.indicator, m.target_group
),
scored as (
    select *, (successes - expected) / sqrt(nullif(variance, 0)) as z
    from standardised
)
select
    s.municipality_code,  -- Municipality.
    s.year,  -- Year of the end, or of the start for effect_7m.
    s.indicator,  -- effect_1m, effect_3m, effect_3m_sustained or effect_7m.
    s.target_group,  -- Target group.
    case when s.n > 0 then s.successes end as observed,  -- Citizens self-supporting; null where nobody's outcome is known.
    s.n,  -- Citizens whose outcome is known.
    case when s.n > 0 then s.expected end as expected,  -- As many would have been, had each age and length of support done as it does in all municipalities together.
    100 * s.successes / nullif(s.expected, 0) as index,  -- Observed in per cent of expected; null where none was expected.
    s.z,  -- Difference in standard deviations; null where nothing could have turned out otherwise.
    case
        when s.n = 0 then null
        when s.z > 3.09 then 'much_better'
        when s.z > 1.96 then 'better'
        when s.z < -3.09 then 'much_worse'
        when s.z < -1.96 then 'worse'
        else 'as_expected'
    end as flag,  -- much_better, better, as_expected, worse or much_worse; null where nobody's outcome is known.
    cast(s.successes as double) / nullif(s.n, 0) as crude_rate,  -- Share self-supporting as it is, not compared.
    wilson_low(s.successes, s.n) as crude_rate_low,  -- Lower end of its 95 % interval.
    wilson_high(s.successes, s.n) as crude_rate_high,  -- Upper end of its 95 % interval.
    a.rate as national_rate,  -- The same share over all municipalities.
    false as suppressed,  -- Nothing is hidden here.
    concat('case_mix@1, ', s.indicator, '@1, fair_comparison@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    h.complete_through as data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from scored as s
join nation as a on a.year = s.year and a.indicator = s.indicator and a.target_group = s.target_group
left join core.horizon as h on h.municipality_code = s.municipality_code and h.entity = 'benefit_spell'
