//! Joins that are right in one process and would be wrong in many.

use std::sync::Arc;

use datafusion::{
    common::{
        JoinType,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, coalesce_partitions::CoalescePartitionsExec,
        joins::NestedLoopJoinExec, replace_children_if_necessary,
    },
};

/// Brings the right side of nested-loop joins together that give rows for left ones without a match: each task has all left rows and
/// would give its own answer for them. Ballista sees to hash joins itself.
pub(crate) fn one_task_where_needed(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let right = join.right();
        if right.output_partitioning().partition_count() == 1 || is_told_by_right(*join.join_type())
        {
            return Ok(Transformed::no(node));
        }
        let together: Arc<dyn ExecutionPlan> =
            Arc::new(CoalescePartitionsExec::new(Arc::clone(right)));
        let left = Arc::clone(join.left());
        let joined = replace_children_if_necessary(Arc::clone(&node), vec![left, together])?;
        Ok(Transformed::yes(joined))
    });
    Ok(done?.data)
}

/// Whether each row of the answer follows from one row on the right.
fn is_told_by_right(join: JoinType) -> bool {
    matches!(
        join,
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    )
}
