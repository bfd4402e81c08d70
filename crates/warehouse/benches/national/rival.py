"""The outcomes of all participations from the same Parquet files, in DuckDB's SQL: `rival.py LAKE BENEFITS THREADS`.

Prints one JSON object: seconds, peak memory, and the sums that both sides must agree on.
"""

import json
import resource
import sys
import time

import duckdb

lake, benefits, threads = sys.argv[1:4]

QUERY = f"""
with participation as (
    select *, row_number() over () as number
    from read_parquet('{lake}/core/participation/**/*.parquet', hive_partitioning = true)
    where end_reason is distinct from 'cancelled'
),
horizon as (
    select municipality_code, complete_through
    from read_parquet('{lake}/core/horizon/**/*.parquet', hive_partitioning = true)
    where entity = 'benefit_spell'
),
exits as (
    select citizen_id, exit_date from read_parquet('{lake}/core/citizen/**/*.parquet', hive_partitioning = true)
    where exit_date is not null
),
spell as (
    select s.citizen_id, s.from_date, coalesce(s.to_date, date '9999-12-31') as to_date
    from read_parquet('{lake}/core/benefit_spell/**/*.parquet', hive_partitioning = true) as s
    join read_csv('{benefits}') as b on b.code = s.benefit and b.counts_as_support
        and (b.valid_from is null or b.valid_from <= s.from_date)
        and (b.valid_to is null or b.valid_to >= s.from_date)
    where s.citizen_id in (select citizen_id from participation)
        and s.from_date <= coalesce(s.to_date, date '9999-12-31')
),
reached as (
    select *, max(to_date) over (
        partition by citizen_id order by from_date, to_date rows between unbounded preceding and 1 preceding
    ) as before
    from spell
),
numbered as (
    select
        citizen_id, from_date, to_date,
        sum(case when before is null or from_date > before + 1 then 1 else 0 end) over (
            partition by citizen_id order by from_date, to_date rows unbounded preceding
        ) as island,
        sum(case when before is null or from_date - before - 1 > 28 then 1 else 0 end) over (
            partition by citizen_id order by from_date, to_date rows unbounded preceding
        ) as chain
    from reached
),
island as (
    select citizen_id, min(from_date) as from_date, max(to_date) as to_date, any_value(chain) as chain
    from numbered
    group by citizen_id, island
),
bridged as (
    select *, min(from_date) over (partition by citizen_id, chain) as chain_from from island
),
window_end as (
    select
        p.number, p.citizen_id, k.k,
        cast(p.start_date + to_months(k.k) as date) as first_day,
        cast(p.start_date + to_months(k.k + 1) as date) - 1 as last_day
    from participation as p, (select unnest(range(7)) as k) as k
),
free as (
    select w.number, count(*) filter (where s.to_date is null or s.to_date < w.first_day) as free
    from window_end as w
    asof left join island as s on s.citizen_id = w.citizen_id and s.from_date <= w.last_day
    group by w.number
),
dated as (
    select
        p.*, x.exit_date, h.complete_through,
        cast(p.end_date + interval 1 month as date) as month_1,
        cast(p.end_date + interval 3 month as date) as month_3,
        cast(p.start_date + interval 7 month as date) - 1 as month_7
    from participation as p
    left join exits as x on x.citizen_id = p.citizen_id
    left join horizon as h on h.municipality_code = p.municipality_code
),
asked as (
    select
        d.*,
        one.to_date >= d.month_1 as supported_1,
        three.to_date >= d.month_3 as supported_3,
        three.to_date > d.end_date as supported_within,
        start.chain_from, start.to_date as last_support
    from dated as d
    asof left join island as one on one.citizen_id = d.citizen_id and one.from_date <= d.month_1
    asof left join island as three on three.citizen_id = d.citizen_id and three.from_date <= d.month_3
    asof left join bridged as start on start.citizen_id = d.citizen_id and start.from_date <= d.start_date
),
outcome as (
    select
        a.municipality_code,
        case when end_date is null then null when exit_date <= month_1 then 'lost'
            when complete_through is null or month_1 > complete_through then 'pending'
            when coalesce(supported_1, false) then 'failure' else 'success' end as effect_1m,
        case when end_date is null then null when exit_date <= month_3 then 'lost'
            when complete_through is null or month_3 > complete_through then 'pending'
            when coalesce(supported_3, false) then 'failure' else 'success' end as effect_3m,
        case when end_date is null then null when exit_date <= month_3 then 'lost'
            when complete_through is null or month_3 > complete_through then 'pending'
            when coalesce(supported_within, false) then 'failure' else 'success' end as effect_3m_sustained,
        case when exit_date <= month_7 then 'lost'
            when complete_through is null or month_7 > complete_through then 'pending'
            when f.free >= 3 then 'success' else 'failure' end as effect_7m,
        case when last_support >= start_date - 28 then start_date - chain_from else 0 end as days
    from asked as a
    join free as f on f.number = a.number
)
select
    municipality_code, count(*),
    count(*) filter (where effect_1m = 'success'), count(*) filter (where effect_1m = 'failure'),
    count(*) filter (where effect_1m = 'pending'), count(*) filter (where effect_1m = 'lost'),
    count(*) filter (where effect_3m = 'success'), count(*) filter (where effect_3m = 'failure'),
    count(*) filter (where effect_3m_sustained = 'success'), count(*) filter (where effect_3m_sustained = 'failure'),
    count(*) filter (where effect_7m = 'success'), count(*) filter (where effect_7m = 'failure'),
    count(*) filter (where effect_7m = 'pending'), count(*) filter (where effect_7m = 'lost'),
    cast(round(sum(round(days * 10.0 / 7.0))) as bigint)
from outcome
group by municipality_code
order by municipality_code
"""

connection = duckdb.connect(config={"threads": int(threads)})
begun = time.monotonic()
rows = connection.execute(QUERY).fetchall()
seconds = time.monotonic() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak, "rows": rows}))
