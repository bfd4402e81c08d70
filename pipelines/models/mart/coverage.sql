-- doc: Share of participations that each indicator can say anything about, by target group, small cells hidden. The complete one
--     is core.coverage.
-- grain: municipality_code, target_group, indicator, period
-- partition_by: municipality_code
-- definition: coverage@1, small_cells@1
-- check: no_small_count: not (coalesce(participations, 0) between 1 and 4 or coalesce(covered, 0) between 1 and 4 or
--     coalesce(pending, 0) between 1 and 4 or coalesce(share_n, 0) between 1 and 4 or coalesce(share_n - covered, 0) between
--     1 and 4 or coalesce(participations - pending, 0) between 1 and 4)
-- check: no_share_without_n: covered is not null and share_n is not null or share is null
select
    c.municipality_code,  -- Municipality.
    c.target_group,  -- Target group, or all of them together.
    c.indicator,  -- age_group, attendance_share, closer_to_job_share, effect_3m, effect_7m, progression, satisfaction_share or smiley.
    c.period,  -- Half-year in which the participations ended (started, for effect_7m).
    case when not h.participations then c.participations end as participations,  -- Participations that did.
    case when not h.covered then c.covered end as covered,  -- Of them, those the indicator says something of.
    case when not h.pending then c.pending end as pending,  -- Of them, those of which nothing is known yet.
    case when not h.share then c.share end as share,  -- Share covered of those that are not pending.
    case when not h.share_n then c.share_n end as share_n,  -- Participations behind it.
    case when not h.share then c.share_low end as share_low,  -- Lower end of its 95 % interval.
    case when not h.share then c.share_high end as share_high,  -- Upper end of its 95 % interval.
    h.participations or h.covered or h.pending or h.share or h.share_n as suppressed,  -- Whether anything in the row is hidden.
    concat(c.definition_version, ', small_cells@1') as definition_version,  -- Definitions behind the row, as in ref.definition.
    c.data_through  -- Horizon of what the indicator needs; null where none is reported.
from core.coverage as c
join core.coverage_cell as h
    on h.municipality_code = c.municipality_code
    and h.period = c.period
    and h.target_group = c.target_group
    and h.indicator = c.indicator
