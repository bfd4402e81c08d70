//! The sources of one worker among many: each source is the task of whoever has its slot.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::{Board, Group, Membership, SharedLog, slot_of};
use spec::Pipeline;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Claim, Ingest, Result,
    order::{Order, Report, orders},
    task::Task,
};

/// How often the board of orders is looked at.
const ORDERS_EVERY: Duration = Duration::from_secs(1);

/// How often reports that say something new are posted.
const REPORTS_EVERY: Duration = Duration::from_secs(2);

/// Called whenever a source's report changes.
pub type Observer = Arc<dyn Fn(&Report) + Send + Sync>;

/// Reads a source's pipeline file again; the error is for the log.
pub type Reload = Arc<dyn Fn(&str) -> Result<Pipeline, String> + Send + Sync>;

impl Ingest {
    /// Reads those of `pipelines` that are this worker's, each on its own schedule, until `stop`. A source
    /// that fails does not disturb the others. Returns once every read has ended cleanly.
    ///
    /// `member` names this worker; no two may have the same name.
    ///
    /// # Errors
    /// When the group of workers cannot be joined, or is lost for good because another process goes by this name.
    pub async fn run(
        &self,
        member: &str,
        pipelines: Vec<Pipeline>,
        reload: Reload,
        stop: CancellationToken,
        observe: Observer,
    ) -> Result<()> {
        let membership: Arc<dyn Membership> = self.log.join(Group::Workers, member).await?.into();
        let stop = stop.child_token();
        let first = Arc::new(orders(self.log.as_ref()).await?);
        let (send_orders, orders) = watch::channel(first);
        let reports = Reports::default();
        let boards = tokio::spawn(keep_boards(
            Arc::clone(&self.log),
            send_orders,
            reports.clone(),
            stop.clone(),
        ));
        let noted = reports.clone();
        let observe: Observer = Arc::new(move |report: &Report| {
            noted.note(report);
            observe(report);
        });
        let mut slots = membership.slots();
        let mut running: HashMap<String, (CancellationToken, JoinHandle<()>)> = HashMap::new();
        let mut out = None;
        while !stop.is_cancelled() {
            let mine = slots.borrow_and_update().clone();
            for pipeline in &pipelines {
                let slot = slot_of(&pipeline.name, membership.count());
                if !mine.contains(&slot) {
                    if let Some((lost, task)) = running.remove(&pipeline.name) {
                        lost.cancel();
                        ended(&pipeline.name, task).await;
                        // What is said of it from now on, its new worker says.
                        reports.forget(&pipeline.name);
                    }
                } else if !running.contains_key(&pipeline.name) {
                    let task = Task {
                        ingest: self.clone(),
                        pipeline: pipeline.clone(),
                        claim: Claim {
                            membership: Arc::clone(&membership),
                            slot,
                        },
                        orders: orders.clone(),
                        reload: Arc::clone(&reload),
                        observe: Arc::clone(&observe),
                        report: Report::new(&pipeline.name, member),
                        order: Order::default(),
                    };
                    let stop = stop.child_token();
                    let work = tokio::spawn(task.run(stop.clone()));
                    running.insert(pipeline.name.clone(), (stop, work));
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                why = membership.lost() => {
                    out = Some(why);
                    stop.cancel();
                }
                Ok(()) = slots.changed() => {}
            }
        }
        for (source, (_, task)) in running {
            ended(&source, task).await;
            if out.is_some() {
                reports.forget(&source);
            }
        }
        ended("the boards", boards).await;
        out.map_or(Ok(()), |why| Err(why.into()))
    }
}

async fn ended(what: &str, task: JoinHandle<()>) {
    if let Err(err) = task.await {
        tracing::error!(what, %err, "a task ended badly");
    }
}

/// The last report of each source of this worker.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<BTreeMap<String, Report>>>);

impl Reports {
    fn note(&self, report: &Report) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(report.source.clone(), report.clone());
    }

    fn forget(&self, source: &str) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.remove(source);
    }

    fn all(&self) -> Vec<Report> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.values().cloned().collect()
    }
}

/// Brings orders in and reports out.
async fn keep_boards(
    log: SharedLog,
    send_orders: watch::Sender<Arc<BTreeMap<String, Order>>>,
    reports: Reports,
    stop: CancellationToken,
) {
    let mut posted: BTreeMap<String, Report> = BTreeMap::new();
    let mut every = tokio::time::interval(ORDERS_EVERY);
    let mut post_in = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = every.tick() => {}
        }
        match orders(log.as_ref()).await {
            Ok(orders) => {
                send_orders.send_if_modified(|known| {
                    let modified = **known != orders;
                    if modified {
                        *known = Arc::new(orders);
                    }
                    modified
                });
            }
            Err(err) => tracing::warn!(%err, "the board of orders cannot be read"),
        }
        post_in = post_in.saturating_sub(ORDERS_EVERY);
        if post_in.is_zero() {
            post(&log, &reports, &mut posted).await;
            post_in = REPORTS_EVERY;
        }
    }
    post(&log, &reports, &mut posted).await;
}

async fn post(log: &SharedLog, reports: &Reports, posted: &mut BTreeMap<String, Report>) {
    let reports = reports.all();
    // One that comes back is said anew.
    posted.retain(|source, _| reports.iter().any(|it| &it.source == source));
    for report in reports {
        let last = posted.get(&report.source);
        if last.is_some_and(|last| report.says_the_same_as(last)) {
            continue;
        }
        let Ok(text) = serde_json::to_string(&report) else {
            continue;
        };
        match log.post(Board::Reports, &report.source, Some(&text)).await {
            Ok(()) => {
                posted.insert(report.source.clone(), report);
            }
            Err(err) => tracing::warn!(source = report.source, %err, "a report is not posted"),
        }
    }
}
