//! Letting go of landed records that are past retention.

use std::time::Duration;

use bus::{Assignment, Log};
use chrono::Utc;
use telemetry::metric;

use crate::Result;

/// Removes records below `landed` that are older than `retention`.
///
/// The log is asked for single records, halving the range each time, since it has no index by time.
pub(crate) async fn trim(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    landed: i64,
    retention: Duration,
) -> Result<()> {
    let range = log.range(topic, partition).await?;
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let oldest_kept = Utc::now().timestamp_millis().saturating_sub(retention);
    // Below `past` all are too old; at and above `kept` none is known to be.
    let (mut past, mut kept) = (range.low, landed.min(range.high));
    while past < kept {
        let middle = past + (kept - past) / 2;
        match next_record(log, topic, partition, middle).await? {
            Some((offset, at)) if offset < kept && at < oldest_kept => past = offset + 1,
            _ => kept = middle,
        }
    }
    if past > range.low {
        log.trim(topic, partition, past).await?;
        metric::LOG_TRIMMED.add([topic], (past - range.low).unsigned_abs());
        tracing::debug!(topic, partition, before = past, "trimmed");
    }
    Ok(())
}

/// Offset and time of the first record at or above `offset`.
async fn next_record(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<(i64, i64)>> {
    let from = Assignment {
        topic: topic.to_owned(),
        partition,
        offset,
    };
    let mut consumer = log.consumer(&[from]).await?;
    let polled = consumer.poll(1, Duration::from_secs(5)).await?;
    let first = polled.first().and_then(|polled| polled.records.first());
    Ok(first.map(|it| (it.offset, it.record.timestamp_ms)))
}
