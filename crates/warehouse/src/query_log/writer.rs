//! The task that writes `ops.query_log`: many statements at a time, each once.

use std::{sync::Arc, time::Duration};

use lake::{Lake, Txn};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{Lost, QUERY_LOG, Row, batch};
use crate::{Error, Result};

/// Statements that are not waited with any longer.
const BATCH: usize = 1000;

/// How long a statement waits at most, and a failed write until it is tried again. What goes wrong is told so often.
const EVERY: Duration = Duration::from_secs(60);

/// Writes what statements leave behind.
pub(super) struct Writer {
    lake: Lake,
    noted: mpsc::Receiver<Row>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    lost: Arc<Lost>,
    /// Whose batches the table counts.
    name: String,
    /// The last batch that is in the table.
    written: Option<i64>,
    waiting: Vec<Row>,
    /// Whether those waiting may be in the table already: nothing is added to them until that is known.
    is_unsure: bool,
    /// Whether the store is known to lose no commits.
    is_probed: bool,
    /// What went wrong and is not told yet.
    trouble: Option<Error>,
}

impl Writer {
    pub(super) fn new(
        lake: Lake,
        noted: mpsc::Receiver<Row>,
        flushes: mpsc::Receiver<oneshot::Sender<()>>,
        lost: Arc<Lost>,
    ) -> Self {
        Self {
            lake,
            noted,
            flushes,
            lost,
            name: format!("query_log-{}", Uuid::now_v7()),
            written: None,
            waiting: Vec::new(),
            is_unsure: false,
            is_probed: false,
            trouble: None,
        }
    }

    /// Writes until nobody can note anything any longer.
    pub(super) async fn run(mut self) {
        // Measured from the start.
        self.lost.add(0);
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = BATCH.saturating_sub(self.waiting.len());
            tokio::select! {
                taken = self.noted.recv_many(&mut self.waiting, room), if !self.is_unsure => {
                    if taken == 0 {
                        self.write().await;
                        self.tell();
                        return;
                    }
                    if self.waiting.len() >= BATCH {
                        self.write().await;
                    }
                }
                Some(done) = self.flushes.recv() => {
                    self.drain().await;
                    // Whoever asked may have stopped waiting.
                    done.send(()).ok();
                }
                _ = ticks.tick() => {
                    self.write().await;
                    self.tell();
                }
            }
        }
    }

    /// Writes all that is noted by now, as far as it can be written.
    async fn drain(&mut self) {
        loop {
            while !self.is_unsure
                && self.waiting.len() < BATCH
                && let Ok(row) = self.noted.try_recv()
            {
                self.waiting.push(row);
            }
            if self.waiting.is_empty() {
                return;
            }
            self.write().await;
            if self.is_unsure {
                return;
            }
        }
    }

    /// Writes those waiting. They go on waiting where trying again can help.
    async fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let Err(err) = Box::pin(self.append()).await else {
            self.waiting.clear();
            self.is_unsure = false;
            return;
        };
        self.is_unsure = matches!(&err, Error::Lake(err) if err.is_retryable());
        if !self.is_unsure {
            self.lost.add(self.waiting.len());
            self.waiting.clear();
        }
        self.trouble = Some(err);
    }

    async fn append(&mut self) -> Result<()> {
        if !self.is_probed {
            self.lake.probe().await?;
            self.is_probed = true;
        }
        let failed = |err| Error::query("putting statements together", err);
        let rows = batch(&self.waiting).map_err(failed)?;
        let version = self.written.map_or(1, |it| it + 1);
        let txn = Txn {
            app_id: self.name.clone(),
            base: self.written,
            version,
        };
        let schema = rows.schema();
        // Superseded can it only be by an earlier try of the same batch, whose outcome was not known.
        self.lake
            .append(QUERY_LOG, &schema, vec![rows], &[txn])
            .await?;
        self.written = Some(version);
        Ok(())
    }

    fn tell(&mut self) {
        let (lost, trouble) = (self.lost.take(), self.trouble.take());
        match trouble {
            Some(err) => {
                let (waiting, fix_by) = (self.waiting.len(), err.fix_by());
                tracing::warn!(%err, %fix_by, lost, waiting, "statements are not written to ops.query_log");
            }
            None if lost > 0 => {
                tracing::warn!(lost, "more statements than ops.query_log could take in");
            }
            None => {}
        }
    }
}
