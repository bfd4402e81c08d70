//! Rows of text for tests: good ones of any entity, with single values put in their place.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use contract::{Coerced, Entity, Kind, Pii, Violation, coerce, entity};

/// Columns by name, one good row to begin with.
#[derive(Clone)]
pub(crate) struct Table {
    entity: &'static Entity,
    columns: BTreeMap<String, ArrayRef>,
    length: usize,
}

impl Table {
    /// One good row, every column filled.
    pub(crate) fn of(name: &str) -> Self {
        let entity = entity(name).unwrap();
        let columns = entity.fields.iter().map(|field| {
            let text = match field.kind {
                _ if field.name == "municipality_code" => "101".to_owned(),
                _ if field.name == "benefit" => "cash_benefit".to_owned(),
                Kind::Int | Kind::Long => field.minimum.unwrap_or(3.0).to_string(),
                Kind::Double => "7.5".to_owned(),
                Kind::Decimal { .. } => "1200.50".to_owned(),
                Kind::Bool => "true".to_owned(),
                Kind::Date => "2010-01-31".to_owned(),
                Kind::Timestamp => "2010-01-31T12:00:00Z".to_owned(),
                Kind::Text if field.pii == Pii::Pseudonym => "0123456789abcdef".repeat(4),
                Kind::Text => field.values.first().cloned().unwrap_or("text".to_owned()),
            };
            (field.name.clone(), text_column(&[text.as_str()]))
        });
        Self {
            entity,
            columns: columns.collect(),
            length: 1,
        }
    }

    /// The same with another text in one column.
    pub(crate) fn with(self, field: &str, text: &str) -> Self {
        self.with_column(field, text_column(&[text]))
    }

    /// The same with another column of one row.
    pub(crate) fn with_column(mut self, field: &str, column: ArrayRef) -> Self {
        self.columns.insert(field.to_owned(), column);
        self
    }

    /// The same without a column.
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.columns.remove(field).unwrap();
        self
    }

    /// Gives a column several values; the others repeat theirs.
    pub(crate) fn values(&mut self, field: &str, texts: &[&str]) {
        self.length = texts.len();
        self.columns.insert(field.to_owned(), text_column(texts));
    }

    /// The first row `count` times.
    pub(crate) fn rows(mut self, count: usize) -> RecordBatch {
        self.length = count;
        self.batch()
    }

    /// The entity's contract applied.
    pub(crate) fn coerce(self) -> Coerced {
        let entity = self.entity;
        coerce(entity, &self.batch())
    }

    /// What the contract finds wrong.
    pub(crate) fn violations(self) -> Vec<Violation> {
        self.coerce().violations
    }

    fn batch(self) -> RecordBatch {
        let length = self.length;
        let columns = self.columns.into_iter().map(|(name, column)| {
            let all = vec![column.as_ref(); length];
            let column = if column.len() == length {
                Arc::clone(&column)
            } else {
                arrow::compute::concat(&all).unwrap()
            };
            (name, column, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }
}

/// The one violation there is.
pub(crate) fn only(table: Table) -> Violation {
    let coerced = table.coerce();
    assert_eq!(coerced.violations.len(), 1, "{:?}", coerced.violations);
    assert_eq!(coerced.batch.num_rows(), 0);
    coerced.violations.into_iter().next().unwrap()
}

fn text_column(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}
