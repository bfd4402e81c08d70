-- doc: The management's own supervision of cases [ledelsestilsyn], month by month, small cells hidden. The complete one is
--     core.case_review_overview.
-- grain: municipality_code, unit_id, month, theme
-- partition_by: municipality_code
-- definition: case_review_error_rate@1, case_review_errors@1, case_reviews_checked@1, open_actions@1, refund_at_risk@1,
--     small_cells@1
-- check: no_small_count: not (coalesce(checked, 0) between 1 and 4 or coalesce(errors, 0) between 1 and 4 or
--     coalesce(checked - errors, 0) between 1 and 4 or coalesce(error_rate_n, 0) between 1 and 4 or
--     coalesce(checked - error_rate_n, 0) between 1 and 4)
-- check: no_rate_without_n: error_rate_n is not null or error_rate is null
-- check: no_refund_without_errors: errors is not null or refund_at_risk_dkk is null
with small as (
    select
        municipality_code,
        unit_id,
        to_char(make_date(month_number / 12, month_number % 12 + 1, 1), '%Y-%m') as month,
        theme,
        checked between 1 and 4 as checked,
        suppressed_parts(checked, [errors, checked - errors])[1] as errors,
        refunds between 1 and 4 as refunds,
        -- A rate with its n is a number of errors, and what the random sample leaves of the others is one too.
        suppressed_parts(checked, [random_checked, checked - random_checked])[1]
            or suppressed_parts(errors, [random_errors, errors - random_errors])[1]
            or suppressed_parts(random_checked, [random_errors, random_checked - random_errors])[1]
            or suppressed_parts(
                checked - errors, [random_checked - random_errors, checked - errors - random_checked + random_errors]
            )[1] as random
    from core.case_review_month
),
marked as (
    select
        o.*,
        coalesce(s.checked, false) as hide_checked,
        coalesce(s.errors, false) as hide_errors,
        coalesce(s.errors or s.refunds, false) as hide_refund,
        -- Without risk-based checks the rate is that of all.
        coalesce(s.random or s.errors and o.error_rate_n > 0, false) as hide_rate
    from core.case_review_overview as o
    left join small as s
        on s.municipality_code = o.municipality_code
        and s.unit_id = o.unit_id
        and s.month = o.month
        and s.theme = o.theme
)
select
    municipality_code,  -- Municipality.
    unit_id,  -- The unit whose cases they are.
    month,  -- Month, such as 2010-01.
    theme,  -- What was checked.
    case when not hide_checked then checked end as checked,  -- Checks made that were relevant to the case, however it was drawn.
    case when not hide_errors then errors end as errors,  -- Errors among them.
    case when not hide_rate then error_rate end as error_rate,  -- Share of errors in the random sample, strata weighted.
    case when not hide_rate then error_rate_n end as error_rate_n,  -- Checks in the random sample.
    case when not hide_rate then error_rate_low end as error_rate_low,  -- Lower end of its 95 % interval.
    case when not hide_rate then error_rate_high end as error_rate_high,  -- Upper end of its 95 % interval.
    case when not hide_refund then refund_at_risk_dkk end as refund_at_risk_dkk,  -- State refund that the errors may cost, in kroner.
    open_actions,  -- Actions from these reviews, of this month and before, open at its end.
    hide_checked or hide_errors or hide_rate or hide_refund as suppressed,  -- Whether anything in the row is hidden.
    concat(definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of case reviews; null where none is reported.
from marked
