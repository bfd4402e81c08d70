//! Builds the records of a transaction: entity rows, rows set aside, and bookkeeping.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use bus::Record;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use contract::{Entity, PseudonymKey, Violation, header, stand_in};
use serde_json::{Map, Value, json};
use telemetry::Traceparent;

use crate::{Error, Result};

/// What every record of one read carries.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) source: Bytes,
    pub(crate) trace_id: Bytes,
    /// The transaction, as W3C Trace Context writes it.
    traceparent: Bytes,
    pub(crate) at: DateTime<Utc>,
}

impl Stamp {
    pub(crate) fn new(source: &str, trace: Traceparent, at: DateTime<Utc>) -> Self {
        Self {
            source: Bytes::copy_from_slice(source.as_bytes()),
            trace_id: trace.trace_id().into(),
            traceparent: trace.to_string().into(),
            at,
        }
    }

    /// Names the transaction in the records from here on; its trace is that of the read.
    pub(crate) fn name(&mut self, transaction: Traceparent) {
        self.traceparent = transaction.to_string().into();
    }

    fn record(&self, key: Vec<u8>, value: Bytes, origin: &str) -> Record {
        Record {
            key: Some(key.into()),
            value: Some(value),
            headers: vec![
                (header::SOURCE.to_owned(), self.source.clone()),
                (
                    header::ORIGIN.to_owned(),
                    Bytes::copy_from_slice(origin.as_bytes()),
                ),
                (header::TRACE.to_owned(), self.traceparent.clone()),
            ],
            timestamp_ms: self.at.timestamp_millis(),
        }
    }

    fn text(&self, bytes: &Bytes) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// Encodes rows that keep the contract; `origin` names the place of each.
pub(crate) fn entity_records<'a>(
    entity: &Entity,
    batch: &RecordBatch,
    origin: impl Fn(usize) -> &'a str,
    stamp: &Stamp,
) -> Result<Vec<Record>> {
    let values = codec::encode(entity, batch).map_err(|err| Error::Encode {
        source_name: stamp.text(&stamp.source),
        reason: err.to_string(),
    })?;
    Ok(values
        .into_iter()
        .enumerate()
        .map(|(row, value)| stamp.record(entity.key_of(batch, row), value, origin(row)))
        .collect())
}

/// One record of an entity from text values, such as a `watermark`.
pub(crate) fn single(
    entity: &Entity,
    values: &[(&str, String)],
    origin: &str,
    stamp: &Stamp,
) -> Result<Record> {
    let columns = values.iter().map(|(name, value)| {
        let column: ArrayRef = Arc::new(StringArray::from(vec![value.as_str()]));
        (*name, column)
    });
    let wrong = |reason: String| Error::Encode {
        source_name: stamp.text(&stamp.source),
        reason: format!("{}: {reason}", entity.name),
    };
    let row = RecordBatch::try_from_iter(columns).map_err(|err| wrong(err.to_string()))?;
    let coerced = contract::coerce(entity, &row);
    if let Some(violation) = coerced.violations.first() {
        return Err(wrong(violation.message.clone()));
    }
    entity_records(entity, &coerced.batch, |_| origin, stamp)?
        .pop()
        .ok_or_else(|| wrong("no record was made".to_owned()))
}

/// A row set aside, as JSON on the quarantine topic.
pub(crate) struct SetAside<'a> {
    pub(crate) entity: &'a str,
    pub(crate) municipality_code: Option<i32>,
    pub(crate) origin: &'a str,
    pub(crate) raw: String,
    /// All violations of the row; never empty.
    pub(crate) violations: &'a [&'a Violation],
}

impl SetAside<'_> {
    pub(crate) fn into_record(self, stamp: &Stamp) -> Record {
        let first = self.violations.first();
        let reasons: Vec<&str> = self
            .violations
            .iter()
            .map(|it| it.message.as_str())
            .collect();
        let violations = serde_json::to_string(self.violations).ok();
        let value = json!({
            "entity": self.entity,
            "municipality_code": self.municipality_code,
            "field": first.map(|it| it.field.as_str()),
            "rule": first.map(|it| it.rule),
            "value": first.and_then(|it| it.value.as_deref()),
            "reason": reasons.join("; "),
            "violations": violations,
            "origin": self.origin,
            "raw": self.raw,
            "source": stamp.text(&stamp.source),
            "trace_id": stamp.text(&stamp.trace_id),
            "stage": "ingest",
            "quarantined_at": stamp.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        });
        let key = format!("{}/{}", stamp.text(&stamp.source), self.origin);
        stamp.record(key.into_bytes(), value.to_string().into(), self.origin)
    }
}

/// A source row as JSON: CPR numbers replaced by stand-ins, and columns in `secret` never as they are.
pub(crate) fn raw_row(
    rows: &RecordBatch,
    row: usize,
    secret: &BTreeSet<String>,
    key: Option<&PseudonymKey>,
) -> String {
    let mut fields = Map::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let text = column
            .as_string_opt::<i32>()
            .filter(|it| it.is_valid(row))
            .map(|it| it.value(row));
        let value = match text {
            None => Value::Null,
            Some(text) => {
                Value::from(stand_in(text, key, secret.contains(field.name())).into_owned())
            }
        };
        fields.insert(field.name().clone(), value);
    }
    Value::Object(fields).to_string()
}
