-- doc: The counts that mart.offer_overview and mart.contract_status must not show: 1 to 4, and those that would give one of
--     them away.
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
with recursive
-- A count stands in one or more lines: a total and its parts. Where a line hides exactly one of its counts, one more is
-- hidden; that one stands in other lines too, so the rule is repeated until no line gives a number away.
overview as (
    select
        o.municipality_code,
        o.period,
        o.offer_id,
        o.target_group,
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
    left join (
        select municipality_code, half_year(invited_date) as period, offer_id, target_group, count(*) as invited
        from core.survey_answer
        where target_group is not null
        group by municipality_code, half_year(invited_date), offer_id, target_group
        union all
        select municipality_code, half_year(invited_date) as period, offer_id, 'all' as target_group, count(*) as invited
        from core.survey_answer
        group by municipality_code, half_year(invited_date), offer_id
    ) as i
        on i.municipality_code = o.municipality_code
        and i.period = o.period
        and i.offer_id = o.offer_id
        and i.target_group = o.target_group
),
overview_cell as (
    select
        municipality_code,
        concat(period, ' ', offer_id) as block,
        target_group as part,
        unnest([
            'participants', 'in_offer', 'finished', 'under_30', 'aged_30_plus', 'age_unknown', 'effect_1m_n',
            'undecided_1m', 'effect_3m_n', 'pending', 'lost', 'satisfaction_share_n', 'invited'
        ]) as measure,
        unnest([
            participants, in_offer, finished, under_30, aged_30_plus, age_unknown, effect_1m_n,
            undecided_1m, effect_3m_n, pending, lost, satisfaction_share_n, invited
        ]) as n
    from overview
    union all
    -- Answers that name no target group: a part of `all` that is not shown, but could be found by subtraction.
    select
        municipality_code,
        concat(period, ' ', offer_id) as block,
        'none' as part,
        unnest(['satisfaction_share_n', 'invited']) as measure,
        unnest([
            sum(case when target_group = 'all' then satisfaction_share_n else -satisfaction_share_n end),
            sum(case when target_group = 'all' then invited else -invited end)
        ]) as n
    from overview
    group by municipality_code, period, offer_id
),
contract as (
    select
        municipality_code,
        case when starts_with(indicator, 'interview_timeliness') then 'interview_timeliness' else indicator end as block,
        indicator,
        unit_id,
        period,
        yearly,
        month_number,
        n
    from core.contract_value
    where n is not null
),
-- What the municipality has beside the units with a goal: not shown, but could be found by subtraction.
other_unit as (
    select
        w.municipality_code,
        w.block,
        w.indicator,
        w.period,
        greatest(w.n - sum(u.n), 0) as n
    from contract as w
    join contract as u
        on u.municipality_code = w.municipality_code
        and u.indicator = w.indicator
        and u.period = w.period
        and u.unit_id <> ''
    where w.unit_id = ''
    group by w.municipality_code, w.block, w.indicator, w.period, w.n
),
-- The first line of a cell is the one that the function suppressed() sees.
cell as (
    select
        'offer_overview' as mart,
        municipality_code,
        block,
        part,
        measure,
        n,
        part = 'all' as is_total,
        case
            when measure = 'participants' then [measure, concat('age of ', part), concat('presence of ', part)]
            when measure = 'in_offer' then [measure, concat('presence of ', part)]
            when measure = 'finished'
                then [measure, concat('presence of ', part), concat('one month of ', part), concat('three months of ', part)]
            when measure in ('under_30', 'aged_30_plus', 'age_unknown') then [measure, concat('age of ', part)]
            when measure = 'effect_1m_n' then [measure, concat('one month of ', part)]
            when measure = 'undecided_1m' then [concat(measure, ' of ', part), concat('one month of ', part)]
            when measure in ('effect_3m_n', 'pending', 'lost') then [measure, concat('three months of ', part)]
            else [measure]
        end as lines
    from overview_cell
    union all
    select
        'contract_status' as mart,
        municipality_code,
        block,
        concat(indicator, ' ', unit_id) as part,
        period as measure,
        n,
        case when block in ('workplace_share', 'excess_unemployment') then unit_id = '' else yearly end as is_total,
        case
            when block in ('workplace_share', 'excess_unemployment') then [concat('units in ', period)]
            when block = 'interview_timeliness'
                then [
                    concat('year ', month_number / 12, ' of ', indicator, ' ', unit_id),
                    concat('units of ', indicator, ' in ', period),
                    concat('populations of ', unit_id, ' in ', period)
                ]
            else [
                concat('year ', month_number / 12, ' of ', indicator, ' ', unit_id),
                concat('units of ', indicator, ' in ', period)
            ]
        end as lines
    from contract
    union all
    select
        'contract_status' as mart,
        municipality_code,
        block,
        concat(indicator, ' other units') as part,
        period as measure,
        n,
        false as is_total,
        [case when block = 'workplace_share' then concat('units in ', period) else concat('units of ', indicator, ' in ', period) end]
            as lines
    from other_unit
),
opening as (
    select
        *,
        suppressed(n, concat(part, ' ', measure), is_total) over (partition by mart, municipality_code, block, lines[1]) as hidden
    from cell
),
closing as (
    select 0 as round, mart, municipality_code, block, part, measure, n, lines, hidden
    from (
        select *, bool_or(hidden) over (partition by mart, municipality_code, block) as is_open from opening
    ) as opened
    where is_open and n > 0
    union all
    select round + 1 as round, mart, municipality_code, block, part, measure, n, lines, hidden or chosen as hidden
    from (
        select *, bool_or(chosen) over (partition by mart, municipality_code, block) as goes_on
        from (
            select
                round,
                mart,
                municipality_code,
                block,
                part,
                measure,
                n,
                hidden,
                first_value(lines) as lines,
                bool_or(chosen) as chosen
            from (
                select
                    *,
                    -- One alone is found by subtraction, and so are several when they can only be ones.
                    -- `participants` is not shown itself, so it is the first to go where it helps.
                    not hidden
                    and (hidden_in_line = 1 or largest_hidden = 1)
                    and row_number() over (
                        partition by mart, municipality_code, block, line
                        order by
                            hidden,
                            case when measure = 'participants' and starts_with(line, 'presence') then 0 else n end,
                            part,
                            measure
                    ) = 1 as chosen
                from (
                    select
                        *,
                        sum(case when hidden then 1 else 0 end) over (
                            partition by mart, municipality_code, block, line
                        ) as hidden_in_line,
                        max(case when hidden then n end) over (
                            partition by mart, municipality_code, block, line
                        ) as largest_hidden
                    from (select *, unnest(lines) as line from closing) as standing
                ) as weighed
            ) as picked
            group by round, mart, municipality_code, block, part, measure, n, hidden
        ) as gathered
    ) as judged
    where goes_on
)
select
    mart,  -- Name of the published table without its schema.
    municipality_code,  -- Municipality.
    block,  -- What is closed together: half-year and offer, or the indicator.
    part,  -- Target group, or indicator and unit; none and other units stand for what is not shown by itself.
    measure,  -- The column that holds the count, or the period of a contract value.
    max(n) as n  -- The count itself; a zero is here only where it would tell that others are ones.
from (
    select mart, municipality_code, block, part, measure, n from closing where hidden
    union all
    select mart, municipality_code, block, part, measure, n from opening where hidden and n = 0
) as hidden
group by mart, municipality_code, block, part, measure
