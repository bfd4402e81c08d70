-- doc: Which counts of core.coverage must not be shown: 1 to 4, and those that would give one of them away.
-- grain: municipality_code, period, target_group, indicator
-- partition_by: municipality_code
-- definition: coverage@1, small_cells@1
-- warn: nothing_can_be_worked_out: not recoverable
with
-- The overview shows how many ended, and how many of them have a known effect, offer by offer: where what it hides could be found
-- by subtraction, the sum over offers is hidden here.
offers as (
    select
        municipality_code,
        substr(block, 1, 6) as period,
        part as target_group,
        measure,
        count(*) = 1 or sum(n) in (count(*), count(*) * 4) as tells
    from core.small_cell
    where mart = 'offer_overview' and measure in ('effect_3m_n', 'finished', 'lost', 'pending') and n > 0
    group by municipality_code, substr(block, 1, 6), part, measure
),
told as (
    select
        municipality_code,
        period,
        target_group,
        bool_or(tells and measure = 'finished') as participations,
        bool_or(tells and measure = 'effect_3m_n') as covered,
        bool_or(tells and measure = 'lost') as uncovered,
        bool_or(tells and measure = 'pending') as pending
    from offers
    group by municipality_code, period, target_group
),
numbered as (
    select
        c.municipality_code,
        c.period,
        c.target_group,
        c.indicator,
        c.indicator = 'effect_7m' as by_start,
        cast(array_position([
            'age_group', 'attendance_share', 'closer_to_job_share', 'effect_3m', 'effect_7m', 'progression', 'satisfaction_share', 'smiley'
        ], c.indicator) as bigint) as indicator_number,
        cast(dense_rank() over (partition by c.municipality_code, c.period order by c.target_group) as bigint) as group_number,
        c.covered,
        c.share_n - c.covered as uncovered,
        c.pending,
        c.share_n as n,
        c.participations,
        c.indicator = 'effect_3m' and coalesce(t.covered, false) as hide_covered,
        c.indicator = 'effect_3m' and coalesce(t.uncovered, false) as hide_uncovered,
        c.indicator = 'effect_3m' and coalesce(t.pending, false) as hide_pending,
        c.indicator <> 'effect_7m' and coalesce(t.participations, false) as hide_participations
    from core.coverage as c
    left join told as t
        on t.municipality_code = c.municipality_code and t.period = c.period and t.target_group = c.target_group
),
-- Zeros are shown, so what is above them is at least this: where an indicator has somebody known and somebody pending, they are
-- two, and as many for every other indicator.
least as (
    select
        *,
        max(cast(n > 0 as bigint) + cast(pending > 0 as bigint)) over (
            partition by municipality_code, period, by_start, target_group
        ) as participations_least
    from numbered
),
-- Lines: 1 to 99, a count over its target groups; 1001 and on, what is known and what never will be; 2001 and on, those and what
-- is pending; negative where a count is their total. The participations that ended are one count for all indicators; hidden, they
-- take with them what is all of them but 1 to 4.
cell as (
    select
        municipality_code,
        period,
        by_start,
        target_group,
        indicator,
        group_number,
        indicator_number,
        unnest([1, 2, 3, 4]) as measure,
        unnest([covered, uncovered, pending, n]) as size,
        unnest([hide_covered, hide_uncovered, hide_pending, hide_participations]) as hide,
        unnest([
            1, 1, case when n = 0 then participations_least else 1 end, case when pending = 0 then participations_least else 1 end
        ]) as least,
        unnest([
            indicator_number * 10 + 1, indicator_number * 10 + 2, indicator_number * 10 + 3, indicator_number * 10 + 4
        ]) as line,
        unnest([
            1000 + group_number * 10 + indicator_number,
            1000 + group_number * 10 + indicator_number,
            2000 + group_number * 10 + indicator_number,
            -1000 - group_number * 10 - indicator_number
        ]) as line_2,
        unnest([null, null, null, 2000 + group_number * 10 + indicator_number]) as line_3
    from least
    union all
    select
        municipality_code,
        period,
        by_start,
        target_group,
        indicator,
        group_number,
        indicator_number,
        5 as measure,
        participations as size,
        hide_participations as hide,
        participations_least as least,
        5 as line,
        null as line_2,
        null as line_3
    from least
    where indicator in ('effect_3m', 'effect_7m')
),
opening as (
    select
        *,
        hide or suppressed(size, target_group, target_group = 'all') over (
            partition by municipality_code, period, by_start, line
        ) as hidden,
        case when target_group = 'all' then -line else line end as group_line,
        -2000 - group_number * 10 as row_line,
        case
            when target_group = 'all' then sum(case when target_group <> 'all' and size > 0 then least else 0 end) over (
                partition by municipality_code, period, by_start, line
            )
            else 0
        end as parts_least
    from cell
),
numbered_line as (
    select
        *,
        case
            when measure < 5 then [group_line, line_2, line_3]
            when by_start then [group_line, row_line - 5]
            else [
                group_line, row_line - 1, row_line - 2, row_line - 3, row_line - 4, row_line - 6, row_line - 7, row_line - 8
            ]
        end as lines
    from opening
),
closed as (
    select
        *,
        suppressed_across(
            hidden,
            size,
            greatest(least, parts_least),
            lines,
            array_repeat(size, array_length(lines)),
            group_number * 100 + indicator_number * 10 + measure
        ) over (partition by municipality_code, period, by_start) as closed
    from numbered_line
),
attacked as (
    select *, recoverable(closed, size, 1, null, lines) over (partition by municipality_code, period, by_start) as recoverable
    from closed
),
marked as (
    select
        municipality_code,
        period,
        by_start,
        target_group,
        indicator,
        bool_or(closed and measure = 1) as covered,
        bool_or(closed and measure = 3) as pending,
        bool_or(closed and measure = 4) as n,
        bool_or(closed and measure = 5) as participations,
        bool_or(recoverable and size between 1 and 4) as recoverable
    from attacked
    group by municipality_code, period, by_start, target_group, indicator
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year.
    target_group,  -- Target group, or all of them together.
    indicator,  -- The indicator.
    covered,  -- Whether covered is hidden.
    covered or n as share,  -- Whether the share is.
    n as share_n,  -- Whether share_n is.
    pending,  -- Whether pending is.
    bool_or(participations) over (partition by municipality_code, period, by_start, target_group) as participations,  -- Whether participations are, with every indicator.
    recoverable  -- Whether a small one of them can be worked out all the same from what is shown, if all totals elsewhere are known.
from marked
