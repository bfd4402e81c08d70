//! The columns that say where a row came from.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use bus::Delivered;
use contract::header;
use telemetry::trace_id_in;

/// The coordinate columns of `records`, in the order of [`contract::raw_schema`].
pub(crate) fn columns(topic: &str, records: &[&Delivered]) -> Vec<ArrayRef> {
    let each = || records.iter();
    let text = |name| -> ArrayRef {
        Arc::new(
            each()
                .map(|it| header_text(it, name))
                .collect::<StringArray>(),
        )
    };
    vec![
        Arc::new(StringArray::from_iter_values(each().map(|_| topic))),
        Arc::new(Int32Array::from_iter_values(each().map(|it| it.partition))),
        Arc::new(Int64Array::from_iter_values(each().map(|it| it.offset))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                each().map(|it| it.record.timestamp_ms.saturating_mul(1000)),
            )
            .with_timezone("UTC"),
        ),
        text(header::SOURCE),
        text(header::ORIGIN),
        Arc::new(each().map(|it| trace_id(it)).collect::<StringArray>()),
        Arc::new(
            each()
                .map(|it| Some(it.record.value.is_none()))
                .collect::<BooleanArray>(),
        ),
    ]
}

/// The trace a record belongs to, if its header names one.
pub(crate) fn trace_id(record: &Delivered) -> Option<&str> {
    header_text(record, header::TRACE).map(trace_id_in)
}

/// The value of a header, if it is there and text.
pub(crate) fn header_text<'a>(record: &'a Delivered, name: &str) -> Option<&'a str> {
    let headers = &record.record.headers;
    let (_, value) = headers.iter().find(|(header, _)| header == name)?;
    std::str::from_utf8(value).ok()
}
