-- doc: What citizens said of each offer in each half-year, by version of the questionnaire, complete: for those allowed to see
--     small cells. The published one is mart.citizen_experience.
-- grain: municipality_code, offer_id, period, instrument_version
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, influence_share@1, informed_share@1, instrument_version@1, listened_share@1, moved_share@1,
--     respected_share@1, response_rate@1, satisfaction_share@1
-- check: shares_are_fractions: coalesce(satisfaction_share, 0) between 0 and 1 and coalesce(closer_to_job_share, 0) between 0
--     and 1 and coalesce(informed_share, 0) between 0 and 1 and coalesce(respected_share, 0) between 0 and 1 and
--     coalesce(moved_share, 0) between 0 and 1 and coalesce(listened_share, 0) between 0 and 1 and
--     coalesce(influence_share, 0) between 0 and 1 and coalesce(response_rate, 0) between 0 and 1
with
-- An answer counts when it came, an invitation when it was sent.
moment as (
    select
        municipality_code,
        offer_id,
        half_year(answered_date) as period,
        instrument_version,
        satisfaction,
        closer_to_job,
        informed,
        respected,
        moved,
        listened,
        influence,
        cast(null as int) as answered
    from core.survey_answer
    where offer_id is not null and answered_date is not null
    union all
    select
        municipality_code,
        offer_id,
        half_year(invited_date) as period,
        instrument_version,
        null as satisfaction,
        null as closer_to_job,
        null as informed,
        null as respected,
        null as moved,
        null as listened,
        null as influence,
        cast(answered_date is not null as int) as answered
    from core.survey_answer
    where offer_id is not null
),
counted as (
    select
        municipality_code,
        offer_id,
        period,
        instrument_version,
        count(*) filter (where satisfaction >= 4) as satisfaction,
        count(satisfaction) as satisfaction_n,
        count(*) filter (where closer_to_job >= 4) as closer_to_job,
        count(closer_to_job) as closer_to_job_n,
        count(*) filter (where informed >= 4) as informed,
        count(informed) as informed_n,
        count(*) filter (where respected >= 4) as respected,
        count(respected) as respected_n,
        count(*) filter (where moved >= 4) as moved,
        count(moved) as moved_n,
        count(*) filter (where listened >= 4) as listened,
        count(listened) as listened_n,
        count(*) filter (where influence >= 4) as influence,
        count(influence) as influence_n,
        avg(answered) as response_rate
    from moment
    group by municipality_code, offer_id, period, instrument_version
),
known as (
    select
        c.*,
        h.complete_through,
        case when h.complete_through >= half_year_start(c.period) then 0 end as nothing
    from counted as c
    left join core.horizon as h on h.municipality_code = c.municipality_code and h.entity = 'survey_response'
)
select
    municipality_code,  -- Municipality.
    offer_id,  -- The offer.
    period,  -- Half-year, such as 2010H1.
    instrument_version,  -- Version of the questionnaire; different versions do not compare, so a trend stays within one.
    cast(satisfaction as double) / nullif(satisfaction_n, 0) as satisfaction_share,  -- Answers 4 and 5 among those given in the period: satisfied with the offer.
    coalesce(nullif(satisfaction_n, 0), nothing) as satisfaction_share_n,  -- Answers behind it; null where none came and surveys are not known to have been read.
    wilson_low(satisfaction, satisfaction_n) as satisfaction_share_low,  -- Lower end of its 95 % interval.
    wilson_high(satisfaction, satisfaction_n) as satisfaction_share_high,  -- Upper end of its 95 % interval.
    cast(closer_to_job as double) / nullif(closer_to_job_n, 0) as closer_to_job_share,  -- Answers 4 and 5 among those given in the period: brought closer to a job.
    coalesce(nullif(closer_to_job_n, 0), nothing) as closer_to_job_share_n,  -- Answers behind it; null likewise.
    wilson_low(closer_to_job, closer_to_job_n) as closer_to_job_share_low,  -- Lower end of its 95 % interval.
    wilson_high(closer_to_job, closer_to_job_n) as closer_to_job_share_high,  -- Upper end of its 95 % interval.
    cast(informed as double) / nullif(informed_n, 0) as informed_share,  -- Answers 4 and 5 among those given in the period: well informed of rights and duties.
    coalesce(nullif(informed_n, 0), nothing) as informed_share_n,  -- Answers behind it; null likewise.
    wilson_low(informed, informed_n) as informed_share_low,  -- Lower end of its 95 % interval.
    wilson_high(informed, informed_n) as informed_share_high,  -- Upper end of its 95 % interval.
    cast(respected as double) / nullif(respected_n, 0) as respected_share,  -- Answers 4 and 5 among those given in the period: met with respect.
    coalesce(nullif(respected_n, 0), nothing) as respected_share_n,  -- Answers behind it; null likewise.
    wilson_low(respected, respected_n) as respected_share_low,  -- Lower end of its 95 % interval.
    wilson_high(respected, respected_n) as respected_share_high,  -- Upper end of its 95 % interval.
    cast(moved as double) / nullif(moved_n, 0) as moved_share,  -- Answers 4 and 5 among those given in the period: moved forward.
    coalesce(nullif(moved_n, 0), nothing) as moved_share_n,  -- Answers behind it; null likewise.
    wilson_low(moved, moved_n) as moved_share_low,  -- Lower end of its 95 % interval.
    wilson_high(moved, moved_n) as moved_share_high,  -- Upper end of its 95 % interval.
    cast(listened as double) / nullif(listened_n, 0) as listened_share,  -- Answers 4 and 5 among those given in the period: listened to.
    coalesce(nullif(listened_n, 0), nothing) as listened_share_n,  -- Answers behind it; null likewise.
    wilson_low(listened, listened_n) as listened_share_low,  -- Lower end of its 95 % interval.
    wilson_high(listened, listened_n) as listened_share_high,  -- Upper end of its 95 % interval.
    cast(influence as double) / nullif(influence_n, 0) as influence_share,  -- Answers 4 and 5 among those given in the period: given influence on the own course.
    coalesce(nullif(influence_n, 0), nothing) as influence_share_n,  -- Answers behind it; null likewise.
    wilson_low(influence, influence_n) as influence_share_low,  -- Lower end of its 95 % interval.
    wilson_high(influence, influence_n) as influence_share_high,  -- Upper end of its 95 % interval.
    response_rate,  -- Share answered of the invitations sent in the period; null where none was.
    false as suppressed,  -- Nothing is hidden here.
    'closer_to_job_share@1, influence_share@1, informed_share@1, instrument_version@1, listened_share@1, moved_share@1, respected_share@1, response_rate@1, satisfaction_share@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    complete_through as data_through  -- Horizon of surveys; null where none is reported.
from known
