//! A warehouse in memory, served on a free port, with a table that never ends to tell whether queries really stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use serve_pg::{Secret, ServeError, Serving, Sessions, Settings, User, serve};
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::sync::CancellationToken;

pub(crate) const USER: &str = "analyst";
pub(crate) const PASSWORD: &str = "Rødgrød med fløde";

/// The warehouse all tests read.
#[derive(Debug, Clone)]
pub(crate) struct World {
    catalog: Arc<MemoryCatalogProvider>,
    /// How many scans of `raw.endless` are running now.
    pub(crate) running: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World {
            catalog: Arc::new(MemoryCatalogProvider::new()),
            running: Arc::default(),
        };
        for schema in ["core", "mart", "raw", "ref"] {
            world
                .catalog
                .register_schema(schema, Arc::new(MemorySchemaProvider::new()))
                .unwrap();
        }
        world.put("mart", "offer_overview", offers());
        world.put("core", "offer_overview", offers());
        world.put("core", "participation", participations(5));
        world.put("raw", "participation", participations(7));
        world.put("ref", "benefit", codes());
        let endless = Endless {
            schema: endless_schema(),
            running: Arc::clone(&world.running),
        };
        let table = StreamingTable::try_new(endless_schema(), vec![Arc::new(endless)]).unwrap();
        let raw = world.catalog.schema("raw").unwrap();
        raw.register_table("endless".into(), Arc::new(table))
            .unwrap();
        world
    }

    /// Publishes a table, in the place of the one before.
    pub(crate) fn put(&self, schema: &str, name: &str, batch: RecordBatch) {
        let schema = self.catalog.schema(schema).unwrap();
        schema.deregister_table(name).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        schema.register_table(name.into(), Arc::new(table)).unwrap();
    }

    /// Waits until no scan of `raw.endless` runs.
    pub(crate) async fn is_quiet(&self) {
        wait_for("the query to be stopped", || {
            self.running.load(Ordering::SeqCst) == 0
        })
        .await;
    }

    pub(crate) async fn is_busy(&self) {
        wait_for("the query to start", || {
            self.running.load(Ordering::SeqCst) > 0
        })
        .await;
    }
}

pub(crate) async fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::task::yield_now().await;
    }
}

#[async_trait::async_trait]
impl Sessions for World {
    async fn open(&self, _user: &str) -> Result<SessionContext, ServeError> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema("pejl", "mart")
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(2);
        let ctx = SessionContext::new_with_config(config);
        ctx.register_catalog("pejl", Arc::clone(&self.catalog) as _);
        Ok(ctx)
    }
}

/// A server and its world.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) serving: Serving,
    pub(crate) stop: CancellationToken,
}

pub(crate) async fn served() -> Served {
    served_with(|_| {}).await
}

pub(crate) async fn served_with(change: impl Fn(&mut Settings)) -> Served {
    let world = World::new();
    let mut settings = settings();
    change(&mut settings);
    let stop = CancellationToken::new();
    let serving = serve(Arc::new(world.clone()), settings, stop.clone())
        .await
        .unwrap();
    Served {
        world,
        serving,
        stop,
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        users: vec![
            User {
                name: USER.into(),
                password: Secret::new(PASSWORD),
            },
            User {
                name: "other".into(),
                password: Secret::new("another secret"),
            },
        ],
        statement_timeout: Some(Duration::from_secs(60)),
        max_connections: 20,
        query_log: None,
    }
}

impl Served {
    pub(crate) fn config(&self) -> Config {
        config(&self.serving)
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.config()).await.unwrap()
    }
}

pub(crate) fn config(serving: &Serving) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(serving.addr.port())
        .user(USER)
        .password(PASSWORD)
        .dbname("pejl");
    config
}

pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) fn sqlstate(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(
        || format!("no sqlstate: {error:?}"),
        |code| code.code().to_owned(),
    )
}

fn days(date: &str) -> i32 {
    Date32Type::from_naive_date(date.parse().unwrap())
}

fn offers() -> RecordBatch {
    let doc = |field: Field, text: &str| {
        field.with_metadata([("doc".to_owned(), text.to_owned())].into())
    };
    let schema = Schema::new(vec![
        doc(
            Field::new("municipality_code", DataType::Int32, false),
            "Kommunekode",
        ),
        Field::new("period", DataType::Utf8, false),
        Field::new("offer_id", DataType::Utf8, false),
        Field::new("offer_name", DataType::Utf8, true),
        Field::new("in_offer", DataType::Int64, true),
        Field::new("effect_3m", DataType::Float64, true),
        Field::new("price_per_week_dkk", DataType::Decimal128(12, 2), true),
        Field::new("suppressed", DataType::Boolean, false),
        Field::new("data_through", DataType::Date32, false),
        Field::new("built_at", timestamptz(), true),
        Field::new(
            "calendar",
            DataType::List(Arc::new(Field::new("item", DataType::Date32, true))),
            true,
        ),
    ])
    .with_metadata([("doc".to_owned(), "Tilbud og deres effekt".to_owned())].into());
    let calendar = ListArray::from_iter_primitive::<Date32Type, _, _>(vec![
        Some(vec![Some(days("2010-01-01")), Some(days("9999-12-31"))]),
        None,
        Some(vec![]),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![101, 101, 751])),
        Arc::new(StringArray::from(vec!["2010H1", "2010H2", "2010H1"])),
        Arc::new(StringArray::from(vec!["o1", "o1", "o2"])),
        Arc::new(StringArray::from(vec![
            Some("Jobsøgning på Ærø"),
            Some("Jobsøgning på Ærø"),
            None,
        ])),
        Arc::new(Int64Array::from(vec![Some(40), Some(38), None])),
        Arc::new(Float64Array::from(vec![Some(0.25), Some(1.0), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(123_450), Some(-5), None])
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(BooleanArray::from(vec![false, false, true])),
        Arc::new(Date32Array::from(vec![
            days("2010-06-30"),
            days("2010-12-31"),
            days("9999-12-31"),
        ])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![
                Some(1_277_938_800_000_000),
                Some(1_277_938_800_123_456),
                None,
            ])
            .with_timezone("UTC"),
        ),
        Arc::new(calendar),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn timestamptz() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn participations(rows: i32) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("participation_id", DataType::Int32, false),
        Field::new("start_date", DataType::Date32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(0..rows)),
        Arc::new(Date32Array::from_iter_values(
            (0..rows).map(|row| days("2010-01-01") + row),
        )),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn codes() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("code", DataType::Utf8, false),
        Field::new("counts_as_support", DataType::Boolean, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["112", "113"])),
        Arc::new(BooleanArray::from(vec![true, false])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn endless_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// A table whose scan goes on until it is dropped.
#[derive(Debug)]
struct Endless {
    schema: SchemaRef,
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PartitionStream for Endless {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new(
            schema,
            vec![Arc::new(Int64Array::from_iter_values(0..1000))],
        )
        .unwrap();
        let stream = futures::stream::unfold(running, move |running| {
            let batch = batch.clone();
            async move {
                tokio::task::yield_now().await;
                Some((Ok(batch), running))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}
