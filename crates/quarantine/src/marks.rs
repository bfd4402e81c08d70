//! Marks: those on their way to the table, and making them.

use std::collections::HashSet;

use bus::{Log, Record};
use chrono::Utc;
use contract::{Action, MARK_TOPIC, Mark, header};
use lake::Lake;
use telemetry::Traceparent;

use crate::{Error, Result, Row};

/// Who marks, and why.
#[derive(Debug, Clone)]
pub(crate) struct Marker {
    pub(crate) by: String,
    pub(crate) note: Option<String>,
    pub(crate) trace: Traceparent,
}

impl Marker {
    /// The record that says what was done about `row`.
    pub(crate) fn mark(&self, row: &Row, action: Action) -> Result<Record> {
        let now = Utc::now();
        let mark = Mark {
            quarantine_id: row.quarantine_id.clone(),
            source: row.source.clone(),
            entity: row.entity.clone(),
            action,
            marked_by: contract::scrub(&self.by).into_owned(),
            note: self
                .note
                .as_deref()
                .map(|it| contract::scrub(it).into_owned()),
            trace_id: self.trace.trace_id(),
            marked_at: now,
        };
        let value = serde_json::to_vec(&mark).map_err(|err| Error::Record(err.to_string()))?;
        let text = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
        Ok(Record {
            key: Some(text(&row.quarantine_id)),
            value: Some(value.into()),
            headers: vec![
                (header::SOURCE.to_owned(), text(&row.source)),
                (header::ORIGIN.to_owned(), text(&row.origin)),
                (header::TRACE.to_owned(), text(&self.trace.to_string())),
            ],
            timestamp_ms: now.timestamp_millis(),
        })
    }
}

/// Rows with a mark that is on its way: not in the table yet.
pub(crate) async fn on_the_way(log: &dyn Log, lake: &Lake) -> Result<HashSet<String>> {
    let mut marked = HashSet::new();
    landing::unlanded(log, lake, MARK_TOPIC, |records| {
        for record in records {
            let value = record.record.value.unwrap_or_default();
            // One that cannot be read will be refused when it lands, and marks nothing.
            if let Ok(mark) = serde_json::from_slice::<Mark>(&value) {
                marked.insert(mark.quarantine_id);
            }
        }
        Ok(())
    })
    .await?;
    Ok(marked)
}
