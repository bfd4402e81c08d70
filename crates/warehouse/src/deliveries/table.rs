//! Rows of `core.delivery_coverage` in, rows of `ops.delivery_calendar` out, as record batches.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{
        DataType, Date32Type, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
        TimestampMicrosecondType,
    },
};
use chrono::{DateTime, NaiveDate};
use datafusion::{
    common::exec_datafusion_err,
    error::Result,
    prelude::{DataFrame, ident},
};

use super::{Coverage, Owed};

/// The columns of `ops.delivery_calendar`.
pub(crate) fn schema() -> SchemaRef {
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [
        ("obligation", DataType::Utf8, false),
        ("municipality_code", DataType::Int32, false),
        ("sender", DataType::Utf8, false),
        ("entity", DataType::Utf8, false),
        ("period", DataType::Utf8, false),
        ("first_day", DataType::Date32, false),
        ("last_day", DataType::Date32, false),
        ("due", DataType::Date32, false),
        ("status", DataType::Utf8, false),
        ("received_at", moment, true),
        ("days_late", DataType::Int64, true),
        ("covered_through", DataType::Date32, true),
        ("rows", DataType::Int64, true),
        ("source", DataType::Utf8, true),
        ("contact", DataType::Utf8, false),
    ];
    let fields = columns.map(|(name, kind, nullable)| Field::new(name, kind, nullable));
    Arc::new(Schema::new(fields.to_vec()))
}

/// The calendar as `ops.delivery_calendar` has it.
///
/// # Errors
/// None that its caller could cause.
pub fn batch(owed: &[Owed]) -> Result<RecordBatch> {
    let texts = |of: fn(&Owed) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(owed.iter().map(of)))
    };
    let dates = |of: fn(&Owed) -> Option<NaiveDate>| -> ArrayRef {
        let days = owed
            .iter()
            .map(|it| of(it).map(Date32Type::from_naive_date));
        Arc::new(days.collect::<Date32Array>())
    };
    let numbers = |of: fn(&Owed) -> Option<i64>| -> ArrayRef {
        Arc::new(owed.iter().map(of).collect::<Int64Array>())
    };
    let moments: TimestampMicrosecondArray = owed
        .iter()
        .map(|it| it.received_at.map(|it| it.timestamp_micros()))
        .collect();
    let municipalities = Int32Array::from_iter_values(owed.iter().map(|it| it.municipality_code));
    let sources: StringArray = owed.iter().map(|it| it.source.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        texts(|it| it.obligation.clone()),
        Arc::new(municipalities),
        texts(|it| it.sender.clone()),
        texts(|it| it.entity.clone()),
        texts(|it| it.period.to_string()),
        dates(|it| Some(it.period.first_day())),
        dates(|it| Some(it.period.last_day())),
        dates(|it| Some(it.due)),
        texts(|it| it.status.as_str().to_owned()),
        Arc::new(moments.with_timezone("UTC")),
        numbers(|it| it.days_late),
        dates(|it| it.covered_through),
        numbers(|it| it.rows),
        Arc::new(sources),
        texts(|it| it.contact.clone()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// What has come, from the rows of `core.delivery_coverage`.
pub(crate) async fn coverage(rows: DataFrame) -> Result<Vec<Coverage>> {
    let columns = [
        "municipality_code",
        "entity",
        "proof",
        "source",
        "file_name",
        "first_day",
        "last_day",
        "received_at",
        "row_count",
        "refused",
    ];
    let batches = rows.select(columns.map(ident).to_vec())?.collect().await?;
    let mut came = Vec::new();
    for batch in &batches {
        let read = Columns(batch);
        for row in 0..batch.num_rows() {
            let day = |column| {
                let day = read.valid(column, row)?.as_primitive_opt::<Date32Type>()?;
                day.value_as_date(row)
            };
            let text = |column| {
                let text = read.valid(column, row)?.as_string_opt::<i32>()?;
                Some(text.value(row).to_owned())
            };
            let one = || {
                let municipality = read.valid(0, row)?.as_primitive_opt::<Int32Type>()?;
                let moment = read
                    .valid(7, row)?
                    .as_primitive_opt::<TimestampMicrosecondType>()?;
                let count = read
                    .valid(8, row)
                    .and_then(|it| it.as_primitive_opt::<Int64Type>());
                let refused: Option<&BooleanArray> =
                    read.valid(9, row).and_then(|it| it.as_boolean_opt());
                Some(Coverage {
                    municipality_code: municipality.value(row),
                    entity: text(1)?,
                    proof: text(2)?,
                    source: text(3)?,
                    file_name: text(4),
                    first_day: day(5),
                    last_day: day(6),
                    received_at: DateTime::from_timestamp_micros(moment.value(row))?,
                    row_count: count.map(|it| it.value(row)),
                    refused: refused.is_some_and(|it| it.value(row)),
                })
            };
            came.push(one().ok_or_else(|| {
                exec_datafusion_err!(
                    "{} has other columns than this Pejl reads; build it anew with `pejl build`",
                    super::COVERAGE
                )
            })?);
        }
    }
    Ok(came)
}

struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    /// The column, where it holds a value in the row.
    fn valid(&self, column: usize, row: usize) -> Option<&ArrayRef> {
        Some(self.0.column(column)).filter(|it| it.is_valid(row))
    }
}
