//! A log, a lake whose store can fail, and records of units to send through them.
#![allow(dead_code, reason = "test code shared by several test crates")]

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, new_null_array,
    },
    datatypes::DataType,
    util::pretty::pretty_format_batches,
};
use bus::{EmbeddedLog, Record, SharedLog};
use bytes::Bytes;
use contract::{Entity, header, raw_schema};
use datafusion::prelude::SessionContext;
use lake::Lake;
use landing::{
    Audit, Extent, Landed, LandedTopic, Lander, LandingSettings, PartitionAudit, What, verify,
};
use tempfile::TempDir;
use url::Url;

#[path = "../../../lake/tests/flaky/mod.rs"]
pub(crate) mod flaky;

use flaky::Flaky;

pub(crate) const UNITS: &str = "pejl.unit";

pub(crate) struct Stage {
    pub(crate) log: SharedLog,
    pub(crate) store: Flaky,
    pub(crate) seen: Arc<Mutex<Vec<LandedTopic>>>,
    /// Where the lake is, if not in the store.
    pub(crate) disk: Option<PathBuf>,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log")).await.unwrap();
        Self::over(Arc::new(log), folder).await
    }

    pub(crate) async fn over(log: SharedLog, folder: TempDir) -> Self {
        let stage = Self {
            log,
            store: Flaky::default(),
            seen: Arc::default(),
            disk: None,
            folder,
        };
        stage.log.ensure_topic(UNITS, 3).await.unwrap();
        stage
    }

    /// The same lake under another log, as after the log's folder was lost.
    pub(crate) async fn with_new_log(mut self) -> Self {
        let folder: PathBuf = self.folder.path().join("another log");
        self.log = Arc::new(EmbeddedLog::open(&folder).await.unwrap());
        self.log.ensure_topic(UNITS, 3).await.unwrap();
        self
    }

    /// A lake that knows nothing yet, as after a restart.
    pub(crate) fn lake(&self) -> Lake {
        if let Some(disk) = &self.disk {
            return Lake::open(disk.to_str().unwrap(), HashMap::new()).unwrap();
        }
        Lake::over(
            Arc::new(self.store.clone()),
            Url::parse("memory:///lake").unwrap(),
        )
        .unwrap()
    }

    pub(crate) fn lander(&self, settings: LandingSettings) -> Lander {
        Lander::new(Arc::clone(&self.log), self.lake(), settings)
    }

    /// A lander that commits as rarely as it can, restarted for each use.
    pub(crate) fn restarted(&self) -> Lander {
        self.lander(LandingSettings {
            flush_seconds: 5.0,
            ..LandingSettings::default()
        })
    }

    /// A lander that commits after every few records.
    pub(crate) fn hasty(&self) -> Lander {
        self.lander(LandingSettings {
            flush_rows: 1,
            poll_records: 5,
            ..LandingSettings::default()
        })
    }

    pub(crate) fn observe(&self) -> impl Fn(LandedTopic) + Send + Sync + 'static {
        let seen = Arc::clone(&self.seen);
        move |landed| seen.lock().unwrap().push(landed)
    }

    /// Lands what there is with a lander that has just been started.
    pub(crate) async fn catch_up(&self) -> Vec<Landed> {
        self.restarted().catch_up(&self.observe()).await.unwrap()
    }

    pub(crate) fn saw(&self, wanted: impl Fn(&What) -> bool) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|landed| wanted(&landed.what)).count()
    }

    /// Puts small files of a table together, tells how many, and removes what no version of the last `keep` needs.
    pub(crate) async fn tidy(&self, table: &str, keep: Duration) -> u64 {
        let (merged, _) = self.lake().tidy(table, keep, &[]).await.unwrap();
        merged
    }

    /// Waits for a condition, for at most a minute.
    pub(crate) async fn until(&self, mut condition: impl AsyncFnMut() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !condition().await {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?}",
                self.seen.lock().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn send(&self, topic: &str, records: Vec<Record>) {
        let mut producer = self.log.producer("test").await.unwrap();
        producer.send(topic, records).await.unwrap();
        producer.commit(None).await.unwrap();
    }

    /// Sends records and takes them back, so that their offsets hold nothing.
    pub(crate) async fn send_and_abort(&self, topic: &str, records: Vec<Record>) {
        let mut producer = self.log.producer("test").await.unwrap();
        producer.send(topic, records).await.unwrap();
        producer.abort().await.unwrap();
    }

    pub(crate) async fn verify(&self, extent: Extent) -> Audit {
        let audit = verify(self.log.as_ref(), &self.lake(), extent, &|_| {}).await;
        audit.unwrap()
    }

    pub(crate) async fn audit(&self) -> Vec<PartitionAudit> {
        let audit = self.verify(Extent::Everything).await;
        assert!(audit.strangers.iter().all(|it| it.earlier), "{audit:?}");
        audit.partitions
    }

    pub(crate) async fn assert_complete(&self) {
        for audit in self.audit().await {
            assert!(audit.is_complete(), "{audit}");
        }
    }

    /// Puts rows at these offsets of the first partition into the table, behind landing's back.
    pub(crate) async fn forge(&self, offsets: &[i64]) {
        self.forge_of(UNITS, 0, offsets).await;
    }

    /// The same for rows that name another topic or partition.
    pub(crate) async fn forge_of(&self, topic: &str, partition: i32, offsets: &[i64]) {
        let schema = raw_schema(entity());
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match (field.name().as_str(), field.data_type()) {
                ("_topic", _) => Arc::new(StringArray::from(vec![topic; offsets.len()])),
                ("_partition", _) => Arc::new(Int32Array::from(vec![partition; offsets.len()])),
                ("_offset", _) => Arc::new(Int64Array::from(offsets.to_vec())),
                (_, DataType::Boolean) => Arc::new(BooleanArray::from(vec![false; offsets.len()])),
                ("_timestamp", data_type) => {
                    let moments = Int64Array::from(vec![0; offsets.len()]);
                    arrow::compute::cast(&moments, data_type).unwrap()
                }
                (_, data_type) => new_null_array(data_type, offsets.len()),
            }
        });
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let lake = self.lake();
        lake.append("raw.unit", &schema, vec![rows], &[])
            .await
            .unwrap();
    }

    /// The answer to a query over the tables `unit` and `quarantine`.
    pub(crate) async fn query(&self, sql: &str) -> String {
        let context = SessionContext::new();
        for name in ["unit", "quarantine"] {
            if let Some(table) = self
                .lake()
                .provider(&format!("raw.{name}"), None)
                .await
                .unwrap()
            {
                context.register_table(name, table).unwrap();
            }
        }
        let found = context.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&found).unwrap().to_string()
    }

    pub(crate) async fn count(&self, table: &str) -> usize {
        let answer = self
            .query(&format!("select count(*) as n from {table}"))
            .await;
        let digits = answer.lines().nth(3).unwrap().trim_matches(['|', ' ']);
        digits.parse().unwrap()
    }
}

pub(crate) fn entity() -> &'static Entity {
    contract::entity("unit").expect("the entity `unit`")
}

/// Units as rows; every `kind` is one the contract allows, or not.
fn rows(ids: &[i64], kind: &str) -> RecordBatch {
    let ids: Vec<String> = ids.iter().map(|id| format!("u{id}")).collect();
    let count = ids.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        Arc::new(Int32Array::from(vec![101; count])),
        Arc::new(StringArray::from(vec!["Jobcenter Nord"; count])),
        Arc::new(StringArray::from(vec![kind; count])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![1_300_000_000_000_000; count])
                .with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(entity().arrow_schema(), columns).unwrap()
}

/// Records of units, one an id.
pub(crate) fn units(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    records(ids, "jobcenter")
}

/// Records that are well encoded and break the contract.
pub(crate) fn bad_units(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    records(ids, "kiosk")
}

fn records(ids: impl IntoIterator<Item = i64>, kind: &str) -> Vec<Record> {
    let ids: Vec<i64> = ids.into_iter().collect();
    let batch = rows(&ids, kind);
    let values = codec::encode(entity(), &batch).unwrap();
    let record = |(row, value): (usize, Bytes)| Record {
        key: Some(entity().key_of(&batch, row).into()),
        value: Some(value),
        headers: vec![
            (header::SOURCE.to_owned(), "case-system".into()),
            (
                header::ORIGIN.to_owned(),
                format!("page 1 record {}", ids[row]).into(),
            ),
            (header::TRACE.to_owned(), "trace-1".into()),
        ],
        timestamp_ms: 1_300_000_000_000,
    };
    values.into_iter().enumerate().map(record).collect()
}

/// A deletion of a unit.
pub(crate) fn deletion(key: &str) -> Record {
    Record {
        key: Some(key.to_owned().into()),
        timestamp_ms: 1_300_000_000_000,
        ..Record::default()
    }
}

/// A record whose value is what it is.
pub(crate) fn garbage(value: impl Into<Bytes>) -> Record {
    Record {
        key: Some("[\"u1\"]".into()),
        value: Some(value.into()),
        headers: vec![],
        timestamp_ms: 1_300_000_000_000,
    }
}

/// The first record with the fingerprint of its schema changed.
pub(crate) fn of_unknown_schema(record: &Record) -> Record {
    let mut value = record.value.as_ref().expect("a value").to_vec();
    value[2] ^= 0xFF;
    Record {
        value: Some(value.into()),
        ..record.clone()
    }
}
