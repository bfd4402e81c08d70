//! Keeps sources being read: each on its schedule, failing ones retried with growing, jittered pauses.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use contract::FixBy;
use rand::RngExt;
use spec::Pipeline;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, Ingest, ReadReport, Result};

/// The longest pause between two tries of a failing source.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Reading; the totals so far.
    Running(ReadReport),
    /// Read to its end; waiting for its schedule.
    Waiting(ReadReport),
    /// Failed, and will be tried again after the pause.
    Degraded {
        /// What went wrong.
        error: String,
        /// The pause before the next try.
        pause: Duration,
    },
    /// Stopped until a person has changed something.
    NeedsAHuman {
        /// What went wrong.
        error: String,
        /// Who can fix it.
        fix_by: FixBy,
    },
}

/// A source's name and what it is doing now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The source.
    pub source: String,
    /// Its state.
    pub state: State,
}

/// Called whenever a source changes state.
pub type Observer = Arc<dyn Fn(SourceState) + Send + Sync>;

impl Ingest {
    /// Reads all `pipelines`, each on its own schedule, until `stop`. A source that fails does not
    /// disturb the others. Returns once every read has ended cleanly.
    pub async fn run(
        &self,
        pipelines: Vec<Pipeline>,
        stop: CancellationToken,
        observe: Observer,
    ) -> Result<()> {
        let mut tasks = JoinSet::new();
        for pipeline in pipelines {
            let ingest = self.clone();
            let stop = stop.clone();
            let observe = Arc::clone(&observe);
            tasks.spawn(async move { ingest.keep_reading(pipeline, stop, observe).await });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(err) = ended {
                return Err(Error::Settings(format!("a source task ended badly: {err}")));
            }
        }
        Ok(())
    }

    async fn keep_reading(&self, pipeline: Pipeline, stop: CancellationToken, observe: Observer) {
        let mut failures = 0;
        let tell = |state| {
            observe(SourceState {
                source: pipeline.name.clone(),
                state,
            });
        };
        while !stop.is_cancelled() {
            let running = |report: &ReadReport| tell(State::Running(report.clone()));
            let pause = match self.read(&pipeline, &stop, &running).await {
                Ok(report) => {
                    failures = 0;
                    tell(State::Waiting(report));
                    pipeline.schedule.wait(Utc::now())
                }
                Err(err) if err.is_retryable() => {
                    failures += 1;
                    let pause = pause_after(failures);
                    tracing::warn!(source = pipeline.name, %err, ?pause, "source failed, will retry");
                    tell(State::Degraded {
                        error: err.to_string(),
                        pause,
                    });
                    pause
                }
                Err(err) => {
                    let fix_by = err.fix_by();
                    tracing::error!(source = pipeline.name, %err, %fix_by, "source needs a human");
                    tell(State::NeedsAHuman {
                        error: err.to_string(),
                        fix_by,
                    });
                    return;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// 1 s doubling to five minutes, shortened by up to half so that failing sources do not march in step.
fn pause_after(failures: u32) -> Duration {
    let full = Duration::from_secs(1)
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for failures in 1..40 {
            let pause = pause_after(failures);
            assert!(pause <= LONGEST_PAUSE);
            assert!(pause >= Duration::from_millis(500));
        }
        assert!(pause_after(20) >= LONGEST_PAUSE / 2);
    }
}
