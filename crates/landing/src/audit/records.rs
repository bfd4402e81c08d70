//! The log's side of the audit: every record's offset, all partitions in one pass.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bus::{Assignment, Log};

use super::{PartitionAudit, compare::Comparison};
use crate::{Error, Result};

/// Records read from the log at a time.
const POLL_RECORDS: usize = 8192;

/// How long a read waits; at the end of a partition Kafka may hold nothing but markers.
const WAIT: Duration = Duration::from_millis(100);

/// A partition being read.
struct Reading {
    comparison: Comparison,
    /// The next offset to be told.
    at: i64,
    /// What comes from here on came after the audit began.
    high: i64,
}

type Readings = HashMap<String, BTreeMap<i32, Reading>>;

/// Tells each comparison the records of its partition.
pub(super) async fn tell(
    log: &dyn Log,
    comparisons: Vec<Comparison>,
) -> Result<Vec<PartitionAudit>> {
    let mut readings = Readings::new();
    for comparison in comparisons {
        let ((topic, partition), (at, high)) = (comparison.place(), comparison.bounds());
        let of_topic = readings.entry(topic.to_owned()).or_default();
        let reading = Reading {
            at,
            high,
            comparison,
        };
        of_topic.insert(partition, reading);
    }
    while let Err(err) = read(log, &mut readings).await {
        // Landed records are trimmed while we read.
        let Error::Log(bus::Error::OutOfRange {
            topic,
            partition,
            low,
            ..
        }) = &err
        else {
            return Err(err);
        };
        let of_topic = readings.get_mut(topic);
        match of_topic.and_then(|it| it.get_mut(partition)) {
            Some(reading) if reading.at < *low => {
                reading.comparison.skip_to(*low);
                reading.at = *low;
            }
            _ => return Err(err),
        }
    }
    let mut audits: Vec<PartitionAudit> = readings
        .into_values()
        .flat_map(BTreeMap::into_values)
        .map(|it| it.comparison.finish())
        .collect();
    audits.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(audits)
}

async fn read(log: &dyn Log, readings: &mut Readings) -> Result<()> {
    let mut unread: Vec<(Assignment, i64)> = Vec::new();
    for (topic, partitions) in readings.iter() {
        let unfinished = partitions.iter().filter(|(_, it)| it.at < it.high);
        unread.extend(unfinished.map(|(partition, reading)| {
            let from = Assignment {
                topic: topic.clone(),
                partition: *partition,
                offset: reading.at,
            };
            (from, reading.high)
        }));
    }
    if unread.is_empty() {
        return Ok(());
    }
    let assignments: Vec<_> = unread.iter().map(|(from, _)| from.clone()).collect();
    let mut consumer = log.consumer(&assignments).await?;
    while !unread.is_empty() {
        for polled in consumer.poll(POLL_RECORDS, WAIT).await? {
            let Some(partitions) = readings.get_mut(&polled.topic) else {
                continue;
            };
            for record in polled.records {
                if let Some(reading) = partitions.get_mut(&record.partition)
                    && (reading.at..reading.high).contains(&record.offset)
                {
                    reading.comparison.record(record.offset);
                    reading.at = record.offset + 1;
                }
            }
        }
        let mut behind = Vec::new();
        for (from, high) in unread {
            if consumer.position(&from.topic, from.partition)? < high {
                behind.push((from, high));
            }
        }
        unread = behind;
    }
    Ok(())
}
