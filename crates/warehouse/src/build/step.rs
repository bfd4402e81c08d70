//! The part of a build where models are computed, those that wait for nothing side by side.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
    prelude::{DataFrame, SessionContext},
};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use telemetry::{SPANS, metric};
use tracing::{Instrument, field::Empty};

use super::{BuildEvent, Builder, Candidates};
use crate::{
    Error, Result,
    checks::{self, CheckResult},
    models::Node,
    publication::Publication,
};

/// What builds of this process have computed and not published: a failed check does not make the
/// next build compute the same again.
pub(crate) type Computed = BTreeMap<String, Candidate>;

/// A table version that is not published yet.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(super) fingerprint: String,
    pub(super) reads: BTreeMap<String, String>,
    pub(super) version: i64,
    pub(super) rows: u64,
    pub(super) checks: Vec<CheckResult>,
}

/// What became of a model in this build.
pub(super) enum Outcome {
    /// Published as it is.
    Kept {
        /// Its version.
        version: i64,
    },
    /// Computed now, or by an earlier build that did not publish.
    Made {
        /// The version and what came of its checks.
        candidate: Candidate,
        /// Whether it was computed now.
        now: bool,
    },
    /// It could not be computed.
    Failed(String),
    /// Something it reads could not.
    Blocked(String),
}

impl Outcome {
    /// The version it is published or will be; `None` where there is none to publish.
    pub(super) fn version(&self) -> Option<i64> {
        match self {
            Self::Kept { version } => Some(*version),
            Self::Made { candidate, .. } => Some(candidate.version),
            Self::Failed(_) | Self::Blocked(_) => None,
        }
    }
}

/// One attempt at all models.
pub(super) struct Step<'a> {
    /// What the build may use.
    pub(super) builder: &'a Builder<'a>,
    /// What is served now.
    pub(super) previous: Option<Publication>,
    /// `ref.…` to its fingerprint.
    pub(super) references: BTreeMap<String, String>,
    /// The versions that models read.
    pub(super) candidates: Arc<Candidates>,
    /// The session over them.
    pub(super) ctx: SessionContext,
    /// What earlier builds computed.
    pub(super) computed: &'a Computed,
}

impl Step<'_> {
    /// Every model, those that wait for nothing side by side.
    pub(super) async fn all(&self) -> Result<BTreeMap<String, Outcome>> {
        let catalog = self.builder.catalog;
        let mut waiting: Vec<&String> = catalog.order().iter().collect();
        let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        loop {
            let mut still = Vec::with_capacity(waiting.len());
            for table in waiting {
                let Some(node) = catalog.node(table) else {
                    continue;
                };
                let mut models = node.reads.iter().filter(|it| catalog.node(it).is_some());
                let is_ready = models.clone().all(|it| outcomes.contains_key(it));
                if !is_ready || running.len() >= self.builder.at_once {
                    still.push(table);
                    continue;
                }
                match models.find(|it| outcomes.get(*it).is_some_and(|it| it.version().is_none())) {
                    Some(failed) => {
                        outcomes.insert(table.clone(), Outcome::Blocked(failed.clone()));
                    }
                    None => running.push(Box::pin(async move { (table, self.one(node).await) })),
                }
            }
            waiting = still;
            match running.next().await {
                Some((table, outcome)) => {
                    outcomes.insert(table.clone(), outcome?);
                }
                // A model blocked just now may have made others ready to be blocked.
                None if waiting.is_empty() => return Ok(outcomes),
                None => {}
            }
        }
    }

    async fn one(&self, node: &Node) -> Result<Outcome> {
        let table = node.table();
        let fingerprint = node.fingerprint();
        let reads = self.reads(node);
        if let Some(version) = self.kept(&table, &fingerprint, &reads) {
            self.candidates.set(&table, version);
            (self.builder.observe)(BuildEvent::Kept { model: table });
            return Ok(Outcome::Kept { version });
        }
        if let Some(candidate) = self.computed.get(&table)
            && candidate.fingerprint == fingerprint
            && candidate.reads == reads
        {
            self.candidates.set(&table, candidate.version);
            let candidate = candidate.clone();
            return Ok(Outcome::Made {
                candidate,
                now: false,
            });
        }
        (self.builder.observe)(BuildEvent::Building {
            model: table.clone(),
        });
        let begun = Instant::now();
        let span = tracing::info_span!(
            target: SPANS,
            "model",
            model = table,
            rows = Empty,
            failed_checks = Empty,
        );
        let made = self.make(node, &table).instrument(span.clone()).await;
        metric::BUILD_MODEL.record([&table], begun.elapsed().as_secs_f64());
        match made {
            Ok((version, rows, checks)) => {
                let failed = checks.iter().filter(|it| !it.passed()).count();
                span.record("rows", rows);
                span.record("failed_checks", failed);
                (self.builder.observe)(BuildEvent::Built {
                    model: table,
                    rows,
                    failed,
                });
                let candidate = Candidate {
                    fingerprint,
                    reads,
                    version,
                    rows,
                    checks,
                };
                Ok(Outcome::Made {
                    candidate,
                    now: true,
                })
            }
            Err(Error::Lake(err)) if err.is_retryable() => Err(Error::Lake(err)),
            Err(err) => {
                telemetry::failed(&span, err.fix_by());
                (self.builder.observe)(BuildEvent::Failed { model: table });
                let reason = match err {
                    // An error of the query comes back from writing its rows; the table is known here.
                    Error::Lake(lake::Error::Rows { reason, .. }) => reason,
                    err => err.to_string(),
                };
                // The engine quotes values it cannot convert.
                Ok(Outcome::Failed(contract::scrub(&reason).into_owned()))
            }
        }
    }

    /// Computes and checks a model: its new version, how many rows it has, and what came of the checks.
    async fn make(&self, node: &Node, table: &str) -> Result<(i64, u64, Vec<CheckResult>)> {
        let (version, rows) = self.write(node, table).await?;
        self.candidates.set(table, version);
        let checks = checks::rows(&self.ctx, node).await?;
        Ok((version, rows, checks))
    }

    /// The published version, where nothing it came from has changed.
    fn kept(
        &self,
        table: &str,
        fingerprint: &str,
        reads: &BTreeMap<String, String>,
    ) -> Option<i64> {
        let previous = self.previous.as_ref()?;
        let is_same = previous
            .models
            .get(table)
            .is_some_and(|it| it == fingerprint)
            && previous.reads.get(table) == Some(reads);
        is_same
            .then(|| previous.tables.get(table).copied())
            .flatten()
    }

    /// What a model reads, as its publication will remember it.
    fn reads(&self, node: &Node) -> BTreeMap<String, String> {
        let version = |table: &String| match self.references.get(table) {
            Some(fingerprint) => fingerprint.clone(),
            None => self
                .candidates
                .get(table)
                .map_or_else(|| "none".to_owned(), |it| it.rows_since.to_string()),
        };
        node.reads
            .iter()
            .map(|it| (it.clone(), version(it)))
            .collect()
    }

    /// Writes the candidate: its version and how many rows it has.
    async fn write(&self, node: &Node, table: &str) -> Result<(i64, u64)> {
        let rows = node.rows(&self.ctx).await?;
        let schema: SchemaRef = Arc::new(rows.schema().as_arrow().clone());
        let count = Arc::new(AtomicU64::new(0));
        let stream = counted(rows, Arc::clone(&schema), Arc::clone(&count))
            .await
            .map_err(|err| Error::query(format!("computing {table}"), err))?;
        let lake = self.builder.lake;
        let version = lake
            .replace(table, &schema, stream, node.partition_by())
            .await?;
        Ok((version, count.load(Ordering::Relaxed)))
    }

    /// Checks what tables refer to, wherever one side of a reference changed.
    pub(super) async fn references(
        &self,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<Vec<(String, Vec<CheckResult>)>> {
        let changed = |table: &str| {
            let version = outcomes.get(table).and_then(Outcome::version);
            version
                != self
                    .previous
                    .as_ref()
                    .and_then(|it| it.tables.get(table).copied())
        };
        let mut found = Vec::new();
        for (table, node) in self.builder.catalog.nodes() {
            let references = checks::references_of(node);
            let tables = || {
                references
                    .iter()
                    .map(|it| it.table.as_str())
                    .chain([table.as_str()])
            };
            let is_built =
                tables().all(|it| outcomes.get(it).is_none_or(|it| it.version().is_some()));
            if references.is_empty() || !is_built || !tables().any(changed) {
                continue;
            }
            found.push((table.clone(), checks::references(&self.ctx, node).await?));
        }
        Ok(found)
    }
}

/// The rows of a query, counted as they pass.
async fn counted(
    rows: DataFrame,
    schema: SchemaRef,
    count: Arc<AtomicU64>,
) -> datafusion::error::Result<SendableRecordBatchStream> {
    let stream = rows.execute_stream().await?.inspect_ok(move |batch| {
        count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}
