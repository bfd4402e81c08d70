-- doc: The effects of each provider against what could be expected of the citizens it was given, within a municipality,
--     complete: for those allowed to see small cells. The published one is mart.provider_comparison. Providers are never ranked
--     by it.
-- grain: municipality_code, provider_id, year, indicator, target_group
-- partition_by: municipality_code
-- definition: case_mix@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, fair_comparison@1
-- check: observed_within_n: observed between 0 and n
-- check: rates_are_fractions: coalesce(crude_rate, 0) between 0 and 1 and coalesce(municipal_rate, 0) between 0 and 1
-- check: expected_within_n: expected between 0 and n + 0.000001
with provider as (
    select municipality_code, provider_id, year, indicator, target_group, age_band, prior_weeks_band, successes, n
    from core.case_mix_stratum
    where provider_id <> ''
),
pooled_stratum as (
    select
        municipality_code,
        year,
        indicator,
        target_group,
        age_band,
        prior_weeks_band,
        cast(sum(successes) as double) / nullif(sum(n), 0) as rate
    from provider
    group by municipality_code, year, indicator, target_group, age_band, prior_weeks_band
),
municipality as (
    select municipality_code, year, indicator, target_group, cast(sum(successes) as double) / nullif(sum(n), 0) as rate
    from provider
    group by municipality_code, year, indicator, target_group
),
standardised as (
    select
        p.municipality_code,
        p.provider_id,
        p.year,
        p.indicator,
        p.target_group,
        sum(p.successes) as successes,
        sum(p.n) as n,
        sum(p.n * s.rate) as expected,
        sum(p.n * s.rate * (1 - s.rate)) as variance
    from provider as p
    join pooled_stratum as s
        on s.municipality_code = p.municipality_code
        and s.year = p.year
        and s.indicator = p.indicator
        and s.target_group = p.target_group
        and s.age_band = p.age_band
        and s.prior_weeks_band = p.prior_weeks_band
    group by p.municipality_code, p.provider_id, p.year, p.indicator, p.target_group
),
scored as (
    select *, (successes - expected) / sqrt(nullif(variance, 0)) as z
    from standardised
)
select
    s.municipality_code,  -- Municipality.
    s.provider_id,  -- The provider.
    s.year,  -- Year of the end, or of the start for effect_7m.
    s.indicator,  -- effect_1m, effect_3m, effect_3m_sustained or effect_7m.
    s.target_group,  -- Target group.
    p.name as provider_name,  -- Name of the provider.
    case when s.n > 0 then s.successes end as observed,  -- Citizens self-supporting; null where nobody's outcome is known.
    s.n,  -- Citizens whose outcome is known.
    case when s.n > 0 then s.expected end as expected,  -- As many would have been, had each age and length of support done as it does with all the municipality's providers.
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
    m.rate as municipal_rate,  -- The same share over all the municipality's providers.
    false as suppressed,  -- Nothing is hidden here.
    concat('case_mix@1, ', s.indicator, '@1, fair_comparison@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    h.complete_through as data_through  -- Horizon of public support: outcomes are known to this day; null where none is reported.
from scored as s
join municipality as m
    on m.municipality_code = s.municipality_code
    and m.year = s.year
    and m.indicator = s.indicator
    and m.target_group = s.target_group
left join core.provider as p on p.provider_id = s.provider_id
left join core.horizon as h on h.municipality_code = s.municipality_code and h.entity = 'benefit_spell'
