//! How far landing is behind, measured while it runs: offsets for each partition, seconds for each table.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::Log;
use chrono::Utc;
use telemetry::metric;
use tokio_util::sync::CancellationToken;

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(5);

/// What is known of the partitions that this process lands, also of those whose landing fails. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<Mutex<BTreeMap<(String, i32), Waiting>>>);

/// What of a partition waits to be landed.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// Where its records go.
    pub(crate) table: String,
    /// Everything below this offset is landed or holds no record.
    pub(crate) next: i64,
    /// Milliseconds since 1970 of the oldest record that was read and is not landed.
    pub(crate) oldest: Option<i64>,
}

impl Backlog {
    /// Stands at `waiting` now.
    pub(crate) fn note(&self, topic: &str, partition: i32, waiting: Waiting) {
        self.known().insert((topic.to_owned(), partition), waiting);
    }

    /// Only `partitions` of `topic` are this process's now; the others are no longer its to measure.
    pub(crate) fn keep(&self, topic: &str, partitions: &BTreeSet<i32>) {
        self.known().retain(|(name, partition), _| {
            let stays = name != topic || partitions.contains(partition);
            if !stays {
                metric::LANDING_LAG.set([topic, &partition.to_string()], 0.0);
            }
            stays
        });
    }

    /// Measures until `stop`.
    pub(crate) async fn keep_measured(self, log: bus::SharedLog, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            self.measure(log.as_ref()).await;
        }
    }

    async fn measure(&self, log: &dyn Log) {
        let known = self.known().clone();
        let now = Utc::now().timestamp_millis();
        let mut ages: BTreeMap<String, i64> = BTreeMap::new();
        for ((topic, partition), Waiting { table, .. }) in known {
            let age = ages.entry(table).or_default();
            // What cannot be asked keeps its last value; that the log is away, others say.
            let Ok(range) = log.range(&topic, partition).await else {
                continue;
            };
            // Landing went on meanwhile.
            let Some(waiting) = self.known().get(&(topic.clone(), partition)).cloned() else {
                continue;
            };
            let lag = (range.high - waiting.next.max(range.low)).max(0);
            metric::LANDING_LAG.set([&topic, &partition.to_string()], lag as f64);
            *age = (*age).max(waiting.oldest.map_or(0, |oldest| now - oldest));
        }
        for (table, age) in ages {
            metric::LANDING_AGE.set([&table], age as f64 / 1000.0);
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, i32), Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
