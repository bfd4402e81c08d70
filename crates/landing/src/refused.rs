//! Records that break their contract, as rows of `raw.quarantine`.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    error::ArrowError,
};
use bus::Delivered;
use chrono::Utc;
use contract::{header, quarantine_raw_schema, scrub};
use serde::Deserialize;

use crate::coordinates::{self, header_text, trace_id};

/// The table of refused records.
pub(crate) const QUARANTINE_TABLE: &str = "raw.quarantine";

/// More of a record than this is not shown.
const RAW_BYTES: usize = 64 << 10;

/// What is known of a refused record; the fields are those of [`contract::quarantine_schema`].
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) entity: String,
    pub(crate) municipality_code: Option<i32>,
    pub(crate) field: Option<String>,
    pub(crate) rule: String,
    pub(crate) value: Option<String>,
    pub(crate) reason: String,
    /// Left out by workers of before there was such a field.
    #[serde(default)]
    pub(crate) violations: Option<String>,
    pub(crate) origin: String,
    pub(crate) raw: String,
    pub(crate) source: String,
    pub(crate) trace_id: String,
    pub(crate) stage: String,
    #[serde(deserialize_with = "micros")]
    pub(crate) quarantined_at: i64,
}

impl Refusal {
    /// A record refused here rather than by ingest.
    pub(crate) fn here(entity: &str, record: &Delivered, rule: &str, reason: String) -> Self {
        let header = |name| header_text(record, name).unwrap_or_default().to_owned();
        Self {
            entity: entity.to_owned(),
            municipality_code: None,
            field: None,
            rule: rule.to_owned(),
            value: None,
            reason,
            violations: None,
            origin: header(header::ORIGIN),
            raw: shown(record.record.value.as_deref().unwrap_or_default()),
            source: header(header::SOURCE),
            trace_id: trace_id(record).unwrap_or_default().to_owned(),
            stage: "landing".to_owned(),
            quarantined_at: Utc::now().timestamp_micros(),
        }
    }
}

/// The rows of `raw.quarantine` for `refused`, each with the record it is about.
pub(crate) fn batch(
    topic: &str,
    refused: &[(&Delivered, Refusal)],
) -> Result<RecordBatch, ArrowError> {
    type Get<'a> = &'a dyn Fn(&Refusal) -> Option<&str>;
    let text = |get: Get<'_>| -> ArrayRef {
        let values = refused.iter().map(|(_, it)| get(it).map(scrub));
        Arc::new(values.collect::<StringArray>())
    };
    let codes = refused.iter().map(|(_, it)| it.municipality_code);
    let moments = refused.iter().map(|(_, it)| it.quarantined_at);
    let moments = TimestampMicrosecondArray::from_iter_values(moments).with_timezone("UTC");
    let mut columns = vec![
        text(&|it| Some(&it.entity)),
        Arc::new(codes.collect::<Int32Array>()),
        text(&|it| it.field.as_deref()),
        text(&|it| Some(&it.rule)),
        text(&|it| it.value.as_deref()),
        text(&|it| Some(&it.reason)),
        text(&|it| it.violations.as_deref()),
        text(&|it| Some(&it.origin)),
        text(&|it| Some(&it.raw)),
        text(&|it| Some(&it.source)),
        text(&|it| Some(&it.trace_id)),
        text(&|it| Some(&it.stage)),
        Arc::new(moments),
    ];
    let records: Vec<&Delivered> = refused.iter().map(|(record, _)| *record).collect();
    columns.extend(coordinates::columns(topic, &records));
    RecordBatch::try_new(quarantine_raw_schema(), columns)
}

/// Bytes as text that can be read and told apart: printable ASCII and valid UTF-8 letters as they
/// are, all else as `\xNN`. CPR numbers in it are removed with the rest of the row's texts.
fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().min(RAW_BYTES));
    for chunk in bytes[..bytes.len().min(RAW_BYTES)].utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() && !matches!(char, '\n' | '\t') {
                let _ = write!(out, "\\x{:02x}", u32::from(char));
            } else {
                out.push(char);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if bytes.len() > RAW_BYTES {
        let _ = write!(out, "… ({} bytes)", bytes.len());
    }
    out
}

/// Accepts a moment as RFC 3339 text or as microseconds since 1970.
fn micros<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Moment {
        Micros(i64),
        Text(chrono::DateTime<Utc>),
    }
    Ok(match Moment::deserialize(from)? {
        Moment::Micros(micros) => micros,
        Moment::Text(at) => at.timestamp_micros(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_numbers() {
        assert_eq!(shown("æ {\"a\": 1}".as_bytes()), "æ {\"a\": 1}");
        assert_eq!(shown(&[0xC3, 0x01, b'x', 0, 0xFF]), "\\xc3\\x01x\\x00\\xff");
        let long = shown(&[b'a'; RAW_BYTES + 1]);
        assert!(long.ends_with("a… (65537 bytes)"));
    }
}
