-- doc: The management's own supervision of cases [ledelsestilsyn], month by month, complete: for those allowed to see small
--     cells. It is not called case_review like the published mart.case_review, since core.case_review is the entity's state.
-- grain: municipality_code, unit_id, month, theme
-- partition_by: municipality_code
-- definition: case_review_error_rate@1, case_review_errors@1, case_reviews_checked@1, open_actions@1, refund_at_risk@1
-- check: rate_is_a_fraction: coalesce(error_rate, 0) between 0 and 1
-- check: rate_inside_its_interval: coalesce(error_rate between error_rate_low - 1e-9 and error_rate_high + 1e-9, true)
with reported as (
    select
        municipality_code,
        max(complete_through) filter (where entity = 'case_review') as case_review,
        max(complete_through) filter (where entity = 'improvement_action') as improvement_action
    from core.horizon
    group by municipality_code
),
open_action as (
    select municipality_code, unit_id, month_number, theme, count(*) as open_actions
    from core.open_action
    where theme is not null
    group by municipality_code, unit_id, month_number, theme
),
-- A month with open actions is there also where nothing was reviewed in it.
listed as (
    select municipality_code, unit_id, month_number, theme from core.case_review_month
    union
    select municipality_code, unit_id, month_number, theme from open_action
),
dated as (
    select *, make_date(month_number / 12, month_number % 12 + 1, 1) as first_day from listed
)
select
    d.municipality_code,  -- Municipality.
    d.unit_id,  -- The unit whose cases they are.
    to_char(d.first_day, '%Y-%m') as month,  -- Month, such as 2010-01.
    d.theme,  -- What was checked.
    coalesce(c.checked, case when r.case_review >= d.first_day then 0 end) as checked,  -- Checks made that were relevant to the case, however it was drawn.
    coalesce(c.errors, case when r.case_review >= d.first_day then 0 end) as errors,  -- Errors among them.
    c.error_rate,  -- Share of errors in the random sample, strata weighted.
    coalesce(c.random_checked, case when r.case_review >= d.first_day then 0 end) as error_rate_n,  -- Checks in the random sample.
    wilson_low(c.error_rate * c.effective_n, c.effective_n) as error_rate_low,  -- Lower end of its 95 % interval.
    wilson_high(c.error_rate * c.effective_n, c.effective_n) as error_rate_high,  -- Upper end of its 95 % interval.
    coalesce(c.refund_at_risk_dkk, case when r.case_review >= d.first_day then 0 end) as refund_at_risk_dkk,  -- State refund that the errors may cost, in kroner.
    coalesce(o.open_actions, case when r.improvement_action >= d.first_day then 0 end) as open_actions,  -- Actions from these reviews, of this month and before, open at its end.
    false as suppressed,  -- Nothing is hidden here.
    'case_review_error_rate@1, case_review_errors@1, case_reviews_checked@1, open_actions@1, refund_at_risk@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    r.case_review as data_through  -- Horizon of case reviews; null where none is reported.
from dated as d
left join reported as r on r.municipality_code = d.municipality_code
left join core.case_review_month as c
    on c.municipality_code = d.municipality_code
    and c.unit_id = d.unit_id
    and c.month_number = d.month_number
    and c.theme = d.theme
left join open_action as o
    on o.municipality_code = d.municipality_code
    and o.unit_id = d.unit_id
    and o.month_number = d.month_number
    and o.theme = d.theme
