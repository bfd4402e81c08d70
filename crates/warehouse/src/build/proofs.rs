//! What has been proven of models, each once: it holds as long as the models stay what they are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use contract::is_id;
use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::Result as Outcome,
    logical_expr::{EmptyRelation, Expr, LogicalPlan},
    prelude::ident,
};
use futures::{FutureExt, future::BoxFuture};

use super::{
    reach::{held, reach, table_of},
    step::Step,
};
use crate::{
    Error, Result,
    models::{Node, Origin},
};

/// A table and a column of it.
type Place = (String, String);

/// For each table a model reads, the column that leads from it.
type Reach = Arc<BTreeMap<String, String>>;

/// Proofs by table and column.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    reach: Mutex<HashMap<Place, Reach>>,
    filled: Mutex<HashMap<Place, bool>>,
}

impl Step<'_> {
    /// [`reach`] of a model's column; empty where its values cannot stand for any.
    pub(super) async fn reach_of(&self, node: &Node, column: &str) -> Result<Reach> {
        let place = (node.table(), column.to_owned());
        if let Some(known) = known(&self.builder.proofs.reach, &place) {
            return Ok(known);
        }
        let rows = node.rows(&self.ctx).await?;
        let found = reach(&self.ctx, rows, column).map_err(|err| planning(node, err))?;
        let found = Arc::new(found.unwrap_or_default());
        keep(&self.builder.proofs.reach, place, Arc::clone(&found));
        Ok(found)
    }

    /// The first shared id that leads from changed rows of `read` to rows of a model: the model's column, and the one of the table
    /// read. `None` where none is known to. A row without an id could come from anywhere, so every row has one.
    pub(super) async fn leading(&self, node: &Node, read: &str) -> Result<Option<Place>> {
        for column in ids_of(node) {
            let Some(of_read) = self.reach_of(node, column).await?.get(read).cloned() else {
                continue;
            };
            if self.is_filled(node, column).await? {
                return Ok(Some((column.to_owned(), of_read)));
            }
        }
        Ok(None)
    }

    /// Whether a column of a model has a value in every row: told which columns of the tables it reads have, the engine finds that
    /// rows without one are none.
    pub(super) fn is_filled<'a>(
        &'a self,
        node: &'a Node,
        column: &'a str,
    ) -> BoxFuture<'a, Result<bool>> {
        let place = (node.table(), column.to_owned());
        async move {
            if let Some(known) = known(&self.builder.proofs.filled, &place) {
                return Ok(known);
            }
            let found = match &node.origin {
                // Landing keeps out what lacks it.
                Origin::Current(entity) => {
                    let mut fields = entity.fields.iter();
                    fields.any(|it| it.name == column && !it.nullable)
                }
                Origin::Written(_) => self.has_no_row_without(node, column).await?,
            };
            keep(&self.builder.proofs.filled, place, found);
            Ok(found)
        }
        .boxed()
    }

    async fn has_no_row_without(&self, node: &Node, column: &str) -> Result<bool> {
        let failed = |err| planning(node, err);
        let state = self.ctx.state();
        let rows = node.rows(&self.ctx).await?;
        let asked = rows.filter(ident(column).is_null()).map_err(failed)?;
        let plan = state
            .optimize(&asked.into_unoptimized_plan())
            .map_err(failed)?;
        let mut filled = BTreeSet::new();
        for place in sought(&plan).map_err(failed)? {
            let Some(read) = self.builder.catalog.node(&place.0) else {
                continue;
            };
            if self.is_filled(read, &place.1).await? {
                filled.insert(place);
            }
        }
        let plan = without(plan, &filled).map_err(failed)?;
        let plan = state.optimize(&plan).map_err(failed)?;
        Ok(matches!(plan, LogicalPlan::EmptyRelation(it) if !it.produce_one_row))
    }
}

/// The columns of a model that can lead to its rows.
pub(super) fn ids_of(node: &Node) -> impl Iterator<Item = &str> {
    let columns = node.columns().into_iter().map(|it| it.0);
    columns.filter(|it| is_id(it))
}

/// The columns that a plan looks for rows without.
fn sought(plan: &LogicalPlan) -> Outcome<BTreeSet<Place>> {
    let mut found = BTreeSet::new();
    plan.apply(|plan| {
        found.extend(missing(plan));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The plan with nothing in place of what looks for rows without a column that all have.
fn without(plan: LogicalPlan, filled: &BTreeSet<Place>) -> Outcome<LogicalPlan> {
    let emptied = plan.transform_down(|plan| {
        if !missing(&plan).iter().any(|it| filled.contains(it)) {
            return Ok(Transformed::no(plan));
        }
        let schema = Arc::clone(plan.schema());
        Ok(Transformed::yes(LogicalPlan::EmptyRelation(
            EmptyRelation {
                produce_one_row: false,
                schema,
            },
        )))
    })?;
    Ok(emptied.data)
}

/// The columns that a table, read here, is held to have no value in.
fn missing(plan: &LogicalPlan) -> Vec<Place> {
    let Some((scan, conditions)) = held(plan) else {
        return Vec::new();
    };
    let columns = conditions.into_iter().filter_map(|it| match it {
        Expr::IsNull(of) => match of.as_ref() {
            Expr::Column(column) => Some(column.name.clone()),
            _ => None,
        },
        _ => None,
    });
    columns.map(|it| (table_of(scan), it)).collect()
}

fn known<T: Clone>(proofs: &Mutex<HashMap<Place, T>>, place: &Place) -> Option<T> {
    let proofs = proofs.lock().unwrap_or_else(PoisonError::into_inner);
    proofs.get(place).cloned()
}

fn keep<T>(proofs: &Mutex<HashMap<Place, T>>, place: Place, proof: T) {
    let mut proofs = proofs.lock().unwrap_or_else(PoisonError::into_inner);
    proofs.insert(place, proof);
}

fn planning(node: &Node, err: datafusion::error::DataFusionError) -> Error {
    Error::query(format!("planning {}", node.table()), err)
}
