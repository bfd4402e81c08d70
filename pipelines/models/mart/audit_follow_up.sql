-- doc: How far the auditor's remarks [revisionsbemærkninger] have come at the end of each half-year. Remarks are no people, so
--     nothing is hidden; core.audit_follow_up says the same.
-- grain: municipality_code, period
-- partition_by: municipality_code
-- definition: audit_follow_up@1
select
    municipality_code,  -- Municipality.
    period,  -- Half-year, such as 2010H1.
    remarks_open,  -- Remarks raised and not implemented by the last day of the period (by the horizon, in the period that holds it).
    remarks_planned,  -- Open ones with a due date, of their own or of an action they led to, that has not passed that day.
    remarks_implemented,  -- Remarks implemented by that day, whenever raised.
    remarks_overdue,  -- Open ones whose due date has passed that day.
    suppressed,  -- Whether anything in the row is hidden; never.
    definition_version,  -- Definition behind the row, as in ref.definition.
    data_through  -- Horizon of audit remarks; null where none is reported.
from core.audit_follow_up
