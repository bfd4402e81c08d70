//! What a worker hears and says while it works: orders and pipeline files in, reports out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Board, SharedLog};
use chrono::Utc;
use spec::{Mistake, Pipeline};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result, Standing,
    order::{Order, Report, orders},
};

/// How often orders and pipeline files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often reports that say something new are posted.
const POST_EVERY: Duration = Duration::from_secs(2);

/// How often a report is posted that says nothing new, so that a worker that is gone can be told from one at rest.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(30);

/// A log that says nothing for so long cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pipeline files say, by source; a file that cannot be understood is one mistake.
pub type Pipelines = BTreeMap<String, Result<Pipeline, Mistake>>;

/// Reads the pipeline files. The error says why there are none to be found.
pub type ReadPipelines = Arc<dyn Fn() -> Result<Pipelines, String> + Send + Sync>;

/// Everything that people want of sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) pipelines: Pipelines,
}

/// What people want of one source.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wish {
    pub(crate) order: Order,
    /// `None` once its file is gone.
    pub(crate) pipeline: Option<Result<Pipeline, Mistake>>,
}

impl Wishes {
    pub(crate) fn of(&self, source: &str) -> Wish {
        Wish {
            order: self.orders.get(source).cloned().unwrap_or_default(),
            pipeline: self.pipelines.get(source).cloned(),
        }
    }
}

/// Reads pipeline files off the async threads: their folder may be on a network disk.
///
/// # Errors
/// [`Error::Settings`] when they are not to be found.
pub(crate) async fn read_pipelines(read: &ReadPipelines) -> Result<Pipelines> {
    let read = Arc::clone(read);
    let work = tokio::task::spawn_blocking(move || read()).await;
    work.map_err(|err| Error::Settings(format!("the pipeline files were not read: {err}")))?
        .map_err(Error::Settings)
}

/// The last report of each source of this worker; `None` for one that is to be taken off the board.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<BTreeMap<String, Option<Report>>>>);

impl Reports {
    pub(crate) fn note(&self, report: &Report) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(report.source.clone(), Some(report.clone()));
    }

    /// Says no more of a source: another worker does.
    pub(crate) fn forget(&self, source: &str) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.remove(source);
    }

    /// Takes what was said of a source off the board: there is no such source any more.
    pub(crate) fn take_off(&self, source: &str) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(source.to_owned(), None);
    }

    fn is_off(&self, source: &str) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.get(source).is_some_and(Option::is_none) {
            reports.remove(source);
        }
    }

    fn all(&self) -> BTreeMap<String, Option<Report>> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.clone()
    }
}

/// Follows what people want, and posts what this worker says.
pub(crate) struct Boards {
    pub(crate) log: SharedLog,
    pub(crate) read: ReadPipelines,
    pub(crate) wishes: watch::Sender<Arc<Wishes>>,
    pub(crate) reports: Reports,
    pub(crate) standing: watch::Sender<Standing>,
    /// What the files said when they were looked at last.
    pub(crate) seen: Pipelines,
}

/// Reports on the board, and when they were put there.
type Posted = BTreeMap<String, (Report, Instant)>;

impl Boards {
    /// Works until `stop`; then says that nobody runs this worker's sources any more.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let mut posted = Posted::new();
        let mut every = tokio::time::interval(LOOK_EVERY);
        let mut post_in = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = every.tick() => {}
            }
            self.look().await;
            post_in = post_in.saturating_sub(LOOK_EVERY);
            if post_in.is_zero() {
                self.post(&mut posted, false).await;
                post_in = POST_EVERY;
            }
        }
        self.post(&mut posted, true).await;
    }

    async fn look(&mut self) {
        let orders = match tokio::time::timeout(PATIENCE, orders(self.log.as_ref())).await {
            Ok(Ok(orders)) => Ok(orders),
            Ok(Err(err)) => Err(err.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let why = orders.as_ref().err().cloned();
        self.standing.send_if_modified(|it| {
            let changed = it.unreachable != why;
            if changed && let Some(why) = &why {
                tracing::warn!(why, "the board of orders cannot be read");
            }
            it.unreachable = why;
            changed
        });
        let known = Arc::clone(&self.wishes.borrow());
        let wishes = Wishes {
            orders: orders.unwrap_or_else(|_| known.orders.clone()),
            pipelines: self.settled(&known).await,
        };
        self.wishes.send_if_modified(|known| {
            let modified = **known != wishes;
            if modified {
                *known = Arc::new(wishes);
            }
            modified
        });
    }

    /// What the files say: what two looks in a row agree on, because a file that is just being saved is half a file or none.
    async fn settled(&mut self, known: &Wishes) -> Pipelines {
        let now = match read_pipelines(&self.read).await {
            Ok(now) => now,
            Err(err) => {
                tracing::warn!(%err, "pipeline files not found; going on with what they said last");
                return known.pipelines.clone();
            }
        };
        let settled = if now == self.seen {
            now.clone()
        } else {
            known.pipelines.clone()
        };
        self.seen = now;
        settled
    }

    async fn post(&self, posted: &mut Posted, last: bool) {
        let reports = self.reports.all();
        // One that comes back is said anew.
        posted.retain(|source, _| reports.contains_key(source));
        for (source, report) in reports {
            let Some(mut report) = report else {
                self.take_off(&source).await;
                continue;
            };
            let known = posted.get(&source).is_some_and(|(said, when)| {
                report.says_the_same_as(said) && when.elapsed() < HEARTBEAT
            });
            if known && !last {
                continue;
            }
            report.at = Utc::now();
            if last {
                report.worker = None;
            }
            let Ok(text) = serde_json::to_string(&report) else {
                continue;
            };
            match self.log.post(Board::Reports, &source, Some(&text)).await {
                Ok(()) => {
                    posted.insert(source, (report, Instant::now()));
                }
                Err(err) => {
                    tracing::warn!(source, %err, "a report is not posted");
                    if last {
                        return;
                    }
                }
            }
        }
    }

    async fn take_off(&self, source: &str) {
        match self.log.post(Board::Reports, source, None).await {
            Ok(()) => self.reports.is_off(source),
            Err(err) => tracing::warn!(source, %err, "a report is not taken off the board"),
        }
    }
}
