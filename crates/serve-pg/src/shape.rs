//! The shape of a result: names and PostgreSQL types of its columns, and the Arrow types its batches are brought to.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions as ArrowFormat};
use datafusion_postgres::arrow_pg::datatypes::{PG_OID_ALIAS_KEY, field_into_pg_type};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;

use crate::sqlstate;

/// The columns of a result.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    columns: Vec<Column>,
    schema: SchemaRef,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Type,
    modifier: i32,
}

impl Shape {
    /// The shape of a plan's result. `zone` is the session's time zone, in which moments are shown.
    pub(crate) fn of(schema: &Schema, names: &[Option<String>], zone: &str) -> PgWireResult<Shape> {
        let mut columns = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            let served = served(field.data_type(), zone);
            let mut metadata = field.metadata().clone();
            if served != DataType::Int32 {
                // A cast to text keeps the mark of an oid, which it no longer is.
                metadata.remove(PG_OID_ALIAS_KEY);
            }
            let served = Arc::new(Field::new(field.name(), served, true).with_metadata(metadata));
            let (kind, served) = match field_into_pg_type(&served) {
                Ok(kind) if kind != Type::UNKNOWN => (kind, served),
                _ => (
                    Type::TEXT,
                    Arc::new(Field::new(field.name(), DataType::Utf8, true)),
                ),
            };
            let name = names
                .get(at)
                .cloned()
                .flatten()
                .unwrap_or_else(|| unaliased(field.name()));
            columns.push(Column {
                name,
                kind,
                modifier: modifier(field.data_type()),
            });
            fields.push(served);
        }
        Ok(Shape {
            columns,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// A shape of text columns.
    pub(crate) fn texts(names: &[&str]) -> Shape {
        let columns = names
            .iter()
            .map(|name| Column {
                name: (*name).to_owned(),
                kind: Type::TEXT,
                modifier: -1,
            })
            .collect();
        let fields = names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect::<Vec<_>>();
        Shape {
            columns,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.columns
            .iter()
            .map(|column| column.name.clone())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// What a client is told about the columns.
    pub(crate) fn fields(
        &self,
        format: &Format,
        options: &Arc<FormatOptions>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        if let Format::Individual(formats) = format
            && formats.len() != self.columns.len()
        {
            let message = format!(
                "bind message has {} result formats but query has {} columns",
                formats.len(),
                self.columns.len()
            );
            return Err(sqlstate::error("08P01", message));
        }
        let fields = self.columns.iter().enumerate().map(|(at, column)| {
            FieldInfo::new(
                column.name.clone(),
                None,
                None,
                column.kind.clone(),
                format.format_for(at),
            )
            .with_format_options(Arc::clone(options))
            .with_type_size(size(&column.kind))
            .with_type_modifier(column.modifier)
        });
        Ok(fields.collect())
    }

    /// Brings a batch to this shape; what was described is what is sent, even when a parameter's value changed a type.
    pub(crate) fn fit(&self, batch: &RecordBatch) -> PgWireResult<RecordBatch> {
        if batch.num_columns() != self.columns.len() {
            return Err(sqlstate::error(
                "0A000",
                "cached plan must not change result type; prepare it again",
            ));
        }
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns
            .map(|(column, field)| bring(column, field.data_type()))
            .collect::<PgWireResult<Vec<_>>>()?;
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|cause| sqlstate::error("XX000", cause.to_string()))
    }

    /// Whether all columns are sent in text form under `format`.
    pub(crate) fn is_text(format: &Format, at: usize) -> bool {
        format.format_for(at) == FieldFormat::Text
    }
}

/// The type in which a column is served.
fn served(kind: &DataType, zone: &str) -> DataType {
    let item =
        |field: &FieldRef| Arc::new(Field::new("item", served(field.data_type(), zone), true));
    match kind {
        DataType::Null => DataType::Utf8,
        // Ranks and row numbers are unsigned in DataFusion and bigint in PostgreSQL.
        DataType::UInt64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt8 | DataType::Int8 => DataType::Int16,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
        }
        DataType::Dictionary(_, value) => served(value, zone),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => DataType::List(item(field)),
        other => other.clone(),
    }
}

fn bring(column: &ArrayRef, kind: &DataType) -> PgWireResult<ArrayRef> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    if can_cast_types(column.data_type(), kind) {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        return cast_with_options(column, kind, &options)
            .map_err(|cause| sqlstate::from_datafusion(&cause.into()));
    }
    if *kind != DataType::Utf8 {
        return Err(sqlstate::error(
            "0A000",
            format!("cannot send a {} as {kind}", column.data_type()),
        ));
    }
    let shown = ArrowFormat::default();
    let formatter = ArrayFormatter::try_new(column, &shown)
        .map_err(|cause| sqlstate::from_datafusion(&cause.into()))?;
    let mut texts = StringBuilder::new();
    for row in 0..column.len() {
        texts.append_option((!column.is_null(row)).then(|| formatter.value(row).to_string()));
    }
    Ok(Arc::new(texts.finish()))
}

/// Aliases that rewrites put on columns are nobody's business.
fn unaliased(name: &str) -> String {
    name.strip_prefix("__alias_").unwrap_or(name).to_owned()
}

/// `atttypmod` of numeric(p, s): precision and scale, packed, plus four.
pub(crate) fn modifier(kind: &DataType) -> i32 {
    match kind {
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            ((i32::from(*precision) << 16) | i32::from(*scale)) + 4
        }
        _ => -1,
    }
}

/// `typlen`: bytes of a value, or -1 when they vary.
pub(crate) fn size(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4
        | Type::FLOAT4
        | Type::DATE
        | Type::OID
        | Type::REGCLASS
        | Type::REGTYPE
        | Type::REGNAMESPACE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use arrow::array::{NullArray, UInt64Array};

    #[test]
    fn nothing_is_ever_of_unknown_type() {
        let schema = Schema::new(vec![
            Field::new("nothing", DataType::Null, true),
            Field::new("rank", DataType::UInt64, false),
            Field::new("sum", DataType::Decimal256(60, 2), true),
            Field::new("view", DataType::Utf8View, true),
        ]);
        let shape = Shape::of(&schema, &[], "UTC").unwrap();
        let options = Arc::new(FormatOptions::default());
        let kinds: Vec<u32> = shape
            .fields(&Format::UnifiedText, &options)
            .unwrap()
            .iter()
            .map(|f| f.datatype().oid())
            .collect();
        assert_eq!(kinds, [25, 20, 1700, 25]);
    }

    #[test]
    fn batches_are_brought_to_the_shape() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("nothing", DataType::Null, true),
            Field::new("rank", DataType::UInt64, false),
        ]));
        let shape = Shape::of(&schema, &[], "UTC").unwrap();
        let batch = RecordBatch::try_new(
            schema,
            vec![
                Arc::new(NullArray::new(2)),
                Arc::new(UInt64Array::from(vec![1, 2])),
            ],
        )
        .unwrap();
        let fitted = shape.fit(&batch).unwrap();
        assert_eq!(fitted.column(0).null_count(), 2);
        assert_eq!(fitted.column(1).data_type(), &DataType::Int64);
    }
}
