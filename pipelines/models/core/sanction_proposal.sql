-- doc: Which step against an offer [sanktion] its quality in this half-year and the one before it speaks for, complete: for
--     those allowed to see small cells. The published one is mart.sanction_proposal. People decide.
-- grain: municipality_code, offer_id, period
-- partition_by: municipality_code
-- definition: case_mix@1, effect_3m@1, fair_comparison@1, sanction_proposal@1, smiley@1
-- check: reasons_with_every_proposal: proposed_step is null or reasons is not null
-- check: only_dialogue_without_terms: coalesce(blocked_by, '') not in ('no_agreement', 'no_sanction_terms') or proposed_step =
--     'dialogue'
select
    municipality_code,  -- Municipality.
    offer_id,  -- The offer.
    period,  -- Half-year, such as 2010H1.
    offer_name,  -- Name of the offer.
    provider_id,  -- Who delivers it.
    provider_name,  -- Name of the provider.
    smiley,  -- Smiley on the last day; null until visits are known to be complete to that day.
    much_worse,  -- Whether the provider is much worse than expected in the year and a target group of the offer; null until the year is known.
    case when bad_twice then next_step end as proposed_step,  -- dialogue, increased_supervision, penalty or termination; null where none is proposed.
    case
        when bad_twice and red_in_either and much_worse_in_either then 'red_smiley, much_worse'
        when bad_twice and red_in_either then 'red_smiley'
        when bad_twice then 'much_worse'
    end as reasons,  -- red_smiley, much_worse or both, of the two half-years; null where they do not speak for a step.
    step_in_force,  -- Highest step in force on the last day, of the offer or its provider; null where there is none.
    case when bad_twice then blocked_by end as blocked_by,  -- no_agreement or no_sanction_terms (dialogue only), termination_in_force or step_in_force_unknown (nothing is proposed); null where nothing bars the step.
    false as suppressed,  -- Nothing is hidden here.
    'case_mix@1, effect_3m@1, fair_comparison@1, sanction_proposal@1, smiley@1' as definition_version,  -- Definitions behind the row, as in ref.definition.
    data_through  -- Horizon of supervision visits; null where none is reported.
from core.sanction_basis
