//! Window functions whose order would not be known any more where they run.

use std::sync::Arc;

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, WindowExpr, replace_children_if_necessary,
        sorts::sort::SortExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};

/// Sorts the rows of window functions by every column they are parted by. A plan leaves out those that a filter or a join below makes
/// constant or equal to another; an executor sees one stage only, and does not know.
pub(crate) fn sorted_in_full(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|node| {
        let Some((window, input)) = window(&node) else {
            return Ok(Transformed::no(node));
        };
        let parted = window.partition_by();
        if begins_with(&written(input), parted) {
            return Ok(Transformed::no(node));
        }
        let parted = parted
            .iter()
            .map(|it| PhysicalSortExpr::new_default(Arc::clone(it)));
        let Some(order) = LexOrdering::new(parted.chain(window.order_by().iter().cloned())) else {
            return Ok(Transformed::no(node));
        };
        let sorted = SortExec::new(order, Arc::clone(input)).with_preserve_partitioning(true);
        let windowed = replace_children_if_necessary(Arc::clone(&node), vec![Arc::new(sorted)])?;
        Ok(Transformed::yes(windowed))
    });
    Ok(done?.data)
}

type Plan = Arc<dyn ExecutionPlan>;

/// The first of a node's window functions, which are all parted and ordered alike, and the node's input.
fn window(node: &Plan) -> Option<(&Arc<dyn WindowExpr>, &Plan)> {
    let (functions, input) = if let Some(node) = node.downcast_ref::<WindowAggExec>() {
        (node.window_expr(), node.input())
    } else {
        let node = node.downcast_ref::<BoundedWindowAggExec>()?;
        (node.window_expr(), node.input())
    };
    Some((functions.first()?, input))
}

/// The order a plan's rows are in, as it is written in the plan.
fn written(plan: &Arc<dyn ExecutionPlan>) -> Vec<PhysicalSortExpr> {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return sort.expr().to_vec();
    }
    if let Some((_, input)) = window(plan) {
        return written(input);
    }
    plan.output_ordering()
        .map(|it| it.to_vec())
        .unwrap_or_default()
}

fn begins_with(order: &[PhysicalSortExpr], parted: &[Arc<dyn PhysicalExpr>]) -> bool {
    let first = order.get(..parted.len()).unwrap_or(order);
    parted
        .iter()
        .all(|column| first.iter().any(|it| it.expr.eq(column)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        physical_plan::{ExecutionPlan, displayable},
        prelude::SessionContext,
    };

    use super::sorted_in_full;

    #[tokio::test]
    async fn a_column_that_is_constant_is_sorted_by_all_the_same() {
        let session = SessionContext::new();
        let query = "select a, b, row_number() over (partition by a, b order by c) \
                     from (values (1, 2, 3), (1, 3, 2)) as t(a, b, c) where a = 1";
        let plan = session.sql(query).await.unwrap();
        let plan = plan.create_physical_plan().await.unwrap();
        let sorts = |plan: &Arc<dyn ExecutionPlan>| {
            let text = displayable(plan.as_ref()).indent(false).to_string();
            text.matches("SortExec: expr=[a@0 ASC").count()
        };
        assert_eq!(sorts(&plan), 0, "what an executor would have to know");
        let full = sorted_in_full(plan).unwrap();
        assert_eq!(sorts(&full), 1);
        let again = sorted_in_full(full).unwrap();
        assert_eq!(sorts(&again), 1);
    }
}
