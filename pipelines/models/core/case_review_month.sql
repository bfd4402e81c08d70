-- doc: Case reviews [ledelsestilsyn] of each unit, month and theme: what was checked, what was wrong, and the error rate of the
--     random sample, weighted by stratum.
-- grain: municipality_code, unit_id, month_number, theme
-- partition_by: municipality_code
-- definition: case_review_error_rate@1, case_review_errors@1, case_reviews_checked@1, refund_at_risk@1
-- check: errors_are_checked: errors <= checked and random_errors <= random_checked and random_checked <= checked
with review as (
    select
        municipality_code,
        unit_id,
        date_part('year', review_date) * 12 + date_part('month', review_date) - 1 as month_number,
        theme,
        stratum,
        sample_kind = 'random' and outcome <> 'not_relevant' as random,
        outcome <> 'not_relevant' as checked,
        outcome = 'error' as error,
        case when outcome = 'error' then refund_at_risk_dkk end as refund_at_risk_dkk
    from core.case_review
),
counted as (
    select
        municipality_code,
        unit_id,
        month_number,
        theme,
        count(*) filter (where checked) as checked,
        count(*) filter (where error) as errors,
        count(*) filter (where random) as random_checked,
        count(*) filter (where random and error) as random_errors,
        count(*) filter (where refund_at_risk_dkk > 0) as refunds,
        coalesce(sum(refund_at_risk_dkk), 0) as refund_at_risk_dkk
    from review
    group by municipality_code, unit_id, month_number, theme
),
sampled as (
    select
        municipality_code,
        unit_id,
        month_number,
        theme,
        stratum,
        cast(count(*) as double) as n,
        cast(count(*) filter (where error) as double) as errors
    from review
    where random
    group by municipality_code, unit_id, month_number, theme, stratum
),
-- Nobody reports how large a stratum is: its part of a year's random checks stands for that.
month_stratum as (
    select municipality_code, theme, stratum, month_number, sum(n) as n
    from sampled
    group by municipality_code, theme, stratum, month_number
),
weighted as (
    select
        municipality_code,
        theme,
        stratum,
        month_number,
        sum(n) over (
            partition by municipality_code, theme, stratum order by month_number range between 11 preceding and current row
        ) as weight
    from month_stratum
),
stratified as (
    select
        s.municipality_code,
        s.unit_id,
        s.month_number,
        s.theme,
        sum(w.weight * s.errors / s.n) / sum(w.weight) as error_rate,
        sum(w.weight) * sum(w.weight) / sum(w.weight * w.weight / s.n) as effective_n
    from sampled as s
    join weighted as w
        on w.municipality_code = s.municipality_code
        and w.theme = s.theme
        and w.stratum = s.stratum
        and w.month_number = s.month_number
    group by s.municipality_code, s.unit_id, s.month_number, s.theme
)
select
    c.municipality_code,  -- Municipality.
    c.unit_id,  -- The unit whose cases they are.
    c.month_number,  -- Year times twelve plus month less one, of the review.
    c.theme,  -- What was checked.
    c.checked,  -- Checks that were relevant to the case, however it was drawn.
    c.errors,  -- Errors among them.
    c.random_checked,  -- Those of them whose case was drawn at random.
    c.random_errors,  -- Errors among those drawn at random.
    c.refunds,  -- Errors with a refund at risk.
    c.refund_at_risk_dkk,  -- State refund that the errors may cost, in kroner.
    s.error_rate,  -- Error rate of the random sample, strata weighted; null without one.
    s.effective_n  -- Size of a plain sample as certain as this weighted one: (Σw)² / Σw²/n.
from counted as c
left join stratified as s
    on s.municipality_code = c.municipality_code
    and s.unit_id = c.unit_id
    and s.month_number = c.month_number
    and s.theme = c.theme
