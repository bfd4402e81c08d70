-- doc: The rows of mart.municipal_comparison and mart.provider_comparison whose counts must not be shown: 1 to 4 citizens, in
--     all, self-supporting or not, and those that would give one of them away.
-- grain: level, municipality_code, provider_id, year, indicator, target_group
-- partition_by: municipality_code
-- definition: fair_comparison@1, small_cells@1
-- warn: nothing_can_be_worked_out: not recoverable
with
-- A goal of the whole municipality shows its target groups together (mart.contract_status).
in_contract as (
    select distinct municipality_code, indicator from core.goal where unit_id is null and starts_with(indicator, 'effect_')
),
municipality as (
    select m.municipality_code, m.year, m.indicator, m.target_group, m.observed, m.n, c.indicator is not null as in_contract
    from core.municipal_comparison as m
    left join in_contract as c on c.municipality_code = m.municipality_code and c.indicator = m.indicator
    where m.n > 0
),
provider as (
    select municipality_code, provider_id, year, indicator, target_group, observed, n
    from core.provider_comparison
    where n > 0
),
unit as (
    select 1 as level_number, cast(0 as int) as municipality_code, '' as provider_id, year, indicator, target_group,
        sum(observed) as observed, sum(n) as n, false as in_contract
    from municipality
    group by year, indicator, target_group
    union all
    select 2 as level_number, municipality_code, '' as provider_id, year, indicator, target_group, observed, n, in_contract
    from municipality
    union all
    select 3 as level_number, municipality_code, '' as provider_id, year, indicator, 'all' as target_group,
        sum(observed) as observed, sum(n) as n, true as in_contract
    from municipality
    where in_contract
    group by municipality_code, year, indicator
    union all
    select 4 as level_number, municipality_code, '' as provider_id, year, indicator, target_group,
        sum(observed) as observed, sum(n) as n, false as in_contract
    from provider
    group by municipality_code, year, indicator, target_group
    union all
    select 5 as level_number, municipality_code, provider_id, year, indicator, target_group, observed, n, false as in_contract
    from provider
),
-- Both effects after three months are known of the same citizens, so their counts are hidden together. Units, target groups,
-- indicators and measures have numbers here, from which those of the lines are made.
numbered as (
    select
        *,
        case when indicator = 'effect_3m_sustained' then 'effect_3m' else indicator end as family,
        cast(dense_rank() over (order by level_number, municipality_code, provider_id) as bigint) as unit_number,
        cast(dense_rank() over (order by target_group) as bigint) * 100 as group_number,
        -- What contracts show is shown there whatever happens here, and so is a single target group.
        case
            when level_number = 3 then 2000000000
            when in_contract and count(*) over (partition by year, indicator, municipality_code, in_contract) = 2 then 1000000000
            else 0
        end as fixed,
        max(case when indicator = 'effect_3m_sustained' then observed end) over (
            partition by level_number, municipality_code, provider_id, year, target_group
        ) as sustained,
        max(case when indicator = 'effect_3m' then n - observed end) over (
            partition by level_number, municipality_code, provider_id, year, target_group
        ) as not_even_then,
        case indicator when 'effect_1m' then 10 when 'effect_3m' then 20 when 'effect_3m_sustained' then 30 else 40 end as indicator_number
    from unit
),
cell as (
    select
        *,
        group_number + indicator_number + measure_number as column_number,
        municipality_code * 1000000 + group_number + indicator_number + measure_number as municipal_column
    from (
        select *, unnest([1, 2, 3]) as measure_number, unnest([n, observed, n - observed]) as count
        from numbered
    )
),
opening as (
    select
        *,
        suppressed(count, concat(lpad(cast(municipality_code as text), 3, '0'), provider_id), level_number in (1, 3, 4)) over (
            partition by
                year,
                column_number,
                level_number = 3,
                case when level_number >= 3 then municipality_code end
        ) as hidden
    from cell
),
overview_year as (
    select municipality_code, party as provider_id, year, indicator, target_group, sum(n) as n
    from (
        select
            municipality_code,
            cast(substr(period, 1, 4) as int) as year,
            target_group,
            unnest(['', '', provider_id, provider_id]) as party,
            unnest(['effect_1m', 'effect_3m', 'effect_1m', 'effect_3m']) as indicator,
            unnest([effect_1m_n, effect_3m_n, effect_1m_n, effect_3m_n]) as n
        from core.offer_overview
        where target_group <> 'all'
    ) as v
    group by municipality_code, party, year, indicator, target_group
),
-- Years that the overview adds up to, as nobody of them is in it twice.
adding_up as (
    select u.*
    from numbered as u
    join overview_year as v
        on v.municipality_code = u.municipality_code
        and v.provider_id = u.provider_id
        and v.year = u.year
        and v.indicator = u.indicator
        and v.target_group = u.target_group
        and v.n = u.n
    where u.level_number in (2, 5)
),
-- A half-year of an offer that the overview does not show, and that such a year would give away.
overview as (
    select
        s.municipality_code,
        o.provider_id,
        cast(substr(s.block, 1, 4) as int) as year,
        case s.measure when 'effect_1m_n' then 'effect_1m' else 'effect_3m' end as indicator,
        s.part as target_group,
        s.n as count
    from core.small_cell as s
    join core.offer as o on o.offer_id = substr(s.block, 8)
    where s.mart = 'offer_overview' and s.measure in ('effect_1m_n', 'effect_3m_n') and s.part <> 'all'
),
member as (
    select
        level_number,
        municipality_code,
        provider_id,
        year,
        indicator,
        target_group,
        family,
        unit_number,
        measure_number,
        count,
        hidden and (fixed = 0 or count <= 4) as hidden,
        fixed,
        -- Whoever is self-supporting throughout the three months is so at their end.
        case
            when measure_number = 2 and indicator = 'effect_3m' then greatest(1, sustained)
            when measure_number = 3 and indicator = 'effect_3m_sustained' then greatest(1, not_even_then)
            else 1
        end as least,
        unit_number * 10000 + column_number as position,
        [
            -- Those who are known, over the self-supporting and the others.
            case when measure_number = 1 then -1 else 1 end * (1000000000000 + unit_number * 10000 + group_number + indicator_number),
            -- All municipalities; all providers of a municipality; the municipality over them; and as it is and as they make it.
            case level_number when 1 then -2000000000000 - column_number when 2 then 2000000000000 + column_number end,
            case level_number when 4 then -3000000000000 - municipal_column when 5 then 3000000000000 + municipal_column end,
            case level_number when 2 then -4000000000000 - municipal_column when 5 then 4000000000000 + municipal_column end,
            case level_number when 2 then -5000000000000 - municipal_column when 4 then 5000000000000 + municipal_column end,
            -- A municipality over its target groups.
            case when in_contract then case when level_number = 3 then -1 else 1 end * (6000000000000 + municipal_column - group_number) end,
            -- Both effects after three months.
            case
                when measure_number = 1
                    then case when indicator = 'effect_3m' then -1 else 1 end * (7000000000000 + unit_number * 10000 + group_number)
            end,
            -- A year of a provider, and of a municipality, over the overview, whose shown counts are known.
            case when level_number = 5 and measure_number = 1 then 8000000000000 + unit_number * 10000 + group_number + indicator_number end,
            case when level_number = 2 and measure_number = 1 then 9000000000000 + unit_number * 10000 + group_number + indicator_number end
        ] as lines
    from opening
    union all
    select
        6 as level_number,
        o.municipality_code,
        o.provider_id,
        o.year,
        o.indicator,
        o.target_group,
        o.indicator as family,
        0 as unit_number,
        1 as measure_number,
        o.count,
        true as hidden,
        0 as fixed,
        1 as least,
        0 as position,
        [
            8000000000000 + p.unit_number * 10000 + p.group_number + p.indicator_number,
            9000000000000 + m.unit_number * 10000 + m.group_number + m.indicator_number
        ] as lines
    from overview as o
    left join adding_up as p
        on p.level_number = 5
        and p.municipality_code = o.municipality_code
        and p.provider_id = o.provider_id
        and p.year = o.year
        and p.indicator = o.indicator
        and p.target_group = o.target_group
    left join adding_up as m
        on m.level_number = 2
        and m.municipality_code = o.municipality_code
        and m.year = o.year
        and m.indicator = o.indicator
        and m.target_group = o.target_group
),
closed as (
    select
        *,
        suppressed_across(
            hidden,
            count,
            least,
            lines,
            array_repeat(count + fixed, array_length(lines)),
            position
        ) over (partition by year, family) as closed
    from member
),
attacked as (
    select *, recoverable(closed, count, 1, null, lines) over (partition by year, family) as recoverable
    from closed
)
select
    case level_number when 1 then 'nation' when 2 then 'municipality' when 4 then 'providers' else 'provider' end as level,  -- nation, municipality, providers (those of a municipality together) or provider.
    municipality_code,  -- Municipality; 0 for the nation.
    provider_id,  -- The provider; empty for the other levels.
    year,  -- Year of the end, or of the start for effect_7m.
    indicator,  -- effect_1m, effect_3m, effect_3m_sustained or effect_7m.
    target_group,  -- Target group.
    bool_or(measure_number = 1) as hide_n,  -- Whether the number of citizens is hidden with the rest of the row.
    bool_or(recoverable and count between 1 and 4) as recoverable  -- Whether a small count of it can be worked out all the same from what is shown, if all totals elsewhere are known.
from attacked
where closed and level_number not in (3, 6)
group by level_number, municipality_code, provider_id, year, indicator, target_group
