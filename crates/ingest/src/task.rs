//! One source kept being read: on its schedule, tried again when it fails, resting when told to.
//!
//! Who can fix a failure decides what follows it: the other side's failures are waited out, with longer and longer pauses, and so are
//! our own that may be of one moment; a lost task is somebody else's; everything else waits for a person, or for its file to change.

#[cfg(test)]
mod tests;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use connector_api::BoxFuture;
use futures::FutureExt;
use spec::Pipeline;
use telemetry::metric;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Claim, Error, Ingest, ReadReport,
    boards::{Wish, Wishes},
    order::{Report, State, Trouble},
    pause,
    supervisor::Observer,
};

/// The pause before a task is looked at again that another process has taken.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// Waits out a pause; a test's own only notes it.
pub(crate) type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// A source's task on this worker.
pub(crate) struct Task {
    ingest: Ingest,
    source: String,
    claim: Claim,
    wishes: watch::Receiver<Arc<Wishes>>,
    observe: Observer,
    sleep: Sleep,
    report: Report,
    /// The last state that was no try, and since when.
    settled: (State, DateTime<Utc>),
    /// What the task is acting on.
    wish: Wish,
}

/// Why a task stopped waiting.
enum Woken {
    Stopped,
    Wished,
    TimeUp,
}

impl Task {
    /// `report` is what the task begins with, of the source's name.
    pub(crate) fn new(
        ingest: Ingest,
        claim: Claim,
        wishes: watch::Receiver<Arc<Wishes>>,
        observe: Observer,
        sleep: Sleep,
        report: Report,
    ) -> Self {
        Self {
            ingest,
            source: report.source.clone(),
            claim,
            wishes,
            observe,
            sleep,
            settled: (report.state, report.since),
            report,
            wish: Wish::default(),
        }
    }

    /// Works until `stop`. What is not committed by then is given up.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.take_wish();
        while !stop.is_cancelled() {
            let pipeline = self.wish.pipeline.clone();
            let enabled = !matches!(&pipeline, Some(Ok(it)) if !it.enabled);
            if self.wish.order.pauses(enabled) {
                self.enter(State::Paused, None, None);
                self.wait(None, &stop).await;
                continue;
            }
            match pipeline {
                Some(Ok(pipeline)) => match self.read(&pipeline, &stop).await {
                    Some(Ok(read)) => self.rest(&pipeline, &read, &stop).await,
                    Some(Err(err)) => self.heal(&err, &stop).await,
                    // Stopped, or told otherwise.
                    None => {}
                },
                Some(Err(mistake)) => {
                    let mistake = Error::Settings(mistake.to_string());
                    self.heal(&mistake, &stop).await;
                }
                // Whoever keeps the tasks is about to end this one.
                None => self.wait(None, &stop).await,
            }
        }
        self.gauge(None);
    }

    /// One read; `None` when it was broken off.
    async fn read(
        &mut self,
        pipeline: &Pipeline,
        stop: &CancellationToken,
    ) -> Option<Result<ReadReport, Error>> {
        self.enter(State::Running, self.report.trouble.clone(), None);
        let breaking_off = stop.child_token();
        let (observe, base) = (Arc::clone(&self.observe), self.report.clone());
        let running = move |read: &ReadReport| {
            let mut report = base.clone();
            report.count(read);
            observe(&report);
        };
        let (ingest, claim) = (self.ingest.clone(), self.claim.clone());
        let reading = ingest.read_as(pipeline, Some(&claim), &breaking_off, &running);
        // What a panic leaves behind is dropped here, and its transaction is given up with it.
        let reading = AssertUnwindSafe(reading).catch_unwind();
        tokio::pin!(reading);
        loop {
            tokio::select! {
                read = &mut reading => {
                    let read = read.unwrap_or_else(|panic| {
                        Err(Error::panicked(&pipeline.name, panic.as_ref()))
                    });
                    return (!breaking_off.is_cancelled()).then_some(read);
                }
                changed = self.wishes.changed(), if !breaking_off.is_cancelled() => {
                    if changed.is_err() || self.take_wish() {
                        breaking_off.cancel();
                    }
                }
            }
        }
    }

    async fn rest(&mut self, pipeline: &Pipeline, read: &ReadReport, stop: &CancellationToken) {
        self.report.failures = 0;
        self.report.last_success = Some(Utc::now());
        self.report.count(read);
        let pause = pipeline.schedule.wait(Utc::now());
        self.enter(State::Waiting, None, after(pause));
        self.wait(Some(pause), stop).await;
    }

    async fn heal(&mut self, err: &Error, stop: &CancellationToken) {
        let source = self.source.clone();
        if err.is_lost() {
            tracing::info!(source, %err, "the task is elsewhere");
            self.wait_until_confirmed(stop).await;
            return;
        }
        self.report.failures += 1;
        let failures = self.report.failures;
        let fix_by = err.fix_by();
        let trouble = Some(Trouble::of(&source, err));
        metric::SOURCE_FAILURES.add([&source], 1);
        if err.is_retryable() {
            let pause = pause::after(failures, err.wait());
            tracing::warn!(source, %err, %fix_by, failures, ?pause, "source failed, will retry");
            self.enter(State::Degraded, trouble, after(pause));
            self.wait(Some(pause), stop).await;
        } else {
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

    /// Waits out a pause, or for ever; a wish for this source ends either.
    async fn wait(&mut self, pause: Option<Duration>, stop: &CancellationToken) {
        let mut time_up = match pause {
            Some(pause) => (self.sleep)(pause),
            None => Box::pin(std::future::pending()),
        };
        loop {
            let woken = tokio::select! {
                () = stop.cancelled() => Woken::Stopped,
                () = &mut time_up => Woken::TimeUp,
                changed = self.wishes.changed() => match changed {
                    Ok(()) => Woken::Wished,
                    Err(_) => Woken::Stopped,
                },
            };
            if !matches!(woken, Woken::Wished) || self.take_wish() {
                return;
            }
        }
    }

    /// Takes up what is wished of this source; whether that is something new. Failures before it count no longer, unless it is only a pause.
    fn take_wish(&mut self) -> bool {
        let wish = self.wishes.borrow_and_update().of(&self.source);
        if wish == self.wish {
            return false;
        }
        let anew = wish.order.restarts != self.wish.order.restarts;
        if anew || wish.pipeline != self.wish.pipeline {
            self.report.failures = 0;
        }
        self.wish = wish;
        true
    }

    fn enter(&mut self, state: State, trouble: Option<Trouble>, next: Option<DateTime<Utc>>) {
        let report = &mut self.report;
        if state == State::Running {
            report.since = Utc::now();
        } else {
            if self.settled.0 != state {
                self.settled = (state, Utc::now());
            }
            report.since = self.settled.1;
        }
        report.state = state;
        report.trouble = trouble;
        report.next = next;
        self.gauge(Some(state));
        (self.observe)(&self.report);
    }

    fn gauge(&self, state: Option<State>) {
        for other in State::ALL {
            metric::SOURCE_STATE.set(
                [&self.source, other.name()],
                f64::from(u8::from(Some(other) == state)),
            );
        }
    }
}

fn after(pause: Duration) -> Option<DateTime<Utc>> {
    Utc::now().checked_add_signed(chrono::Duration::from_std(pause).ok()?)
}
