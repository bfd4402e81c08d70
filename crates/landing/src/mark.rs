//! Reading the topic that tells what was done about refused records.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::SchemaRef,
    error::ArrowError,
};
use bus::Delivered;
use contract::{Mark, mark_raw_schema};

use crate::{
    Error, Result, coordinates,
    reader::Rows,
    refused::{self, Refusal},
};

/// The table of marks.
pub(crate) const MARK_TABLE: &str = "raw.quarantine_mark";

/// Reads the records of `pejl.quarantine_mark`.
#[derive(Debug)]
pub(crate) struct MarkReader {
    schema: SchemaRef,
}

impl MarkReader {
    pub(crate) fn new() -> Self {
        Self {
            schema: mark_raw_schema(),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn read(&self, topic: &str, records: &[&Delivered]) -> Result<Rows> {
        let mut good: Vec<(&Delivered, Mark)> = Vec::new();
        let mut refused: Vec<(&Delivered, Refusal)> = Vec::new();
        for record in records.iter().copied() {
            let value = record.record.value.as_deref().unwrap_or_default();
            match serde_json::from_slice(value) {
                Ok(mark) => good.push((record, mark)),
                Err(_) => {
                    let reason = "not the JSON of a mark".to_owned();
                    refused.push((
                        record,
                        Refusal::here("quarantine_mark", record, "encoding", reason),
                    ));
                }
            }
        }
        let made = |err: ArrowError| Error::rows(topic, err);
        Ok(Rows {
            good: vec![self.batch(topic, &good).map_err(made)?],
            refused: (!refused.is_empty())
                .then(|| refused::batch(topic, &refused))
                .transpose()
                .map_err(made)?,
            unknown: Vec::new(),
        })
    }

    fn batch(&self, topic: &str, marks: &[(&Delivered, Mark)]) -> Result<RecordBatch, ArrowError> {
        type Get<'a> = &'a dyn Fn(&Mark) -> Option<&str>;
        let text = |get: Get<'_>| -> ArrayRef {
            let values = marks.iter().map(|(_, it)| get(it));
            Arc::new(values.collect::<StringArray>())
        };
        let moments = marks.iter().map(|(_, it)| it.marked_at.timestamp_micros());
        let mut columns = vec![
            text(&|it| Some(&it.quarantine_id)),
            text(&|it| Some(&it.source)),
            text(&|it| Some(&it.entity)),
            text(&|it| Some(it.action.name())),
            text(&|it| Some(&it.marked_by)),
            text(&|it| it.note.as_deref()),
            text(&|it| Some(&it.trace_id)),
            Arc::new(TimestampMicrosecondArray::from_iter_values(moments).with_timezone("UTC")),
        ];
        let records: Vec<&Delivered> = marks.iter().map(|(record, _)| *record).collect();
        columns.extend(coordinates::columns(topic, &records));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}
