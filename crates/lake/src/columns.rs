//! Column types: what Delta can hold, and how a table gains columns.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    util::display::FormatOptions,
};
use deltalake::kernel::{StructField, StructType, engine::arrow_conversion::TryIntoKernel};

use crate::{Error, Result};

/// The columns as a table stores them: Delta has no unsigned numbers, no string views, one kind of
/// timestamp without raising the table's protocol, and everything is nullable so that a table can gain columns.
pub(crate) fn stored(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), stored_type(field.data_type()), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Gives `batch` the columns of `schema`, which came from [`stored`], by position.
pub(crate) fn cast_to(table: &str, schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (have, want) = (batch.num_columns(), schema.fields().len());
        return Err(Error::rows(
            table,
            format!("{have} columns instead of {want}"),
        ));
    }
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| cast_column(table, field, column))
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|err| Error::rows(table, err))
}

/// The schema as Delta writes it down.
pub(crate) fn to_delta(table: &str, schema: &Schema) -> Result<StructType> {
    schema
        .try_into_kernel()
        .map_err(|err| Error::rows(table, err))
}

/// `present` with the columns of `wanted` it lacks behind its own; `None` when it lacks none.
pub(crate) fn widened(
    table: &str,
    present: &StructType,
    wanted: &StructType,
) -> Result<Option<StructType>> {
    let mut added: Vec<StructField> = Vec::new();
    for field in wanted.fields() {
        match present.field(field.name()) {
            None => added.push(field.clone()),
            Some(known) if known.data_type() == field.data_type() => {}
            Some(known) => {
                return Err(Error::Schema {
                    table: table.to_owned(),
                    column: field.name().clone(),
                    found: known.data_type().to_string(),
                    wanted: field.data_type().to_string(),
                });
            }
        }
    }
    if added.is_empty() {
        return Ok(None);
    }
    StructType::try_new(present.fields().cloned().chain(added))
        .map(Some)
        .map_err(|err| Error::rows(table, err))
}

fn cast_column(table: &str, field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    // A number too large for its column is an error, not a null.
    let options = CastOptions {
        safe: false,
        format_options: FormatOptions::default(),
    };
    cast_with_options(column, field.data_type(), &options)
        .map_err(|err| Error::rows(table, format!("column `{}`: {err}", field.name())))
}

fn stored_type(data_type: &DataType) -> DataType {
    let element =
        |field: &Arc<Field>| Arc::new(Field::new("element", stored_type(field.data_type()), true));
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Dictionary(_, values) => stored_type(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::FixedSizeList(field, _) => DataType::List(element(field)),
        DataType::Struct(fields) => {
            let inner = fields
                .iter()
                .map(|field| Field::new(field.name(), stored_type(field.data_type()), true));
            DataType::Struct(inner.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use arrow::array::{AsArray, StringViewArray, UInt64Array};

    use super::*;

    #[test]
    fn types_delta_lacks_are_stored_as_ones_it_has() {
        let schema = Schema::new(vec![
            Field::new("n", DataType::UInt64, false),
            Field::new("s", DataType::Utf8View, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        ]);
        let stored = stored(&schema);
        let types: Vec<_> = stored
            .fields()
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(types, [DataType::Int64, DataType::Utf8, utc]);
        assert!(stored.fields().iter().all(|field| field.is_nullable()));
    }

    #[test]
    fn a_number_too_large_is_refused_instead_of_becoming_null() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::UInt64, true),
            Field::new("s", DataType::Utf8View, true),
        ]));
        let row = |n: u64| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(UInt64Array::from(vec![n])),
                Arc::new(StringViewArray::from(vec!["x"])),
            ];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let stored = stored(&schema);
        let fits = cast_to("t", &stored, &row(7)).unwrap();
        assert_eq!(fits.column(1).as_string::<i32>().value(0), "x");
        assert!(cast_to("t", &stored, &row(u64::MAX)).is_err());
    }

    #[test]
    fn a_table_gains_columns_and_keeps_its_types() {
        let delta = |fields: Vec<Field>| to_delta("t", &stored(&Schema::new(fields))).unwrap();
        let a = Field::new("a", DataType::Int32, true);
        let b = Field::new("b", DataType::Utf8, true);
        let narrow = delta(vec![a.clone()]);
        let wide = delta(vec![b.clone(), a.clone()]);
        let names = |schema: &StructType| -> Vec<String> {
            schema.fields().map(|field| field.name().clone()).collect()
        };

        assert!(widened("t", &wide, &narrow).unwrap().is_none());
        assert_eq!(
            names(&widened("t", &narrow, &wide).unwrap().unwrap()),
            ["a", "b"]
        );

        let other = delta(vec![Field::new("a", DataType::Utf8, true)]);
        let refused = widened("t", &narrow, &other).unwrap_err().to_string();
        assert!(
            refused.contains("`a` is integer in the table and string"),
            "{refused}"
        );
    }
}
