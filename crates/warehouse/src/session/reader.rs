//! What a reader sees: the current publication, the same one from the first table of a query to the last, and through a transaction.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use datafusion::{
    config::ConfigOptions, error::Result, logical_expr::LogicalPlan,
    optimizer::analyzer::AnalyzerRule,
};
use lake::Lake;
use telemetry::{Traceparent, metric};
use tracing::Span;

use super::tables::{At, Versions, landed, landed_names};
use crate::{
    publication::{self, Publication},
    release::{self, REVISION},
};

/// How long a query may take to name its tables. A statement that is planned and never run leaves its
/// pin behind; after this a later one looks again.
const PLANNING: Duration = Duration::from_secs(5);

/// The publication last seen, shared by all sessions.
#[derive(Debug, Default)]
pub(crate) struct Current {
    seen: RwLock<Option<Arc<Publication>>>,
}

impl Current {
    /// The publication last seen, without looking.
    pub(crate) fn seen(&self) -> Option<Arc<Publication>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(Arc::clone)
    }

    /// The current publication.
    pub(crate) async fn look(&self, lake: &Lake) -> crate::Result<Option<Arc<Publication>>> {
        let known = self.seen().map(|it| it.as_ref().clone());
        let found = publication::current(lake, known).await?.map(Arc::new);
        if let Some(publication) = &found {
            metric::PUBLICATION.set([], publication.id as f64);
            metric::PUBLICATION_TIME.set([], publication.at.timestamp() as f64);
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let newest = |it: &Option<Arc<Publication>>| it.as_ref().map_or(0, |it| it.id);
        if newest(&found) >= newest(&seen) {
            seen.clone_from(&found);
        }
        Ok(found)
    }
}

/// Has the queries of a session read the same publication for as long as it is held, as in a transaction. An extension of the
/// session's configuration.
#[derive(Debug, Default)]
pub struct Hold {
    is_held: AtomicBool,
    /// What the query now being planned reads, and when its first table was named.
    pinned: Mutex<Option<(Instant, Arc<Publication>)>>,
}

impl Hold {
    /// From now on the publication that the next query reads is kept.
    pub fn hold(&self) {
        if !self.is_held.swap(true, Ordering::AcqRel) {
            self.set(None);
        }
    }

    /// From now on each query reads the current publication.
    pub fn release(&self) {
        self.is_held.store(false, Ordering::Release);
        self.set(None);
    }

    fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    fn get(&self) -> Option<Arc<Publication>> {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, publication) = pinned.as_ref()?;
        (self.is_held() || at.elapsed() < PLANNING).then(|| Arc::clone(publication))
    }

    fn set(&self, to: Option<(Instant, Arc<Publication>)>) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// A query has come to its end, or failed.
    fn let_go(&self) {
        if !self.is_held() {
            self.set(None);
        }
    }
}

/// The publication one query reads.
#[derive(Debug)]
pub(crate) struct Pin {
    lake: Lake,
    current: Arc<Current>,
    hold: Arc<Hold>,
}

impl Pin {
    /// For a session over a lake; `current` is what all its sessions know.
    pub(crate) fn new(lake: Lake, current: Arc<Current>, hold: Arc<Hold>) -> Self {
        Self {
            lake,
            current,
            hold,
        }
    }

    async fn publication(&self) -> crate::Result<Option<Arc<Publication>>> {
        if let Some(held) = self.hold.get() {
            return Ok(Some(held));
        }
        let found = self.current.look(&self.lake).await?;
        if let Some(publication) = &found {
            name_in_span(publication);
        }
        let pinned = found.as_ref().map(|it| (Instant::now(), Arc::clone(it)));
        self.hold.set(pinned);
        Ok(found)
    }
}

#[async_trait]
impl Versions for Pin {
    fn names(&self, schema: &str) -> Vec<String> {
        if schema == "raw" {
            return landed_names();
        }
        let seen = self.current.seen();
        let tables = seen.iter().flat_map(|it| it.tables.keys());
        let own = REVISION.split_once('.');
        let tables: BTreeSet<&str> = tables
            .filter_map(|it| it.split_once('.'))
            .chain(own)
            .filter(|it| it.0 == schema)
            .map(|it| it.1)
            .collect();
        tables.into_iter().map(str::to_owned).collect()
    }

    async fn at(&self, table: &str) -> crate::Result<Option<At>> {
        if table.starts_with("raw.") {
            return Ok(landed(table).map(At::Newest));
        }
        let publication = self.publication().await?;
        let version = publication.and_then(|it| it.tables.get(table).copied());
        if version.is_none() && table == REVISION {
            // Nothing is released yet.
            return Ok(Some(At::Empty(release::revision_schema())));
        }
        if version.is_none() {
            // The query is about to fail; the one that tries again looks anew.
            self.hold.let_go();
        }
        Ok(version.map(At::Version))
    }
}

/// Says in the span of a query what it reads, and where that was built.
fn name_in_span(publication: &Publication) {
    let span = Span::current();
    span.record("publication", publication.id);
    let build = publication.traceparent.as_deref();
    if let Some(build) = build.and_then(Traceparent::parse) {
        build.link_from(&span);
    }
}

/// Lets go of the pin once a query has named all its tables: the analyzer runs right after.
#[derive(Debug)]
pub(crate) struct EndOfPlanning(pub(crate) Arc<Hold>);

impl AnalyzerRule for EndOfPlanning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        self.0.let_go();
        Ok(plan)
    }

    fn name(&self) -> &str {
        "end_of_planning"
    }
}
