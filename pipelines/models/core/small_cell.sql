-- doc: The counts that mart.offer_overview and mart.contract_status must not show: 1 to 4, and those that would give one
--     of them away.
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
-- check: counts_are_counts: n >= 0
with
-- A count stands in one or more lines: a total and its parts. Where a line hides exactly one of its counts, one more is
-- hidden; that one stands in other lines too, so the rule is repeated until no line gives a number away.
-- A block is what lines stay within: a half-year of an offer, or an indicator of a municipality. Blocks, parts, measures
-- and lines have numbers here, which sort faster than names, in the order of the names, which decides ties.
invited as (
    select municipality_code, half_year(invited_date) as period, offer_id, target_group, count(*) as invited
    from core.survey_answer
    where target_group is not null
    group by municipality_code, half_year(invited_date), offer_id, target_group
    union all
    select municipality_code, half_year(invited_date) as period, offer_id, 'all' as target_group, count(*) as invited
    from core.survey_answer
    group by municipality_code, half_year(invited_date), offer_id
),
overview as (
    select
        o.municipality_code,
        concat(o.period, ' ', o.offer_id) as block,
        o.target_group,
        cast(dense_rank() over (order by o.municipality_code, o.period, o.offer_id) as bigint) as block_number,
        cast(row_number() over (partition by o.municipality_code, o.period, o.offer_id order by o.target_group) as bigint) as part_number,
        o.under_30 + o.aged_30_plus + o.age_unknown as participants,
        o.in_offer,
        o.finished,
        o.under_30,
        o.aged_30_plus,
        o.age_unknown,
        o.effect_1m_n,
        o.finished - o.effect_1m_n as undecided_1m,
        o.effect_3m_n,
        o.pending,
        o.lost,
        coalesce(o.satisfaction_share_n, 0) as satisfaction_share_n,
        coalesce(i.invited, 0) as invited,
        -- Zeros are shown, so what is above them is at least this: two age groups with somebody in them are two citizens.
        cast(o.under_30 > 0 as bigint) + cast(o.aged_30_plus > 0 as bigint) + cast(o.age_unknown > 0 as bigint) as ages,
        cast(o.effect_3m_n > 0 as bigint) + cast(o.pending > 0 as bigint) + cast(o.lost > 0 as bigint) as outcomes
    from core.offer_overview as o
    left join invited as i
        on i.municipality_code = o.municipality_code
        and i.period = o.period
        and i.offer_id = o.offer_id
        and i.target_group = o.target_group
),
floor as (
    select
        *,
        greatest(ages, outcomes + cast(in_offer > 0 as bigint)) as participants_least,
        case when in_offer = 0 then greatest(ages, outcomes) else outcomes end as finished_least
    from overview
),
overview_cell as (
    select
        municipality_code,
        block,
        target_group,
        block_number,
        part_number,
        unnest([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]) as measure_number,
        unnest([
            age_unknown, aged_30_plus, effect_1m_n, effect_3m_n, finished, in_offer, invited, lost, participants, pending,
            satisfaction_share_n, under_30, undecided_1m
        ]) as n,
        unnest([
            case when ages = 1 then participants_least else 1 end,
            case when ages = 1 then participants_least else 1 end,
            1,
            case when outcomes = 1 then finished_least else 1 end,
            finished_least,
            case when finished = 0 then participants_least else 1 end,
            1,
            case when outcomes = 1 then finished_least else 1 end,
            participants_least,
            case when outcomes = 1 then finished_least else 1 end,
            1,
            case when ages = 1 then participants_least else 1 end,
            1
        ]) as least
    from floor
    union all
    -- Answers that name no target group: a part of `all` that is not shown, but could be found by subtraction.
    select
        municipality_code,
        block,
        'none' as target_group,
        block_number,
        cast(99 as bigint) as part_number,
        unnest([11, 7]) as measure_number,
        unnest([
            sum(case when target_group = 'all' then satisfaction_share_n else -satisfaction_share_n end),
            sum(case when target_group = 'all' then invited else -invited end)
        ]) as n,
        unnest([1, 1]) as least
    from overview
    group by municipality_code, block, block_number
),
total_least as (
    select block_number, measure_number, sum(least) as least
    from overview_cell
    where target_group <> 'all' and n > 0
    group by block_number, measure_number
),
contract as (
    select
        municipality_code,
        case when starts_with(indicator, 'interview_timeliness') then 'interview_timeliness' else indicator end as family,
        indicator,
        unit_id,
        period,
        yearly,
        month_number / 12 as year_number,
        month_number * 2 + cast(yearly as int) as period_number,
        n
    from core.contract_value
    where n is not null
    union all
    -- What the municipality has beside the units with a goal: not shown, but could be found by subtraction.
    select
        w.municipality_code,
        case when starts_with(w.indicator, 'interview_timeliness') then 'interview_timeliness' else w.indicator end as family,
        w.indicator,
        'other units' as unit_id,
        w.period,
        w.yearly,
        w.month_number / 12 as year_number,
        w.month_number * 2 + cast(w.yearly as int) as period_number,
        greatest(w.n - sum(u.n), 0) as n
    from core.contract_value as w
    join core.contract_value as u
        on u.municipality_code = w.municipality_code
        and u.indicator = w.indicator
        and u.period = w.period
        and u.unit_id <> ''
    where w.unit_id = '' and w.n is not null
    group by w.municipality_code, w.indicator, w.period, w.yearly, w.month_number, w.n
),
contract_cell as (
    select
        *,
        -cast(dense_rank() over (order by municipality_code, family) as bigint) as block_number,
        cast(dense_rank() over (partition by municipality_code, family order by indicator, unit_id) as bigint) as part_number,
        cast(dense_rank() over (partition by municipality_code, family order by indicator) as bigint) as indicator_number,
        cast(dense_rank() over (partition by municipality_code, family order by unit_id) as bigint) as unit_number
    from contract
),
-- The first line of a cell is the one that the function suppressed() sees.
cell as (
    select
        'offer_overview' as mart,
        c.municipality_code,
        c.block,
        c.target_group as part,
        ([
            'age_unknown', 'aged_30_plus', 'effect_1m_n', 'effect_3m_n', 'finished', 'in_offer', 'invited', 'lost',
            'participants', 'pending', 'satisfaction_share_n', 'under_30', 'undecided_1m'
        ])[c.measure_number] as measure,
        c.block_number,
        c.part_number,
        c.measure_number,
        c.n,
        greatest(c.least, t.least) as least,
        c.target_group = 'all' as is_total,
        -- 1 to 13: a measure over its target groups. Within a row: 20 the citizens of the period over their ages, 21 over those
        -- in the offer and those finished, 22 finished over the first month, 23 over the three months.
        case when c.measure_number = 13 then c.part_number * 100 + 24 else c.measure_number end as line_1,
        case
            when c.measure_number in (1, 2, 9, 12) then c.part_number * 100 + 20
            when c.measure_number in (3, 5, 13) then c.part_number * 100 + 22
            when c.measure_number in (4, 8, 10) then c.part_number * 100 + 23
        end as line_2,
        case when c.measure_number in (5, 6, 9) then c.part_number * 100 + 21 end as line_3,
        case when c.measure_number = 5 then c.part_number * 100 + 23 end as line_4
    from overview_cell as c
    left join total_least as t
        on t.block_number = c.block_number and t.measure_number = c.measure_number and c.target_group = 'all'
    union all
    select
        'contract_status' as mart,
        municipality_code,
        family as block,
        concat(indicator, ' ', unit_id) as part,
        period as measure,
        block_number,
        part_number,
        period_number as measure_number,
        n,
        1 as least,
        case when family in ('workplace_share', 'excess_unemployment') then unit_id = '' else yearly end as is_total,
        -- 1: a year over its months. 2: the municipality over its units. 3: all interviews over their populations.
        case
            when family in ('workplace_share', 'excess_unemployment') or unit_id = 'other units'
                then 2000000000 + indicator_number * 10000000 + period_number
            else 1000000000 + part_number * 10000 + year_number
        end as line_1,
        case
            when family not in ('workplace_share', 'excess_unemployment') and unit_id <> 'other units'
                then 2000000000 + indicator_number * 10000000 + period_number
        end as line_2,
        case
            when family = 'interview_timeliness' and unit_id <> 'other units'
                then 3000000000 + unit_number * 1000000 + period_number
        end as line_3,
        null as line_4
    from contract_cell
),
opening as (
    select
        *,
        suppressed(n, concat(part, ' ', measure), is_total) over (partition by block_number, line_1) as hidden
    from cell
),
closed as (
    select
        mart,
        municipality_code,
        block,
        part,
        measure,
        n,
        suppressed_across(
            hidden,
            n,
            least,
            [line_1, line_2, line_3, line_4],
            -- Of those in the offer, everybody and those who finished, which only nearly add up, those go first with which
            -- the least goes that is shown. Elsewhere the next smallest does.
            [n, n, case when block_number < 0 then n when measure_number = 6 then 0 when measure_number = 9 then 1 else 2 end, n],
            part_number * 100000 + measure_number
        ) over (partition by block_number) as closed
    from opening
)
select
    mart,  -- Name of the published table without its schema.
    municipality_code,  -- Municipality.
    block,  -- What is closed together: half-year and offer, or the indicator.
    part,  -- Target group, or indicator and unit; none and other units stand for what is not shown by itself.
    measure,  -- The column that holds the count, or the period of a contract value.
    n  -- The count itself; a zero is here only where it would tell that others are ones.
from closed
where closed
