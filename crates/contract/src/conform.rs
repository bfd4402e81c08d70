//! Turns rows of text into rows of an entity, and says in sentences what is wrong with the others.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::filter,
};

use serde::Serialize;

use crate::{Entity, Field, Pii, convert, rules, scrub};

/// The longest value a violation repeats, in characters.
const VALUE_CHARS: usize = 80;

/// The rows that conform, and what is wrong with the others.
#[derive(Debug, Clone)]
pub struct Coerced {
    /// The rows without a violation, with the entity's schema.
    pub batch: RecordBatch,
    /// For each row of `batch`, its row in the input.
    pub rows: Vec<usize>,
    /// All violations, by row and then by column.
    pub violations: Vec<Violation>,
}

/// The rules a row may break.
pub const RULES: &[&str] = &[
    "required",
    "type",
    "values",
    "code_list",
    "minimum",
    "maximum",
    "ordered",
    "pseudonym",
    "cpr",
];

/// One broken rule in one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The row in the input.
    #[serde(skip)]
    pub row: usize,
    /// The column.
    pub field: String,
    /// Which of [`RULES`].
    pub rule: &'static str,
    /// The value, at most 80 characters; `None` where there is none or it may not be repeated.
    pub value: Option<String>,
    /// A sentence for whoever made the record.
    pub message: String,
}

/// Turns rows into the entity's types and checks them.
///
/// Columns are found by name and may be text or typed; further columns are ignored, and a missing
/// nullable one is null. Text is read so: dates `2010-01-31`, instants `2010-01-31T12:00:00Z` (RFC 3339),
/// `true` and `false`, numbers with a decimal point; spaces around them do not matter. Empty text is
/// null. A typed instant without a zone is UTC. Nothing is rounded or cut: what does not fit is a violation.
pub fn coerce(entity: &Entity, rows: &RecordBatch) -> Coerced {
    let count = rows.num_rows();
    let mut report = Report::default();
    let mut columns = Vec::with_capacity(entity.fields.len());
    let mut unread = Vec::with_capacity(entity.fields.len());
    for field in &entity.fields {
        let start = report.violations.len();
        columns.push(match rows.column_by_name(&field.name) {
            Some(column) => convert::column(field, column, &mut report),
            None => new_null_array(&field.kind.arrow_type(), count),
        });
        let failed = report.violations[start..].iter();
        unread.push(failed.map(|violation| violation.row).collect::<Vec<_>>());
    }
    rules::apply(entity, rows, &columns, &unread, &mut report);

    let mut violations = report.violations;
    if violations.is_empty() {
        return Coerced {
            batch: batch(entity, columns, count),
            rows: (0..count).collect(),
            violations,
        };
    }
    // Stable, so that the violations of one row stay in the order they were found.
    violations.sort_by_key(|violation| violation.row);
    let mut good = vec![true; count];
    for violation in &violations {
        good[violation.row] = false;
    }
    let kept: Vec<usize> = (0..count).filter(|row| good[*row]).collect();
    let good = BooleanArray::from(good);
    let columns = columns.iter().zip(&entity.fields).map(|(column, field)| {
        // A filter as long as the column cannot fail.
        filter(column, &good).unwrap_or_else(|_| new_null_array(&field.kind.arrow_type(), 0))
    });
    Coerced {
        batch: batch(entity, columns.collect(), kept.len()),
        rows: kept,
        violations,
    }
}

/// Checks rows that are typed already, by the same rules.
pub fn check(entity: &Entity, batch: &RecordBatch) -> Vec<Violation> {
    coerce(entity, batch).violations
}

/// Collects violations; the one place that decides how much of a value is shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Adds a violation by a value. `message` is given the value as it may be shown, in quotes.
    pub(crate) fn value(
        &mut self,
        field: &Field,
        row: usize,
        rule: &'static str,
        value: &str,
        message: impl FnOnce(&str) -> String,
    ) {
        let (value, shown) = match shown(field, value) {
            Some(value) => {
                let shown = format!("'{value}'");
                (Some(value), shown)
            }
            None => (None, "the value (not shown)".to_owned()),
        };
        debug_assert!(RULES.contains(&rule), "{rule} is not among the rules");
        self.violations.push(Violation {
            row,
            field: field.name.clone(),
            rule,
            value,
            message: message(&shown),
        });
    }

    /// Adds a violation that shows no value.
    pub(crate) fn without_value(
        &mut self,
        field: &Field,
        row: usize,
        rule: &'static str,
        message: impl Into<String>,
    ) {
        debug_assert!(RULES.contains(&rule), "{rule} is not among the rules");
        self.violations.push(Violation {
            row,
            field: field.name.clone(),
            rule,
            value: None,
            message: message.into(),
        });
    }
}

/// Pseudonyms and free text are never repeated; all else without CPR numbers and cut to length.
fn shown(field: &Field, value: &str) -> Option<String> {
    if matches!(field.pii, Pii::Pseudonym | Pii::FreeText) {
        return None;
    }
    let clean: Cow<'_, str> = scrub(value);
    match clean.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => Some(clean[..end].to_owned()),
        None => Some(clean.into_owned()),
    }
}

fn batch(entity: &Entity, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let schema = entity.arrow_schema();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    // Every column was made with its field's type, and rows with a missing required value are gone.
    RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
        .unwrap_or_else(|_| RecordBatch::new_empty(schema))
}
