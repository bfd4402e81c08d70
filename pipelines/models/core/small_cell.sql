-- doc: The counts that mart.offer_overview, mart.visitation_guide and mart.contract_status must not show: 1 to 4, and those
--     that would give one of them away.
-- grain: mart, municipality_code, block, part, measure
-- partition_by: municipality_code
-- definition: small_cells@1
select
    mart,  -- Name of the published table without its schema.
    municipality_code,  -- Municipality.
    block,  -- Half-year and offer, the offer, or the indicator.
    part,  -- Target group, or indicator and unit; none and other units stand for what is not shown by itself.
    measure,  -- The column that holds the count, or the period of a contract value.
    n  -- The count itself; a zero is here only where it would tell that others are ones.
from core.offer_small_cell
union all
select mart, municipality_code, block, part, measure, n
from core.contract_small_cell
