-- doc: The counts by offer that mart.offer_overview and mart.visitation_guide must not show: 1 to 4, and those that would give
--     one of them away.
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
-- check: counts_are_counts: n >= 0
-- check: nothing_can_be_worked_out: not recoverable
with
-- A count stands in one or more lines: a total and its parts. Where a line hides exactly one of its counts, one more is
-- hidden; that one stands in other lines too, so the rule is repeated until no line gives a number away, and then until all
-- lines together give none away. All half-years of an offer are closed together. Offers, parts, measures and lines have
-- numbers here, which sort faster than names.
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
-- The half-year in which the twelve months of the guide end, where they end with it: those up to the horizon, and those up to
-- three months before. Then they are that half-year and the one before, as the overview shows them.
horizon as (
    select
        municipality_code,
        case
            when complete_through = half_year_end(half_year(complete_through))
                then date_part('year', complete_through) * 2 + (date_part('month', complete_through) - 1) / 6
        end as last_half,
        case
            when add_months(complete_through, -3) = half_year_end(half_year(add_months(complete_through, -3)))
                then date_part('year', add_months(complete_through, -3)) * 2
                    + (date_part('month', add_months(complete_through, -3)) - 1) / 6
        end as last_half_3m
    from core.horizon
    where entity = 'benefit_spell'
),
part as (
    select
        municipality_code,
        offer_id,
        target_group,
        cast(dense_rank() over (partition by municipality_code order by offer_id) as bigint) as block_number,
        cast(row_number() over (partition by municipality_code, offer_id order by target_group) as bigint) as part_number
    from (
        select municipality_code, offer_id, target_group from core.offer_overview
        union
        select municipality_code, offer_id, target_group from core.visitation_guide
        union
        select municipality_code, offer_id, 'none' as target_group from core.offer_overview
        union
        select municipality_code, offer_id, 'none' as target_group from core.visitation_guide
    ) as named
),
overview as (
    select
        o.municipality_code,
        o.period,
        o.offer_id,
        o.target_group,
        cast(substr(o.period, 1, 4) as bigint) * 2 + cast(substr(o.period, 6, 1) as bigint) - 1 as half_number,
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
        coalesce(i.invited, 0) as invited
    from core.offer_overview as o
    left join invited as i
        on i.municipality_code = o.municipality_code
        and i.period = o.period
        and i.offer_id = o.offer_id
        and i.target_group = o.target_group
),
-- Answers that name no target group are a part of `all` that is not shown, but could be found by subtraction.
offer_count as (
    select
        municipality_code,
        period,
        half_number,
        offer_id,
        target_group,
        unnest([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]) as measure_number,
        unnest([
            age_unknown, aged_30_plus, effect_1m_n, effect_3m_n, finished, in_offer, invited, lost, participants, pending,
            satisfaction_share_n, under_30, undecided_1m
        ]) as n
    from overview
    union all
    select
        municipality_code,
        period,
        half_number,
        offer_id,
        'none' as target_group,
        unnest([11, 7]) as measure_number,
        unnest([
            sum(case when target_group = 'all' then satisfaction_share_n else -satisfaction_share_n end),
            sum(case when target_group = 'all' then invited else -invited end)
        ]) as n
    from overview
    group by municipality_code, period, half_number, offer_id
    union all
    select
        municipality_code,
        null as period,
        0 as half_number,
        offer_id,
        target_group,
        unnest([21, 22, 23, 24, 25]) as measure_number,
        unnest([
            closer_to_job_share_n, effect_3m_sustained_n, effect_7m_n, satisfaction_share_n, workplace_share_n
        ]) as n
    from core.visitation_guide
    union all
    select
        municipality_code,
        null as period,
        0 as half_number,
        offer_id,
        'none' as target_group,
        unnest([21, 24]) as measure_number,
        unnest([
            sum(case when target_group = 'all' then closer_to_job_share_n else -closer_to_job_share_n end),
            sum(case when target_group = 'all' then satisfaction_share_n else -satisfaction_share_n end)
        ]) as n
    from core.visitation_guide
    group by municipality_code, offer_id
),
-- The half-years behind the guide: 1 answers, 2 those who finished (at a work place or not), 3 those known after three months.
offer_cell as (
    select
        c.*,
        p.block_number,
        p.part_number,
        c.half_number * 10000 + p.part_number * 100 as row_number,
        case
            when c.measure_number in (11, 24) and (c.half_number = 0 or h.last_half - c.half_number in (0, 1))
                then p.part_number * 100 + 51
            when c.measure_number in (5, 25) and (c.half_number = 0 or h.last_half - c.half_number in (0, 1))
                then p.part_number * 100 + 52
            when c.measure_number in (4, 22) and (c.half_number = 0 or h.last_half_3m - c.half_number in (0, 1))
                then p.part_number * 100 + 53
        end as guide_line
    from offer_count as c
    join part as p
        on p.municipality_code = c.municipality_code and p.offer_id = c.offer_id and p.target_group = c.target_group
    left join horizon as h on h.municipality_code = c.municipality_code
    where c.n is not null
),
-- The first line of a cell is the one that the function suppressed() sees; a line has a minus where the cell is its total.
cell as (
    select
        case when half_number = 0 then 'visitation_guide' else 'offer_overview' end as mart,
        municipality_code,
        case when half_number = 0 then offer_id else concat(period, ' ', offer_id) end as block,
        target_group as part,
        case
            when half_number = 0 then ([
                'closer_to_job_share_n', 'effect_3m_sustained_n', 'effect_7m_n', 'satisfaction_share_n', 'workplace_share_n'
            ])[measure_number - 20]
            else ([
                'age_unknown', 'aged_30_plus', 'effect_1m_n', 'effect_3m_n', 'finished', 'in_offer', 'invited', 'lost',
                'participants', 'pending', 'satisfaction_share_n', 'under_30', 'undecided_1m'
            ])[measure_number]
        end as measure,
        block_number,
        n,
        -- Of those in the offer, everybody and those who finished, which only nearly add up, those go first with which the least
        -- goes that is shown. Elsewhere the next smallest does.
        case measure_number when 6 then 0 when 9 then 1 else 2 end as priority_3,
        half_number * 10000 + part_number * 100 + measure_number as position,
        target_group = 'all' as is_total,
        -- A measure over its target groups. Within a row: 20 the citizens of the period over their ages, 21 over those in the
        -- offer and those finished, 22 finished over the first month, 23 over the three months.
        case when measure_number = 13 then row_number + 24 else half_number * 10000 + measure_number end as line_1,
        case
            when measure_number in (1, 2, 12) then row_number + 20
            when measure_number = 9 then -row_number - 20
            when measure_number in (3, 13) then row_number + 22
            when measure_number = 5 then -row_number - 22
            when measure_number in (4, 8, 10) then row_number + 23
        end as line_2,
        case when measure_number in (5, 6) then row_number + 21 when measure_number = 9 then -row_number - 21 end as line_3,
        case when measure_number = 5 then -row_number - 23 end as line_4,
        case when half_number = 0 then -guide_line else guide_line end as line_5
    from offer_cell
),
opening as (
    select
        *,
        [case when is_total then -line_1 else line_1 end, line_2, line_3, line_4, line_5] as lines,
        suppressed(n, concat(part, ' ', measure), is_total) over (
            partition by municipality_code, block_number, line_1
        ) as hidden
    from cell
),
closed as (
    select
        *,
        suppressed_across(hidden, n, 1, lines, [n, n, priority_3, n, n], position) over (
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
    block,  -- Half-year and offer; in the guide the offer.
    part,  -- Target group; none stands for answers that name none, which are not shown by themselves.
    measure,  -- The column that holds the count; participants, invited and undecided_1m are in none.
    n,  -- The count itself; a zero is here only where it would tell that others are ones.
    recoverable  -- Whether it can be worked out all the same from what is shown; then nothing is published.
from attacked
where closed
