//! Reading the topic of records that ingest refused.

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use bus::Delivered;
use contract::quarantine_raw_schema;

use crate::{
    Error, Result,
    reader::Rows,
    refused::{self, Refusal},
};

/// Reads the records of `pejl.quarantine`. They all land, in one table: one that is no record of a
/// refusal is itself refused, and so is a row of the same table.
#[derive(Debug)]
pub(crate) struct QuarantineReader {
    schema: SchemaRef,
}

impl QuarantineReader {
    pub(crate) fn new() -> Self {
        Self {
            schema: quarantine_raw_schema(),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn read(&self, topic: &str, records: &[&Delivered]) -> Result<Rows> {
        let refusals: Vec<(&Delivered, Refusal)> = records
            .iter()
            .map(|record| (*record, refusal(record)))
            .collect();
        let made: Result<RecordBatch, ArrowError> = refused::batch(topic, &refusals);
        Ok(Rows {
            good: vec![made.map_err(|err| Error::rows(topic, err))?],
            refused: None,
            unknown: Vec::new(),
        })
    }
}

fn refusal(record: &Delivered) -> Refusal {
    let Some(value) = record.record.value.as_deref() else {
        let reason = "a deletion, which this topic does not have";
        return Refusal::here("", record, "encoding", reason.to_owned());
    };
    serde_json::from_slice(value).unwrap_or_else(|err| {
        // The message of serde names what it met; a value could be somebody's.
        let reason = format!(
            "not the JSON of a refused record: {} at column {}",
            match err.classify() {
                serde_json::error::Category::Data => "a field is missing or of another type",
                _ => "no JSON object",
            },
            err.column()
        );
        Refusal::here("", record, "encoding", reason)
    })
}
