//! Parts of a table: the municipalities it is split by, as predicates and as they come with rows.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int32Type,
};
use datafusion::{
    common::{exec_err, plan_err},
    error::Result,
    logical_expr::Expr,
    prelude::{ident, lit},
};
use lake::Part;

/// The column that tables are split by, where their rows belong to a municipality.
pub(crate) const MUNICIPALITY: &str = "municipality_code";

/// Whether a table is split by municipality and by nothing else.
pub(crate) fn is_split(partition_by: &[String]) -> bool {
    partition_by == [MUNICIPALITY]
}

/// What is true of the rows of some municipalities.
pub(crate) fn within(parts: &BTreeSet<Part>) -> Result<Expr> {
    let mut codes = Vec::with_capacity(parts.len());
    for code in parts.iter().flatten() {
        match code.parse::<i32>() {
            Ok(code) => codes.push(lit(code)),
            Err(_) => return plan_err!("a table is split by municipality, not by `{code}`"),
        }
    }
    let column = || ident(MUNICIPALITY);
    // SQL has no empty list.
    let named = (!codes.is_empty()).then(|| column().in_list(codes, false));
    let unnamed = parts.contains(&None).then(|| column().is_null());
    Ok(named
        .into_iter()
        .chain(unnamed)
        .reduce(Expr::or)
        .unwrap_or(lit(false)))
}

/// The rows of a table that are others than published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed {
    /// The municipalities they are in.
    pub(crate) parts: BTreeSet<Part>,
    /// What is true of all of them, where they are of few things.
    pub(crate) only: Option<Expr>,
}

impl Changed {
    /// Whether there are none.
    pub(crate) fn is_nothing(&self) -> bool {
        self.parts.is_empty()
    }

    /// What is true of them.
    pub(crate) fn condition(&self) -> Result<Expr> {
        let within = within(&self.parts)?;
        Ok(match &self.only {
            Some(only) => within.and(only.clone()),
            None => within,
        })
    }
}

/// The municipalities in a column of some batches; `null_too` says whether rows without one count.
pub(crate) fn parts_in(
    batches: &[RecordBatch],
    column: &str,
    null_too: bool,
) -> Result<BTreeSet<Part>> {
    let mut parts = BTreeSet::new();
    for batch in batches {
        let Some(codes) = batch
            .column_by_name(column)
            .and_then(|it| it.as_primitive_opt::<Int32Type>())
        else {
            return exec_err!("no column `{column}` of municipality codes");
        };
        parts.extend(codes.iter().flatten().map(|code| Some(code.to_string())));
        if null_too && codes.null_count() > 0 {
            parts.insert(None);
        }
    }
    Ok(parts)
}
