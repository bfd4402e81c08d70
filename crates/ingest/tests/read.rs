//! One read of a source: what becomes visible, what is set aside, and that it is all or nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use bus::{Assignment, Delivered, EmbeddedLog, SharedLog};
use chrono::{NaiveDate, Utc};
use connector_api::{
    Batch, BoxFuture, Connector, Delivery, Entry, Error, Reject, Result, Source, entry,
};
use contract::{Position, PseudonymKey, QUARANTINE_TOPIC};
use ingest::Ingest;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use spec::{Pipeline, parse_pipeline};
use tokio_util::sync::CancellationToken;

/// Plays a file of four rows: two good, one that breaks the contract, one that is no row; given in
/// two batches, of which the second closes the transaction.
struct Played;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    breaks_off: bool,
    #[serde(default)]
    through: Option<String>,
}

impl Connector for Played {
    const NAME: &'static str = "played";
    const SUMMARY: &'static str = "Plays a file.";
    type Config = Config;

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        Ok(Box::new(Playing {
            step: if from.is_some() { 2 } else { 0 },
            breaks_off: config.breaks_off,
            through: config.through.map(|it| it.parse().unwrap()),
        }))
    }
}

struct Playing {
    step: usize,
    breaks_off: bool,
    through: Option<NaiveDate>,
}

impl Source for Playing {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            self.step += 1;
            match self.step {
                1 => Ok(Some(first())),
                2 if self.breaks_off => Err(Error::Source("the line went dead".to_owned())),
                2 => Ok(Some(Batch {
                    complete_through: self.through.or(NaiveDate::from_ymd_opt(2010, 7, 3)),
                    ..last()
                })),
                _ => Ok(None),
            }
        })
    }
}

fn first() -> Batch {
    Batch {
        rows: rows(&[
            ("610170-0001", "1970", "01-07-2010"),
            ("61 01 70 0002", "19x0", "02-07-2010"),
        ]),
        origins: vec!["c.csv:2".to_owned(), "c.csv:3".to_owned()],
        rejects: vec![],
        position: None,
        delivery: None,
        complete_through: None,
    }
}

fn last() -> Batch {
    Batch {
        rows: rows(&[("6101700003", "1971", "03-07-2010")]),
        origins: vec!["c.csv:5".to_owned()],
        rejects: vec![Reject {
            origin: "c.csv:4".to_owned(),
            raw: "610170-0004,half a".to_owned(),
            reason: "2 fields where the header has 3".to_owned(),
        }],
        position: Some(Position(json!({ "done": true }))),
        delivery: Some(Delivery {
            file_name: "c.csv".to_owned(),
            sha256: "ab".repeat(32),
            period: None,
        }),
        complete_through: None,
    }
}

fn rows(rows: &[(&str, &str, &str)]) -> RecordBatch {
    let column = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    RecordBatch::try_from_iter(vec![
        ("CPR nummer", column(rows.iter().map(|it| it.0).collect())),
        ("foedt", column(rows.iter().map(|it| it.1).collect())),
        ("rettet", column(rows.iter().map(|it| it.2).collect())),
    ])
    .unwrap()
}

static CONNECTORS: [Entry; 1] = [entry::<Played>()];

const PIPELINE: &str = "
doc: Citizens of a played file.
connector: played
entity: citizen
municipality_code: 101
sender: somebody
settings: { breaks_off: false }
select:
  citizen_id: pseudonym(\"CPR nummer\")
  birth_year: foedt
  origin: \"'danish'\"
  updated_at: concat(danish_date(rettet), 'T00:00:00Z')
";

fn pipeline(text: &str) -> Pipeline {
    parse_pipeline("citizens", "citizens.yaml", text, &|_| None).unwrap()
}

struct Bench {
    _folder: tempfile::TempDir,
    log: SharedLog,
    ingest: Ingest,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(EmbeddedLog::open(folder.path()).await.unwrap());
        let key = PseudonymKey::new(b"a key for tests, long enough to be one").unwrap();
        let ingest = Ingest::new(Arc::clone(&log), &CONNECTORS, Some(key), 2);
        Self {
            _folder: folder,
            log,
            ingest,
        }
    }

    async fn read(&self, text: &str) -> ingest::Result<ingest::ReadReport> {
        let stop = CancellationToken::new();
        self.ingest.read(&pipeline(text), &stop, &|_| {}).await
    }

    async fn records(&self, topic: &str) -> Vec<Delivered> {
        let Some(topic) = self.log.topics(topic).await.unwrap().pop() else {
            return Vec::new();
        };
        let mut assignments = Vec::new();
        let mut expected = 0;
        for partition in 0..topic.partitions {
            let range = self.log.range(&topic.name, partition).await.unwrap();
            expected += range.high - range.low;
            assignments.push(Assignment {
                topic: topic.name.clone(),
                partition,
                offset: range.low,
            });
        }
        let mut consumer = self.log.consumer(&assignments).await.unwrap();
        let mut found = Vec::new();
        while (found.len() as i64) < expected {
            let polled = consumer.poll(100, Duration::from_secs(5)).await.unwrap();
            assert!(
                !polled.is_empty(),
                "{}: {} of {expected}",
                topic.name,
                found.len()
            );
            found.extend(polled.into_iter().flat_map(|it| it.records));
        }
        found
    }
}

#[tokio::test]
async fn good_rows_bad_rows_bookkeeping_and_position_arrive_together() {
    let bench = Bench::new().await;
    let report = bench.read(PIPELINE).await.unwrap();
    assert_eq!(
        (
            report.rows,
            report.accepted,
            report.quarantined,
            report.transactions
        ),
        (4, 2, 2, 1)
    );
    assert_eq!(bench.records("pejl.citizen").await.len(), 2);
    assert_eq!(bench.records("pejl.watermark").await.len(), 1);
    assert_eq!(bench.records("pejl.delivery").await.len(), 1);
    let position = bench.log.position("citizens").await.unwrap();
    assert_eq!(position, Some(Position(json!({ "done": true }))));

    let mut aside: Vec<Value> = bench
        .records(QUARANTINE_TOPIC)
        .await
        .iter()
        .map(|it| serde_json::from_slice(it.record.value.as_ref().unwrap()).unwrap())
        .collect();
    aside.sort_by_key(|it| it["origin"].to_string());
    assert_eq!(aside[0]["origin"], "c.csv:3");
    assert_eq!(aside[0]["field"], "birth_year");
    assert!(
        aside[0]["reason"].as_str().unwrap().contains("19x0"),
        "{}",
        aside[0]
    );
    assert_eq!(aside[1]["origin"], "c.csv:4");
    assert_eq!(aside[1]["rule"], "unreadable");
    for row in &aside {
        let text = row.to_string();
        assert!(
            !text.contains("610170") && !text.contains("61 01 70"),
            "{text}"
        );
        assert_eq!(row["trace_id"], report.trace_id.as_str());
    }
}

#[tokio::test]
async fn a_second_read_starts_at_the_position() {
    let bench = Bench::new().await;
    bench.read(PIPELINE).await.unwrap();
    let again = bench.read(PIPELINE).await.unwrap();
    assert_eq!((again.rows, again.transactions), (0, 0));
    assert_eq!(bench.records("pejl.citizen").await.len(), 2);
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_nothing() {
    let bench = Bench::new().await;
    let broken = PIPELINE.replace("breaks_off: false", "breaks_off: true");
    let err = bench.read(&broken).await.unwrap_err();
    assert!(err.is_retryable(), "{err}");
    assert_eq!(bench.records("pejl.citizen").await, []);
    assert_eq!(bench.records(QUARANTINE_TOPIC).await, []);
    assert_eq!(bench.log.position("citizens").await.unwrap(), None);
    let mended = bench.read(PIPELINE).await.unwrap();
    assert_eq!(mended.accepted, 2);
}

#[tokio::test]
async fn stopping_in_the_middle_of_a_file_leaves_nothing() {
    let bench = Bench::new().await;
    let stop = CancellationToken::new();
    let told = AtomicBool::new(false);
    let observe = |_: &ingest::ReadReport| {
        told.store(true, Ordering::Relaxed);
        stop.cancel();
    };
    bench
        .ingest
        .read(&pipeline(PIPELINE), &stop, &observe)
        .await
        .unwrap();
    assert!(told.load(Ordering::Relaxed));
    assert_eq!(bench.records("pejl.citizen").await, []);
    assert_eq!(bench.log.position("citizens").await.unwrap(), None);
}

#[tokio::test]
async fn one_row_that_an_expression_cannot_take_stays_alone() {
    let bench = Bench::new().await;
    let strict = PIPELINE.replace("birth_year: foedt", "birth_year: cast(foedt as int)");
    let report = bench.read(&strict).await.unwrap();
    assert_eq!((report.accepted, report.quarantined), (2, 2));
}

#[tokio::test]
async fn mistakes_in_a_mapping_name_the_source_and_the_column() {
    let bench = Bench::new().await;
    let wrong = PIPELINE.replace("birth_year: foedt", "birth_year: no_such_function(foedt)");
    let err = bench.read(&wrong).await.unwrap_err().to_string();
    assert!(
        err.contains("citizens") && err.contains("birth_year"),
        "{err}"
    );
    let without_key = Ingest::new(Arc::clone(&bench.log), &CONNECTORS, None, 2);
    let stop = CancellationToken::new();
    let err = without_key
        .read(&pipeline(PIPELINE), &stop, &|_| {})
        .await
        .unwrap_err();
    assert!(err.to_string().contains("PEJL_PSEUDONYM_KEY"), "{err}");
}

#[tokio::test]
async fn a_column_that_a_file_lacks_is_told_to_its_sender() {
    let bench = Bench::new().await;
    let extra = PIPELINE.replace("select:", "select:\n  exit_date: doedsdato");
    let report = bench.read(&extra).await.unwrap();
    assert_eq!(report.accepted, 2);
    let told =
        bench.records(QUARANTINE_TOPIC).await.iter().any(|it| {
            String::from_utf8_lossy(it.record.value.as_ref().unwrap()).contains("doedsdato")
        });
    assert!(told, "nobody was told of the missing column");
}

/// A column of the records of an entity, as text.
async fn column(bench: &Bench, entity: &str, name: &str) -> Vec<String> {
    let entity = contract::entity(entity).unwrap();
    let records = bench.records(&entity.topic()).await;
    let values: Vec<Option<&[u8]>> = records
        .iter()
        .map(|it| it.record.value.as_deref())
        .collect();
    let decoded = codec::Decoder::new(entity)
        .unwrap()
        .decode(&values)
        .unwrap();
    let column = decoded.batch.column_by_name(name).unwrap();
    let texts = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap();
    let texts = texts.as_string::<i32>();
    texts.iter().flatten().map(str::to_owned).collect()
}

/// Nobody has read all of a day that has not come, whatever the source says.
#[tokio::test]
async fn a_watermark_is_never_past_today() {
    let today = || contract::civil_day(Utc::now()).to_string();
    let said = async |through: &str| {
        let bench = Bench::new().await;
        let text = PIPELINE.replace("breaks_off: false", &format!("through: {through}"));
        bench.read(&text).await.unwrap();
        column(&bench, "watermark", "complete_through").await
    };
    assert_eq!(said("2010-07-03").await, ["2010-07-03"]);
    let before = today();
    let through = said("2999-12-31").await;
    assert!(through == [before] || through == [today()], "{through:?}");
    let bench = Bench::new().await;
    bench
        .read(&PIPELINE.replace("municipality_code: 101\n", ""))
        .await
        .unwrap();
    assert_eq!(
        bench.records("pejl.watermark").await.len(),
        0,
        "whose would it be?"
    );
}

/// When a file came says nothing about its period.
#[tokio::test]
async fn a_delivery_has_the_period_of_its_name_or_none() {
    let bench = Bench::new().await;
    bench.read(PIPELINE).await.unwrap();
    assert_eq!(column(&bench, "delivery", "period").await, ["unknown"]);
}
