//! Rows of text on their way into batches.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder},
    datatypes::{DataType, Field, Schema},
};
use connector_api::{Batch, Error, Reject, Result};

/// Rows and rejects in one batch.
const BATCH_ROWS: usize = 8192;

/// Bytes of text after which a batch is full however few its rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Collects rows of the same columns, and what could not be read as rows.
pub(crate) struct TextRows {
    columns: Vec<(String, StringBuilder)>,
    origins: Vec<String>,
    rejects: Vec<Reject>,
    bytes: usize,
}

impl TextRows {
    pub(crate) fn new(names: &[String]) -> Self {
        Self {
            columns: names
                .iter()
                .map(|it| (it.clone(), StringBuilder::new()))
                .collect(),
            origins: Vec::new(),
            rejects: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.origins.len() + self.rejects.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Adds a row with a value for every column.
    pub(crate) fn push<T: AsRef<str>>(
        &mut self,
        origin: String,
        values: impl IntoIterator<Item = Option<T>>,
    ) {
        self.origins.push(origin);
        for ((_, column), value) in self.columns.iter_mut().zip(values) {
            self.bytes += value.as_ref().map_or(0, |it| it.as_ref().len());
            column.append_option(value);
        }
    }

    pub(crate) fn reject(&mut self, reject: Reject) {
        self.bytes += reject.raw.len();
        self.rejects.push(reject);
    }

    /// The batch, without a position.
    pub(crate) fn finish(self) -> Result<Batch> {
        let columns = self
            .columns
            .into_iter()
            .map(|(name, mut column)| (name, Arc::new(column.finish()) as ArrayRef));
        let rows = text_batch(columns.collect(), self.origins.len())?;
        Ok(batch(rows, self.origins, self.rejects))
    }
}

/// A batch without a position.
pub(crate) fn batch(rows: RecordBatch, origins: Vec<String>, rejects: Vec<Reject>) -> Batch {
    Batch {
        rows,
        origins,
        rejects,
        position: None,
        delivery: None,
        complete_through: None,
    }
}

/// `rows` rows with these columns of text.
pub(crate) fn text_batch(columns: Vec<(String, ArrayRef)>, rows: usize) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, array)| (Field::new(name, DataType::Utf8, true), array))
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|err| Error::Delivery(format!("the rows do not fit their columns: {err}")))
}
