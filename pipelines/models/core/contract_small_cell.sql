-- doc: The counts by indicator, unit and period that mart.contract_status must not show: 1 to 4, and those that would give one
--     of them away.
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
-- check: counts_are_counts: n >= 0
-- check: nothing_can_be_worked_out: not recoverable
with
-- A count stands in one or more lines: a total and its parts. Where a line hides exactly one of its counts, one more is
-- hidden; that one stands in other lines too, so the rule is repeated until no line gives a number away, and then until all
-- lines together give none away. All months and years of an indicator are closed together. Indicators, parts and lines have
-- numbers here, which sort faster than names.
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
        cast(dense_rank() over (partition by municipality_code order by family) as bigint) as block_number,
        cast(dense_rank() over (partition by municipality_code, family order by indicator, unit_id) as bigint) as part_number,
        cast(dense_rank() over (partition by municipality_code, family order by indicator) as bigint) as indicator_number,
        cast(dense_rank() over (partition by municipality_code, family order by unit_id) as bigint) as unit_number
    from contract
),
-- The first line of a cell is the one that the function suppressed() sees; a line has a minus where the cell is its total.
cell as (
    select
        'contract_status' as mart,
        municipality_code,
        family as block,
        concat(indicator, ' ', unit_id) as part,
        period as measure,
        block_number,
        part_number,
        n,
        part_number * 100000 + period_number as position,
        case when family in ('workplace_share', 'excess_unemployment') then unit_id = '' else yearly and unit_id <> 'other units' end as is_total,
        -- 1: a year over its months. 2: the municipality over its units. 3: all interviews over their populations.
        case
            when family in ('workplace_share', 'excess_unemployment') or unit_id = 'other units'
                then 2000000000 + indicator_number * 10000000 + period_number
            else 1000000000 + part_number * 10000 + year_number
        end as line_1,
        case
            when family not in ('workplace_share', 'excess_unemployment') and unit_id <> 'other units'
                then case when unit_id = '' then -1 else 1 end * (2000000000 + indicator_number * 10000000 + period_number)
        end as line_2,
        case
            when family = 'interview_timeliness' and unit_id <> 'other units'
                then case when indicator = family then -1 else 1 end * (3000000000 + unit_number * 1000000 + period_number)
        end as line_3
    from contract_cell
),
opening as (
    select
        *,
        [case when is_total then -line_1 else line_1 end, line_2, line_3] as lines,
        suppressed(n, concat(part, ' ', measure), is_total) over (
            partition by municipality_code, block_number, line_1
        ) as hidden
    from cell
),
closed as (
    select
        *,
        suppressed_across(hidden, n, 1, lines, [n, n, n], position) over (
            partition by municipality_code, block_number
        ) as closed
    from opening
),
attacked as (
    select *, recoverable(closed, n, 1, null, lines) over (partition by municipality_code, block_number) as recoverable
    from closed
)
select
    mart,  -- Name of the published table without its schema.
    municipality_code,  -- Municipality.
    block,  -- The indicator; interviews of all populations together.
    part,  -- Indicator and unit; other units stand for what is not shown by itself.
    measure,  -- The period: a month or a year.
    n,  -- The count itself; a zero is here only where it would tell that others are ones.
    recoverable  -- Whether it can be worked out all the same from what is shown; then nothing is published.
from attacked
where closed
