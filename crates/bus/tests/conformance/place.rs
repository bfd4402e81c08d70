//! Opening logs and reading them to the end, for the suite.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bus::{Assignment, Consumer, Delivered, Log, Polled, Record, SharedLog};
use contract::Position;

/// Longest wait for anything that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Where a log is kept: opening it again is a restart.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    async fn open(&self) -> SharedLog;
}

pub(crate) fn record(key: &str, value: &str) -> Record {
    Record {
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        headers: Vec::new(),
        timestamp_ms: 1_262_304_000_000,
    }
}

pub(crate) fn value(record: &Record) -> String {
    String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()
}

pub(crate) fn position(n: u64) -> Position {
    Position(n.into())
}

/// Writes one transaction of `records`.
pub(crate) async fn write(log: &dyn Log, task: &str, topic: &str, records: Vec<Record>) {
    let mut producer = log.producer(task).await.unwrap();
    producer.send(topic, records).await.unwrap();
    producer.commit(None).await.unwrap();
}

/// All partitions of a topic from their start.
pub(crate) async fn from_start(log: &dyn Log, topic: &str, partitions: i32) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    for partition in 0..partitions {
        let offset = log.range(topic, partition).await.unwrap().low;
        assignments.push(Assignment {
            topic: topic.to_owned(),
            partition,
            offset,
        });
    }
    assignments
}

/// Everything readable in a topic now, in partition order.
pub(crate) async fn read_all(log: &dyn Log, topic: &str, partitions: i32) -> Vec<Delivered> {
    let assignments = from_start(log, topic, partitions).await;
    let mut consumer = log.consumer(&assignments).await.unwrap();
    read_to_end(log, consumer.as_mut(), &assignments)
        .await
        .remove(topic)
        .unwrap_or_default()
}

/// Reads until the positions reach the ends that the assigned partitions have now. By topic, in partition order.
pub(crate) async fn read_to_end(
    log: &dyn Log,
    consumer: &mut dyn Consumer,
    assignments: &[Assignment],
) -> BTreeMap<String, Vec<Delivered>> {
    let mut ends = Vec::new();
    for Assignment {
        topic, partition, ..
    } in assignments
    {
        ends.push(log.range(topic, *partition).await.unwrap().high);
    }
    let started = Instant::now();
    let mut read: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    loop {
        let behind = assignments.iter().zip(&ends).find(|(assignment, end)| {
            consumer
                .position(&assignment.topic, assignment.partition)
                .unwrap()
                < **end
        });
        let Some(behind) = behind else { break };
        assert!(started.elapsed() < DEADLINE, "still behind: {behind:?}");
        for Polled { topic, records } in consumer
            .poll(10_000, Duration::from_millis(50))
            .await
            .unwrap()
        {
            read.entry(topic).or_default().extend(records);
        }
    }
    for records in read.values_mut() {
        // Stable: the order within a partition stays as delivered.
        records.sort_by_key(|delivered| delivered.partition);
        for pair in records.windows(2) {
            assert!(
                pair[0].partition < pair[1].partition || pair[0].offset < pair[1].offset,
                "out of order: {pair:?}"
            );
        }
    }
    read
}

/// What comes within a moment in which nothing should.
pub(crate) async fn peek(consumer: &mut dyn Consumer) -> Vec<Polled> {
    consumer
        .poll(100, Duration::from_millis(300))
        .await
        .unwrap()
}

/// Bytes that do not compress, the same for the same seed (xorshift).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
