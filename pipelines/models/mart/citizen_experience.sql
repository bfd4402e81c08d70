-- doc: What citizens said of each offer in each half-year, by version of the questionnaire, small cells hidden. The complete
--     one is core.citizen_experience.
-- grain: municipality_code, offer_id, period, instrument_version
-- partition_by: municipality_code
-- definition: closer_to_job_share@1, influence_share@1, informed_share@1, instrument_version@1, listened_share@1, moved_share@1,
--     respected_share@1, response_rate@1, satisfaction_share@1, small_cells@1
-- check: no_small_count: not (coalesce(satisfaction_share_n, 0) between 1 and 4 or coalesce(closer_to_job_share_n, 0)
--     between 1 and 4 or coalesce(informed_share_n, 0) between 1 and 4 or coalesce(respected_share_n, 0) between 1 and 4 or
--     coalesce(moved_share_n, 0) between 1 and 4 or coalesce(listened_share_n, 0) between 1 and 4 or
--     coalesce(influence_share_n, 0) between 1 and 4)
-- check: no_share_without_n: (satisfaction_share_n is not null or satisfaction_share is null) and
--     (closer_to_job_share_n is not null or closer_to_job_share is null) and (informed_share_n is not null or informed_share
--     is null) and (respected_share_n is not null or respected_share is null) and (moved_share_n is not null or moved_share
--     is null) and (listened_share_n is not null or listened_share is null) and (influence_share_n is not null or
--     influence_share is null)
with
-- Invitations, and answers that name no offer, stand in no row, but totals elsewhere may tell them.
invited as (
    select
        municipality_code,
        offer_id,
        half_year(invited_date) as period,
        instrument_version,
        count(*) as invited,
        count(answered_date) as answered
    from core.survey_answer
    where offer_id is not null
    group by municipality_code, offer_id, half_year(invited_date), instrument_version
),
counted as (
    select
        o.municipality_code,
        o.offer_id,
        o.period,
        o.instrument_version,
        unnest([1, 2, 3, 4, 5, 6, 7, 8]) as measure,
        unnest([
            o.satisfaction_share_n, o.closer_to_job_share_n, o.informed_share_n, o.respected_share_n, o.moved_share_n,
            o.listened_share_n, o.influence_share_n, i.invited
        ]) as n,
        coalesce(i.answered between 1 and 4, false) as few_answered
    from core.citizen_experience as o
    left join invited as i
        on i.municipality_code = o.municipality_code
        and i.offer_id = o.offer_id
        and i.period = o.period
        and i.instrument_version = o.instrument_version
    union all
    select
        municipality_code,
        '' as offer_id,
        half_year(answered_date) as period,
        '' as instrument_version,
        unnest([1, 2, 3, 4, 5, 6, 7]) as measure,
        unnest([
            count(satisfaction), count(closer_to_job), count(informed), count(respected), count(moved),
            count(listened), count(influence)
        ]) as n,
        false as few_answered
    from core.survey_answer
    where offer_id is null and answered_date is not null
    group by municipality_code, half_year(answered_date)
),
cell as (
    select
        c.*,
        c.n between 1 and 4 or c.measure = 8 and c.few_answered or s.part is not null as hidden,
        cast(dense_rank() over (partition by c.municipality_code order by c.period) as bigint) * 10 as period_number,
        cast(dense_rank() over (partition by c.municipality_code order by c.offer_id) as bigint) * 10 as offer_number,
        cast(dense_rank() over (partition by c.municipality_code order by c.offer_id, c.period) as bigint) * 10
            as offer_period_number,
        cast(dense_rank() over (
            partition by c.municipality_code order by c.offer_id, c.period, c.instrument_version
        ) as bigint) as place,
        -- Where the horizon ends a half-year, it and the one before are the twelve months of mart.visitation_guide.
        h.complete_through = half_year_end(half_year(h.complete_through))
            and c.period in (half_year(h.complete_through), half_year(add_months(h.complete_through, -6))) as in_guide
    from counted as c
    left join core.horizon as h on h.municipality_code = c.municipality_code and h.entity = 'benefit_spell'
    -- What mart.offer_overview hides of an offer hides each of its versions.
    left join core.small_cell as s
        on s.mart = 'offer_overview'
        and s.municipality_code = c.municipality_code
        and s.block = concat(c.period, ' ', c.offer_id)
        and s.part = 'all'
        and s.measure = case c.measure when 1 then 'satisfaction_share_n' when 8 then 'invited' end
),
-- Totals known from elsewhere, per statement: 1 an offer's half-year over its versions, 2 the offer in the guide, 3 the
-- half-year over the offers and what names none. That one is shown nowhere, so it is the first to count as hidden.
closed as (
    select
        municipality_code,
        offer_id,
        period,
        instrument_version,
        measure,
        suppressed_across(
            hidden,
            n,
            1,
            [
                case when offer_id <> '' then offer_period_number + 1 end,
                case when offer_id <> '' and measure < 8 and in_guide then offer_number + 2 end,
                case when measure < 8 then period_number + 3 end
            ],
            case when offer_id = '' then [-1, -1, -1] else [n, n, n] end,
            place
        ) over (partition by municipality_code, measure) as hidden
    from cell
),
small as (
    select
        municipality_code,
        offer_id,
        period,
        instrument_version,
        bool_or(hidden and measure = 1) as satisfaction,
        bool_or(hidden and measure = 2) as closer_to_job,
        bool_or(hidden and measure = 3) as informed,
        bool_or(hidden and measure = 4) as respected,
        bool_or(hidden and measure = 5) as moved,
        bool_or(hidden and measure = 6) as listened,
        bool_or(hidden and measure = 7) as influence,
        bool_or(hidden and measure = 8) as response_rate
    from closed
    group by municipality_code, offer_id, period, instrument_version
)
select
    o.municipality_code,  -- Municipality.
    o.offer_id,  -- The offer.
    o.period,  -- Half-year, such as 2010H1.
    o.instrument_version,  -- Version of the questionnaire; different versions do not compare, so a trend stays within one.
    case when not s.satisfaction then o.satisfaction_share end as satisfaction_share,  -- Answers 4 and 5 among those given in the period: satisfied with the offer.
    case when not s.satisfaction then o.satisfaction_share_n end as satisfaction_share_n,  -- Answers behind it.
    case when not s.satisfaction then o.satisfaction_share_low end as satisfaction_share_low,  -- Lower end of its 95 % interval.
    case when not s.satisfaction then o.satisfaction_share_high end as satisfaction_share_high,  -- Upper end of its 95 % interval.
    case when not s.closer_to_job then o.closer_to_job_share end as closer_to_job_share,  -- Answers 4 and 5 among those given in the period: brought closer to a job.
    case when not s.closer_to_job then o.closer_to_job_share_n end as closer_to_job_share_n,  -- Answers behind it.
    case when not s.closer_to_job then o.closer_to_job_share_low end as closer_to_job_share_low,  -- Lower end of its 95 % interval.
    case when not s.closer_to_job then o.closer_to_job_share_high end as closer_to_job_share_high,  -- Upper end of its 95 % interval.
    case when not s.informed then o.informed_share end as informed_share,  -- Answers 4 and 5 among those given in the period: well informed of rights and duties.
    case when not s.informed then o.informed_share_n end as informed_share_n,  -- Answers behind it.
    case when not s.informed then o.informed_share_low end as informed_share_low,  -- Lower end of its 95 % interval.
    case when not s.informed then o.informed_share_high end as informed_share_high,  -- Upper end of its 95 % interval.
    case when not s.respected then o.respected_share end as respected_share,  -- Answers 4 and 5 among those given in the period: met with respect.
    case when not s.respected then o.respected_share_n end as respected_share_n,  -- Answers behind it.
    case when not s.respected then o.respected_share_low end as respected_share_low,  -- Lower end of its 95 % interval.
    case when not s.respected then o.respected_share_high end as respected_share_high,  -- Upper end of its 95 % interval.
    case when not s.moved then o.moved_share end as moved_share,  -- Answers 4 and 5 among those given in the period: moved forward.
    case when not s.moved then o.moved_share_n end as moved_share_n,  -- Answers behind it.
    case when not s.moved then o.moved_share_low end as moved_share_low,  -- Lower end of its 95 % interval.
    case when not s.moved then o.moved_share_high end as moved_share_high,  -- Upper end of its 95 % interval.
    case when not s.listened then o.listened_share end as listened_share,  -- Answers 4 and 5 among those given in the period: listened to.
    case when not s.listened then o.listened_share_n end as listened_share_n,  -- Answers behind it.
    case when not s.listened then o.listened_share_low end as listened_share_low,  -- Lower end of its 95 % interval.
    case when not s.listened then o.listened_share_high end as listened_share_high,  -- Upper end of its 95 % interval.
    case when not s.influence then o.influence_share end as influence_share,  -- Answers 4 and 5 among those given in the period: given influence on the own course.
    case when not s.influence then o.influence_share_n end as influence_share_n,  -- Answers behind it.
    case when not s.influence then o.influence_share_low end as influence_share_low,  -- Lower end of its 95 % interval.
    case when not s.influence then o.influence_share_high end as influence_share_high,  -- Upper end of its 95 % interval.
    case when not s.response_rate then o.response_rate end as response_rate,  -- Share answered of the invitations sent in the period.
    s.satisfaction or s.closer_to_job or s.informed or s.respected or s.moved or s.listened or s.influence
        or s.response_rate as suppressed,  -- Whether anything in the row is hidden.
    concat(o.definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    o.data_through  -- Horizon of surveys; null where none is reported.
from core.citizen_experience as o
join small as s
    on s.municipality_code = o.municipality_code
    and s.offer_id = o.offer_id
    and s.period = o.period
    and s.instrument_version = o.instrument_version
