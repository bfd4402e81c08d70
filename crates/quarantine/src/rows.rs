//! Seeing what was set aside: rows, groups of them, and one in full.

use arrow::{
    array::RecordBatch,
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use chrono::{DateTime, Utc};
use contract::QuarantineId;
use datafusion::{
    functions_aggregate::expr_fn::{count, max, min},
    prelude::{DataFrame, ident, lit},
};
use serde::{Deserialize, Serialize};
use warehouse::Warehouse;

use crate::{Error, Filter, Result, State};

const TABLE: &str = "ops.quarantine";

/// A row that was set aside, as `ops.quarantine` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub quarantine_id: String,
    /// `open`, or what was done about it.
    pub state: String,
    /// The entity it was meant for.
    pub entity: String,
    /// Whose it is, where that could be read.
    pub municipality_code: Option<i32>,
    /// The pipeline.
    pub source: String,
    /// The place in the source.
    pub origin: String,
    /// The first field that was wrong.
    pub field: Option<String>,
    /// The rule it broke.
    pub rule: String,
    /// The value, where it may be shown.
    pub value: Option<String>,
    /// What was wrong, in words.
    pub reason: String,
    /// All that was wrong, as JSON.
    pub violations: Option<String>,
    /// What was kept of it.
    pub raw: String,
    /// Who set it aside: `ingest` or `landing`.
    pub stage: String,
    /// The id of the read in the logs.
    pub trace_id: String,
    /// When.
    pub quarantined_at: DateTime<Utc>,
    /// When something was done about it.
    pub marked_at: Option<DateTime<Utc>>,
    /// By whom.
    pub marked_by: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// The id of the retry in the logs, and on the row that landed.
    pub retry_trace_id: Option<String>,
}

impl Row {
    /// Where its record stands.
    pub(crate) fn id(&self) -> Result<QuarantineId> {
        Ok(self.quarantine_id.parse()?)
    }
}

/// Rows alike: of one source, with the same rule broken in the same field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The pipeline.
    pub source: String,
    /// The entity.
    pub entity: String,
    /// The first field that was wrong.
    pub field: Option<String>,
    /// The rule it broke.
    pub rule: String,
    /// How many.
    pub rows: i64,
    /// The first.
    pub first: DateTime<Utc>,
    /// The last.
    pub last: DateTime<Utc>,
}

/// The newest rows that answer to `filter`, and how many there are.
pub async fn list(
    warehouse: &Warehouse,
    filter: &Filter,
    state: State,
    limit: usize,
) -> Result<(Vec<Row>, usize)> {
    let found = matching(warehouse, filter, state).await?;
    let total = found.clone().count().await?;
    let newest = found
        .sort(vec![
            ident("quarantined_at").sort(false, false),
            ident("quarantine_id").sort(true, false),
        ])?
        .limit(0, Some(limit))?;
    let mut rows = Vec::new();
    for batch in newest.collect().await? {
        rows.extend(of(&batch)?);
    }
    Ok((rows, total))
}

/// Rows that answer to `filter`, alike ones together, the most numerous first.
pub async fn groups(warehouse: &Warehouse, filter: &Filter, state: State) -> Result<Vec<Group>> {
    let by = ["source", "entity", "field", "rule"].map(ident).to_vec();
    let at = || ident("quarantined_at");
    let found = matching(warehouse, filter, state).await?.aggregate(
        by,
        vec![
            count(lit(1)).alias("rows"),
            min(at()).alias("first"),
            max(at()).alias("last"),
        ],
    )?;
    let found = found.sort(vec![
        ident("rows").sort(false, false),
        ident("source").sort(true, false),
        ident("field").sort(true, true),
    ])?;
    let mut groups = Vec::new();
    for batch in found.collect().await? {
        let texts = Texts::of(&batch)?;
        let rows = numbers::<Int64Type>(&batch, "rows")?;
        for row in 0..batch.num_rows() {
            groups.push(Group {
                source: texts.required("source", row)?,
                entity: texts.required("entity", row)?,
                field: texts.optional("field", row)?,
                rule: texts.required("rule", row)?,
                rows: rows.value(row),
                first: required(moment(&batch, "first", row)?)?,
                last: required(moment(&batch, "last", row)?)?,
            });
        }
    }
    Ok(groups)
}

/// One row, by name.
///
/// # Errors
/// [`Error::Asked`] where there is none.
pub async fn show(warehouse: &Warehouse, id: &str) -> Result<Row> {
    let filter = Filter {
        ids: vec![id.to_owned()],
        ..Filter::default()
    };
    let (rows, _) = list(warehouse, &filter, State::All, 1).await?;
    let none = || {
        Error::Asked(format!(
            "no row set aside is named `{id}`; see `pejl quarantine list`"
        ))
    };
    rows.into_iter().next().ok_or_else(none)
}

/// The rows that answer to `filter`, as a query.
pub(crate) async fn matching(
    warehouse: &Warehouse,
    filter: &Filter,
    state: State,
) -> Result<DataFrame> {
    let session = warehouse.session().await?;
    let table = session.table(TABLE).await?;
    Ok(table.filter(filter.condition(state)?)?)
}

/// The rows of a batch of `ops.quarantine`.
pub(crate) fn of(batch: &RecordBatch) -> Result<Vec<Row>> {
    let texts = Texts::of(batch)?;
    let codes = numbers::<Int32Type>(batch, "municipality_code")?;
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        rows.push(Row {
            quarantine_id: texts.required("quarantine_id", row)?,
            state: texts.required("state", row)?,
            entity: texts.required("entity", row)?,
            municipality_code: codes.is_valid(row).then(|| codes.value(row)),
            source: texts.required("source", row)?,
            origin: texts.required("origin", row)?,
            field: texts.optional("field", row)?,
            rule: texts.required("rule", row)?,
            value: texts.optional("value", row)?,
            reason: texts.required("reason", row)?,
            violations: texts.optional("violations", row)?,
            raw: texts.required("raw", row)?,
            stage: texts.required("stage", row)?,
            trace_id: texts.required("trace_id", row)?,
            quarantined_at: required(moment(batch, "quarantined_at", row)?)?,
            marked_at: moment(batch, "marked_at", row)?,
            marked_by: texts.optional("marked_by", row)?,
            note: texts.optional("note", row)?,
            retry_trace_id: texts.optional("retry_trace_id", row)?,
        });
    }
    Ok(rows)
}

/// The text columns of a batch, in whichever of Arrow's forms a query gave them.
struct Texts(Vec<(String, StringArray)>);

impl Texts {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let mut columns = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if matches!(
                field.data_type(),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            ) {
                let column = cast(column, &DataType::Utf8).map_err(record)?;
                columns.push((field.name().clone(), column.as_string::<i32>().clone()));
            }
        }
        Ok(Self(columns))
    }

    fn optional(&self, name: &str, row: usize) -> Result<Option<String>> {
        let column = self.0.iter().find(|it| it.0 == name);
        let (_, texts) = column.ok_or_else(|| record(format!("no text column `{name}`")))?;
        Ok(texts.is_valid(row).then(|| texts.value(row).to_owned()))
    }

    fn required(&self, name: &str, row: usize) -> Result<String> {
        Ok(self.optional(name, row)?.unwrap_or_default())
    }
}

fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<T>> {
    let column = batch.column_by_name(name);
    let numbers = column.and_then(|it| it.as_primitive_opt::<T>());
    numbers.ok_or_else(|| record(format!("no column `{name}` of its type")))
}

fn moment(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<DateTime<Utc>>> {
    let moments = numbers::<TimestampMicrosecondType>(batch, name)?;
    let micros = moments.is_valid(row).then(|| moments.value(row));
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}

fn required<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| record("a moment is missing"))
}

fn record(what: impl ToString) -> Error {
    Error::Record(what.to_string())
}
