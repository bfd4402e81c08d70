-- doc: What speaks for a sanction of each offer in each half-year, and which step would be next: what mart.sanction_proposal and
--     its complete twin are made from.
-- grain: municipality_code, offer_id, half_number
-- partition_by: municipality_code
-- definition: fair_comparison@1, sanction_proposal@1, smiley@1
with horizon as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'benefit_spell') as benefit_spell,
        max(complete_through) filter (where entity = 'sanction') as sanction,
        max(complete_through) filter (where entity = 'supervision_visit') as supervision_visit
    from core.horizon
    group by municipality_code
),
offer_half as (
    select
        o.municipality_code,
        o.offer_id,
        o.offer_name,
        o.provider_id,
        o.provider_name,
        p.period,
        p.half_number,
        p.last_day,
        o.sanction_terms,
        h.supervision_visit as data_through,
        coalesce(p.last_day <= h.sanction, false) as sanctions_known,
        case when p.last_day <= h.supervision_visit then s.smiley end as smiley,
        coalesce(add_months(make_date(p.half_number / 2, 12, 31), 3) <= h.benefit_spell, false) as year_known
    from core.offer_detail as o
    join core.overview_period as p on p.municipality_code = o.municipality_code
    left join horizon as h on h.municipality_code = o.municipality_code
    left join core.smiley as s
        on s.municipality_code = o.municipality_code and s.offer_id = o.offer_id and s.day = p.last_day
    where o.valid_from <= p.last_day and (o.valid_to is null or o.valid_to >= p.first_day)
),
-- The provider's year counts against an offer in the target groups that the offer has in the half-year.
compared as (
    select
        v.municipality_code,
        v.offer_id,
        v.period,
        bool_or(c.flag = 'much_worse') as much_worse,
        bool_or(c.flag = 'much_worse' and m.flag is not null) as shown_much_worse,
        bool_or(m.flag is null) as hidden
    from core.offer_overview as v
    join core.provider_comparison as c
        on c.municipality_code = v.municipality_code
        and c.provider_id = v.provider_id
        and c.target_group = v.target_group
        and c.year = cast(substr(v.period, 1, 4) as int)
    join mart.provider_comparison as m
        on m.municipality_code = v.municipality_code
        and m.provider_id = c.provider_id
        and m.target_group = c.target_group
        and m.year = c.year
        and m.indicator = c.indicator
    where c.indicator = 'effect_3m' and c.flag is not null
    group by v.municipality_code, v.offer_id, v.period
),
-- Two joins, each on equality: sanctions that name the offer, and those of the whole provider.
sanctioned as (
    select o.municipality_code, o.offer_id, o.half_number, o.last_day, s.step, s.decided_date, s.lifted_date
    from offer_half as o
    join core.sanction as s on s.municipality_code = o.municipality_code and s.offer_id = o.offer_id
    union all
    select o.municipality_code, o.offer_id, o.half_number, o.last_day, s.step, s.decided_date, s.lifted_date
    from offer_half as o
    join core.sanction as s on s.municipality_code = o.municipality_code and s.provider_id = o.provider_id
    where s.offer_id is null
),
in_force as (
    select
        municipality_code,
        offer_id,
        half_number,
        max(case step when 'dialogue' then 1 when 'increased_supervision' then 2 when 'penalty' then 3 when 'termination' then 4 end) as step_number
    from sanctioned
    where decided_date <= last_day and (lifted_date is null or lifted_date > last_day)
    group by municipality_code, offer_id, half_number
),
judged as (
    select
        o.municipality_code,
        o.offer_id,
        o.offer_name,
        o.provider_id,
        o.provider_name,
        o.period,
        o.half_number,
        o.data_through,
        o.smiley,
        coalesce(f.step_number, 0) as step_number,
        case
            when not o.sanctions_known then 'step_in_force_unknown'
            when f.step_number = 4 then 'termination_in_force'
            when o.sanction_terms is null then 'no_agreement'
            when not o.sanction_terms then 'no_sanction_terms'
        end as blocked_by,
        case when o.year_known then coalesce(c.much_worse, false) end as much_worse,
        o.year_known and coalesce(c.shown_much_worse, false) as shown_much_worse,
        o.year_known and coalesce(c.hidden, false) as hidden_comparison
    from offer_half as o
    left join compared as c
        on c.municipality_code = o.municipality_code and c.offer_id = o.offer_id and c.period = o.period
    left join in_force as f
        on f.municipality_code = o.municipality_code and f.offer_id = o.offer_id and f.half_number = o.half_number
),
-- The half-year with the one before it, where that is the offer's too.
paired as (
    select
        *,
        lag(half_number) over offer as last_half_number,
        lag(smiley) over offer as last_smiley,
        lag(much_worse) over offer as last_much_worse,
        lag(shown_much_worse) over offer as last_shown_much_worse,
        lag(hidden_comparison) over offer as last_hidden_comparison
    from judged
    window offer as (partition by municipality_code, offer_id order by half_number)
),
weighed as (
    select
        *,
        half_number = last_half_number + 1 as in_a_row,
        coalesce(smiley = 'red', false) as red,
        coalesce(last_smiley = 'red', false) as last_red
    from paired
)
select
    municipality_code,  -- Municipality.
    offer_id,  -- The offer.
    period,  -- Half-year, such as 2010H1.
    half_number,  -- Year times two, plus one for the second half.
    offer_name,  -- Name of the offer.
    provider_id,  -- Who delivers it.
    provider_name,  -- Name of the provider.
    smiley,  -- Smiley on the last day; null until visits are known to be complete to that day.
    much_worse,  -- Whether the provider is much worse than expected in the year and a target group of the offer; null until the year is known.
    hidden_comparison and not shown_much_worse as much_worse_hidden,  -- Whether that rests on a comparison that is not shown.
    coalesce(in_a_row and (red or much_worse) and (last_red or last_much_worse), false) as bad_twice,  -- Whether this half-year and the one before it both are red or much worse.
    coalesce(in_a_row and (red or shown_much_worse) and (last_red or last_shown_much_worse), false) as bad_twice_shown,  -- The same by what is shown.
    coalesce(
        in_a_row and (red or shown_much_worse or hidden_comparison) and (last_red or last_shown_much_worse or last_hidden_comparison),
        false
    ) as bad_twice_possible,  -- The same as far as anybody can tell from what is shown.
    red or last_red as red_in_either,  -- Whether the smiley is red in one of the two.
    much_worse or last_much_worse as much_worse_in_either,  -- Whether the provider is much worse in one of the two.
    shown_much_worse or last_shown_much_worse as much_worse_in_either_shown,  -- The same by what is shown.
    ([null, 'dialogue', 'increased_supervision', 'penalty', 'termination'])[step_number + 1] as step_in_force,  -- Highest step in force on the last day; null where there is none.
    case
        when blocked_by in ('step_in_force_unknown', 'termination_in_force') then null
        when blocked_by is not null then 'dialogue'
        else (['dialogue', 'increased_supervision', 'penalty', 'termination'])[step_number + 1]
    end as next_step,  -- The step that would be proposed.
    blocked_by,  -- What bars the step after the one in force.
    data_through  -- Horizon of supervision visits; null where none is reported.
from weighed
