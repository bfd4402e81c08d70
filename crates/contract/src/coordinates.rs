//! The columns and headers that tell where a record came from.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::{Entity, Kind};

/// Column with the topic.
pub const TOPIC: &str = "_topic";
/// Column with the partition of the topic, from 0.
pub const PARTITION: &str = "_partition";
/// Column with the offset in the partition.
pub const OFFSET: &str = "_offset";
/// Column with the record's timestamp.
pub const TIMESTAMP: &str = "_timestamp";
/// Column with the pipeline that sent the record.
pub const SOURCE: &str = "_source";
/// Column with the place in the source: `file.csv:17`, `page 3 record 4`.
pub const SOURCE_POSITION: &str = "_source_position";
/// Column with the id that follows the record through the logs.
pub const TRACE_ID: &str = "_trace_id";
/// Column that is true where the record is a deletion; then only the key columns are filled.
pub const DELETED: &str = "_deleted";

/// Every coordinate with what it holds, for readers of landed tables.
pub const COORDINATE_DOCS: [(&str, &str); 8] = [
    (TOPIC, "The topic it came on."),
    (PARTITION, "The partition of the topic, from 0."),
    (OFFSET, "The offset in the partition."),
    (TIMESTAMP, "When it was sent, UTC."),
    (SOURCE, "The pipeline that sent it."),
    (
        SOURCE_POSITION,
        "The place in the source, such as file.csv:17 or page 3 record 4.",
    ),
    (TRACE_ID, "The trace of the transaction that sent it."),
    (
        DELETED,
        "Whether it is a deletion; then only the key is filled.",
    ),
];

/// Names of the headers a record carries on its topic; values are UTF-8.
pub mod header {
    /// The pipeline that sent it; lands as `_source`.
    pub const SOURCE: &str = "pejl-source";
    /// The place in the source; lands as `_source_position`.
    pub const ORIGIN: &str = "pejl-origin";
    /// The transaction that sent it, as W3C Trace Context writes it; its trace id lands as `_trace_id`.
    pub const TRACE: &str = "traceparent";
}

/// The columns of `raw.<entity>`: the entity's, all nullable since a deletion holds only its key, then the coordinates.
pub fn raw_schema(entity: &Entity) -> SchemaRef {
    with_coordinates(&entity.arrow_schema())
}

/// The columns of `schema`, made nullable, and the coordinates behind them.
pub(crate) fn with_coordinates(schema: &Schema) -> SchemaRef {
    let columns = schema.fields().iter();
    let mut columns: Vec<Field> = columns
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    columns.extend([
        Field::new(TOPIC, DataType::Utf8, false),
        Field::new(PARTITION, DataType::Int32, false),
        Field::new(OFFSET, DataType::Int64, false),
        Field::new(TIMESTAMP, Kind::Timestamp.arrow_type(), false),
        Field::new(SOURCE, DataType::Utf8, true),
        Field::new(SOURCE_POSITION, DataType::Utf8, true),
        Field::new(TRACE_ID, DataType::Utf8, true),
        Field::new(DELETED, DataType::Boolean, false),
    ]);
    Arc::new(Schema::new(columns))
}
