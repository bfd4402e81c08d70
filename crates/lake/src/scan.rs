//! Reading chosen files of a table, also such as its latest version no longer has.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    datasource::{
        TableType,
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::DataFusionError,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};
use object_store::ObjectMeta;

use crate::{DataFile, Lake, provider::make_known};

impl Lake {
    /// The rows of `files` of a table, for DataFusion. `schema` names the columns wanted, all nullable: a file that
    /// lacks one has nulls for it.
    pub fn rows_of(
        &self,
        table: &str,
        files: &[DataFile],
        schema: SchemaRef,
    ) -> Arc<dyn TableProvider> {
        let meta = |file: &DataFile| ObjectMeta {
            location: self.path_in(table, &file.path),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.bytes,
            e_tag: None,
            version: None,
        };
        Arc::new(Files {
            lake: self.clone(),
            schema,
            files: files.iter().map(meta).collect(),
        })
    }
}

#[derive(Debug)]
struct Files {
    lake: Lake,
    schema: SchemaRef,
    files: Vec<ObjectMeta>,
}

#[async_trait]
impl TableProvider for Files {
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
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        over(
            &self.lake,
            session,
            Arc::clone(&self.schema).into(),
            self.files
                .iter()
                .cloned()
                .map(PartitionedFile::from)
                .collect(),
            projection.cloned(),
            limit,
        )
    }
}

/// A scan of Parquet files, shared out among as many readers as the session has parts.
pub(crate) fn over(
    lake: &Lake,
    session: &dyn Session,
    columns: TableSchema,
    files: Vec<PartitionedFile>,
    projection: Option<Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let host = make_known(lake, session);
    let readers = session.config().target_partitions().max(1);
    let mut groups = vec![Vec::new(); readers.min(files.len().max(1))];
    let count = groups.len();
    for (at, file) in files.into_iter().enumerate() {
        groups[at % count].push(file);
    }
    let config = FileScanConfigBuilder::new(host, Arc::new(ParquetSource::new(columns)))
        .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
        .with_projection_indices(projection)?
        .with_limit(limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}
