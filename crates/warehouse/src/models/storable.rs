//! Types that a Delta table stores: what the engine makes in passing is cast to its plain relative.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::{
    common::plan_err,
    error::Result,
    logical_expr::cast,
    prelude::{DataFrame, Expr},
};

/// The same rows, each column in a type that tables store.
///
/// Whole numbers become `Int32` or `Int64`, fractions `Float64`, texts `Utf8`, moments microseconds in UTC.
///
/// # Errors
/// A column whose type nothing tells, such as `null as x`.
pub fn storable(rows: DataFrame) -> Result<DataFrame> {
    let columns = rows
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::from((qualifier, field));
            match stored_as(field.data_type()) {
                None => plan_err!(
                    "column `{}` is {}; cast it to a type that tables store",
                    field.name(),
                    field.data_type()
                ),
                Some(stored) if &stored == field.data_type() => Ok(column),
                Some(stored) => Ok(cast(column, stored).alias(field.name())),
            }
        })
        .collect::<Result<Vec<Expr>>>()?;
    rows.select(columns)
}

/// The SQL name of a type that tables store, for people; of any other what the engine calls it.
pub fn type_name(stored: &DataType) -> String {
    let name = match stored {
        DataType::Boolean => "boolean",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Utf8 => "text",
        DataType::Date32 => "date",
        DataType::Binary => "bytes",
        DataType::Timestamp(_, _) => "timestamp",
        DataType::Decimal128(precision, scale) => return format!("decimal({precision},{scale})"),
        DataType::List(item) => return format!("{}[]", type_name(item.data_type())),
        other => return other.to_string(),
    };
    name.to_owned()
}

fn stored_as(given: &DataType) -> Option<DataType> {
    Some(match given {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float64
        | DataType::Utf8
        | DataType::Date32
        | DataType::Binary => given.clone(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Decimal256(precision, scale) if *precision <= 38 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, value) => stored_as(value)?,
        DataType::List(item) | DataType::LargeList(item) => {
            let stored = stored_as(item.data_type())?;
            let item = Field::new(item.name(), stored, item.is_nullable());
            DataType::List(Arc::new(item))
        }
        _ => return None,
    })
}
