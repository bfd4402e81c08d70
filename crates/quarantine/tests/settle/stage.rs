//! A source of text rows, a log, a lake, and somebody who settles what was set aside.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    util::pretty::pretty_format_batches,
};
use bus::{EmbeddedLog, KafkaLog, KafkaSettings, SharedLog};
use connector_api::{
    Batch, BoxFuture, Connector, Entry, Reject, Result as ConnectorResult, Source, entry,
};
use contract::{Position, PseudonymKey};
use ingest::{Ingest, ReadReport};
use lake::Lake;
use landing::{Extent, Lander, LandingSettings, verify};
use quarantine::{Done, Filter, Outcome, Row, Settle, State, list};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use spec::{Pipeline, parse_pipeline};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use warehouse::{Warehouse, WarehouseSettings};

/// Birth years with a word before them, so that the first mapping gets them wrong.
pub(crate) const WRONG: &str = "foedt";
/// The mapping that takes the word away.
pub(crate) const MENDED: &str = "replace(foedt, 'aar ', '')";

/// Gives the rows of its settings, once, in one transaction.
struct Told;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// CPR number, birth year, moment of change.
    rows: Vec<[String; 3]>,
}

impl Connector for Told {
    const NAME: &'static str = "told";
    const SUMMARY: &'static str = "Gives the rows it is told.";
    type Config = Config;

    async fn open(config: Config, from: Option<Position>) -> ConnectorResult<Box<dyn Source>> {
        let rows = from.is_none().then_some(config.rows);
        Ok(Box::new(Telling(rows)))
    }
}

struct Telling(Option<Vec<[String; 3]>>);

impl Source for Telling {
    fn next(&mut self) -> BoxFuture<'_, ConnectorResult<Option<Batch>>> {
        Box::pin(async move {
            let Some(rows) = self.0.take() else {
                return Ok(None);
            };
            let column = |at: usize| -> ArrayRef {
                Arc::new(rows.iter().map(|it| Some(&it[at])).collect::<StringArray>())
            };
            let names = ["cpr", "foedt", "rettet"];
            let columns = names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, column(at)));
            Ok(Some(Batch {
                origins: (0..rows.len())
                    .map(|at| format!("c.csv:{}", at + 2))
                    .collect(),
                rows: RecordBatch::try_from_iter(columns).unwrap(),
                rejects: vec![Reject {
                    origin: "c.csv:99".to_owned(),
                    raw: "half a row".to_owned(),
                    reason: "1 field where the header has 3".to_owned(),
                }],
                position: Some(Position(json!("read"))),
                delivery: None,
                complete_through: None,
            }))
        })
    }
}

static CONNECTORS: [Entry; 1] = [entry::<Told>()];

pub(crate) struct Stage {
    pub(crate) log: SharedLog,
    key: &'static str,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap()).await
    }

    /// The same over a real Kafka; `None`, loudly, where there is none.
    pub(crate) async fn on_kafka() -> Option<Self> {
        let Some(bootstrap_servers) = std::env::var("PEJL_TEST_KAFKA")
            .ok()
            .filter(|it| !it.is_empty())
        else {
            eprintln!("KAFKA HALF SKIPPED: PEJL_TEST_KAFKA is not set");
            return None;
        };
        let settings = KafkaSettings {
            bootstrap_servers,
            prefix: format!("settle{}.", uuid::Uuid::new_v4().simple()),
            ..KafkaSettings::default()
        };
        let log = Arc::new(KafkaLog::connect(settings).await.unwrap());
        Some(Self {
            log,
            ..Self::new().await
        })
    }

    async fn in_folder(folder: TempDir) -> Self {
        for schema in ["core", "mart"] {
            std::fs::create_dir_all(folder.path().join("models").join(schema)).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("definitions")).unwrap();
        std::fs::create_dir_all(folder.path().join("lake")).unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log")).await.unwrap();
        Self {
            log: Arc::new(log),
            key: "one key of at least thirty-two bytes",
            folder,
        }
    }

    /// Everything there is, copied to another place, as a machine that stopped here would find it.
    pub(crate) async fn copy(&self) -> Self {
        let to = tempfile::tempdir().unwrap();
        copy(self.folder.path(), to.path());
        Self::in_folder(to).await
    }

    pub(crate) fn with_another_key(mut self) -> Self {
        self.key = "another key of thirty-two bytes, or more";
        self
    }

    pub(crate) fn lake(&self) -> Lake {
        let folder = self.folder.path().join("lake");
        Lake::open(folder.to_str().unwrap(), std::collections::HashMap::new()).unwrap()
    }

    pub(crate) async fn warehouse(&self) -> Warehouse {
        let models = self.folder.path().join("models");
        Warehouse::open(self.lake(), &models, WarehouseSettings::default())
            .await
            .unwrap()
    }

    fn ingest(&self) -> Ingest {
        let key = PseudonymKey::new(self.key.as_bytes()).unwrap();
        Ingest::new(Arc::clone(&self.log), &CONNECTORS, Some(key), 2)
    }

    /// Reads rows of CPR number, birth year and day of change as a source of this name.
    pub(crate) async fn read(&self, source: &str, rows: &[[&str; 3]], birth: &str) -> ReadReport {
        let pipeline = pipeline(source, rows, birth, "true");
        let stop = CancellationToken::new();
        let report = self.ingest().read(&pipeline, &stop, &|_| {}).await.unwrap();
        self.land().await;
        report
    }

    pub(crate) async fn land(&self) {
        let settings = LandingSettings::default();
        let lander = Lander::new(Arc::clone(&self.log), self.lake(), settings);
        lander.catch_up(&|_| {}).await.unwrap();
    }

    /// Somebody who settles by a mapping with this birth year, passing over rows that `keep` is not true of.
    pub(crate) async fn settle(&self, birth: &'static str, keep: &'static str) -> Settle {
        Settle {
            log: Arc::clone(&self.log),
            lake: self.lake(),
            warehouse: self.warehouse().await,
            ingest: self.ingest(),
            pipelines: Arc::new(move || {
                let names = ["citizens", "corrections", "twice"];
                let file = |name: &str| (name.to_owned(), Ok(pipeline(name, &[], birth, keep)));
                Ok(names.into_iter().map(file).collect())
            }),
            partitions: 2,
        }
    }

    /// Retries everything by a mapping, and tells what came of each row, by place.
    pub(crate) async fn retry(&self, birth: &'static str) -> Vec<(String, Done)> {
        let settle = self.settle(birth, "true").await;
        let everything = Filter::default();
        let told = settle.retry(&everything, "anna", false, &|_| {}).await;
        done(&told.unwrap())
    }

    pub(crate) async fn rows(&self, state: State) -> Vec<Row> {
        let warehouse = self.warehouse().await;
        let found = list(&warehouse, &Filter::default(), state, 1_000).await;
        found.unwrap().0
    }

    pub(crate) async fn ask(&self, sql: &str) -> String {
        let session = self.warehouse().await.session().await.unwrap();
        let found = session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&found).unwrap().to_string()
    }

    pub(crate) async fn assert_complete(&self) {
        let audit = verify(self.log.as_ref(), &self.lake(), Extent::Everything, &|_| {})
            .await
            .unwrap();
        assert!(audit.strangers.is_empty(), "{audit:?}");
        for partition in &audit.partitions {
            assert!(partition.is_complete(), "{partition}");
        }
    }

    /// The Avro body of a unit, with a null behind it.
    pub(crate) fn unit_body(&self, id: &str) -> Vec<u8> {
        let entity = contract::entity("unit").unwrap();
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let rows = RecordBatch::try_from_iter([
            ("unit_id", text(id)),
            ("municipality_code", text("101")),
            ("name", text("Jobcenter Nord")),
            ("kind", text("jobcenter")),
            ("updated_at", text("2010-01-01T00:00:00Z")),
        ]);
        let coerced = contract::coerce(entity, &rows.unwrap());
        let mut values = codec::encode(entity, &coerced.batch).unwrap();
        let mut body = values.pop().unwrap()[codec::HEADER..].to_vec();
        body.push(0);
        body
    }

    /// Whether `text` was written anywhere.
    pub(crate) fn holds(&self, text: &str) -> bool {
        files(self.folder.path()).iter().any(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(text.len()).any(|it| it == text.as_bytes())
        })
    }
}

fn pipeline(source: &str, rows: &[[&str; 3]], birth: &str, keep: &str) -> Pipeline {
    let settings = json!({ "rows": rows });
    let text = format!(
        "doc: Citizens.\nconnector: told\nentity: citizen\nmunicipality_code: 101\nsender: somebody\nsettings: {settings}\nwhere: \"{keep}\"\nselect:\n  citizen_id: pseudonym(cpr)\n  birth_year: \"{birth}\"\n  origin: \"'danish'\"\n  updated_at: concat(rettet, 'T00:00:00Z')\n"
    );
    parse_pipeline(source, "citizens.yaml", &text, &|_| None).unwrap()
}

pub(crate) fn done(outcomes: &[Outcome]) -> Vec<(String, Done)> {
    let mut done: Vec<(String, Done)> = outcomes
        .iter()
        .map(|it| (it.origin.clone(), it.done))
        .collect();
    done.sort();
    done
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}
