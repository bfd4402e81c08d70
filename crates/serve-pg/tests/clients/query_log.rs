//! `ops.query_log`: what of a session is noted there, and what never is.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use lake::Lake;
use serve_pg::{Serving, Settings, serve};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use warehouse::{QueryLog, Warehouse, WarehouseSettings};

use crate::server::{USER, config, connect, settings, sqlstate};

/// A warehouse over a lake where nothing has landed, served with its log.
struct Noted {
    warehouse: Warehouse,
    log: QueryLog,
    serving: Serving,
    stop: CancellationToken,
    _models: tempfile::TempDir,
}

/// A row of the log.
#[derive(Debug, PartialEq)]
struct Line {
    statement: String,
    tables: Vec<String>,
    rows: Option<i64>,
    error: Option<String>,
}

impl Noted {
    async fn new() -> Noted {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        std::fs::create_dir_all(models.join("mart")).unwrap();
        let lake = Lake::open("memory:///", HashMap::new()).unwrap();
        let warehouse = Warehouse::open(lake, &models, WarehouseSettings::default())
            .await
            .unwrap();
        let log = warehouse.start_query_log();
        let (serving, stop) = started(&warehouse, &log).await;
        Noted {
            warehouse,
            log,
            serving,
            stop,
            _models: folder,
        }
    }

    async fn client(&self) -> Client {
        connect(&config(&self.serving)).await.unwrap()
    }

    /// All that is noted, in the order in which it began.
    async fn lines(&self) -> Vec<Line> {
        self.log.flush().await;
        lines(&self.client().await).await
    }
}

async fn started(warehouse: &Warehouse, log: &QueryLog) -> (Serving, CancellationToken) {
    let settings = Settings {
        query_log: Some(log.clone()),
        ..settings()
    };
    let stop = CancellationToken::new();
    let serving = serve(Arc::new(warehouse.clone()), settings, stop.clone())
        .await
        .unwrap();
    (serving, stop)
}

async fn lines(client: &Client) -> Vec<Line> {
    let sql = "SELECT statement, tables, rows, error, who, role, milliseconds, policy
        FROM ops.query_log ORDER BY query_id";
    let rows = client.query(sql, &[]).await.unwrap();
    let line = |row: &tokio_postgres::Row| {
        assert_eq!((row.get::<_, &str>(4), row.get::<_, &str>(5)), (USER, USER));
        assert!(row.get::<_, i64>(6) >= 0);
        assert_eq!(row.get::<_, Option<&str>>(7), None);
        Line {
            statement: row.get(0),
            tables: row.get(1),
            rows: row.get(2),
            error: row.get(3),
        }
    };
    rows.iter().map(line).collect()
}

fn line(statement: &str, tables: &[&str], outcome: Result<i64, &str>) -> Line {
    Line {
        statement: statement.to_owned(),
        tables: tables.iter().map(|it| (*it).to_owned()).collect(),
        rows: outcome.ok(),
        error: outcome.err().map(str::to_owned),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_read_which_tables_is_noted_by_either_protocol() {
    let noted = Noted::new().await;
    let client = noted.client().await;
    // `unit` is found in `raw`, on the search path; nothing is published.
    let simple = "SELECT count(*) FROM unit JOIN ref.definition ON true WHERE unit_id IN (SELECT unit_id FROM raw.unit)";
    client.simple_query(simple).await.unwrap();
    let extended = "SELECT count(*) FROM raw.citizen WHERE citizen_id = $1";
    client.query(extended, &[&"a secret"]).await.unwrap();
    client
        .batch_execute("PREPARE p (text) AS SELECT count(*) FROM raw.offer WHERE offer_id = $1; EXECUTE p ('a secret')")
        .await
        .unwrap();
    let copied = client
        .copy_out("COPY (SELECT count(*) FROM raw.offer) TO STDOUT")
        .await
        .unwrap();
    copied.try_for_each(|_| async { Ok(()) }).await.unwrap();

    let expected = [
        line(simple, &["raw.unit", "ref.definition"], Ok(1)),
        line(extended, &["raw.citizen"], Ok(1)),
        line(
            "SELECT count(*) FROM raw.offer WHERE offer_id = $1",
            &["raw.offer"],
            Ok(1),
        ),
        line("SELECT count(*) FROM raw.offer", &["raw.offer"], Ok(1)),
    ];
    assert_eq!(noted.lines().await, expected);
    let reading = noted.lines().await;
    assert_eq!(reading.len(), expected.len() + 1);
    assert_eq!(
        reading[expected.len()].tables,
        ["ops.query_log"],
        "who reads the log is noted in it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_read_in_steps_is_one_line_with_the_rows_sent() {
    let noted = Noted::new().await;
    let mut client = noted.client().await;
    let numbers = "SELECT n.value FROM generate_series(1, 100) AS n LEFT JOIN raw.unit ON false";
    client
        .batch_execute(&format!(
            "BEGIN; DECLARE c CURSOR FOR {numbers}; FETCH 3 FROM c; MOVE 10 FROM c; FETCH 2 FROM c; COMMIT"
        ))
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind(numbers, &[]).await.unwrap();
    transaction.query_portal(&portal, 7).await.unwrap();
    transaction.query_portal(&portal, 4).await.unwrap();
    transaction.commit().await.unwrap();
    client
        .batch_execute(&format!(
            "BEGIN; DECLARE d CURSOR FOR {numbers}; FETCH ALL FROM d"
        ))
        .await
        .unwrap();

    let rows = noted.lines().await;
    assert_eq!(
        rows,
        [5, 11, 100].map(|sent| line(numbers, &["raw.unit"], Ok(sent)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_noted_by_its_code() {
    let noted = Noted::new().await;
    let client = noted.client().await;
    let missing = "SELECT nothing FROM raw.unit";
    let simple = client.simple_query(missing).await.unwrap_err();
    let extended = client.query(missing, &[]).await.unwrap_err();
    assert_eq!([simple, extended].map(|it| sqlstate(&it)), ["42703"; 2]);
    let halfway = "SELECT 1 / (count(*) - count(*)) FROM raw.unit";
    let running = client.simple_query(halfway).await.unwrap_err();
    assert_eq!(sqlstate(&running), "22012");
    client
        .simple_query("SELECT * FROM mart.no_such_table")
        .await
        .unwrap_err();

    let expected = [
        line(missing, &["raw.unit"], Err("42703")),
        line(missing, &["raw.unit"], Err("42703")),
        line(halfway, &["raw.unit"], Err("22012")),
    ];
    assert_eq!(noted.lines().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cpr_number_is_noted_and_nothing_that_reads_no_table() {
    let noted = Noted::new().await;
    let client = noted.client().await;
    client
        .batch_execute(
            "SELECT 1; SET application_name = 'x'; BEGIN; COMMIT; SHOW timezone;
             SELECT relname FROM pg_class; SELECT table_name FROM information_schema.tables;
             SELECT value FROM generate_series(1, 3); WITH unit AS (SELECT 1) SELECT * FROM unit",
        )
        .await
        .unwrap();
    client
        .query("SELECT count(*) FROM pg_catalog.pg_namespace", &[])
        .await
        .unwrap();
    let sql = "SELECT count(*) FROM raw.citizen WHERE citizen_id IN ('610170-1234', '6101701234')";
    client.simple_query(sql).await.unwrap();

    let scrubbed = "SELECT count(*) FROM raw.citizen WHERE citizen_id IN ('[cpr]', '[cpr]')";
    assert_eq!(
        noted.lines().await,
        [line(scrubbed, &["raw.citizen"], Ok(1))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_leaves_nothing_unwritten() {
    let noted = Noted::new().await;
    let client = noted.client().await;
    let sql = "SELECT count(*) FROM raw.unit";
    client.simple_query(sql).await.unwrap();
    noted.stop.cancel();
    noted.serving.task.await.unwrap();

    let (serving, _stop) = started(&noted.warehouse, &noted.log).await;
    let client = connect(&config(&serving)).await.unwrap();
    assert_eq!(lines(&client).await, [line(sql, &["raw.unit"], Ok(1))]);
}
