//! Where records go that break their contract.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::{Kind, coordinates::with_coordinates};

/// The topic of refused records: one JSON object a record, with the fields of [`quarantine_schema`].
pub const QUARANTINE_TOPIC: &str = "pejl.quarantine";

/// What is kept of a refused record.
///
/// | field | holds |
/// |---|---|
/// | `entity` | the entity it was meant for |
/// | `municipality_code` | whose it is, where that could be read |
/// | `field`, `rule`, `value` | what broke which rule; the value masked and short |
/// | `reason` | a sentence for whoever made the record |
/// | `origin` | the place in the source: `file.csv:17`, `page 3 record 4` |
/// | `raw` | the row as JSON text, CPR numbers removed |
/// | `source`, `trace_id` | the pipeline, and the id in the logs |
/// | `stage` | `ingest` or `landing` |
/// | `quarantined_at` | when, UTC |
pub fn quarantine_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let required = |name| Field::new(name, DataType::Utf8, false);
        let optional = |name| Field::new(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            required("entity"),
            Field::new("municipality_code", DataType::Int32, true),
            optional("field"),
            required("rule"),
            optional("value"),
            required("reason"),
            required("origin"),
            required("raw"),
            required("source"),
            required("trace_id"),
            required("stage"),
            Field::new("quarantined_at", Kind::Timestamp.arrow_type(), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `raw.quarantine`: those of [`quarantine_schema`], all nullable, then the coordinates.
pub fn quarantine_raw_schema() -> SchemaRef {
    with_coordinates(&quarantine_schema())
}
