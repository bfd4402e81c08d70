//! A build: candidates of what changed, checks on the candidates, and one publication of all tables together.

mod aside;
mod by_id;
mod candidates;
mod changed_ids;
mod changes;
mod digest;
mod one_of;
mod parts;
mod plan;
mod proofs;
mod reach;
mod report;
mod step;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use lake::{Head, Lake};
use spec::ReleaseKind;
use telemetry::{SPANS, Traceparent};
use tracing::{Instrument, Span, field::Empty};
use uuid::{NoContext, Timestamp, Uuid};

use crate::{
    Error, Result,
    checks::{CheckResult, REFERENCE},
    models::Catalog,
    publication::{self, Checked, Publication, Run},
    reference,
    release::{self, Shelf},
};

pub(crate) use by_id::FEW_THINGS;
pub(crate) use candidates::Candidates;
pub use changes::{Extent, Reason};
pub(crate) use one_of::{most_ids, one_of};
pub(crate) use parts::{Changed, MUNICIPALITY, is_split, parts_in, within};
pub use plan::{Planned, Work};
pub(crate) use proofs::Proofs;
pub use report::{BuildEvent, BuildReport, BuiltModel, Failure};
pub(crate) use step::Computed;
use step::{Outcome, Step};

/// How many builds are looked through for when a check began to fail.
const HISTORY: usize = 50;

/// How often a build begins again because another published before it.
const ATTEMPTS: usize = 3;

/// What a build needs to know and may use.
pub(crate) struct Builder<'a> {
    /// Where tables are read and written.
    pub(crate) lake: &'a Lake,
    /// What is built.
    pub(crate) catalog: &'a Catalog,
    /// How many models are computed at a time.
    pub(crate) at_once: usize,
    /// What time it is.
    pub(crate) now: fn() -> DateTime<Utc>,
    /// The kinds of release.
    pub(crate) kinds: &'a [ReleaseKind],
    /// The releases known.
    pub(crate) shelf: &'a Shelf,
    /// Whether queries run in other processes.
    pub(crate) is_sent: bool,
    /// What earlier builds found out about the models.
    pub(crate) proofs: &'a Proofs,
    /// Makes the session that models are planned in.
    pub(crate) session: &'a (dyn Fn(Arc<Candidates>) -> Result<SessionContext> + Send + Sync),
    /// Told what happens.
    pub(crate) observe: &'a (dyn Fn(BuildEvent) + Send + Sync),
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
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            "build",
            publication = Empty,
            built = Empty,
            kept = Empty,
            failures = Empty,
        );
        let built = self.build(previous, inputs, computed);
        built.instrument(span).await
    }

    /// Has the span of the build point to the commits that brought landed tables their newest rows. One that cannot be found is
    /// left out: a trace is no reason for a build to fail.
    async fn link_inputs(&self, previous: Option<&Publication>, inputs: &BTreeMap<String, Head>) {
        if Traceparent::current().is_none() {
            return;
        }
        for (table, head) in inputs {
            if previous.is_some_and(|it| it.has_rows_of(table, *head)) {
                continue;
            }
            if let Ok(Some(commit)) = self.lake.traceparent(table, head.rows_since).await {
                commit.link_from(&Span::current());
            }
        }
    }

    /// What a build would compute now, and why.
    pub(crate) async fn plan(&self, computed: &Computed) -> Result<Vec<Planned>> {
        let previous = publication::current(self.lake, None).await?;
        let candidates = Arc::new(Candidates::new(self.inputs().await?));
        let ctx = (self.session)(Arc::clone(&candidates))?;
        let step = Step {
            builder: self,
            previous,
            references: self.references(),
            candidates,
            ctx,
            computed,
            changed_ids: Arc::default(),
        };
        step.plan().await
    }

    /// Every code list with its fingerprint.
    fn references(&self) -> BTreeMap<String, String> {
        reference::tables(self.catalog.definitions())
            .iter()
            .map(|(name, rows)| (format!("ref.{name}"), reference::fingerprint(rows)))
            .collect()
    }

    async fn build(
        &self,
        previous: Option<Publication>,
        inputs: BTreeMap<String, Head>,
        computed: &mut Computed,
    ) -> Result<Option<BuildReport>> {
        self.link_inputs(previous.as_ref(), &inputs).await;
        let candidates = Arc::new(Candidates::new(inputs.clone()));
        let ctx = (self.session)(Arc::clone(&candidates))?;
        let step = Step {
            builder: self,
            previous: previous.clone(),
            references: self.references(),
            candidates,
            ctx,
            computed,
            changed_ids: Arc::default(),
        };
        let outcomes = step.all().await?;
        let references = step.references(&outcomes).await?;
        let questions = step.questions(&outcomes).await?;
        let mut checks: BTreeMap<String, Vec<CheckResult>> = BTreeMap::new();
        for (table, outcome) in &outcomes {
            if let Outcome::Made { candidate, .. } = outcome {
                checks.insert(table.clone(), candidate.checks.clone());
                computed.insert(table.clone(), candidate.as_ref().clone());
            }
        }
        for (table, results) in references {
            checks.entry(table).or_default().extend(results);
        }
        for result in questions {
            checks.entry(result.model.clone()).or_default().push(result);
        }
        let inputs = inputs
            .into_iter()
            .map(|(table, head)| (table, head.version));
        self.conclude(previous, inputs.collect(), outcomes, checks)
            .await
    }

    /// Where every landed table is that a model reads, so that all models see the same.
    async fn inputs(&self) -> Result<BTreeMap<String, Head>> {
        // Owned names: a stream of borrowed ones is not `Send` for every lifetime, and builds are spawned.
        let landed: BTreeSet<String> = self
            .catalog
            .nodes()
            .values()
            .flat_map(|it| &it.reads)
            .filter(|it| it.starts_with("raw."))
            .cloned()
            .collect();
        let heads: Vec<(String, Option<Head>)> = futures::stream::iter(landed)
            .map(|table| async move {
                let head = self.lake.head(&table).await?;
                Ok::<_, Error>((table, head))
            })
            .buffer_unordered(8)
            .try_collect()
            .await?;
        Ok(heads
            .into_iter()
            .filter_map(|(table, head)| Some((table, head?)))
            .collect())
    }

    /// Publishes where nothing failed and something changed, and writes down what was checked.
    async fn conclude(
        &self,
        previous: Option<Publication>,
        inputs: BTreeMap<String, i64>,
        outcomes: BTreeMap<String, Outcome>,
        checks: BTreeMap<String, Vec<CheckResult>>,
    ) -> Result<Option<BuildReport>> {
        let at = (self.now)();
        let run_id = run_id(at);
        let mut is_new = outcomes
            .values()
            .any(|it| matches!(it, Outcome::Made { now: true, .. }));
        let results: Vec<CheckResult> = checks.values().flatten().cloned().collect();
        let checks_of = self.since(results, at).await?;
        let mut report = BuildReport::new(previous.as_ref().map(|it| it.id), &outcomes, checks_of);
        if report.is_publishable() {
            let mut next = self.next(previous.as_ref(), inputs, &outcomes, &checks, at, &run_id);
            let before = previous.as_ref();
            let told =
                release::revise(self.lake, self.kinds, self.shelf, before, &mut next).await?;
            is_new |= !told.is_empty();
            report.checks.extend(self.since(told, at).await?);
            if previous.as_ref().is_none_or(|it| !it.serves_same(&next)) {
                if !publication::publish(self.lake, &next).await? {
                    return Ok(None);
                }
                (self.observe)(BuildEvent::Published { id: next.id });
                report.published = Some(next.id);
                Span::current().record("publication", next.id);
            }
        }
        Span::current().record("built", report.built.len());
        Span::current().record("kept", report.kept);
        Span::current().record("failures", report.failures().len());
        if !is_new && report.published.is_none() {
            telemetry::idle(&Span::current());
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
        checks: &BTreeMap<String, Vec<CheckResult>>,
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
            failing: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            questions: self
                .catalog
                .questions()
                .iter()
                .map(|it| (it.question.full_name(), it.fingerprint()))
                .collect(),
            traceparent: Some(Traceparent::of(&Span::current()).to_string()),
        };
        for (table, node) in self.catalog.nodes() {
            let Some((outcome, version)) =
                outcomes.get(table).and_then(|it| Some((it, it.version()?)))
            else {
                continue;
            };
            next.tables.insert(table.clone(), version);
            next.models.insert(table.clone(), node.fingerprint());
            let old = previous.filter(|_| matches!(outcome, Outcome::Kept { .. }));
            let reads = match (outcome, old) {
                (Outcome::Made { candidate, .. }, _) => candidate.reads.clone(),
                (_, old) => old
                    .and_then(|it| it.reads.get(table).cloned())
                    .unwrap_or_default(),
            };
            next.reads.insert(table.clone(), reads);
            let left_out = match outcome {
                Outcome::Made { candidate, .. } => Some(candidate.set_aside.clone()),
                _ => old.and_then(|it| it.set_aside.get(table).cloned()),
            };
            if let Some(left_out) = left_out.filter(|it| !it.is_empty()) {
                next.set_aside.insert(table.clone(), left_out);
            }
            let passed = match checks.get(table) {
                Some(results) => results.iter().filter(|it| it.passed()).count(),
                None => old
                    .and_then(|it| it.checks_passed.get(table).copied())
                    .unwrap_or_default(),
            };
            next.checks_passed.insert(table.clone(), passed);
            let results = checks.get(table).map(Vec::as_slice).unwrap_or_default();
            let failing = failing(table, previous, old.is_some(), results);
            next.failing.insert(table.clone(), failing);
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
            let last =
                past.find(|it| it.result.model == result.model && it.result.check == result.check);
            let since = (!result.passed()).then(|| last.and_then(|it| it.since).unwrap_or(now));
            Checked { result, since }
        });
        Ok(checked.collect())
    }
}

/// The checks of a table that fail: by what was checked now, and else as it was published. Where the table `stays`, what was not
/// checked is as it was; otherwise only what it refers to may not have been.
fn failing(
    table: &str,
    previous: Option<&Publication>,
    stays: bool,
    results: &[CheckResult],
) -> BTreeSet<String> {
    let was = previous.and_then(|it| it.failing.get(table));
    let is_open = |name: &&String| {
        (stays || name.starts_with(REFERENCE)) && !results.iter().any(|it| it.check == **name)
    };
    let still = was.into_iter().flatten().filter(is_open).cloned();
    let now = results.iter().filter(|it| !it.passed());
    still.chain(now.map(|it| it.check.clone())).collect()
}

/// An id that sorts by time.
fn run_id(at: DateTime<Utc>) -> String {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        at.timestamp_subsec_nanos(),
    ))
    .to_string()
}

#[cfg(test)]
mod tests;
