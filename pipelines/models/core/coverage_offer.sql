-- doc: Of how many participations in an offer each indicator knows something: what core.coverage adds up.
-- grain: municipality_code, period, offer_id, target_group, indicator
-- partition_by: municipality_code
-- definition: coverage@1
-- check: states_add_up: participations = covered + uncovered + pending
with horizon as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'attendance') as attendance,
        max(complete_through) filter (where entity = 'citizen') as citizen,
        max(complete_through) filter (where entity = 'progress_measurement') as progress_measurement,
        max(complete_through) filter (where entity = 'supervision_visit') as supervision_visit,
        max(complete_through) filter (where entity = 'survey_response') as survey_response
    from core.horizon
    group by municipality_code
),
answered as (
    select
        municipality_code,
        participation_id,
        bool_or(satisfaction is not null) as satisfaction,
        bool_or(closer_to_job is not null) as closer_to_job
    from core.survey_response
    where participation_id is not null and answered_date is not null
    group by municipality_code, participation_id
),
planned as (
    select municipality_code, participation_id
    from core.attendance
    where planned_hours > 0
    group by municipality_code, participation_id
),
moved as (
    select municipality_code, participation_id
    from core.progress_change
    where change is not null
    group by municipality_code, participation_id
),
participation as (
    select
        municipality_code,
        participation_id,
        offer_id,
        target_group,
        end_date,
        age_group,
        effect_3m,
        effect_7m,
        date_part('year', start_date) * 2 + (date_part('month', start_date) - 1) / 6 as start_half,
        date_part('year', end_date) * 2 + (date_part('month', end_date) - 1) / 6 as end_half
    from core.participation_outcome
),
-- What is known of a participation, and whether everything has come that could say more.
ended as (
    select
        p.municipality_code,
        d.period,
        p.offer_id,
        p.target_group,
        p.age_group <> 'unknown' as has_age,
        coalesce(p.end_date <= h.citizen, false) as all_ages,
        w.participation_id is not null as has_hours,
        coalesce(p.end_date <= h.attendance, false) as all_hours,
        coalesce(a.closer_to_job, false) as has_closer,
        coalesce(a.satisfaction, false) as has_satisfaction,
        coalesce(p.end_date <= h.survey_response, false) as all_answers,
        p.effect_3m in ('success', 'failure') as has_effect,
        p.effect_3m = 'lost' as all_effects,
        m.participation_id is not null as has_progress,
        coalesce(p.end_date <= h.progress_measurement, false) as all_progress,
        coalesce(s.smiley in ('elite', 'green', 'yellow', 'red'), false) as has_smiley,
        coalesce(d.last_day <= h.supervision_visit, false) as all_visits
    from participation as p
    join core.overview_period as d on d.municipality_code = p.municipality_code and d.half_number = p.end_half
    left join horizon as h on h.municipality_code = p.municipality_code
    left join planned as w on w.municipality_code = p.municipality_code and w.participation_id = p.participation_id
    left join answered as a on a.municipality_code = p.municipality_code and a.participation_id = p.participation_id
    left join moved as m on m.municipality_code = p.municipality_code and m.participation_id = p.participation_id
    left join core.smiley as s
        on s.municipality_code = p.municipality_code and s.offer_id = p.offer_id and s.day = d.last_day
),
-- All indicators in one row: what each says nothing of is counted by whether it still may.
counted as (
    select
        municipality_code,
        period,
        offer_id,
        target_group,
        count(*) as participations,
        count(*) filter (where has_age) as has_age,
        count(*) filter (where not has_age and all_ages) as no_age,
        count(*) filter (where has_hours) as has_hours,
        count(*) filter (where not has_hours and all_hours) as no_hours,
        count(*) filter (where has_closer) as has_closer,
        count(*) filter (where not has_closer and all_answers) as no_closer,
        count(*) filter (where has_effect) as has_effect,
        count(*) filter (where not has_effect and all_effects) as no_effect,
        count(*) filter (where has_progress) as has_progress,
        count(*) filter (where not has_progress and all_progress) as no_progress,
        count(*) filter (where has_satisfaction) as has_satisfaction,
        count(*) filter (where not has_satisfaction and all_answers) as no_satisfaction,
        count(*) filter (where has_smiley) as has_smiley,
        count(*) filter (where not has_smiley and all_visits) as no_smiley
    from ended
    group by municipality_code, period, offer_id, target_group
),
counted_7m as (
    select
        p.municipality_code,
        d.period,
        p.offer_id,
        p.target_group,
        count(*) as participations,
        count(*) filter (where p.effect_7m in ('success', 'failure')) as covered,
        count(*) filter (where p.effect_7m = 'lost') as uncovered
    from participation as p
    join core.overview_period as d on d.municipality_code = p.municipality_code and d.half_number = p.start_half
    group by p.municipality_code, d.period, p.offer_id, p.target_group
),
by_indicator as (
    select
        municipality_code,
        period,
        offer_id,
        target_group,
        participations,
        unnest([
            'age_group', 'attendance_share', 'closer_to_job_share', 'effect_3m', 'progression', 'satisfaction_share', 'smiley'
        ]) as indicator,
        unnest([has_age, has_hours, has_closer, has_effect, has_progress, has_satisfaction, has_smiley]) as covered,
        unnest([no_age, no_hours, no_closer, no_effect, no_progress, no_satisfaction, no_smiley]) as uncovered
    from counted
    union all
    select municipality_code, period, offer_id, target_group, participations, 'effect_7m' as indicator, covered, uncovered
    from counted_7m
),
-- Not grouping sets, through which no filter on the municipality passes.
cell as (
    select
        municipality_code,
        period,
        offer_id,
        unnest([target_group, 'all']) as target_group,
        indicator,
        participations,
        covered,
        uncovered,
        participations - covered - uncovered as pending
    from by_indicator
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year of the end, of the start for effect_7m.
    offer_id,  -- The offer.
    target_group,  -- Target group, or all of them together.
    indicator,  -- What is to be known of them.
    sum(participations) as participations,  -- Participations that ended (started) in the period.
    sum(covered) as covered,  -- Of them, those it says something of.
    sum(uncovered) as uncovered,  -- Of them, those it never will.
    sum(pending) as pending  -- Of them, those it still may.
from cell
group by municipality_code, period, offer_id, target_group, indicator
