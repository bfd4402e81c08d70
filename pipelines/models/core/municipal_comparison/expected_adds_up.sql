-- doc: What is expected of all municipalities together is what was observed of them, in every year, indicator and target group:
--     the pool is its own standard.
select
    year,
    indicator,
    target_group,
    sum(observed) as observed,
    sum(expected) as expected
from core.municipal_comparison
where n > 0
group by year, indicator, target_group
having abs(sum(observed) - sum(expected)) > 0.000001 * (1 + sum(observed))
