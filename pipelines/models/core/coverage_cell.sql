-- doc: Which counts of core.coverage must not be shown: 1 to 4, and those that would give one of them away.
-- grain: municipality_code, period, target_group, indicator
-- partition_by: municipality_code
-- definition: coverage@1, small_cells@1
with
-- Other tables show the participations that ended, and how many of them have a known effect, offer by offer: where those hidden
-- there could be found by subtraction, the sum over offers is hidden here.
offers as (
    select
        municipality_code,
        period,
        target_group,
        indicator,
        count(*) filter (where participations between 1 and 4) as small_participations,
        sum(case when participations between 1 and 4 then participations else 0 end) as sum_participations,
        count(*) filter (where covered between 1 and 4) as small_covered,
        sum(case when covered between 1 and 4 then covered else 0 end) as sum_covered,
        count(*) filter (where pending between 1 and 4) as small_pending,
        sum(case when pending between 1 and 4 then pending else 0 end) as sum_pending,
        count(*) filter (where uncovered between 1 and 4) as small_uncovered,
        sum(case when uncovered between 1 and 4 then uncovered else 0 end) as sum_uncovered
    from core.coverage_offer
    where indicator = 'effect_3m'
    group by municipality_code, period, target_group, indicator
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
        coalesce(o.small_covered = 1 or o.sum_covered between 1 and 4
            or o.small_covered > 0 and o.sum_covered in (o.small_covered, o.small_covered * 4), false) as hide_covered,
        coalesce(o.small_uncovered = 1 or o.sum_uncovered between 1 and 4
            or o.small_uncovered > 0 and o.sum_uncovered in (o.small_uncovered, o.small_uncovered * 4), false) as hide_uncovered,
        coalesce(o.small_pending = 1 or o.sum_pending between 1 and 4
            or o.small_pending > 0 and o.sum_pending in (o.small_pending, o.small_pending * 4), false) as hide_pending,
        coalesce(o.small_participations = 1 or o.sum_participations between 1 and 4
            or o.small_participations > 0
            and o.sum_participations in (o.small_participations, o.small_participations * 4), false) as hide_participations
    from core.coverage as c
    left join offers as o
        on o.municipality_code = c.municipality_code
        and o.period = c.period
        and o.target_group = c.target_group
        and o.indicator = c.indicator
),
-- Lines: 1 to 99, a count over its target groups; 1001 and on, what is known and what never will be; 2001 and on, those and what
-- is pending. The participations that ended are one count for all indicators.
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
        unnest([hide_covered, hide_uncovered, hide_pending, false]) as hide,
        unnest([
            indicator_number * 10 + 1, indicator_number * 10 + 2, indicator_number * 10 + 3, indicator_number * 10 + 4
        ]) as line,
        unnest([
            1000 + group_number * 10 + indicator_number,
            1000 + group_number * 10 + indicator_number,
            2000 + group_number * 10 + indicator_number,
            1000 + group_number * 10 + indicator_number
        ]) as line_2,
        unnest([null, null, null, 2000 + group_number * 10 + indicator_number]) as line_3
    from numbered
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
        5 as line,
        null as line_2,
        null as line_3
    from numbered
    where indicator in ('effect_3m', 'effect_7m')
),
opening as (
    select
        *,
        hide or suppressed(size, target_group, target_group = 'all') over (
            partition by municipality_code, period, by_start, line
        ) as hidden,
        2000 + group_number * 10 as row_line
    from cell
),
closed as (
    select
        municipality_code,
        period,
        by_start,
        target_group,
        indicator,
        measure,
        suppressed_across(
            hidden,
            size,
            1,
            case
                when measure < 5 then [line, line_2, line_3]
                when by_start then [line, row_line + 5]
                else [line, row_line + 1, row_line + 2, row_line + 3, row_line + 4, row_line + 6, row_line + 7, row_line + 8]
            end,
            case
                when measure < 5 then [size, size, size]
                when by_start then [size, size]
                else [size, size, size, size, size, size, size, size]
            end,
            group_number * 100 + indicator_number * 10 + measure
        ) over (partition by municipality_code, period, by_start) as closed
    from opening
),
marked as (
    select
        municipality_code,
        period,
        by_start,
        target_group,
        indicator,
        bool_or(closed and measure = 1) as covered,
        bool_or(closed and measure = 2) as uncovered,
        bool_or(closed and measure = 3) as pending,
        bool_or(closed and measure = 4) as n,
        bool_or(closed and measure = 5) as participations
    from closed
    group by municipality_code, period, by_start, target_group, indicator
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year.
    target_group,  -- Target group, or all of them together.
    indicator,  -- The indicator.
    covered,  -- Whether covered is hidden.
    covered or uncovered or n as share,  -- Whether the share is.
    n as share_n,  -- Whether share_n is.
    pending,  -- Whether pending is.
    bool_or(participations) over (partition by municipality_code, period, by_start, target_group) as participations  -- Whether participations are, with every indicator.
from marked
