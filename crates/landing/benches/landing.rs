//! Records a second from a topic into a Delta table by one process, beside a bare rdkafka consumer that drains the same topic and keeps
//! nothing; peak memory of each; and how long a record takes from being read to being queryable.
//!
//! `make bench` starts the broker; by hand: `PEJL_TEST_KAFKA=host:port cargo bench -p bus -p landing --bench landing [-- RECORDS]`. Every
//! measurement is a process of its own, so that its peak memory is its own. Without a broker only the embedded log is measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark: its output is its purpose"
)]

use std::{
    collections::HashMap,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use bus::{Assignment, EmbeddedLog, KafkaLog, KafkaSettings, Record, SharedLog};
use contract::header;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use lake::Lake;
use landing::{Lander, LandingSettings, What};
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "pejl.participation";
const PARTITIONS: i32 = 4;
/// Records in one transaction.
const TRANSACTION: usize = 100_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match text.as_slice() {
        ["child", work, log, folder, count] => child(work, log, folder, count.parse().unwrap()),
        // cargo passes `--bench`.
        others => race(
            others
                .iter()
                .find_map(|it| it.parse().ok())
                .unwrap_or(3_000_000),
        ),
    }
}

/// What a child measured.
struct Measured {
    rate: f64,
    peak_mib: f64,
    told: String,
}

fn race(count: usize) {
    let broker = std::env::var("PEJL_TEST_KAFKA").ok();
    let of = |log: &str, part: &str| format!("{log}#bench{}{part}.", std::process::id());
    let mut logs = Vec::new();
    if let Some(broker) = &broker {
        logs.push(("Kafka", of(broker, ""), of(broker, "q"), true));
    } else {
        println!("PEJL_TEST_KAFKA is not set: only the embedded log is measured");
    }
    logs.push(("the embedded log", String::new(), String::new(), false));
    println!(
        "{count} Avro records of {} bytes with headers of {} more, {PARTITIONS} partitions, {} cores\n",
        value_bytes(),
        header_bytes(),
        std::thread::available_parallelism().unwrap()
    );
    for (name, whole, quarter, is_kafka) in logs {
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let run = |work: &str, log: &str, folder: &TempDir, count: usize| {
            spawn(work, log, folder.path(), count)
        };
        run("fill", &whole, &folders[0], count);
        run("fill", &quarter, &folders[1], count / 4);
        let work = if is_kafka { "bare" } else { "read" };
        let bare = run(work, &whole, &folders[0], count);
        let rival = if is_kafka {
            "bare rdkafka consumer".to_owned()
        } else {
            format!("only reading {name}")
        };
        print(&rival, &bare, &bare);
        let landed = run("land", &whole, &folders[0], count);
        print(&format!("landing from {name}"), &landed, &bare);
        let landed = run("land", &quarter, &folders[1], count / 4);
        print("landing a quarter of it", &landed, &bare);
        let folder = TempDir::new().unwrap();
        let log = broker.as_ref().filter(|_| is_kafka);
        let log = log.map_or(String::new(), |it| of(it, "l"));
        let measured = run("latency", &log, &folder, 20_000);
        println!("from read to queryable, {name}: {}\n", measured.told);
    }
}

fn print(name: &str, measured: &Measured, bare: &Measured) {
    println!(
        "{name:32} {:>10.0}/s ({:5.2} x)   peak {:5.0} MiB",
        measured.rate,
        measured.rate / bare.rate,
        measured.peak_mib
    );
}

fn spawn(work: &str, log: &str, folder: &Path, count: usize) -> Measured {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["child", work, log, folder.to_str().unwrap()])
        .arg(count.to_string())
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "{work}: {}", out.status);
    let text = String::from_utf8(out.stdout).unwrap();
    let mut parts = text.trim().splitn(3, ' ');
    Measured {
        rate: parts.next().unwrap().parse().unwrap(),
        peak_mib: parts.next().unwrap().parse().unwrap(),
        told: parts.next().unwrap_or_default().to_owned(),
    }
}

fn child(work: &str, log: &str, folder: &str, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (seconds, told) = runtime.block_on(async {
        match work {
            "bare" => (
                tokio::task::block_in_place(|| bare(log, count)),
                String::new(),
            ),
            "fill" => (fill(&open(log, folder).await, count).await, String::new()),
            "read" => (read(&open(log, folder).await, count).await, String::new()),
            "land" => (
                land(&open(log, folder).await, folder, count).await,
                String::new(),
            ),
            "latency" => latency(&open(log, folder).await, folder, count).await,
            _ => panic!("no such work: {work}"),
        }
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kib: f64 = peak
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    println!("{} {} {told}", count as f64 / seconds, kib / 1024.0);
}

/// A log by its address: `host:port#prefix` on Kafka, nothing for the embedded one in the folder.
async fn open(log: &str, folder: &str) -> SharedLog {
    match log.split_once('#') {
        Some((broker, prefix)) => {
            let settings = KafkaSettings {
                bootstrap_servers: broker.to_owned(),
                prefix: prefix.to_owned(),
                ..KafkaSettings::default()
            };
            Arc::new(KafkaLog::connect(settings).await.unwrap())
        }
        None => Arc::new(
            EmbeddedLog::open(&Path::new(folder).join("log"))
                .await
                .unwrap(),
        ),
    }
}

async fn fill(log: &SharedLog, count: usize) -> f64 {
    log.ensure_topic(TOPIC, PARTITIONS).await.unwrap();
    let mut producer = log.producer("bench").await.unwrap();
    let started = Instant::now();
    for from in (0..count).step_by(TRANSACTION) {
        let records = records(from, TRANSACTION.min(count - from));
        producer.send(TOPIC, records).await.unwrap();
        producer.commit(None).await.unwrap();
    }
    started.elapsed().as_secs_f64()
}

/// The rival: reads every committed record of the topic, looks at its length, and does nothing else.
fn bare(log: &str, count: usize) -> f64 {
    let (broker, prefix) = log.split_once('#').unwrap();
    let started = Instant::now();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "bench")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset(
                &format!("{prefix}{TOPIC}"),
                partition,
                rdkafka::Offset::Beginning,
            )
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            bytes += message.unwrap().payload().map_or(0, <[u8]>::len);
            seen += 1;
        }
    }
    assert!(bytes >= count * 150);
    started.elapsed().as_secs_f64()
}

async fn read(log: &SharedLog, count: usize) -> f64 {
    let assignment = |partition| Assignment {
        topic: TOPIC.to_owned(),
        partition,
        offset: 0,
    };
    let assignments: Vec<Assignment> = (0..PARTITIONS).map(assignment).collect();
    let started = Instant::now();
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let mut seen = 0;
    while seen < count {
        let polled = consumer.poll(8192, Duration::from_secs(10)).await.unwrap();
        seen += polled.iter().map(|it| it.records.len()).sum::<usize>();
    }
    started.elapsed().as_secs_f64()
}

async fn land(log: &SharedLog, folder: &str, count: usize) -> f64 {
    let lake = lake(folder);
    let lander = Lander::new(Arc::clone(log), lake.clone(), LandingSettings::default());
    let started = Instant::now();
    let landed = lander.catch_up(&|_| {}).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(landed[0].rows, count as u64);
    seconds
}

fn lake(folder: &str) -> Lake {
    let folder = Path::new(folder).join("lake");
    std::fs::create_dir_all(&folder).unwrap();
    Lake::open(folder.to_str().unwrap(), HashMap::new()).unwrap()
}

/// Sends 1,000 records a second while a lander runs, and asks the table for each as soon as a commit is told.
async fn latency(log: &SharedLog, folder: &str, count: usize) -> (f64, String) {
    log.ensure_topic(TOPIC, PARTITIONS).await.unwrap();
    let lake = lake(folder);
    let lander = Lander::new(Arc::clone(log), lake.clone(), LandingSettings::default());
    let stop = CancellationToken::new();
    let (tell, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let landing = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let observe = move |it: landing::LandedTopic| {
                if let What::Flushed { version, .. } = it.what {
                    let _ = tell.send(version);
                }
            };
            lander.run("bench", stop, &observe).await.unwrap();
        })
    };
    let sending = {
        let mut producer = log.producer("bench").await.unwrap();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            for from in (0..count).step_by(100) {
                tick.tick().await;
                producer.send(TOPIC, records(from, 100)).await.unwrap();
                producer.commit(None).await.unwrap();
            }
        })
    };
    let started = Instant::now();
    let mut seen = [-1_i64; PARTITIONS as usize];
    let mut millis: Vec<f64> = Vec::new();
    while millis.len() < count {
        commits.recv().await.unwrap();
        let table = lake.provider("raw.participation", None).await.unwrap();
        // Partitions land one before the other, so each has its own place.
        let unseen = seen.iter().enumerate().map(|(partition, offset)| {
            let partition = i32::try_from(partition).unwrap();
            let here = col("_partition").eq(lit(partition));
            here.and(col("_offset").gt(lit(*offset)))
        });
        let rows = SessionContext::new()
            .read_table(table.unwrap())
            .unwrap()
            .filter(unseen.reduce(Expr::or).unwrap())
            .unwrap()
            .select_columns(&["_partition", "_offset", "_timestamp"])
            .unwrap();
        let batches = rows.collect().await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for batch in &batches {
            let partitions = batch.column(0).as_primitive::<Int32Type>().values();
            let offsets = batch.column(1).as_primitive::<Int64Type>().values();
            let moments = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            for ((partition, offset), moment) in
                partitions.iter().zip(offsets).zip(moments.values())
            {
                let seen = &mut seen[usize::try_from(*partition).unwrap()];
                *seen = (*seen).max(*offset);
                millis.push(now.as_micros() as f64 / 1000.0 - *moment as f64 / 1000.0);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    sending.await.unwrap();
    stop.cancel();
    landing.await.unwrap();
    millis.sort_by(f64::total_cmp);
    let at = |part: f64| millis[((millis.len() - 1) as f64 * part) as usize];
    let told = format!(
        "p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms of {count} records at {:.0} a second",
        at(0.5),
        at(0.95),
        at(0.99),
        count as f64 / seconds
    );
    (seconds, told)
}

/// Participations, as a worker sends them, of this very moment.
fn records(from: usize, count: usize) -> Vec<Record> {
    let entity = contract::entity("participation").unwrap();
    let text = |value: &dyn Fn(usize) -> String| -> ArrayRef {
        let values = (from..from + count).map(value);
        Arc::new(StringArray::from_iter_values(values))
    };
    let day = |i: usize| format!("{}-{:02}-{:02}", 2010 + i % 8, 1 + i % 12, 1 + i % 28);
    let rows = RecordBatch::try_from_iter([
        ("participation_id", text(&|i| format!("P-{i:010}"))),
        ("municipality_code", text(&|_| "101".to_owned())),
        ("citizen_id", text(&pseudonym)),
        ("offer_id", text(&|i| format!("offer-{:06}", i % 5_000))),
        ("unit_id", text(&|i| format!("unit-{:04}", i % 300))),
        ("target_group", text(&|_| "cash_benefit_1".to_owned())),
        ("start_date", text(&day)),
        ("planned_end_date", text(&|_| "2018-12-31".to_owned())),
        ("end_date", text(&|_| "2018-12-31".to_owned())),
        ("end_reason", text(&|_| "completed".to_owned())),
        ("hours_per_week", text(&|i| format!("{}.5", 20 + i % 17))),
        ("workplace", text(&|_| "internship".to_owned())),
        ("complaint_guidance_given", text(&|_| "true".to_owned())),
        ("updated_at", text(&|_| "2019-01-01T00:00:00Z".to_owned())),
    ])
    .unwrap();
    let coerced = contract::coerce(entity, &rows);
    assert!(coerced.violations.is_empty(), "{:?}", coerced.violations[0]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let values = codec::encode(entity, &coerced.batch).unwrap();
    let record = |(row, value): (usize, bytes::Bytes)| Record {
        key: Some(entity.key_of(&coerced.batch, row).into()),
        value: Some(value),
        headers: headers(from + row),
        timestamp_ms: i64::try_from(now.as_millis()).unwrap(),
    };
    values.into_iter().enumerate().map(record).collect()
}

fn headers(i: usize) -> Vec<(String, bytes::Bytes)> {
    vec![
        (header::SOURCE.to_owned(), "case-system".into()),
        (
            header::ORIGIN.to_owned(),
            format!("page {} record {}", i / 1000, i % 1000).into(),
        ),
        (
            header::TRACE.to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        ),
    ]
}

/// 64 hexadecimal digits that do not compress, as a pseudonym's do not.
fn pseudonym(i: usize) -> String {
    let mut state = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    (0..4).map(|_| step()).collect()
}

fn value_bytes() -> usize {
    records(0, 1)[0].value.as_ref().unwrap().len()
}

fn header_bytes() -> usize {
    let headers = headers(0);
    headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}
