-- doc: The counts that mart.unit_status must not show: 1 to 4, and those that would give one of them away.
-- grain: municipality_code, unit_id, month, measure
-- partition_by: municipality_code
-- definition: small_cells@1
-- check: counts_are_counts: n >= 0
-- warn: nothing_can_be_worked_out: not recoverable or n > 4
with
-- Months and half-years are numbers here: year times twelve plus month less one, and a sixth of that.
-- What mart.contract_status hides by month, of a unit or of the municipality (an empty unit).
contract as (
    select
        municipality_code,
        substr(part, strpos(part, ' ') + 1) as unit_id,
        cast(substr(measure, 1, 4) as bigint) * 12 + cast(substr(measure, 6, 2) as bigint) - 1 as month_number,
        case split_part(part, ' ', 1)
            when 'workplace_share' then 1
            when 'effect_1m' then 3
            when 'effect_3m' then 4
            when 'effect_3m_sustained' then 4
            when 'effect_7m' then 5
            when 'interview_timeliness' then 6
            when 'satisfaction_share' then 7
        end as measure_number,
        n
    from core.small_cell
    where mart = 'contract_status' and length(measure) = 7
),
contract_hidden as (
    select municipality_code, unit_id, month_number, measure_number, max(n) as n
    from contract
    where measure_number is not null and unit_id <> 'other units'
    group by municipality_code, unit_id, month_number, measure_number
),
goal_unit as (
    select distinct municipality_code, unit_id from core.goal where unit_id is not null
),
-- What mart.contract_status shows of the whole municipality.
municipal_goal as (
    select distinct
        municipality_code,
        case
            when indicator = 'workplace_share' then 1
            when indicator = 'effect_1m' then 3
            when indicator in ('effect_3m', 'effect_3m_sustained') then 4
            when indicator = 'effect_7m' then 5
            when starts_with(indicator, 'interview_timeliness') then 6
            when indicator = 'satisfaction_share' then 7
        end as measure_number
    from core.goal
    where unit_id is null
),
unit_count as (
    select
        municipality_code,
        unit_id,
        cast(substr(month, 1, 4) as bigint) * 12 + cast(substr(month, 6, 2) as bigint) - 1 as month_number,
        unnest([1, 2, 3, 4, 5, 6, 7, 8]) as measure_number,
        -- The last is shown nowhere: those known after one month and not after three.
        unnest([
            active_participations, complaints, effect_1m_n, effect_3m_n, effect_7m_n, interview_timeliness_n,
            satisfaction_share_n, effect_1m_n - coalesce(effect_3m_n, 0)
        ]) as n
    from core.unit_status
),
answer as (
    select
        municipality_code,
        unit_id is null as without_unit,
        offer_id is null as without_offer,
        date_part('year', answered_date) * 12 + date_part('month', answered_date) - 1 as month_number,
        satisfaction
    from core.survey_answer
    where answered_date is not null and (unit_id is null or offer_id is null)
),
complaint as (
    select municipality_code, date_part('year', received_date) * 12 + date_part('month', received_date) - 1 as month_number
    from core.complaint
    where unit_id is null
),
overview_complaint as (
    select
        municipality_code,
        cast(substr(period, 1, 4) as bigint) * 2 + cast(substr(period, 6, 1) as bigint) - 1 as half_number,
        -- Those that name no offer are shown by kind and authority.
        coalesce(offer_id, complaint_group_id) as shown_as,
        received
    from core.complaint_overview
),
-- What stands in a total with the units and is not among them: shown elsewhere, or nowhere and then the first to count as
-- hidden. The month is null where only the half-year is known, and the half-year where it is no part of that.
beside as (
    select
        municipality_code,
        month_number,
        cast(null as bigint) as half_number,
        measure_number,
        n,
        true as hidden,
        0 as priority
    from contract_hidden
    where unit_id = ''
    union all
    select
        municipality_code,
        month_number,
        month_number / 6 as half_number,
        7 as measure_number,
        count(satisfaction) as n,
        count(satisfaction) between 1 and 4 as hidden,
        -1 as priority
    from answer
    where without_unit
    group by municipality_code, month_number
    union all
    select
        municipality_code,
        cast(null as bigint) as month_number,
        month_number / 6 as half_number,
        7 as measure_number,
        count(satisfaction) as n,
        count(satisfaction) between 1 and 4 as hidden,
        -1 as priority
    from answer
    where without_offer
    group by municipality_code, month_number / 6
    union all
    select
        municipality_code,
        cast(null as bigint) as month_number,
        month_number / 6 as half_number,
        2 as measure_number,
        count(*) as n,
        count(*) between 1 and 4 as hidden,
        -1 as priority
    from complaint
    group by municipality_code, month_number / 6
    union all
    -- Offers whose answers mart.offer_overview hides; those it shows are known.
    select
        municipality_code,
        cast(null as bigint) as month_number,
        cast(substr(block, 1, 4) as bigint) * 2 + cast(substr(block, 6, 1) as bigint) - 1 as half_number,
        7 as measure_number,
        n,
        true as hidden,
        0 as priority
    from core.small_cell
    where mart = 'offer_overview' and part = 'all' and measure = 'satisfaction_share_n'
    union all
    -- The same of complaints, by mart.offer_overview and, where no offer is named, mart.complaint.
    select
        municipality_code,
        cast(null as bigint) as month_number,
        half_number,
        2 as measure_number,
        sum(received) as n,
        true as hidden,
        0 as priority
    from overview_complaint
    group by municipality_code, half_number, shown_as
    having sum(received) between 1 and 4
),
cell as (
    select
        u.municipality_code,
        u.unit_id,
        u.month_number,
        u.month_number / 6 as half_number,
        u.measure_number,
        u.n,
        coalesce(u.n between 1 and 4, false) or c.month_number is not null as hidden,
        m.measure_number is not null as in_month,
        -- What contract_status shows of a unit with a goal is shown there whatever happens here.
        u.n + case when g.unit_id is not null then 1000000000 else 0 end as priority
    from unit_count as u
    left join contract_hidden as c
        on c.municipality_code = u.municipality_code
        and c.unit_id = u.unit_id
        and c.month_number = u.month_number
        and c.measure_number = u.measure_number
    left join goal_unit as g on g.municipality_code = u.municipality_code and g.unit_id = u.unit_id
    left join municipal_goal as m on m.municipality_code = u.municipality_code and m.measure_number = u.measure_number
    union all
    select municipality_code, '' as unit_id, month_number, half_number, measure_number, n, hidden, true as in_month, priority
    from beside
),
-- Totals known from elsewhere: 1 a month over the units, where the municipality has a goal, 2 a half-year over units and
-- months, which is that over the offers; and 3 those known after one month over those known after three and the rest.
numbered as (
    select
        *,
        [
            case when in_month and measure_number not in (2, 8) then month_number * 100 + measure_number end,
            case when measure_number in (2, 7) then half_number * 100 + measure_number + 10 end,
            case measure_number when 3 then -place * 100 - 30 when 4 then place * 100 + 30 when 8 then place * 100 + 30 end
        ] as lines
    from (
        select *, cast(dense_rank() over (partition by municipality_code order by unit_id, month_number) as bigint) as place
        from cell
    )
),
closed as (
    select
        *,
        suppressed_across(hidden, n, 1, lines, [priority, priority, n], place) over (partition by municipality_code) as closed
    from numbered
),
attacked as (
    select *, recoverable(closed, n, 1, null, lines) over (partition by municipality_code) as recoverable
    from closed
)
select
    municipality_code,  -- Municipality.
    unit_id,  -- The unit.
    to_char(make_date(month_number / 12, month_number % 12 + 1, 1), '%Y-%m') as month,  -- Month, such as 2010-01.
    ([
        'active_participations', 'complaints', 'effect_1m', 'effect_3m', 'effect_7m', 'interviews', 'satisfaction', 'between'
    ])[measure_number] as measure,  -- What is counted; between is nowhere shown: those known after one month and not after three.
    n,  -- The count itself; a zero is here only where the contracts hide it, or where it would tell that others are ones.
    recoverable  -- Whether it can be worked out all the same from what is shown, if all totals elsewhere are known.
from attacked
where closed and unit_id <> ''
