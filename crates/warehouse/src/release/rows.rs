//! The rows of a release: one Parquet file, named by its content.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use lake::Lake;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use sha2::{Digest, Sha256};

use super::Frozen;
use crate::{Error, Result};

/// Where they lie in the lake.
const ROWS: &str = "_released";

/// The rows of a table's version that answer to a condition, in the order of the grain.
pub(super) async fn chosen(
    lake: &Lake,
    table: &str,
    version: i64,
    condition: Option<&str>,
    grain: &[String],
) -> Result<RecordBatch> {
    let failed = |err| Error::query(format!("reading {table}"), err);
    let Some(found) = lake.provider(table, Some(version)).await? else {
        return Err(Error::Release(format!("{table} is not in the lake")));
    };
    let rows = SessionContext::new().read_table(found).map_err(failed)?;
    answering(rows, table, condition, grain).await
}

/// The rows that answer to a condition, in the order of the grain.
pub(super) async fn answering(
    rows: DataFrame,
    table: &str,
    condition: Option<&str>,
    grain: &[String],
) -> Result<RecordBatch> {
    let rows = match condition {
        None => rows,
        Some(condition) => {
            let wrong = |err| {
                Error::Release(format!(
                    "the condition `{condition}` does not fit {table}: {err}"
                ))
            };
            let expression = rows.parse_sql_expr(condition).map_err(wrong)?;
            rows.filter(expression).map_err(wrong)?
        }
    };
    let failed = |err| Error::query(format!("reading {table}"), err);
    ordered(rows, grain).await.map_err(failed)
}

/// All rows as one batch, in the order of the columns `by`; every column may be null.
async fn ordered(rows: DataFrame, by: &[String]) -> datafusion::error::Result<RecordBatch> {
    let order = by.iter().map(|it| ident(it).sort(true, true)).collect();
    let rows = rows.sort(order)?;
    let schema = nullable(rows.schema().as_arrow());
    let batches: Vec<RecordBatch> = rows
        .collect()
        .await?
        .iter()
        .map(|it| to(it, &schema))
        .collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// Writes rows, unless the same are there already; what they are called.
pub(super) async fn store(lake: &Lake, rows: &RecordBatch) -> Result<String> {
    let failed = |err: &dyn std::fmt::Display| Error::Release(format!("writing the rows: {err}"));
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, rows.schema(), None).map_err(|err| failed(&err))?;
    writer.write(rows).map_err(|err| failed(&err))?;
    writer.close().map_err(|err| failed(&err))?;
    let sha256 = hex::encode(Sha256::digest(&file));
    lake.put_new(&path(&sha256), file.into()).await?;
    Ok(sha256)
}

/// Reads the rows of a release.
///
/// # Errors
/// Where the file is gone, or is no longer what was written.
pub(super) async fn read(lake: &Lake, frozen: &Frozen) -> Result<RecordBatch> {
    let path = path(&frozen.sha256);
    let damaged = |reason: &dyn std::fmt::Display| Error::Publication {
        path: path.clone(),
        reason: reason.to_string(),
    };
    let bytes = lake.get(&path).await?;
    let bytes =
        bytes.ok_or_else(|| damaged(&"the rows of a release are gone; restore the file"))?;
    if hex::encode(Sha256::digest(&bytes)) != frozen.sha256 {
        return Err(damaged(
            &"the rows of a release are not what was frozen; restore the file",
        ));
    }
    decode(bytes, frozen).map_err(|err| damaged(&err))
}

fn decode(bytes: Bytes, frozen: &Frozen) -> datafusion::error::Result<RecordBatch> {
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let batches: Vec<RecordBatch> = file.collect::<Result<_, _>>()?;
    let schema = columns(frozen)?;
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|it| to(it, &schema))
        .collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The columns of frozen rows.
pub(super) fn columns(frozen: &Frozen) -> datafusion::error::Result<SchemaRef> {
    let fields = frozen
        .columns
        .iter()
        .map(|(name, of)| Ok(Field::new(name, of.parse::<DataType>()?, true)))
        .collect::<datafusion::error::Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The rows in other columns: cast where the types differ, null where there is none of that name.
pub(super) fn to(
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The same columns, each of which may be null.
pub(super) fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields: Vec<Field> = fields
        .map(|it| Field::new(it.name(), it.data_type().clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn path(sha256: &str) -> String {
    format!("{ROWS}/{sha256}.parquet")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use std::collections::HashMap;

    use arrow::{
        array::{
            BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, ListBuilder,
            StringArray, StringBuilder, TimestampMicrosecondArray,
        },
        datatypes::Int32Type,
    };

    use super::*;

    #[tokio::test]
    async fn rows_come_back_as_they_were_and_the_same_rows_are_one_file() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_null();
        let moments = || TimestampMicrosecondArray::from(vec![Some(1), None]);
        let amounts = Decimal128Array::from(vec![Some(12_345), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "text",
                Arc::new(StringArray::from(vec![Some("Århus"), None])),
            ),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("count", Arc::new(Int32Array::from(vec![Some(7), None]))),
            (
                "share",
                Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None])),
            ),
            ("day", Arc::new(Date32Array::from(vec![Some(14_610), None]))),
            ("moment", Arc::new(moments().with_timezone("UTC"))),
            ("local", Arc::new(moments())),
            (
                "amount",
                Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()),
            ),
            ("list", Arc::new(lists.finish())),
            (
                "numbers",
                Arc::new(arrow::array::ListArray::from_iter_primitive::<
                    Int32Type,
                    _,
                    _,
                >([Some(vec![Some(1)]), None])),
            ),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, it)| (name, it, true)),
        )
        .unwrap();
        let lake = Lake::open("memory:///", HashMap::new()).unwrap();
        let sha256 = store(&lake, &rows).await.unwrap();
        assert_eq!(store(&lake, &rows).await.unwrap(), sha256);
        assert_eq!(lake.list(ROWS).await.unwrap().len(), 1);
        let fields = rows.schema_ref().fields().iter();
        let frozen = Frozen {
            version: 0,
            condition: None,
            rolling: false,
            totals: Default::default(),
            grain: Vec::new(),
            columns: fields
                .map(|it| (it.name().clone(), it.data_type().to_string()))
                .collect(),
            rows: 2,
            sha256,
        };
        assert_eq!(read(&lake, &frozen).await.unwrap(), rows);
        let gone = Frozen {
            sha256: "0".to_owned(),
            ..frozen
        };
        let said = read(&lake, &gone).await.unwrap_err().to_string();
        assert!(
            said.contains("_released/0.parquet: the rows of a release are gone"),
            "{said}"
        );
    }
}
