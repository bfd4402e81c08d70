//! From a source's columns to an entity's: the pipeline's SQL expressions, evaluated per batch.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray, UInt64Array,
        new_null_array,
    },
    compute::{concat, filter_record_batch, take_record_batch},
    datatypes::{DataType, Field, Schema, SchemaBuilder, SchemaRef},
};
use chrono::Utc;
use connector_api::Batch;
use contract::{Coerced, Pii, PseudonymKey, Violation};
use datafusion::{
    common::{Column, DFSchema},
    error::DataFusionError,
    logical_expr::{ColumnarValue, Expr},
    physical_expr::PhysicalExpr,
    prelude::{SessionConfig, SessionContext},
};
use spec::Pipeline;

use crate::{Error, Result, functions};

/// Source columns every mapping may use beside the source's own: when the row was read (UTC,
/// RFC 3339), and where it came from.
pub(crate) const READ_AT: &str = "_read_at";
const ORIGIN: &str = "_origin";

/// The compiled `select` of one pipeline.
pub(crate) struct Mapping {
    ctx: SessionContext,
    pipeline: Pipeline,
    compiled: Option<Compiled>,
    missing: BTreeSet<String>,
}

/// Expressions bound to one shape of source rows.
struct Compiled {
    source: SchemaRef,
    padded: SchemaRef,
    columns: Vec<(String, Arc<dyn PhysicalExpr>)>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    secret: BTreeSet<String>,
}

/// A mapped batch.
pub(crate) struct Mapped {
    /// Rows that keep the contract, and the violations of those that do not. Row numbers are those
    /// of the source batch.
    pub(crate) coerced: Coerced,
    /// Rows passed over by `where`.
    pub(crate) filtered: u64,
    /// Source columns that hold CPR numbers.
    pub(crate) secret: BTreeSet<String>,
}

impl Mapping {
    pub(crate) fn new(pipeline: &Pipeline, key: Option<&PseudonymKey>) -> Result<Self> {
        Self::over(pipeline, key, false)
    }

    /// For rows that were set aside, with stand-ins in the place of CPR numbers.
    pub(crate) fn of_set_aside(pipeline: &Pipeline, key: Option<&PseudonymKey>) -> Result<Self> {
        Self::over(pipeline, key, true)
    }

    fn over(pipeline: &Pipeline, key: Option<&PseudonymKey>, set_aside: bool) -> Result<Self> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        // Source systems mix cases; a column is named as the source names it, quoted or not.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let ctx = SessionContext::new_with_config(config);
        functions::register(&ctx, key, set_aside);
        let wants_key = pipeline
            .select
            .values()
            .any(|sql| sql.contains(functions::PSEUDONYM));
        if wants_key && key.is_none() {
            return Err(Error::Settings(format!(
                "{}: pseudonym() needs a key; set PEJL_PSEUDONYM_KEY (at least 32 bytes) in the worker's environment",
                pipeline.name
            )));
        }
        Ok(Self {
            ctx,
            pipeline: pipeline.clone(),
            compiled: None,
            missing: BTreeSet::new(),
        })
    }

    /// Columns that expressions name and the source has not sent so far; they were read as null.
    pub(crate) fn missing(&self) -> &BTreeSet<String> {
        &self.missing
    }

    /// Maps one batch. A row whose expression fails becomes a violation; the others go on.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Result<Mapped> {
        // A file that is empty, or could not be read: nothing is known of its columns, so none is missing.
        if batch.rows.num_columns() == 0 && batch.rows.num_rows() == 0 {
            return Ok(Mapped {
                coerced: contract::coerce(self.pipeline.entity, &batch.rows),
                filtered: 0,
                secret: BTreeSet::new(),
            });
        }
        let rows = with_origin(&batch.rows, &batch.origins)?;
        if self
            .compiled
            .as_ref()
            .is_none_or(|it| it.source != rows.schema())
        {
            let compiled = self.compile(&rows.schema())?;
            self.compiled = Some(compiled);
        }
        let Some(compiled) = &self.compiled else {
            return Err(internal("the mapping was not compiled"));
        };
        let padded = pad(&rows, &compiled.padded)?;
        let (kept, kept_rows) = match &compiled.filter {
            None => (padded, None),
            Some(filter) => keep(filter, &padded, &self.pipeline)?,
        };
        let filtered = (rows.num_rows() - kept.num_rows()) as u64;
        let (mapped, sources, mut failures) = self.evaluate(compiled, &kept)?;
        let scrubbed = self.scrub(&self.with_municipality(&mapped)?)?;
        let mut coerced = contract::coerce(self.pipeline.entity, &scrubbed);
        let to_source = |row: usize| {
            let row = sources.as_ref().map_or(row, |it| it[row]);
            kept_rows.as_ref().map_or(row, |it| it[row])
        };
        for row in &mut coerced.rows {
            *row = to_source(*row);
        }
        for violation in &mut coerced.violations {
            violation.row = to_source(violation.row);
            self.explain_missing_cpr(violation);
        }
        for failure in &mut failures {
            failure.row = kept_rows.as_ref().map_or(failure.row, |it| it[failure.row]);
        }
        coerced.violations.append(&mut failures);
        Ok(Mapped {
            coerced,
            filtered,
            secret: compiled.secret.clone(),
        })
    }

    fn compile(&mut self, source: &SchemaRef) -> Result<Compiled> {
        let mut padded = source.as_ref().clone();
        // A column the source leaves out is added as null and remembered; each turn adds one.
        loop {
            match self.compile_against(source, &padded) {
                Ok(compiled) => return Ok(compiled),
                Err(Failure::NoColumn(name)) if padded.index_of(&name).is_err() => {
                    self.missing.insert(name.clone());
                    padded = with_field(&padded, &name, DataType::Utf8);
                }
                Err(Failure::NoColumn(name)) => {
                    return Err(self.mistake(&format!("column `{name}` cannot be resolved")));
                }
                Err(Failure::Wrong { column, message }) => {
                    return Err(self.mistake(&format!("{column}: {message}")));
                }
            }
        }
    }

    fn compile_against(&self, source: &SchemaRef, padded: &Schema) -> Result<Compiled, Failure> {
        let schema =
            DFSchema::try_from(padded.clone()).map_err(|err| Failure::of("columns", err))?;
        let mut columns = Vec::new();
        let mut secret = BTreeSet::new();
        for field in &self.pipeline.entity.fields {
            let expr = match self.pipeline.select.get(&field.name) {
                Some(sql) => self
                    .ctx
                    .parse_sql_expr(sql, &schema)
                    .map_err(|err| Failure::of(&field.name, err))?,
                None if padded.index_of(&field.name).is_ok() => {
                    Expr::Column(Column::from_name(&field.name))
                }
                None => continue,
            };
            if field.pii == Pii::Pseudonym && self.pipeline.select.contains_key(&field.name) {
                secret.extend(expr.column_refs().iter().map(|it| it.name.clone()));
            }
            let expr = self
                .ctx
                .create_physical_expr(expr, &schema)
                .map_err(|err| Failure::of(&field.name, err))?;
            columns.push((field.name.clone(), expr));
        }
        let filter = match &self.pipeline.filter {
            None => None,
            Some(sql) => Some(
                self.ctx
                    .parse_sql_expr(sql, &schema)
                    .and_then(|expr| self.ctx.create_physical_expr(expr, &schema))
                    .map_err(|err| Failure::of("where", err))?,
            ),
        };
        Ok(Compiled {
            source: Arc::clone(source),
            padded: Arc::new(padded.clone()),
            columns,
            filter,
            secret,
        })
    }

    /// All columns over all rows; where that fails, row by row, so that one bad row stays alone.
    fn evaluate(
        &self,
        compiled: &Compiled,
        rows: &RecordBatch,
    ) -> Result<(RecordBatch, Option<Vec<usize>>, Vec<Violation>)> {
        if let Ok(batch) = project(&compiled.columns, rows) {
            return Ok((batch, None, Vec::new()));
        }
        let mut good = Vec::new();
        let mut sources = Vec::new();
        let mut failures = Vec::new();
        for row in 0..rows.num_rows() {
            match project(&compiled.columns, &rows.slice(row, 1)) {
                Ok(batch) => {
                    good.push(batch);
                    sources.push(row);
                }
                Err((field, err)) => failures.push(self.failure(row, field, &err)),
            }
        }
        let batch = match good.first() {
            None => project(&compiled.columns, &rows.slice(0, 0))
                .map_err(|(field, err)| self.mistake(&format!("{field}: {}", plain(&err))))?,
            Some(first) => concat_by_column(&first.schema(), &good)?,
        };
        Ok((batch, Some(sources), failures))
    }

    /// The engine quotes values; where they may not be shown, neither is what it says.
    fn failure(&self, row: usize, field: String, err: &DataFusionError) -> Violation {
        let personal = self
            .pipeline
            .entity
            .field(&field)
            .is_none_or(|it| matches!(it.pii, Pii::Pseudonym | Pii::FreeText));
        let sql = self.pipeline.select.get(&field).map_or("", String::as_str);
        let said = if personal {
            "(what it says is not shown: it may hold personal data)".into()
        } else {
            contract::scrub(&plain(err)).into_owned()
        };
        Violation {
            row,
            message: format!("{field}: `{sql}` cannot be computed from this row: {said}"),
            field,
            rule: "mapping",
            value: None,
        }
    }

    fn with_municipality(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        const COLUMN: &str = "municipality_code";
        let Some(code) = self.pipeline.municipality_code else {
            return Ok(batch.clone());
        };
        if batch.schema().index_of(COLUMN).is_ok() {
            return Ok(batch.clone());
        }
        let codes = Int32Array::from(vec![code; batch.num_rows()]);
        append(batch, COLUMN, Arc::new(codes))
    }

    /// Free text may hold a CPR number that a caseworker typed; it is blotted out here, before
    /// anything leaves the worker.
    fn scrub(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        for (index, field) in batch.schema().fields().iter().enumerate() {
            let free_text = self
                .pipeline
                .entity
                .field(field.name())
                .is_some_and(|it| it.pii == Pii::FreeText);
            if free_text && field.data_type() == &DataType::Utf8 {
                let text = columns[index].as_string::<i32>();
                let clean: StringArray = text.iter().map(|it| it.map(contract::scrub)).collect();
                columns[index] = Arc::new(clean);
            }
        }
        RecordBatch::try_new(batch.schema(), columns).map_err(|err| internal(&err.to_string()))
    }

    fn explain_missing_cpr(&self, violation: &mut Violation) {
        let from_cpr = self
            .pipeline
            .select
            .get(&violation.field)
            .is_some_and(|sql| sql.contains(functions::PSEUDONYM));
        if from_cpr && violation.value.is_none() {
            violation.message = format!(
                "{}: the CPR number is missing or is not one (ten digits, with or without a hyphen)",
                violation.field
            );
        }
    }

    fn mistake(&self, message: &str) -> Error {
        Error::Settings(format!("{}: select: {message}", self.pipeline.name))
    }
}

enum Failure {
    NoColumn(String),
    Wrong { column: String, message: String },
}

impl Failure {
    fn of(column: &str, err: DataFusionError) -> Self {
        if let DataFusionError::SchemaError(schema, _) = err.find_root()
            && let datafusion::common::SchemaError::FieldNotFound { field, .. } = schema.as_ref()
        {
            return Self::NoColumn(field.name.clone());
        }
        Self::Wrong {
            column: column.to_owned(),
            message: plain(&err),
        }
    }
}

fn project(
    columns: &[(String, Arc<dyn PhysicalExpr>)],
    rows: &RecordBatch,
) -> Result<RecordBatch, (String, DataFusionError)> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, expr) in columns {
        let array = expr
            .evaluate(rows)
            .and_then(|it: ColumnarValue| it.into_array(rows.num_rows()))
            .map_err(|err| (name.clone(), err))?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|err| (String::new(), err.into()))
}

fn keep(
    filter: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
    pipeline: &Pipeline,
) -> Result<(RecordBatch, Option<Vec<usize>>)> {
    let wrong = |err: DataFusionError| {
        Error::Settings(format!("{}: where: {}", pipeline.name, plain(&err)))
    };
    let mask = filter
        .evaluate(rows)
        .and_then(|it| it.into_array(rows.num_rows()))
        .map_err(wrong)?;
    let mask: &BooleanArray = mask.as_boolean_opt().ok_or_else(|| {
        Error::Settings(format!(
            "{}: where: not a true/false expression",
            pipeline.name
        ))
    })?;
    let kept = filter_record_batch(rows, mask).map_err(|err| wrong(err.into()))?;
    let numbers = (0..rows.num_rows())
        .filter(|row| mask.is_valid(*row) && mask.value(*row))
        .collect();
    Ok((kept, Some(numbers)))
}

fn with_origin(rows: &RecordBatch, origins: &[String]) -> Result<RecordBatch> {
    let origins: StringArray = origins.iter().map(Some).collect();
    let rows = append(rows, ORIGIN, Arc::new(origins))?;
    if rows.column_by_name(READ_AT).is_some() {
        // Read once before, and set aside then.
        return Ok(rows);
    }
    let read_at = Utc::now().to_rfc3339();
    let read_at: StringArray = (0..rows.num_rows())
        .map(|_| Some(read_at.as_str()))
        .collect();
    append(&rows, READ_AT, Arc::new(read_at))
}

fn pad(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    for field in schema.fields().iter().skip(columns.len()) {
        columns.push(new_null_array(field.data_type(), rows.num_rows()));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|err| internal(&err.to_string()))
}

fn append(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let schema = with_field(&rows.schema(), name, column.data_type().clone());
    let mut columns = rows.columns().to_vec();
    columns.push(column);
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|err| internal(&err.to_string()))
}

fn with_field(schema: &Schema, name: &str, data_type: DataType) -> Schema {
    let mut fields = SchemaBuilder::from(schema.fields());
    fields.push(Field::new(name, data_type, true));
    Schema::new(fields.finish().fields)
}

fn concat_by_column(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let columns: Result<Vec<ArrayRef>, _> = (0..schema.fields().len())
        .map(|index| {
            let parts: Vec<&dyn Array> =
                batches.iter().map(|it| it.column(index).as_ref()).collect();
            concat(&parts)
        })
        .collect();
    columns
        .and_then(|it| RecordBatch::try_new(Arc::clone(schema), it))
        .map_err(|err| internal(&err.to_string()))
}

/// The rows of `batch` with the given numbers, in that order.
pub(crate) fn rows_of(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    let rows: UInt64Array = rows.iter().map(|row| *row as u64).collect();
    take_record_batch(batch, &rows).map_err(|err| internal(&err.to_string()))
}

/// DataFusion's message without its prefixes and backtrace.
fn plain(err: &DataFusionError) -> String {
    let text = err.find_root().strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

fn internal(message: &str) -> Error {
    Error::Encode {
        source_name: "mapping".to_owned(),
        reason: message.to_owned(),
    }
}
