//! `ops.*`: the warehouse about itself, computed from what it has written down.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider, streaming::StreamingTable},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::SessionContext,
};
use lake::Lake;
use serde::Serialize;
use spec::{Obligation, ReleaseKind};

use super::{
    lineage::{self, Traced},
    quarantine,
    tables::{Tables, Versions, outside},
};
use crate::{
    Error, deliveries,
    models::Catalog,
    publication, query_log,
    release::{self, Shelf},
};

/// How far back `ops` looks: publications and builds.
const KEPT: usize = 200;

/// The schema `ops`.
#[derive(Debug)]
pub(crate) struct Ops {
    /// The lake with the records.
    pub(crate) lake: Lake,
    /// What is documented.
    pub(crate) catalog: Arc<Catalog>,
    /// What its columns come from.
    pub(crate) traced: Arc<Traced>,
    /// What is owed.
    pub(crate) calendar: Arc<[Obligation]>,
    /// Which version of the model that says what has come.
    pub(crate) versions: Arc<dyn Versions>,
    /// The kinds of release.
    pub(crate) kinds: Arc<[ReleaseKind]>,
    /// The releases known.
    pub(crate) shelf: Arc<Shelf>,
    /// What time it is.
    pub(crate) now: fn() -> DateTime<Utc>,
}

const TABLES: [&str; 9] = [
    "column_doc",
    "column_lineage",
    "delivery_calendar",
    "publication",
    "quality_check",
    "quarantine",
    "query_log",
    "release",
    "set_aside",
];

#[async_trait]
impl SchemaProvider for Ops {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let rows = match name {
            "column_doc" => column_docs(&self.catalog, &self.kinds)?,
            "column_lineage" => return lineage::table(&self.traced).map(Some),
            "delivery_calendar" => return self.delivery_calendar().await.map(Some),
            "publication" => publications(&self.lake).await?,
            "quality_check" => quality_checks(&self.lake).await?,
            "query_log" => return query_log::table(&self.lake).await.map(Some),
            "release" => release::batch(&self.shelf.all(&self.lake).await.map_err(outside)?)?,
            "set_aside" => set_aside(&self.lake).await?,
            "quarantine" => return Ok(Some(quarantine::view(&self.lake).await?)),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(MemTable::try_new(
            rows.schema(),
            vec![vec![rows]],
        )?)))
    }
}

impl Ops {
    /// Worked out when it is run, not when it is named: a list of tables names them all.
    async fn delivery_calendar(&self) -> Result<Arc<dyn TableProvider>> {
        let (schema, table) = deliveries::COVERAGE
            .split_once('.')
            .unwrap_or(("core", deliveries::COVERAGE));
        let published = Tables {
            schema,
            lake: self.lake.clone(),
            versions: Arc::clone(&self.versions),
            is_sent: false,
        };
        let calendar = DeliveryCalendar {
            schema: deliveries::schema(),
            obligations: Arc::clone(&self.calendar),
            coverage: published.table(table).await?,
            now: self.now,
        };
        let schema = Arc::clone(&calendar.schema);
        Ok(Arc::new(StreamingTable::try_new(
            schema,
            vec![Arc::new(calendar)],
        )?))
    }
}

/// `ops.delivery_calendar`, before it is known what has come.
#[derive(Debug)]
struct DeliveryCalendar {
    schema: SchemaRef,
    obligations: Arc<[Obligation]>,
    /// None while nothing is published.
    coverage: Option<Arc<dyn TableProvider>>,
    now: fn() -> DateTime<Utc>,
}

impl PartitionStream for DeliveryCalendar {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (coverage, obligations) = (self.coverage.clone(), Arc::clone(&self.obligations));
        let as_of = contract::civil_day((self.now)());
        let rows = async move {
            let came = match coverage {
                Some(coverage) => {
                    let config = context.session_config().clone();
                    let ctx = SessionContext::new_with_config_rt(config, context.runtime_env());
                    deliveries::coverage(ctx.read_table(coverage)?).await?
                }
                None if obligations.is_empty() => Vec::new(),
                None => return Err(outside(Error::Unpublished(deliveries::COVERAGE))),
            };
            deliveries::batch(&deliveries::judge(&obligations, &came, as_of))
        };
        let stream = futures::stream::once(rows);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}

fn column_docs(catalog: &Catalog, kinds: &[ReleaseKind]) -> Result<RecordBatch> {
    let mut docs = Vec::new();
    for (table, node) in catalog.nodes() {
        docs.push((table.clone(), None, node.doc().to_owned()));
        for (column, doc) in node.columns() {
            docs.push((table.clone(), Some(column.to_owned()), doc.to_owned()));
        }
    }
    for (table, doc) in release::docs(catalog, kinds) {
        docs.push((table.clone(), None, doc.doc));
        let columns = doc.columns.into_iter();
        docs.extend(columns.map(|(column, doc)| (table.clone(), Some(column), doc)));
    }
    let part = |at: usize| {
        let parts = docs
            .iter()
            .map(|it| it.0.split('.').nth(at).map(str::to_owned));
        texts(parts)
    };
    rows(vec![
        ("table_schema", part(0)),
        ("table_name", part(1)),
        ("column_name", texts(docs.iter().map(|it| it.1.clone()))),
        ("doc", texts(docs.iter().map(|it| Some(it.2.clone())))),
    ])
}

async fn publications(lake: &Lake) -> Result<RecordBatch> {
    let all = publication::publications(lake, KEPT)
        .await
        .map_err(outside)?;
    rows(vec![
        ("publication_id", numbers(all.iter().map(|it| Some(it.id)))),
        ("published_at", moments(all.iter().map(|it| Some(it.at)))),
        (
            "run_id",
            texts(all.iter().map(|it| Some(it.run_id.clone()))),
        ),
        ("previous_id", numbers(all.iter().map(|it| it.previous))),
        (
            "model_versions",
            texts(all.iter().map(|it| json(&it.tables))),
        ),
        (
            "input_versions",
            texts(all.iter().map(|it| json(&it.inputs))),
        ),
        (
            "model_fingerprints",
            texts(all.iter().map(|it| json(&it.models))),
        ),
        (
            "checks_passed",
            numbers(
                all.iter()
                    .map(|it| Some(it.checks_passed.values().sum::<usize>() as u64)),
            ),
        ),
    ])
}

async fn quality_checks(lake: &Lake) -> Result<RecordBatch> {
    let runs = publication::runs(lake, KEPT).await.map_err(outside)?;
    let all: Vec<_> = runs
        .iter()
        .flat_map(|run| run.checks.iter().map(move |check| (run, check)))
        .collect();
    let passed: BooleanArray = all.iter().map(|it| Some(it.1.result.passed())).collect();
    rows(vec![
        (
            "model",
            texts(all.iter().map(|it| Some(it.1.result.model.clone()))),
        ),
        (
            "check",
            texts(all.iter().map(|it| Some(it.1.result.check.clone()))),
        ),
        (
            "run_id",
            texts(all.iter().map(|it| Some(it.0.run_id.clone()))),
        ),
        (
            "severity",
            texts(
                all.iter()
                    .map(|it| Some(it.1.result.severity().as_str().to_owned())),
            ),
        ),
        (
            "failed_rows",
            numbers(
                all.iter()
                    .map(|it| u64::try_from(it.1.result.failed_rows).ok()),
            ),
        ),
        ("passed", Arc::new(passed)),
        ("ran_at", moments(all.iter().map(|it| Some(it.0.at)))),
        ("failing_since", moments(all.iter().map(|it| it.1.since))),
        (
            "sample",
            texts(all.iter().map(|it| Some(it.1.result.sample.join("; ")))),
        ),
        (
            "publication_id",
            numbers(all.iter().map(|it| it.0.publication_id)),
        ),
    ])
}

/// What the current publication leaves out.
async fn set_aside(lake: &Lake) -> Result<RecordBatch> {
    let current = publication::publications(lake, 1).await.map_err(outside)?;
    let all: Vec<_> = current
        .iter()
        .flat_map(|publication| {
            let tables = publication.set_aside.iter();
            tables.flat_map(move |(table, asides)| {
                asides.iter().map(move |it| (publication.id, table, it))
            })
        })
        .collect();
    let codes = all.iter().map(|it| it.2.part.as_ref()?.parse().ok());
    rows(vec![
        ("model", texts(all.iter().map(|it| Some(it.1.clone())))),
        (
            "check",
            texts(all.iter().map(|it| Some(it.2.check.clone()))),
        ),
        ("municipality_code", Arc::new(codes.collect::<Int32Array>())),
        ("set_aside", numbers(all.iter().map(|it| Some(it.2.rows)))),
        (
            "sample",
            texts(all.iter().map(|it| Some(it.2.sample.join("; ")))),
        ),
        ("publication_id", numbers(all.iter().map(|it| Some(it.0)))),
    ])
}

/// A map as JSON text; maps of texts and numbers always have one.
pub(crate) fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// Columns of one length as a batch.
pub(crate) fn rows(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|it| it.1).collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// A column of texts.
pub(crate) fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// A column of whole numbers.
pub(crate) fn numbers(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let values = values.map(|it| it.and_then(|it| i64::try_from(it).ok()));
    Arc::new(values.collect::<Int64Array>())
}

/// A column of moments.
pub(crate) fn moments(values: impl Iterator<Item = Option<DateTime<Utc>>>) -> ArrayRef {
    let values = values.map(|it| it.map(|it| it.timestamp_micros()));
    Arc::new(
        values
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}
