//! One source kept being read: on its schedule, tried again when it fails, resting when told to.
//!
//! Who can fix a failure decides what follows it: the other side's failures are waited out, with longer and longer pauses;
//! a lost task is somebody else's; everything else waits for a person.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rand::RngExt;
use spec::Pipeline;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Claim, Error, Ingest, ReadReport,
    order::{Order, Report, State, Trouble},
    supervisor::{Observer, Reload},
};

/// The longest pause between two tries of a failing source.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Failures in a row after which the other side is left alone: one try in each longest pause.
const BREAKER: u32 = 6;

/// The pause before a task is looked at again that another process has taken.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// A source's task on this worker.
pub(crate) struct Task {
    pub(crate) ingest: Ingest,
    pub(crate) pipeline: Pipeline,
    pub(crate) claim: Claim,
    pub(crate) orders: watch::Receiver<Arc<BTreeMap<String, Order>>>,
    pub(crate) reload: Reload,
    pub(crate) observe: Observer,
    pub(crate) report: Report,
    /// The order that the task is acting on.
    pub(crate) order: Order,
}

/// Why a task stopped waiting.
enum Woken {
    Stopped,
    Ordered,
    TimeUp,
}

impl Task {
    /// Works until `stop`. What is not committed by then is given up.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.order = self.ordered();
        while !stop.is_cancelled() {
            if self.order.pauses(self.pipeline.enabled) {
                self.enter(State::Paused, None, None);
                self.wait(None, &stop).await;
                continue;
            }
            match self.read(&stop).await {
                Some(Ok(read)) => self.rest(&read, &stop).await,
                Some(Err(err)) => self.heal(&err, &stop).await,
                // Stopped, or ordered otherwise.
                None => {}
            }
        }
    }

    /// One read; `None` when it was broken off.
    async fn read(&mut self, stop: &CancellationToken) -> Option<Result<ReadReport, Error>> {
        self.enter(State::Running, self.report.trouble.clone(), None);
        let breaking_off = stop.child_token();
        let (observe, base) = (Arc::clone(&self.observe), self.report.clone());
        let running = move |read: &ReadReport| {
            let mut report = base.clone();
            report.count(read);
            observe(&report);
        };
        let (ingest, pipeline) = (self.ingest.clone(), self.pipeline.clone());
        let claim = self.claim.clone();
        let reading = ingest.read_as(&pipeline, Some(&claim), &breaking_off, &running);
        tokio::pin!(reading);
        loop {
            tokio::select! {
                read = &mut reading => {
                    return (!breaking_off.is_cancelled()).then_some(read);
                }
                changed = self.orders.changed(), if !breaking_off.is_cancelled() => {
                    if changed.is_err() || self.take_order() {
                        breaking_off.cancel();
                    }
                }
            }
        }
    }

    async fn rest(&mut self, read: &ReadReport, stop: &CancellationToken) {
        self.report.failures = 0;
        self.report.count(read);
        let pause = self.pipeline.schedule.wait(Utc::now());
        self.enter(State::Waiting, None, after(pause));
        self.wait(Some(pause), stop).await;
    }

    async fn heal(&mut self, err: &Error, stop: &CancellationToken) {
        let source = self.pipeline.name.clone();
        if err.is_lost() {
            tracing::info!(source, %err, "the task is elsewhere");
            self.wait_until_confirmed(stop).await;
            return;
        }
        self.report.failures += 1;
        let failures = self.report.failures;
        let trouble = Some(Trouble::of(&source, err));
        metrics::counter!("pejl_source_failures_total", "source" => source.clone()).increment(1);
        if err.is_retryable() {
            let pause = pause_after(failures);
            tracing::warn!(source, %err, failures, ?pause, "source failed, will retry");
            self.enter(State::Degraded, trouble, after(pause));
            self.wait(Some(pause), stop).await;
        } else {
            let fix_by = err.fix_by();
            tracing::error!(source, %err, %fix_by, "source needs a human");
            self.enter(State::NeedsAHuman, trouble, None);
            self.wait(None, stop).await;
        }
    }

    /// Waits until the task is this worker's again. Opening a producer to find out would fence whoever has it, again and again.
    async fn wait_until_confirmed(&mut self, stop: &CancellationToken) {
        let Claim { membership, slot } = self.claim.clone();
        loop {
            self.wait(Some(LOST_PAUSE), stop).await;
            if stop.is_cancelled() || matches!(membership.confirm(slot).await, Ok(true)) {
                return;
            }
        }
    }

    /// Waits out a pause, or for ever; an order for this source ends either.
    async fn wait(&mut self, pause: Option<Duration>, stop: &CancellationToken) {
        let until = pause.map(|it| tokio::time::Instant::now() + it);
        loop {
            let time_up = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                () = stop.cancelled() => Woken::Stopped,
                () = time_up => Woken::TimeUp,
                changed = self.orders.changed() => match changed {
                    Ok(()) => Woken::Ordered,
                    Err(_) => Woken::Stopped,
                },
            };
            if !matches!(woken, Woken::Ordered) || self.take_order() {
                return;
            }
        }
    }

    /// Takes up a new order, if there is one for this source.
    fn take_order(&mut self) -> bool {
        let order = self.ordered();
        if order == self.order {
            return false;
        }
        let restarted = order.restarts != self.order.restarts;
        self.order = order;
        if restarted {
            self.report.failures = 0;
            match (self.reload)(&self.pipeline.name) {
                Ok(pipeline) => self.pipeline = pipeline,
                Err(err) => {
                    tracing::warn!(
                        source = self.pipeline.name,
                        err,
                        "its pipeline file cannot be read; going on with the one before"
                    );
                }
            }
        }
        true
    }

    fn ordered(&mut self) -> Order {
        let orders = self.orders.borrow_and_update();
        orders.get(&self.pipeline.name).cloned().unwrap_or_default()
    }

    fn enter(&mut self, state: State, trouble: Option<Trouble>, next: Option<DateTime<Utc>>) {
        if self.report.state != state {
            self.report.state = state;
            self.report.since = Utc::now();
        }
        self.report.trouble = trouble;
        self.report.next = next;
        for other in State::ALL {
            let source = self.pipeline.name.clone();
            metrics::gauge!("pejl_source_state", "source" => source, "state" => other.name())
                .set(f64::from(u8::from(other == state)));
        }
        (self.observe)(&self.report);
    }
}

fn after(pause: Duration) -> Option<DateTime<Utc>> {
    Utc::now().checked_add_signed(chrono::Duration::from_std(pause).ok()?)
}

/// 1 s doubling up to the breaker, then the longest pause; shortened by up to half so that failing sources do not march in step.
fn pause_after(failures: u32) -> Duration {
    let full = if failures >= BREAKER {
        LONGEST_PAUSE
    } else {
        Duration::from_secs(1) * (1 << failures.saturating_sub(1))
    };
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_other_side_is_left_alone() {
        for failures in 1..40 {
            let pause = pause_after(failures);
            assert!(pause <= LONGEST_PAUSE);
            assert!(pause >= Duration::from_millis(500));
            assert_eq!(pause >= LONGEST_PAUSE / 2, failures >= BREAKER);
        }
    }
}
