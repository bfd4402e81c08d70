//! How much memory and time the audit of a large table takes: measured, not asserted; docs/delivery.md has the command and the figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a measurement"
)]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use bus::{
    Assignment, Board, Consumer, Delivered, Error, Group, Log, Membership, Polled, Producer, Range,
    Record, Result, Topic,
};
use contract::Position;
use lake::{Lake, Txn};
use landing::{Extent, verify};

const PARTITIONS: i32 = 4;

/// Rows a landing commits.
const COMMIT: i64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; writes some hundred megabytes"]
async fn a_large_table() {
    let rows = number("PEJL_BENCH_ROWS", 100_000_000);
    // A transaction has so many records, and then a marker that is no record.
    let transaction = number("PEJL_BENCH_TRANSACTION", 500);
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path().to_str().unwrap(), HashMap::new()).unwrap();
    let mut log = MadeUp {
        high: 0,
        transaction,
    };
    let started = Instant::now();
    while log.count() < rows {
        land(&lake, &mut log).await;
    }
    eprintln!("written: {} rows in {:.0?}", log.count(), started.elapsed());
    for (what, extent) in [
        ("everything", Extent::Everything),
        ("since last", Extent::SinceLast),
    ] {
        if extent == Extent::SinceLast {
            land(&lake, &mut log).await;
        }
        forget_peak();
        let (before, started) = (memory("VmRSS"), Instant::now());
        let audit = verify(&log, &lake, extent, &|what| eprintln!("  {what}"))
            .await
            .unwrap();
        assert!(audit.is_clean() && audit.marked, "{audit:?}");
        let read = audit.tables.iter().map(|it| it.rows_read).sum::<u64>();
        let delivered = audit.partitions.iter().map(|it| it.delivered).sum::<u64>();
        eprintln!(
            "{what}: {read} rows in {} files, {delivered} records: {:.1?}; {} MB before, {} MB at its peak",
            audit.files_read(),
            started.elapsed(),
            before / 1024,
            memory("VmHWM") / 1024,
        );
    }
}

fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |it| it.parse().unwrap())
}

/// Makes the log a commit's worth longer in every partition, and lands it.
async fn land(lake: &Lake, log: &mut MadeUp) {
    let from = log.high;
    let high = from + COMMIT / i64::from(PARTITIONS);
    log.high = high;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("_topic", DataType::Utf8, true),
        Field::new("_partition", DataType::Int32, true),
        Field::new("_offset", DataType::Int64, true),
    ]));
    // As a lander writes it: some thousand records of one partition, then of the next.
    let mut batches = Vec::new();
    for start in (from..high).step_by(8192) {
        for partition in 0..PARTITIONS {
            let offsets: Vec<i64> = log.records(start..high.min(start + 8192)).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec!["pejl.unit"; offsets.len()])),
                Arc::new(Int32Array::from(vec![partition; offsets.len()])),
                Arc::new(Int64Array::from(offsets)),
            ];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).unwrap());
        }
    }
    let txns: Vec<Txn> = (0..PARTITIONS)
        .map(|partition| Txn {
            app_id: format!("landing/pejl.unit/made-up/{partition}"),
            base: (from > 0).then_some(from),
            version: high,
        })
        .collect();
    lake.append("raw.unit", &schema, batches, &txns)
        .await
        .unwrap();
}

/// A figure of this process in KB, as Linux tells it.
fn memory(which: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Starts the peak anew.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// A log of one topic whose records are made up as they are read: a real one of this size is measured elsewhere.
#[derive(Debug, Clone)]
struct MadeUp {
    high: i64,
    transaction: i64,
}

impl MadeUp {
    fn records(&self, offsets: std::ops::Range<i64>) -> impl Iterator<Item = i64> {
        let transaction = self.transaction;
        offsets.filter(move |offset| offset % (transaction + 1) != transaction)
    }

    fn count(&self) -> i64 {
        (self.high - self.high / (self.transaction + 1)) * i64::from(PARTITIONS)
    }
}

fn absent<T>() -> Result<T> {
    Err(Error::Settings("this log is only read".to_owned()))
}

#[async_trait]
impl Log for MadeUp {
    async fn topics(&self, _prefix: &str) -> Result<Vec<Topic>> {
        Ok(vec![Topic {
            name: "pejl.unit".to_owned(),
            id: "made-up".to_owned(),
            partitions: PARTITIONS,
        }])
    }
    async fn range(&self, _topic: &str, _partition: i32) -> Result<Range> {
        Ok(Range {
            low: 0,
            high: self.high,
        })
    }
    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>> {
        let at = assignments.iter().map(|it| (it.partition, it.offset));
        Ok(Box::new(Reading {
            log: self.clone(),
            at: at.collect(),
        }))
    }
    async fn ensure_topic(&self, _name: &str, _partitions: i32) -> Result<Topic> {
        absent()
    }
    async fn producer(&self, _task: &str) -> Result<Box<dyn Producer>> {
        absent()
    }
    async fn position(&self, _source: &str) -> Result<Option<Position>> {
        absent()
    }
    async fn positions(&self) -> Result<Vec<(String, Position)>> {
        absent()
    }
    async fn trim(&self, _topic: &str, _partition: i32, _before: i64) -> Result<()> {
        absent()
    }
    async fn board(&self, _board: Board) -> Result<BTreeMap<String, String>> {
        absent()
    }
    async fn post(&self, _board: Board, _key: &str, _text: Option<&str>) -> Result<()> {
        absent()
    }
    async fn join(&self, _group: Group, _member: &str) -> Result<Box<dyn Membership>> {
        absent()
    }
}

struct Reading {
    log: MadeUp,
    at: BTreeMap<i32, i64>,
}

#[async_trait]
impl Consumer for Reading {
    async fn poll(&mut self, max: usize, _wait: Duration) -> Result<Vec<Polled>> {
        let each = i64::try_from(max).unwrap() / i64::from(PARTITIONS);
        let mut delivered = Vec::new();
        for (partition, at) in &mut self.at {
            let end = self.log.high.min(*at + each);
            delivered.extend(self.log.records(*at..end).map(|offset| Delivered {
                partition: *partition,
                offset,
                record: Record::default(),
            }));
            *at = end;
        }
        Ok(vec![Polled {
            topic: "pejl.unit".to_owned(),
            records: delivered,
        }])
    }
    fn position(&self, _topic: &str, partition: i32) -> Result<i64> {
        Ok(self.at[&partition])
    }
}
