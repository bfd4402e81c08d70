//! Records a second into and out of the embedded log, beside plain SQLite with one insert a record.
//!
//! `cargo bench -p bus --bench log [-- RECORDS]`. All three runs write the same 200-byte records to the same disk with the same durability. With
//! `PEJL_TEST_KAFKA=host:port` the same goes through Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark: its output is its purpose"
)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bus::{Assignment, EmbeddedLog, KafkaLog, KafkaSettings, Log, Record};
use rusqlite::Connection;
use tempfile::TempDir;

/// Records in one `send`, as ingest hands them over.
const BATCH: usize = 8192;
/// Sends in one transaction.
const BATCHES: usize = 16;
const PARTITIONS: i32 = 4;

/// Records a second.
struct Rates {
    name: &'static str,
    write: f64,
    read: f64,
    /// Bytes on disk for each record, where known.
    size: Option<f64>,
}

fn main() {
    // cargo passes `--bench`.
    let count = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(2_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{count} records of 200 bytes, {} a transaction, {PARTITIONS} partitions",
        BATCH * BATCHES
    );
    let mut all = Vec::new();
    for (name, text) in [("embedded, text", true), ("embedded, noise", false)] {
        let folder = TempDir::new().unwrap();
        let rates = runtime.block_on(async {
            let log = EmbeddedLog::open(folder.path()).await.unwrap();
            through(&log, name, count, text).await
        });
        all.push(Rates {
            size: Some(size(folder.path()) / count as f64),
            ..rates
        });
    }
    if let Ok(address) = std::env::var("PEJL_TEST_KAFKA") {
        let prefix = format!("bench{}.", std::process::id());
        let settings = KafkaSettings {
            bootstrap_servers: address,
            prefix,
            ..KafkaSettings::default()
        };
        all.push(runtime.block_on(async {
            let log = KafkaLog::connect(settings).await.unwrap();
            through(&log, "kafka, text", count, true).await
        }));
    }
    let rival = plain_sqlite(count);
    for rates in all.iter().chain([&rival]) {
        let size = rates
            .size
            .map_or(String::new(), |size| format!("{size:6.0} bytes a record"));
        println!(
            "{:28} in {:>10.0}/s ({:5.2} x)   out {:>10.0}/s ({:5.2} x)   {size}",
            rates.name,
            rates.write,
            rates.write / rival.write,
            rates.read,
            rates.read / rival.read,
        );
    }
}

async fn through(log: &dyn Log, name: &'static str, count: usize, text: bool) -> Rates {
    log.ensure_topic("bench", PARTITIONS).await.unwrap();
    let batches: Vec<Vec<Record>> = (0..count)
        .step_by(BATCH)
        .map(|from| batch(from, BATCH.min(count - from), text))
        .collect();
    let mut producer = log.producer("bench").await.unwrap();
    let started = Instant::now();
    for (i, batch) in batches.into_iter().enumerate() {
        producer.send("bench", batch).await.unwrap();
        if i % BATCHES == BATCHES - 1 {
            producer.commit(None).await.unwrap();
        }
    }
    producer.commit(None).await.unwrap();
    let write = count as f64 / started.elapsed().as_secs_f64();

    let assignments: Vec<_> = (0..PARTITIONS)
        .map(|partition| Assignment {
            topic: "bench".into(),
            partition,
            offset: 0,
        })
        .collect();
    let started = Instant::now();
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        for polled in consumer.poll(BATCH, Duration::from_secs(10)).await.unwrap() {
            seen += polled.records.len();
            let len = |delivered: &bus::Delivered| {
                delivered.record.value.as_ref().map_or(0, bytes::Bytes::len)
            };
            bytes += polled.records.iter().map(len).sum::<usize>();
        }
    }
    let read = count as f64 / started.elapsed().as_secs_f64();
    assert!(bytes >= count * 150);
    Rates {
        name,
        write,
        read,
        size: None,
    }
}

/// The rival at its best: one row a record, appended, no index, all in one transaction, write-ahead log and full synchronisation as ours.
fn plain_sqlite(count: usize) -> Rates {
    let folder = TempDir::new().unwrap();
    let mut connection = Connection::open(folder.path().join("rival.db")).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "full")
        .unwrap();
    connection
        .execute_batch(
            "create table records (partition integer, offset integer, time integer, key blob, value blob)",
        )
        .unwrap();
    let batches: Vec<_> = (0..count)
        .step_by(BATCH)
        .map(|from| batch(from, BATCH.min(count - from), true))
        .collect();
    let started = Instant::now();
    let transaction = connection.transaction().unwrap();
    let mut next = [0_i64; PARTITIONS as usize];
    {
        let mut insert = transaction
            .prepare("insert into records values (?1, ?2, ?3, ?4, ?5)")
            .unwrap();
        for record in batches.into_iter().flatten() {
            let key = record.key.as_deref().unwrap();
            let partition = bus::partition_of(key, PARTITIONS);
            let offset = &mut next[partition as usize];
            insert
                .execute((
                    partition,
                    *offset,
                    record.timestamp_ms,
                    key,
                    record.value.as_deref(),
                ))
                .unwrap();
            *offset += 1;
        }
    }
    transaction.commit().unwrap();
    let write = count as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let mut bytes = 0;
    let mut select = connection
        .prepare("select key, value from records")
        .unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (key, value): (Vec<u8>, Vec<u8>) = row.try_into().unwrap();
        bytes += key.len() + value.len();
    }
    let read = count as f64 / started.elapsed().as_secs_f64();
    assert!(bytes >= count * 150);
    let size = size(folder.path()) / count as f64;
    Rates {
        name: "plain SQLite, row by row",
        write,
        read,
        size: Some(size),
    }
}

/// Records of 200 bytes, key included: text like a participation's fields, or noise that does not compress.
fn batch(from: usize, count: usize, text: bool) -> Vec<Record> {
    let one = |i: usize| {
        let key = format!("[\"{:03}\",\"{i}\",\"all\"]", i % 98);
        let room = 200 - key.len();
        let mut state = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let value = if text {
            // A pseudonym, dates, names from short lists: what a registration looks like.
            let pseudonym: String = (0..4).map(|_| format!("{:016x}", step())).collect();
            let (dates, names) = (step(), step());
            let mut value = format!(
                "{pseudonym};{}-{:02}-{:02};{}-{:02}-{:02};{};Jobcenter {}, {} {};",
                2010 + dates % 8,
                1 + dates % 12,
                1 + dates % 28,
                2010 + names % 8,
                1 + names % 12,
                1 + names % 28,
                [
                    "virksomhedspraktik",
                    "vejledning og opkvalificering",
                    "løntilskud"
                ][(names % 3) as usize],
                i % 98,
                ["Nørregade", "Havnevej", "Stationspladsen"][(names % 3) as usize],
                names % 200,
            )
            .into_bytes();
            value.resize(room, b' ');
            value
        } else {
            (0..room).map(|_| step() as u8).collect()
        };
        Record {
            key: Some(key.into()),
            value: Some(value.into()),
            timestamp_ms: 1_262_304_000_000 + i as i64,
            ..Record::default()
        }
    };
    (from..from + count).map(one).collect()
}

fn size(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len() as f64)
        .sum()
}
