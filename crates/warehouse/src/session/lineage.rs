//! `ops.column_lineage`: what every column comes from.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::{TableProvider, streaming::StreamingTable},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use tokio::sync::OnceCell;

use super::tables::outside;
use crate::{
    lineage::{self, Lineage},
    models::Catalog,
};

/// The lineage of a catalog, read from its plans when it is first asked for.
pub(crate) struct Traced {
    catalog: Arc<Catalog>,
    schema: SchemaRef,
    read: OnceCell<Arc<Lineage>>,
}

impl Traced {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            schema: lineage::schema(),
            read: OnceCell::new(),
        }
    }

    /// The lineage.
    pub(crate) async fn lineage(&self) -> crate::Result<Arc<Lineage>> {
        let read = || async { Lineage::read(&self.catalog).await.map(Arc::new) };
        self.read.get_or_try_init(read).await.map(Arc::clone)
    }
}

/// The table; planning all models takes a while, so they are planned when it is read, not when it is named.
pub(super) fn table(traced: &Arc<Traced>) -> Result<Arc<dyn TableProvider>> {
    let rows: Arc<dyn PartitionStream> = Arc::new(Rows(Arc::clone(traced)));
    Ok(Arc::new(StreamingTable::try_new(
        lineage::schema(),
        vec![rows],
    )?))
}

#[derive(Debug)]
struct Rows(Arc<Traced>);

impl fmt::Debug for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let traced = Arc::clone(&self.0);
        let rows = async move {
            let lineage = traced.lineage().await.map_err(outside)?;
            Ok(lineage.batch())
        };
        let rows = futures::stream::once(rows);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.0.schema),
            rows,
        ))
    }
}
