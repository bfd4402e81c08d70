//! Releases in SQL: `release.<table>` has the rows of every release a session may see, `ops.release` their records.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider, streaming::StreamingTable},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use lake::Lake;
use spec::ReleaseKind;

use super::{KEPT_FROM, RELEASE, Release, Shelf, batch, rows};
use crate::session::outside;

/// The schema `release`: for every table that is released, the rows of all releases with the release they are of.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    /// The lake with the rows.
    pub(crate) lake: Lake,
    /// The kinds there are.
    pub(crate) kinds: Arc<[ReleaseKind]>,
    /// The releases known.
    pub(crate) shelf: Arc<Shelf>,
    /// Who looks; nobody in particular sees everything.
    pub(crate) audience: Option<String>,
    /// What time it is.
    pub(crate) now: fn() -> DateTime<Utc>,
}

impl Frozen {
    /// The releases that may be seen now, in the order they were made.
    async fn shown(&self) -> Result<Vec<Arc<Release>>> {
        let all = self.shelf.all(&self.lake).await.map_err(outside)?;
        let today: NaiveDate = contract::civil_day((self.now)());
        let is_shown = |it: &Arc<Release>| match &self.audience {
            Some(audience) => it.is_shown_to(audience, today),
            None => true,
        };
        Ok(all.into_iter().filter(is_shown).collect())
    }

    fn names(&self) -> BTreeSet<String> {
        let kinds = self.kinds.iter().flat_map(|it| &it.tables);
        let mut names: BTreeSet<String> = kinds.map(|it| it.table.clone()).collect();
        for release in self.shelf.all_seen() {
            names.extend(release.frozen.keys().cloned());
        }
        let names = names.iter().filter_map(|it| it.strip_prefix("mart."));
        names.map(str::to_owned).collect()
    }
}

#[async_trait]
impl SchemaProvider for Frozen {
    fn table_names(&self) -> Vec<String> {
        self.names().into_iter().collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = format!("mart.{name}");
        // The columns are no secret: they are told before anything may be seen.
        let all = self.shelf.all(&self.lake).await.map_err(outside)?;
        let schema = columns(all.iter().filter_map(|it| it.frozen.get(&table)))?;
        if !self.table_exist(name) {
            return Ok(None);
        }
        let mut parts: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for release in self.shown().await? {
            if let Some(frozen) = release.frozen.get(&table) {
                parts.push(Arc::new(Part {
                    lake: self.lake.clone(),
                    release: release.name.clone(),
                    frozen: frozen.clone(),
                    schema: Arc::clone(&schema),
                }));
            }
        }
        if parts.is_empty() {
            let none = MemTable::try_new(schema, vec![vec![]])?;
            return Ok(Some(Arc::new(none)));
        }
        Ok(Some(Arc::new(StreamingTable::try_new(schema, parts)?)))
    }
}

/// The columns of all releases of a table: the release first, then those of the newest, then those only older ones have.
fn columns<'a>(frozen: impl DoubleEndedIterator<Item = &'a super::Frozen>) -> Result<SchemaRef> {
    let mut fields = vec![Field::new(RELEASE, DataType::Utf8, true)];
    for one in frozen.rev() {
        for field in rows::columns(one)?.fields() {
            let is_new = fields.iter().all(|it| it.name() != field.name());
            if is_new && field.name() != KEPT_FROM {
                fields.push(field.as_ref().clone());
            }
        }
    }
    fields.push(Field::new(KEPT_FROM, DataType::Utf8, true));
    Ok(Arc::new(Schema::new(fields)))
}

/// The rows of one release, read when they are asked for.
#[derive(Debug)]
struct Part {
    lake: Lake,
    release: String,
    frozen: super::Frozen,
    schema: SchemaRef,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (lake, frozen) = (self.lake.clone(), self.frozen.clone());
        let (release, schema) = (self.release.clone(), Arc::clone(&self.schema));
        let rows = async move {
            let rows = rows::read(&lake, &frozen).await.map_err(outside)?;
            let rows = rows::to(&rows, &schema)?;
            let names: StringArray = (0..rows.num_rows())
                .map(|_| Some(release.as_str()))
                .collect();
            let mut columns = rows.columns().to_vec();
            columns[0] = Arc::new(names) as ArrayRef;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            Ok(RecordBatch::try_new_with_options(
                schema, columns, &options,
            )?)
        };
        let stream = futures::stream::once(rows);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}

/// The column of `ops.release` that only those inside see.
const MAKER: &str = "created_by";

/// `ops` for whoever sees releases only: their records, without who made them.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Frozen);

#[async_trait]
impl SchemaProvider for Shown {
    fn table_names(&self) -> Vec<String> {
        vec![RELEASE.to_owned()]
    }

    fn table_exist(&self, name: &str) -> bool {
        name == RELEASE
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name != RELEASE {
            return Ok(None);
        }
        let rows = batch(&self.0.shown().await?)?;
        let kept: Vec<usize> = (0..rows.num_columns())
            .filter(|at| rows.schema().field(*at).name() != MAKER)
            .collect();
        let rows = rows.project(&kept)?;
        let rows = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        Ok(Some(Arc::new(rows)))
    }
}
