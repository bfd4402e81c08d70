//! Reading: a table at a version, for DataFusion.

use std::{borrow::Cow, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    datasource::TableType,
    error::DataFusionError,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        projection::{ProjectionExec, ProjectionExpr},
    },
};
use deltalake::{
    delta_datafusion::{DeltaScanConfig, DeltaScanNext, engine::AsObjectStoreUrl},
    kernel::Snapshot,
};

use crate::{Error, Lake, Result, one_of::PartFiles, storage::Slot};

/// How many versions of a table are kept open.
const KEPT: usize = 8;

impl Lake {
    /// The table at `version`, or at its latest; `None` when there is no such table.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the table has never had that version or no longer has it.
    pub async fn provider(
        &self,
        table: &str,
        version: Option<i64>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(version) = self.version_or_latest(table, version).await? else {
            return Ok(None);
        };
        let slot = self.slot(table);
        if let Some(kept) = kept(&slot, version).await {
            return Ok(Some(kept));
        }
        let Some(Opened {
            snapshot,
            scan,
            split_by,
        }) = self.opened(table, version).await?
        else {
            return Ok(None);
        };
        let schema = scan.schema();
        let mut names = schema.fields().iter().map(|it| it.name());
        let opened: Arc<dyn TableProvider> = Arc::new(LakeTable {
            lake: self.clone(),
            in_files: names.position(|it| !split_by.contains(it)),
            scan,
            files: PartFiles::of(self, table, snapshot, split_by),
        });
        let mut open = slot.providers.lock().await;
        open.truncate(KEPT - 1);
        open.insert(0, (version, Arc::clone(&opened)));
        Ok(Some(opened))
    }

    /// The version asked for, or the latest; `None` when there is no such table.
    pub(crate) async fn version_or_latest(
        &self,
        table: &str,
        version: Option<i64>,
    ) -> Result<Option<i64>> {
        match version {
            Some(version) => Ok(Some(version)),
            None => self.version(table).await,
        }
    }

    /// What a version of a table is read by; `None` when there is no such table.
    pub(crate) async fn opened(&self, table: &str, version: i64) -> Result<Option<Opened>> {
        let gone = |err: &dyn std::fmt::Display| {
            Error::damaged(table, format!("version {version}: {err}"))
        };
        let at = u64::try_from(version).map_err(|err| gone(&err))?;
        let log = self.log_store(table);
        let snapshot = match Snapshot::try_new(log.as_ref(), Some(at)).await {
            Ok(snapshot) => snapshot,
            Err(_) if self.version(table).await?.is_none() => return Ok(None),
            Err(err) => return Err(gone(&err)),
        };
        let mut config = DeltaScanConfig::new().with_wrap_partition_values(false);
        // The columns read have the types that were written, not views of them.
        config.schema_force_view_types = false;
        let scan = DeltaScanNext::new(snapshot.clone(), config).map_err(|err| gone(&err))?;
        Ok(Some(Opened {
            split_by: snapshot.metadata().partition_columns().to_vec(),
            snapshot,
            scan,
        }))
    }
}

/// A version of a table, with Delta's own scan of it.
pub(crate) struct Opened {
    pub(crate) snapshot: Snapshot,
    pub(crate) scan: DeltaScanNext,
    /// The columns it is split by.
    pub(crate) split_by: Vec<String>,
}

async fn kept(slot: &Slot, version: i64) -> Option<Arc<dyn TableProvider>> {
    let open = slot.providers.lock().await;
    let (_, provider) = open.iter().find(|(at, _)| *at == version)?;
    Some(Arc::clone(provider))
}

/// Lets `session` read from the lake's store; the store's name there.
pub(crate) fn make_known(lake: &Lake, session: &dyn Session) -> ObjectStoreUrl {
    let (store, url) = lake.root();
    let host = url.as_object_store_url();
    let environment = session.runtime_env();
    if environment.object_store(&host).is_err() {
        environment.register_object_store(host.as_ref(), Arc::clone(store));
    }
    host
}

/// Delta's own scan, with the lake's store made known to the session that runs it.
#[derive(Debug)]
struct LakeTable {
    lake: Lake,
    scan: DeltaScanNext,
    /// A column that is in the files, if there is one.
    in_files: Option<usize>,
    files: PartFiles,
}

/// Delta's scan where no column has to be read from a file. It says that it heeds a limit, and gives all rows (delta-rs 1.1).
const FROM_THE_LOG: &str = "DeltaScanMetaExec";

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
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
        make_known(&self.lake, session);
        let schema = self.scan.schema();
        let told = self.files.condition(session, &schema, filters).await?;
        let filters: Vec<Expr> = filters.iter().cloned().chain(told).collect();
        let filters = filters.as_slice();
        let plan = self.scan.scan(session, projection, filters, limit).await?;
        let (Some(wanted), Some(in_files)) = (projection, self.in_files) else {
            return Ok(plan);
        };
        if plan.name() != FROM_THE_LOG {
            return Ok(plan);
        }
        let read: Vec<usize> = wanted.iter().copied().chain([in_files]).collect();
        let plan = self.scan.scan(session, Some(&read), filters, limit).await?;
        let columns = (0..wanted.len()).map(|at| {
            let name = plan.schema().field(at).name().clone();
            let expr = Arc::new(Column::new(&name, at)) as Arc<dyn PhysicalExpr>;
            ProjectionExpr::new(expr, name)
        });
        let columns: Vec<ProjectionExpr> = columns.collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        self.scan.supports_filters_pushdown(filters)
    }

    fn get_table_definition(&self) -> Option<&str> {
        None
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, datafusion::logical_expr::LogicalPlan>> {
        None
    }
}
