//! Rows that a model's own checks keep out of its table.

use datafusion::{
    error::DataFusionError,
    logical_expr::{Expr, expr_fn::when, lit},
    prelude::DataFrame,
};
use spec::{Check, Model, Severity};

use crate::{Error, Result};

/// The column that names the check a row fails.
pub(crate) const FAILED: &str = "_failed";

/// The checks that set rows aside.
pub(super) fn checks(model: &Model) -> impl Iterator<Item = &Check> {
    let checks = model.checks.iter();
    checks.filter(|it| it.severity == Severity::SetAside)
}

/// The rows that stay.
pub(super) fn left(rows: DataFrame, model: &Model) -> Result<DataFrame> {
    let mut left = rows;
    for check in checks(model) {
        let passes = predicate(&left, model, check)?.is_not_false();
        left = left
            .filter(passes)
            .map_err(|err| wrong(model, check, &err))?;
    }
    Ok(left)
}

/// All rows, each with the first check that it fails.
pub(super) fn marked(rows: DataFrame, model: &Model) -> Result<DataFrame> {
    let mut failed: Option<Expr> = None;
    let planning = |err| Error::query(format!("planning {}", model.table()), err);
    // From the last to the first, so that the first is asked first.
    for check in checks(model).collect::<Vec<_>>().into_iter().rev() {
        let fails = predicate(&rows, model, check)?.is_false();
        let mut case = when(fails, lit(check.name.as_str()));
        let case = match failed {
            Some(others) => case.otherwise(others),
            None => case.end(),
        };
        failed = Some(case.map_err(planning)?);
    }
    match failed {
        Some(failed) => rows.with_column(FAILED, failed).map_err(planning),
        None => Ok(rows),
    }
}

fn predicate(rows: &DataFrame, model: &Model, check: &Check) -> Result<Expr> {
    let parsed = rows.parse_sql_expr(&check.predicate);
    parsed.map_err(|err| wrong(model, check, &err))
}

fn wrong(model: &Model, check: &Check, err: &DataFusionError) -> Error {
    let message = format!("check `{}`: {}", check.name, err.strip_backtrace());
    Error::Models(vec![model.mistake(Some(check.line), message)])
}
