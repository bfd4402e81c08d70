//! The part of a build where models are computed, those that wait for nothing side by side.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use datafusion::{
    common::JoinType,
    prelude::{SessionContext, ident},
};
use futures::{StreamExt, stream::FuturesUnordered};
use spec::Reference;
use telemetry::{SPANS, metric};
use tracing::{Instrument, field::Empty};

use super::{
    BuildEvent, Builder, Candidates, Changed, Extent, changed_ids::ChangedIds, write::Made,
};
use crate::{
    Error, Result, SetAside,
    checks::{self, CheckResult},
    models::Node,
    publication::Publication,
    session,
};

/// What builds of this process have computed and not published: a failed check does not make the
/// next build compute the same again.
pub(crate) type Computed = BTreeMap<String, Candidate>;

/// A table version that is not published yet.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(super) fingerprint: String,
    pub(super) reads: BTreeMap<String, String>,
    /// The published version it was made from.
    pub(super) base: Option<i64>,
    pub(super) version: i64,
    /// The rows that are others than in that; `None` where all may be.
    pub(super) changed: Option<Changed>,
    /// How many rows were computed.
    pub(super) rows: u64,
    pub(super) extent: Extent,
    pub(super) checks: Vec<CheckResult>,
    /// The rows it leaves out.
    pub(super) set_aside: Vec<SetAside>,
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
        candidate: Box<Candidate>,
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
    /// What was looked for already.
    pub(super) changed_ids: Arc<ChangedIds>,
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
        let base = self.previous.as_ref().and_then(|it| it.tables.get(&table));
        if let Some(candidate) = self.computed.get(&table)
            && candidate.fingerprint == fingerprint
            && candidate.reads == reads
            && candidate.base == base.copied()
        {
            self.candidates.set(&table, candidate.version);
            self.changed_ids.note(&table, candidate.changed.as_ref());
            let candidate = candidate.clone();
            return Ok(Outcome::Made {
                candidate: Box::new(candidate),
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
        let made = Box::pin(self.make(node, &table).instrument(span.clone())).await;
        metric::BUILD_MODEL.record([&table], begun.elapsed().as_secs_f64());
        match made {
            Ok((made, checks)) => {
                let failed = checks.iter().filter(|it| !it.passed()).count();
                span.record("rows", made.rows);
                span.record("failed_checks", failed);
                (self.builder.observe)(BuildEvent::Built {
                    model: table,
                    extent: made.extent.clone(),
                    rows: made.rows,
                    failed,
                });
                let candidate = Candidate {
                    fingerprint,
                    reads,
                    base: base.copied(),
                    version: made.version,
                    changed: made.changed,
                    rows: made.rows,
                    extent: made.extent,
                    checks,
                    set_aside: made.set_aside,
                };
                Ok(Outcome::Made {
                    candidate: Box::new(candidate),
                    now: true,
                })
            }
            Err(Error::Lake(err)) if err.is_retryable() => Err(Error::Lake(err)),
            Err(err) => {
                telemetry::failed(&span, err.fix_by());
                (self.builder.observe)(BuildEvent::Failed { model: table });
                let reason = match err {
                    // An error of the query comes back from writing its rows; the table is known here.
                    Error::Lake(
                        lake::Error::Rows { reason, .. } | lake::Error::Memory { reason, .. },
                    ) => reason,
                    err => err.to_string(),
                };
                // The engine quotes values it cannot convert.
                Ok(Outcome::Failed(contract::scrub(&reason).into_owned()))
            }
        }
    }

    /// Computes and checks a model.
    async fn make(&self, node: &Node, table: &str) -> Result<(Made, Vec<CheckResult>)> {
        let fallback = Box::pin(async {
            let turns = self.turns(node).await?;
            let sparing = self.sparing();
            let last = sparing.write(node, table, turns.as_ref());
            match &turns {
                Some(_) => {
                    let in_turn = self.write(node, table, turns.as_ref());
                    Box::pin(spared(in_turn, last)).await
                }
                None => last.await,
            }
        });
        let made = Box::pin(spared(self.write(node, table, None), fallback)).await?;
        self.candidates.set(table, made.version);
        self.changed_ids.note(table, made.changed.as_ref());
        let checks = self.check(node, table, &made).await?;
        Ok((made, checks))
    }

    /// The same step, holding little in memory.
    fn sparing(&self) -> Step<'_> {
        Step {
            builder: self.builder,
            previous: self.previous.clone(),
            references: self.references.clone(),
            candidates: Arc::clone(&self.candidates),
            ctx: session::sparing(&self.ctx),
            computed: self.computed,
            changed_ids: Arc::clone(&self.changed_ids),
        }
    }

    /// Checks the rows of a candidate. What passed when it was published passes still for the parts that stayed.
    async fn check(&self, node: &Node, table: &str, made: &Made) -> Result<Vec<CheckResult>> {
        let failing = self.previous.as_ref().and_then(|it| it.failing.get(table));
        let since = made.changed.as_ref().zip(failing);
        let sparing = session::sparing(&self.ctx);
        let results = spared(
            checks::rows(&self.ctx, node, since),
            checks::rows(&sparing, node, since),
        );
        let mut results = results.await?;
        results.push(CheckResult {
            model: table.to_owned(),
            check: "row_count".to_owned(),
            is_error: false,
            is_set_aside: false,
            failed_rows: i64::try_from(made.drift.len()).unwrap_or(i64::MAX),
            sample: made.drift.iter().take(5).cloned().collect(),
        });
        results.extend(checks::set_aside(node, &made.set_aside));
        Ok(results)
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

    /// Checks what tables refer to, wherever one side of a reference changed.
    pub(super) async fn references(
        &self,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<Vec<(String, Vec<CheckResult>)>> {
        let sparing = self.sparing();
        let mut found = Vec::new();
        for (table, node) in self.builder.catalog.nodes() {
            let mut results = Vec::new();
            for reference in checks::references_of(node) {
                let is_built = |table: &String| {
                    let outcome = outcomes.get(table);
                    outcome.is_none_or(|it| it.version().is_some())
                };
                if !is_built(table) || !is_built(&reference.table) {
                    continue;
                }
                let pointing = self.changed(outcomes.get(table));
                let is_passing = self.previous.as_ref().is_some_and(|it| {
                    let failing = it.failing.get(table);
                    failing.is_some_and(|it| !it.contains(&checks::reference_check(&reference)))
                });
                let lost_keys = async || {
                    let sparing = sparing.lost_keys(&reference, outcomes);
                    spared(self.lost_keys(&reference, outcomes), sparing).await
                };
                let looked_at = if is_passing && !lost_keys().await? {
                    pointing.as_ref()
                } else {
                    let pointed = self.changed(outcomes.get(&reference.table));
                    let is_same =
                        |it: &Option<Changed>| it.as_ref().is_some_and(Changed::is_nothing);
                    if is_same(&pointing) && is_same(&pointed) {
                        continue;
                    }
                    None
                };
                if looked_at.is_some_and(Changed::is_nothing) {
                    continue;
                }
                let result = spared(
                    checks::reference(&self.ctx, node, &reference, looked_at),
                    checks::reference(&sparing.ctx, node, &reference, looked_at),
                );
                results.push(result.await?);
            }
            if !results.is_empty() {
                found.push((table.clone(), results));
            }
        }
        Ok(found)
    }

    /// Asks the checks that are queries of their own, wherever something they read changed, or they did not pass as they are.
    pub(super) async fn questions(
        &self,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<Vec<CheckResult>> {
        let sparing = session::sparing(&self.ctx);
        let mut results = Vec::new();
        for asked in self.builder.catalog.questions() {
            let outcomes: Vec<&Outcome> = asked
                .reads
                .iter()
                .filter_map(|it| outcomes.get(it))
                .collect();
            if outcomes.iter().any(|it| it.version().is_none()) {
                continue;
            }
            let is_same = |outcome: &&&Outcome| {
                self.changed(Some(**outcome))
                    .is_some_and(|it| it.is_nothing())
            };
            let question = &asked.question;
            let has_passed = self.previous.as_ref().is_some_and(|it| {
                let failing = it.failing.get(&question.table);
                failing.is_some_and(|it| !it.contains(&question.name))
                    && it.questions.get(&question.full_name()) == Some(&asked.fingerprint())
            });
            let is_given_same = asked.reads.iter().all(|it| !it.starts_with("raw."));
            if has_passed
                && is_given_same
                && outcomes.iter().filter(is_same).count() == outcomes.len()
            {
                continue;
            }
            let result = spared(
                checks::question(&self.ctx, question),
                checks::question(&sparing, question),
            );
            results.push(result.await?);
        }
        Ok(results)
    }

    /// The rows of a table that are others than it was published with; `None` where all may be. A code list has none.
    fn changed(&self, outcome: Option<&Outcome>) -> Option<Changed> {
        match outcome {
            None | Some(Outcome::Kept { .. }) => Some(Changed::default()),
            Some(Outcome::Made { candidate, .. }) => candidate.changed.clone(),
            Some(Outcome::Failed(_) | Outcome::Blocked(_)) => None,
        }
    }

    /// Whether the table that a reference points to may have lost some of what can be pointed to.
    async fn lost_keys(
        &self,
        reference: &Reference,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<bool> {
        let table = &reference.table;
        let Some(Outcome::Made { candidate, .. }) = outcomes.get(table) else {
            return Ok(false);
        };
        let (Some(changed), Some(base)) = (&candidate.changed, candidate.base) else {
            return Ok(true);
        };
        if changed.is_nothing() {
            return Ok(false);
        }
        let key = &reference.target;
        let before = self.part_rows(table, base, &changed.parts).await?;
        let after = self
            .part_rows(table, candidate.version, &changed.parts)
            .await?;
        let lost = async {
            let before = before.select(vec![ident(key)])?;
            let after = after.select(vec![ident(key).alias("_after")])?;
            let lost = before.join(after, JoinType::LeftAnti, &[key], &["_after"], None)?;
            lost.limit(0, Some(1))?.count().await
        };
        let lost = lost.await;
        let lost = lost.map_err(|err| Error::query(format!("comparing {table}"), err))?;
        Ok(lost > 0)
    }
}

/// What some work comes to; where there is not enough memory for it, what work that holds less does.
async fn spared<T>(
    work: impl Future<Output = Result<T>>,
    sparing: impl Future<Output = Result<T>>,
) -> Result<T> {
    match work.await {
        Err(err) if err.needs_memory() => {
            tracing::info!(%err, "not enough memory, trying again with less of it");
            sparing.await
        }
        done => done,
    }
}
