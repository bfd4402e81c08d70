//! A build: candidates of what changed, checks on the candidates, and one publication of all tables together.

mod candidates;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::{
    execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
    prelude::{DataFrame, SessionContext},
};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use lake::Lake;
use uuid::{NoContext, Timestamp, Uuid};

use crate::{
    Error, Result,
    checks::{self, CheckResult},
    models::{Catalog, Node},
    publication::{self, Checked, Publication, Run},
    reference, session,
};

pub(crate) use candidates::Candidates;
pub use report::{BuildEvent, BuildReport, BuiltModel, Failure};

/// How many builds are looked through for when a check began to fail.
const HISTORY: usize = 50;

/// How often a build begins again because another published before it.
const ATTEMPTS: usize = 3;

/// What a build needs to know and may use.
pub(crate) struct Builder<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) catalog: &'a Catalog,
    /// How many models are computed at a time.
    pub(crate) at_once: usize,
    pub(crate) now: fn() -> DateTime<Utc>,
    /// Makes the session that models are planned in.
    pub(crate) session: &'a (dyn Fn(Arc<Candidates>) -> Result<SessionContext> + Send + Sync),
    pub(crate) observe: &'a (dyn Fn(BuildEvent) + Send + Sync),
}

/// What builds of this process have computed and not published: a failed check does not make the
/// next build compute the same again.
pub(crate) type Computed = BTreeMap<String, Candidate>;

/// A table version that is not published yet.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    fingerprint: String,
    reads: BTreeMap<String, String>,
    version: i64,
    rows: u64,
    checks: Vec<CheckResult>,
}

/// What became of a model in this build.
enum Outcome {
    /// Published as it is.
    Kept { version: i64 },
    /// Computed now, or by an earlier build that did not publish.
    Made { candidate: Candidate, now: bool },
    /// It could not be computed.
    Failed(String),
    /// Something it reads could not.
    Blocked(String),
}

impl Outcome {
    fn version(&self) -> Option<i64> {
        match self {
            Self::Kept { version } => Some(*version),
            Self::Made { candidate, .. } => Some(candidate.version),
            Self::Failed(_) | Self::Blocked(_) => None,
        }
    }
}

impl Builder<'_> {
    /// Builds until it has published, found nothing to publish, or failed.
    pub(crate) async fn run(&self, computed: &mut Computed) -> Result<BuildReport> {
        for attempt in 1.. {
            let report = Box::pin(self.once(computed)).await?;
            if let Some(report) = report {
                return Ok(report);
            }
            if attempt == ATTEMPTS {
                break;
            }
            tracing::info!(attempt, "another build published first, building on that");
        }
        Err(Error::Overtaken(ATTEMPTS))
    }

    /// One attempt; `None` when another build published meanwhile.
    async fn once(&self, computed: &mut Computed) -> Result<Option<BuildReport>> {
        let previous = publication::current(self.lake, None).await?;
        let inputs = self.inputs().await?;
        let candidates = Arc::new(Candidates::new(inputs.clone()));
        let ctx = (self.session)(Arc::clone(&candidates))?;
        let step = Step {
            builder: self,
            previous: previous.as_ref(),
            references: reference::tables(self.catalog.definitions())
                .iter()
                .map(|(name, rows)| (format!("ref.{name}"), reference::fingerprint(rows)))
                .collect(),
            candidates,
            ctx,
            computed,
        };
        let outcomes = step.all().await?;
        let mut checks: BTreeMap<&str, Vec<CheckResult>> = BTreeMap::new();
        for (table, outcome) in &outcomes {
            if let Outcome::Made { candidate, .. } = outcome {
                checks.insert(table, candidate.checks.clone());
            }
        }
        for (table, results) in step.references(&outcomes).await? {
            checks.entry(table).or_default().extend(results);
        }
        for (table, outcome) in &outcomes {
            if let Outcome::Made { candidate, .. } = outcome {
                computed.insert(table.clone(), candidate.clone());
            }
        }
        self.conclude(previous, inputs, outcomes, checks).await
    }

    /// The newest version of every landed table that a model reads, so that all models see the same.
    async fn inputs(&self) -> Result<BTreeMap<String, i64>> {
        let landed: BTreeSet<&String> = self
            .catalog
            .nodes()
            .values()
            .flat_map(|it| &it.reads)
            .filter(|it| it.starts_with("raw."))
            .collect();
        let versions: Vec<(String, Option<i64>)> = futures::stream::iter(landed)
            .map(|table| async move { Ok::<_, Error>((table.clone(), self.lake.version(table).await?)) })
            .buffer_unordered(8)
            .try_collect()
            .await?;
        Ok(versions
            .into_iter()
            .filter_map(|(table, version)| Some((table, version?)))
            .collect())
    }

    /// Publishes where nothing failed and something changed, and writes down what was checked.
    async fn conclude(
        &self,
        previous: Option<Publication>,
        inputs: BTreeMap<String, i64>,
        outcomes: BTreeMap<String, Outcome>,
        checks: BTreeMap<&str, Vec<CheckResult>>,
    ) -> Result<Option<BuildReport>> {
        let at = (self.now)();
        let run_id = run_id(at);
        let is_new = outcomes.values().any(|it| matches!(it, Outcome::Made { now: true, .. }));
        let results: Vec<CheckResult> = checks.values().flatten().cloned().collect();
        let checks_of = self.since(results, at).await?;
        let mut report = BuildReport::new(previous.as_ref().map(|it| it.id), &outcomes, checks_of);
        if report.is_publishable() {
            let next = self.next(previous.as_ref(), inputs, &outcomes, &checks, at, &run_id);
            if previous.as_ref().is_none_or(|it| !it.serves_same(&next)) {
                if !publication::publish(self.lake, &next).await? {
                    return Ok(None);
                }
                (self.observe)(BuildEvent::Published { id: next.id });
                report.published = Some(next.id);
            }
        }
        if is_new {
            let run = Run {
                run_id,
                at,
                publication_id: report.published,
                checks: report.checks.clone(),
            };
            publication::store_run(self.lake, &run).await?;
        }
        Ok(Some(report))
    }

    fn next(
        &self,
        previous: Option<&Publication>,
        inputs: BTreeMap<String, i64>,
        outcomes: &BTreeMap<String, Outcome>,
        checks: &BTreeMap<&str, Vec<CheckResult>>,
        at: DateTime<Utc>,
        run_id: &str,
    ) -> Publication {
        let mut next = Publication {
            id: previous.map_or(1, |it| it.id + 1),
            previous: previous.map(|it| it.id),
            at,
            run_id: run_id.to_owned(),
            tables: BTreeMap::new(),
            inputs,
            models: BTreeMap::new(),
            reads: BTreeMap::new(),
            checks_passed: BTreeMap::new(),
        };
        for (table, node) in self.catalog.nodes() {
            let Some((outcome, version)) = outcomes.get(table).and_then(|it| Some((it, it.version()?))) else {
                continue;
            };
            next.tables.insert(table.clone(), version);
            next.models.insert(table.clone(), node.fingerprint());
            let old = previous.filter(|_| matches!(outcome, Outcome::Kept { .. }));
            let reads = match (outcome, old) {
                (Outcome::Made { candidate, .. }, _) => candidate.reads.clone(),
                (_, old) => old.and_then(|it| it.reads.get(table).cloned()).unwrap_or_default(),
            };
            next.reads.insert(table.clone(), reads);
            let passed = match checks.get(table.as_str()) {
                Some(results) => results.iter().filter(|it| it.passed()).count(),
                None => old.and_then(|it| it.checks_passed.get(table).copied()).unwrap_or_default(),
            };
            next.checks_passed.insert(table.clone(), passed);
        }
        next
    }

    /// Adds to each failed check when it began to fail.
    async fn since(&self, results: Vec<CheckResult>, now: DateTime<Utc>) -> Result<Vec<Checked>> {
        let history = if results.iter().all(CheckResult::passed) {
            Vec::new()
        } else {
            publication::runs(self.lake, HISTORY).await?
        };
        let checked = results.into_iter().map(|result| {
            let mut past = history.iter().flat_map(|run| &run.checks);
            let last = past.find(|it| it.result.model == result.model && it.result.check == result.check);
            let since = (!result.passed()).then(|| last.and_then(|it| it.since).unwrap_or(now));
            Checked { result, since }
        });
        Ok(checked.collect())
    }
}

/// The part of a build where models are computed.
struct Step<'a> {
    builder: &'a Builder<'a>,
    previous: Option<&'a Publication>,
    /// `ref.…` to its fingerprint.
    references: BTreeMap<String, String>,
    candidates: Arc<Candidates>,
    ctx: SessionContext,
    computed: &'a Computed,
}

impl Step<'_> {
    /// Every model, those that wait for nothing side by side.
    async fn all(&self) -> Result<BTreeMap<String, Outcome>> {
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
            return Ok(Outcome::Made { candidate, now: false });
        }
        (self.builder.observe)(BuildEvent::Building { model: table.clone() });
        let made = match self.write(node, &table).await {
            Ok((version, rows)) => {
                self.candidates.set(&table, version);
                checks::rows(&self.ctx, node).await.map(|checks| (version, rows, checks))
            }
            Err(err) => Err(err),
        };
        match made {
            Ok((version, rows, checks)) => {
                let failed = checks.iter().filter(|it| !it.passed()).count();
                (self.builder.observe)(BuildEvent::Built { model: table, rows, failed });
                let candidate = Candidate { fingerprint, reads, version, rows, checks };
                Ok(Outcome::Made { candidate, now: true })
            }
            Err(Error::Lake(err)) if err.is_retryable() => Err(Error::Lake(err)),
            Err(err) => {
                (self.builder.observe)(BuildEvent::Failed { model: table });
                Ok(Outcome::Failed(err.to_string()))
            }
        }
    }

    /// The published version, where nothing it came from has changed.
    fn kept(&self, table: &str, fingerprint: &str, reads: &BTreeMap<String, String>) -> Option<i64> {
        let previous = self.previous?;
        let is_same = previous.models.get(table).is_some_and(|it| it == fingerprint)
            && previous.reads.get(table) == Some(reads);
        is_same.then(|| previous.tables.get(table).copied()).flatten()
    }

    /// What a model reads, as its publication will remember it.
    fn reads(&self, node: &Node) -> BTreeMap<String, String> {
        let version = |table: &String| match self.references.get(table) {
            Some(fingerprint) => fingerprint.clone(),
            None => self.candidates.get(table).map_or_else(|| "none".to_owned(), |it| it.to_string()),
        };
        node.reads.iter().map(|it| (it.clone(), version(it))).collect()
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
        let version = lake.replace(table, &schema, stream, node.partition_by()).await?;
        Ok((version, count.load(Ordering::Relaxed)))
    }

    /// Checks what tables refer to, wherever one side of a reference changed.
    async fn references(
        &self,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<Vec<(&str, Vec<CheckResult>)>> {
        let changed = |table: &str| {
            let version = outcomes.get(table).and_then(Outcome::version);
            version != self.previous.and_then(|it| it.tables.get(table).copied())
        };
        let mut found = Vec::new();
        for (table, node) in self.builder.catalog.nodes() {
            let references = checks::references_of(node);
            let tables = || references.iter().map(|it| it.table.as_str()).chain([table.as_str()]);
            let is_built = tables().all(|it| outcomes.get(it).is_none_or(|it| it.version().is_some()));
            if references.is_empty() || !is_built || !tables().any(changed) {
                continue;
            }
            found.push((table.as_str(), checks::references(&self.ctx, node).await?));
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

/// An id that sorts by time.
fn run_id(at: DateTime<Utc>) -> String {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, at.timestamp_subsec_nanos())).to_string()
}

#[cfg(test)]
mod tests;
