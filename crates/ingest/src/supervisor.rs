//! The sources of one worker among many: each source is the task of whoever has its slot.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bus::{Group, Membership, slot_of};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Claim, Ingest, Result,
    boards::{Boards, ReadPipelines, Reports, Wishes, read_pipelines},
    order::{Report, orders, reports},
    task::Task,
};

/// How often tasks are looked at, should one have ended by itself: that is a bug of ours, and it is begun again.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Called whenever a source's report changes.
pub type Observer = Arc<dyn Fn(&Report) + Send + Sync>;

impl Ingest {
    /// Reads those sources that are this worker's, each on its own schedule, until `stop`. A source that fails does not disturb the others.
    /// A pipeline file that changes, comes or goes is followed. Returns once every read has ended cleanly.
    ///
    /// `member` names this worker; no two may have the same name.
    ///
    /// # Errors
    /// When there are no pipeline files to be found, or the group of workers cannot be joined or is lost for good because another process
    /// goes by this name.
    pub async fn run(
        &self,
        member: &str,
        read: ReadPipelines,
        stop: CancellationToken,
        observe: Observer,
    ) -> Result<()> {
        let pipelines = read_pipelines(&read).await?;
        let membership: Arc<dyn Membership> = self.log.join(Group::Workers, member).await?.into();
        let first = Wishes {
            orders: orders(self.log.as_ref()).await?,
            pipelines: pipelines.clone(),
        };
        let (send_wishes, wishes) = watch::channel(Arc::new(first));
        let reports = Reports::default();
        let boards = Boards {
            log: Arc::clone(&self.log),
            read,
            wishes: send_wishes,
            reports: reports.clone(),
            standing: self.standing.clone(),
            seen: pipelines,
        };
        let tasks_ended = CancellationToken::new();
        let boards = tokio::spawn(boards.keep(tasks_ended.clone()));
        let noted = reports.clone();
        let observe: Observer = Arc::new(move |report: &Report| {
            noted.note(report);
            observe(report);
        });
        let tasks = Tasks {
            ingest: self,
            member,
            membership,
            wishes,
            reports,
            observe,
            running: HashMap::new(),
        };
        let out = tasks.keep(&stop.child_token()).await;
        tasks_ended.cancel();
        ended("the boards", boards).await;
        out.map_or(Ok(()), |why| Err(why.into()))
    }
}

/// The tasks of this worker.
struct Tasks<'a> {
    ingest: &'a Ingest,
    member: &'a str,
    membership: Arc<dyn Membership>,
    wishes: watch::Receiver<Arc<Wishes>>,
    reports: Reports,
    observe: Observer,
    running: HashMap<String, (CancellationToken, JoinHandle<()>)>,
}

impl Tasks<'_> {
    /// Starts and ends tasks as slots and pipeline files come and go, until `stop` or until the group is lost, which is told why. Then all
    /// have ended.
    async fn keep(mut self, stop: &CancellationToken) -> Option<bus::Error> {
        let mut out = None;
        let mut slots = self.membership.slots();
        while !stop.is_cancelled() {
            let mine = slots.borrow_and_update().clone();
            let member = !mine.is_empty();
            self.ingest
                .standing
                .send_if_modified(|it| std::mem::replace(&mut it.member, member) != member);
            let wishes = Arc::clone(&self.wishes.borrow_and_update());
            let slot = |source: &str| slot_of(source, self.membership.count());
            let is_ours = |source: &String| mine.contains(&slot(source));
            let mut kept = BTreeSet::new();
            let mut over = Vec::new();
            for (source, (_, task)) in &self.running {
                let wanted = wishes.pipelines.contains_key(source);
                if is_ours(source) && wanted && !task.is_finished() {
                    kept.insert(source.clone());
                } else {
                    over.push(source.clone());
                }
            }
            let wanted = wishes.pipelines.keys();
            let new: Vec<String> = wanted
                .filter(|it| is_ours(it) && !kept.contains(*it))
                .cloned()
                .collect();
            self.end(over, &wishes).await;
            self.begin(new, stop).await;
            tokio::select! {
                () = stop.cancelled() => {}
                why = self.membership.lost() => {
                    out = Some(why);
                    stop.cancel();
                }
                Ok(()) = slots.changed() => {}
                Ok(()) = self.wishes.changed() => {}
                () = tokio::time::sleep(CHECK_EVERY) => {}
            }
        }
        for (source, (_, task)) in self.running.drain() {
            ended(&source, task).await;
            if out.is_some() {
                self.reports.forget(&source);
            }
        }
        out
    }

    async fn begin(&mut self, sources: Vec<String>, stop: &CancellationToken) {
        if sources.is_empty() {
            return;
        }
        // It only tells more: without it a source begins as one that was never read.
        let before = reports(self.ingest.log.as_ref()).await.unwrap_or_default();
        for source in sources {
            let claim = Claim {
                membership: Arc::clone(&self.membership),
                slot: slot_of(&source, self.membership.count()),
            };
            let report = Report::begun(&source, self.member, before.get(&source));
            let task = Task::new(
                self.ingest.clone(),
                claim,
                self.wishes.clone(),
                Arc::clone(&self.observe),
                Arc::new(|pause| Box::pin(tokio::time::sleep(pause))),
                report,
            );
            let stop = stop.child_token();
            let work = tokio::spawn(task.run(stop.clone()));
            self.running.insert(source, (stop, work));
        }
    }

    async fn end(&mut self, sources: Vec<String>, wishes: &Wishes) {
        for source in sources {
            if let Some((over, task)) = self.running.remove(&source) {
                over.cancel();
                ended(&source, task).await;
            }
            if wishes.pipelines.contains_key(&source) {
                // What is said of it from now on, its new worker says.
                self.reports.forget(&source);
            } else {
                tracing::info!(source, "its pipeline file is gone; it is not read any more");
                self.reports.take_off(&source);
            }
        }
    }
}

async fn ended(what: &str, task: JoinHandle<()>) {
    if let Err(err) = task.await {
        tracing::error!(what, %err, "a task ended badly");
    }
}
