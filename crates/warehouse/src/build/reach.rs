//! Which rows of a model a change in what it reads can reach: proven by the engine, which pushes a condition on the model's rows down to
//! the tables it reads wherever that changes nothing.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    error::Result,
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan, utils::split_conjunction},
    prelude::{DataFrame, SessionContext, ident, lit},
    scalar::ScalarValue,
};

/// Values that stand for any: no model names them.
const ANY_NUMBER: i32 = -1_618_033_988;
const ANY_TEXT: &str = "any value at all (1.618033988)";

/// For each table read, the column that has a value wherever the model's `column` has it: rows of the model with one value come only
/// from rows of the table with the same. Tables that this is not known of are left out.
///
/// `None` where the column's values cannot stand for any.
pub(super) fn reach(
    ctx: &SessionContext,
    rows: DataFrame,
    column: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let field = rows.schema().field_with_unqualified_name(column)?;
    let any = match field.data_type() {
        DataType::Int32 => lit(ANY_NUMBER),
        DataType::Utf8 | DataType::Utf8View => lit(ANY_TEXT),
        _ => return Ok(None),
    };
    let asked = rows.filter(ident(column).eq(any))?.into_unoptimized_plan();
    let plan = ctx.state().optimize(&asked)?;
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    plan.apply_with_subqueries(|plan| {
        let Some((scan, conditions)) = held(plan) else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let is_above = matches!(plan, LogicalPlan::Filter(_));
        for condition in &conditions {
            if is_above && asks_more(condition)? {
                return Ok(TreeNodeRecursion::Continue);
            }
        }
        let column = conditions.into_iter().find_map(held_to_any);
        let table = table_of(scan);
        match found.get_mut(&table) {
            // All the places where a table is read must be held to the same column.
            Some(known) if *known != column => *known = None,
            Some(_) => {}
            None => {
                found.insert(table, column);
            }
        }
        Ok(if is_above {
            TreeNodeRecursion::Jump
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    let reached = found.into_iter();
    Ok(Some(
        reached
            .filter_map(|(table, column)| Some((table, column?)))
            .collect(),
    ))
}

/// A table that is read here, and what its rows are held to: a condition that it does not take for itself stays right above it.
pub(super) fn held(plan: &LogicalPlan) -> Option<(&TableScan, Vec<&Expr>)> {
    let (scan, above) = match plan {
        LogicalPlan::Filter(filter) => match filter.input.as_ref() {
            LogicalPlan::TableScan(scan) => (scan, Some(&filter.predicate)),
            _ => return None,
        },
        LogicalPlan::TableScan(scan) => (scan, None),
        _ => return None,
    };
    let conditions = scan.filters.iter().chain(above).flat_map(split_conjunction);
    Some((scan, conditions.collect()))
}

/// Whether a condition holds queries of its own, which are looked at like any others.
fn asks_more(condition: &Expr) -> Result<bool> {
    condition.exists(|it| {
        Ok(matches!(
            it,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_)
        ))
    })
}

/// `core.offer` of a scan.
pub(super) fn table_of(scan: &TableScan) -> String {
    let name = &scan.table_name;
    match name.schema() {
        Some(schema) => format!("{schema}.{}", name.table()),
        None => name.table().to_owned(),
    }
}

/// The column of a condition that is the one asked for: the column has the value that stands for any.
fn held_to_any(condition: &Expr) -> Option<String> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(column)) => {
            is_any(value).then(|| column.name.clone())
        }
        _ => None,
    }
}

fn is_any(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Int32(value) => *value == Some(ANY_NUMBER),
        ScalarValue::Int64(value) => *value == Some(i64::from(ANY_NUMBER)),
        value => value
            .try_as_str()
            .is_some_and(|value| value == Some(ANY_TEXT)),
    }
}
