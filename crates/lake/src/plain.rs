//! Reading a table as plain Parquet files: a scan that can be sent to another machine, which Delta's own cannot.

use std::{borrow::Cow, sync::Arc};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DFSchema, Statistics, stats::Precision},
    datasource::{
        TableType,
        listing::{
            PartitionedFile,
            helpers::{expr_applicable_for_cols, filter_partitioned_file},
        },
        table_schema::TableSchema,
    },
    error::DataFusionError,
    execution::runtime_env::RuntimeEnv,
    logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown},
    physical_plan::ExecutionPlan,
    scalar::ScalarValue,
};
use deltalake::delta_datafusion::engine::AsObjectStoreUrl;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use crate::{Error, Lake, Result, provider::Opened, scan};

impl Lake {
    /// The table at `version`, as [`Lake::provider`] has it, in a form whose scans every process can run that
    /// [knows the lake](Lake::make_known_to).
    ///
    /// # Errors
    /// [`Error::Damaged`] when the table does not have that version; [`Error::Foreign`] when its protocol lets a file have other rows
    /// than the table.
    pub async fn plain_provider(
        &self,
        table: &str,
        version: Option<i64>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(version) = self.version_or_latest(table, version).await? else {
            return Ok(None);
        };
        self.check_plain(table).await?;
        let Some(opened) = self.opened(table, version).await? else {
            return Ok(None);
        };
        let Opened {
            snapshot,
            scan,
            split_by,
        } = opened;
        let gone = |err: &dyn std::fmt::Display| {
            Error::damaged(table, format!("version {version}: {err}"))
        };
        let log = self.log_store(table);
        let schema = scan.schema();
        let columns = columns(&schema, &split_by);
        let files: Vec<PartitionedFile> = snapshot
            .file_views(log.as_ref(), None)
            .map(|view| {
                let view = view.map_err(|err| gone(&err))?;
                let location = self.path_in(table, &view.path());
                let size = u64::try_from(view.size()).map_err(|err| gone(&err))?;
                let texts = view.partition_values_map();
                let values = split_by.iter().map(|column| {
                    let text = texts.get(column).cloned().flatten();
                    value_of(&schema, column, text).map_err(|err| gone(&err))
                });
                let values = values.collect::<Result<Vec<_>>>()?;
                let mut statistics = Statistics::new_unknown(columns.file_schema());
                if let Some(rows) = view.num_records() {
                    statistics.num_rows = Precision::Exact(rows);
                }
                let file = PartitionedFile::from(ObjectMeta {
                    location,
                    last_modified: chrono::DateTime::UNIX_EPOCH,
                    size,
                    e_tag: None,
                    version: None,
                });
                let file = file.with_partition_values(values);
                Ok(file.with_statistics(Arc::new(statistics)))
            })
            .try_collect()
            .await?;
        Ok(Some(Arc::new(Plain {
            lake: self.clone(),
            schema,
            columns,
            files,
        })))
    }

    /// Lets every session of `runtime` read from the lake's store.
    pub fn make_known_to(&self, runtime: &RuntimeEnv) {
        let (store, url) = self.root();
        runtime.register_object_store(url.as_object_store_url().as_ref(), Arc::clone(store));
    }
}

/// A table's files, with what they have in common by where they lie.
#[derive(Debug)]
struct Plain {
    lake: Lake,
    schema: SchemaRef,
    columns: TableSchema,
    files: Vec<PartitionedFile>,
}

impl Plain {
    /// The files that can have rows that pass `filters`.
    fn chosen(&self, filters: &[Expr]) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let parts = self.columns.table_partition_cols();
        let names: Vec<&str> = parts.iter().map(|it| it.name().as_str()).collect();
        let of_parts = filters
            .iter()
            .filter(|it| !names.is_empty() && expr_applicable_for_cols(&names, it));
        let of_parts: Vec<Expr> = of_parts.cloned().collect();
        if of_parts.is_empty() {
            return Ok(self.files.clone());
        }
        let parts = DFSchema::try_from(Schema::new(parts.clone()))?;
        let files = self.files.iter().cloned();
        files
            .filter_map(|file| filter_partitioned_file(file, &of_parts, &parts).transpose())
            .collect()
    }
}

#[async_trait]
impl TableProvider for Plain {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all).iter();
        let wanted = wanted.map(|at| {
            self.columns
                .table_schema()
                .index_of(self.schema.field(*at).name())
        });
        let wanted: Vec<usize> = wanted.collect::<Result<_, _>>()?;
        let files = self.chosen(filters)?;
        scan::over(
            &self.lake,
            session,
            self.columns.clone(),
            files,
            Some(wanted),
            limit,
        )
    }

    /// Whole files are left out by part, and the engine leaves out row groups; what passes is filtered again.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        None
    }
}

/// The columns in files and those that are not, which the engine puts last.
fn columns(schema: &Schema, split_by: &[String]) -> TableSchema {
    let is_split = |field: &&FieldRef| split_by.contains(field.name());
    let in_files = schema.fields().iter().filter(|it| !is_split(it));
    let in_files: Vec<FieldRef> = in_files.map(Arc::clone).collect();
    let split = split_by
        .iter()
        .filter_map(|name| schema.fields().find(name).map(|(_, it)| Arc::clone(it)));
    let split: Vec<FieldRef> = split.collect();
    TableSchema::builder(Arc::new(Schema::new(in_files)))
        .with_table_partition_cols(split)
        .build()
}

/// A part's value in the type of its column.
pub(crate) fn value_of(
    schema: &Schema,
    column: &str,
    text: Option<String>,
) -> Result<ScalarValue, DataFusionError> {
    let data_type: &DataType = schema.field_with_name(column)?.data_type();
    match text {
        Some(text) => ScalarValue::try_from_string(text, data_type),
        None => ScalarValue::try_from(data_type),
    }
}
