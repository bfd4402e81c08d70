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

/// How far behind everything is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Measured {
    /// Offsets, by topic and partition.
    lags: BTreeMap<(String, i32), i64>,
    /// Milliseconds, by table.
    ages: BTreeMap<String, i64>,
}

impl Backlog {
    /// Stands at `waiting` now.
    pub(crate) fn note(&self, topic: &str, partition: i32, waiting: Waiting) {
        self.known().insert((topic.to_owned(), partition), waiting);
    }

    /// Only `partitions` of `topic` are this process's now; the others are no longer its to measure.
    pub(crate) fn keep(&self, topic: &str, partitions: &BTreeSet<i32>) {
        self.known().retain(|(name, partition), waiting| {
            let stays = name != topic || partitions.contains(partition);
            if !stays {
                metric::LANDING_LAG.set([topic, &partition.to_string()], 0.0);
                // Until the partitions that stay are measured again.
                metric::LANDING_AGE.set([&waiting.table], 0.0);
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
            let Measured { lags, ages } = self.measure(log.as_ref()).await;
            for ((topic, partition), lag) in lags {
                metric::LANDING_LAG.set([&topic, &partition.to_string()], lag as f64);
            }
            for (table, age) in ages {
                metric::LANDING_AGE.set([&table], age as f64 / 1000.0);
            }
        }
    }

    async fn measure(&self, log: &dyn Log) -> Measured {
        let known = self.known().clone();
        let now = Utc::now().timestamp_millis();
        let mut measured = Measured::default();
        for (place, Waiting { table, oldest, .. }) in known {
            let age = measured.ages.entry(table).or_default();
            *age = (*age).max(oldest.map_or(0, |oldest| now - oldest));
            // What cannot be asked keeps its last value; that the log is away, others say.
            let Ok(range) = log.range(&place.0, place.1).await else {
                continue;
            };
            // Landing went on meanwhile: what has landed by now is not behind.
            let next = self.known().get(&place).map(|it| it.next);
            if let Some(next) = next {
                let lag = range.high - next.max(range.low);
                measured.lags.insert(place, lag.max(0));
            }
        }
        measured
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, i32), Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use bus::{EmbeddedLog, Record};

    use super::*;

    #[tokio::test]
    async fn a_table_is_as_old_as_the_oldest_record_that_waits_in_any_partition() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(folder.path()).await.unwrap();
        log.ensure_topic("pejl.unit", 2).await.unwrap();
        let mut producer = log.producer("test").await.unwrap();
        producer
            .send("pejl.unit", vec![Record::default(); 3])
            .await
            .unwrap();
        producer.commit(None).await.unwrap();
        // Records without a key go where they like.
        let filled = i32::from(log.range("pejl.unit", 1).await.unwrap().high == 3);
        let hour_ago = Utc::now().timestamp_millis() - 3_600_000;
        let backlog = Backlog::default();
        let note = |partition, next, oldest| {
            let table = "raw.unit".to_owned();
            let waiting = Waiting {
                table,
                next,
                oldest,
            };
            backlog.note("pejl.unit", partition, waiting);
        };
        note(filled, 1, Some(hour_ago));
        note(1 - filled, 0, None);
        let measured = backlog.measure(&log).await;
        assert_eq!(measured.lags[&("pejl.unit".to_owned(), filled)], 2);
        assert_eq!(measured.lags[&("pejl.unit".to_owned(), 1 - filled)], 0);
        assert!(measured.ages["raw.unit"] >= 3_600_000);

        note(filled, 3, None);
        let measured = backlog.measure(&log).await;
        assert_eq!(measured.lags[&("pejl.unit".to_owned(), filled)], 0);
        assert_eq!(measured.ages["raw.unit"], 0);

        // Another lander's now.
        backlog.keep("pejl.unit", &BTreeSet::from([1 - filled]));
        assert_eq!(backlog.measure(&log).await.lags.len(), 1);
    }
}
