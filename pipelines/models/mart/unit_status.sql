-- doc: How each unit [enhed] does, month by month, as its management sees it (LIS), small cells hidden. The complete one is
--     core.unit_status.
-- grain: municipality_code, unit_id, month
-- partition_by: municipality_code
-- definition: active_participations@1, effect_1m@1, effect_3m@1, effect_3m_sustained@1, effect_7m@1, interview_timeliness@1,
--     no_show_share@1, open_actions@1, satisfaction_share@1, small_cells@1, unit_complaints@1, workplace_share@1
-- check: no_small_count: not (coalesce(interview_timeliness_n, 0) between 1 and 4 or coalesce(no_show_share_n, 0)
--     between 1 and 4 or coalesce(active_participations, 0) between 1 and 4 or coalesce(workplace_share_n, 0) between 1 and
--     4 or coalesce(effect_1m_n, 0) between 1 and 4 or coalesce(effect_3m_n, 0) between 1 and 4 or
--     coalesce(effect_3m_sustained_n, 0) between 1 and 4 or coalesce(effect_7m_n, 0) between 1 and 4 or coalesce(complaints,
--     0) between 1 and 4 or coalesce(satisfaction_share_n, 0) between 1 and 4)
-- check: no_share_without_n: (interview_timeliness_n is not null or interview_timeliness is null) and
--     (no_show_share_n is not null or no_show_share is null) and (workplace_share_n is not null or workplace_share is null)
--     and (effect_1m_n is not null or effect_1m is null) and (effect_3m_n is not null or effect_3m is null) and
--     (effect_3m_sustained_n is not null or effect_3m_sustained is null) and (effect_7m_n is not null or effect_7m is null)
--     and (satisfaction_share_n is not null or satisfaction_share is null)
with small as (
    select
        municipality_code,
        unit_id,
        month,
        bool_or(measure = 'active_participations') as active_participations,
        bool_or(measure = 'complaints') as complaints,
        bool_or(measure = 'effect_1m') as effect_1m,
        bool_or(measure = 'effect_3m') as effect_3m,
        bool_or(measure = 'effect_7m') as effect_7m,
        bool_or(measure = 'interviews') as interviews,
        bool_or(measure = 'satisfaction') as satisfaction
    from core.unit_small_cell
    group by municipality_code, unit_id, month
),
marked as (
    select
        o.*,
        coalesce(s.active_participations, false) as hide_active_participations,
        coalesce(s.complaints, false) as hide_complaints,
        coalesce(s.effect_1m, false) as hide_effect_1m,
        coalesce(s.effect_3m, false) as hide_effect_3m,
        coalesce(s.effect_7m, false) as hide_effect_7m,
        coalesce(s.interviews, false) as hide_interviews,
        coalesce(s.satisfaction, false) as hide_satisfaction
    from core.unit_status as o
    left join small as s
        on s.municipality_code = o.municipality_code and s.unit_id = o.unit_id and s.month = o.month
)
select
    municipality_code,  -- Municipality.
    unit_id,  -- The unit.
    month,  -- Month, such as 2010-01.
    unit_name,  -- Name of the unit.
    case when not hide_interviews then interview_timeliness end as interview_timeliness,  -- Interviews held on or before the due date, of those due in the month.
    case when not hide_interviews then interview_timeliness_n end as interview_timeliness_n,  -- Interviews due in the month and not lapsed.
    case when not hide_interviews then interview_timeliness_low end as interview_timeliness_low,  -- Lower end of its 95 % interval.
    case when not hide_interviews then interview_timeliness_high end as interview_timeliness_high,  -- Upper end of its 95 % interval.
    case when not hide_interviews then no_show_share end as no_show_share,  -- Interviews the citizen did not come to, of the same.
    case when not hide_interviews then no_show_share_n end as no_show_share_n,  -- The same interviews.
    case when not hide_interviews then no_show_share_low end as no_show_share_low,  -- Lower end of its 95 % interval.
    case when not hide_interviews then no_show_share_high end as no_show_share_high,  -- Upper end of its 95 % interval.
    case when not hide_active_participations then active_participations end as active_participations,  -- Participations active on the last day of the month; null where that day has not been read.
    case when not hide_active_participations then workplace_share end as workplace_share,  -- Share of them at a work place (internship or wage subsidy).
    case when not hide_active_participations then workplace_share_n end as workplace_share_n,  -- The same participations.
    case when not hide_active_participations then workplace_share_low end as workplace_share_low,  -- Lower end of its 95 % interval.
    case when not hide_active_participations then workplace_share_high end as workplace_share_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_1m then effect_1m end as effect_1m,  -- Share self-supporting one month after the end, of those who ended in the month.
    case when not hide_effect_1m then effect_1m_n end as effect_1m_n,  -- Citizens behind it; null where there is none while windows of the month are pending.
    case when not hide_effect_1m then effect_1m_low end as effect_1m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_1m then effect_1m_high end as effect_1m_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_3m then effect_3m end as effect_3m,  -- Share self-supporting three months after the end, of those who ended in the month.
    case when not hide_effect_3m then effect_3m_n end as effect_3m_n,  -- Citizens behind it; null likewise.
    case when not hide_effect_3m then effect_3m_low end as effect_3m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_3m then effect_3m_high end as effect_3m_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_3m then effect_3m_sustained end as effect_3m_sustained,  -- Share self-supporting on every day of those three months.
    case when not hide_effect_3m then effect_3m_sustained_n end as effect_3m_sustained_n,  -- Citizens behind it; null likewise.
    case when not hide_effect_3m then effect_3m_sustained_low end as effect_3m_sustained_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_3m then effect_3m_sustained_high end as effect_3m_sustained_high,  -- Upper end of its 95 % interval.
    case when not hide_effect_7m then effect_7m end as effect_7m,  -- Share self-supporting in three of the seven months after the start, of those who started in the month.
    case when not hide_effect_7m then effect_7m_n end as effect_7m_n,  -- Citizens behind it; null likewise.
    case when not hide_effect_7m then effect_7m_low end as effect_7m_low,  -- Lower end of its 95 % interval.
    case when not hide_effect_7m then effect_7m_high end as effect_7m_high,  -- Upper end of its 95 % interval.
    case when not hide_complaints then complaints end as complaints,  -- Complaints about the unit received in the month.
    case when not hide_satisfaction then satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 on satisfaction among those given in the month.
    case when not hide_satisfaction then satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not hide_satisfaction then satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not hide_satisfaction then satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    open_actions,  -- Actions from the unit's case reviews and complaints open at the end of the month.
    hide_active_participations or hide_complaints or hide_effect_1m or hide_effect_3m or hide_effect_7m
        or hide_interviews or hide_satisfaction as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of participations; null where none is reported.
from marked
