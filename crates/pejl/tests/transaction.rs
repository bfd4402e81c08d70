//! A transaction of a PostgreSQL client reads one publication from its first query to its last.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{fs, path::Path, time::Duration};

use stage::{Stage, Up, wait_for};
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn a_transaction_reads_one_publication() {
    let stage = Stage::empty().with_environment("PEJL_LANDING__FLUSH_SECONDS", "0.2");
    let drops = stage.path("drops");
    fs::create_dir_all(&drops).unwrap();
    deliver(&drops, "u1");
    stage.write_source("unit", &drops);
    let up = stage.up(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = up.sql();
    let (reader, other) =
        runtime.block_on(async { (client(&address).await, client(&address).await) });
    let units = |client: &Client| runtime.block_on(count(client));
    wait_for("the first unit", PATIENCE, || units(&other) == Some(1));

    runtime.block_on(reader.batch_execute("begin")).unwrap();
    assert_eq!(units(&reader), Some(1));
    deliver(&drops, "u2");
    wait_for("the second unit", PATIENCE, || units(&other) == Some(2));
    assert_eq!(units(&reader), Some(1), "its own publication");
    runtime.block_on(reader.batch_execute("commit")).unwrap();
    assert_eq!(units(&reader), Some(2));
    Up::stop(up);
}

fn deliver(drops: &Path, unit: &str) {
    let text = format!(
        "unit_id,municipality_code,name,kind,updated_at\n{unit},101,Jobcenter,jobcenter,2010-07-01T00:00:00Z\n"
    );
    fs::write(drops.join(format!("{unit}.csv")), text).unwrap();
}

async fn client(address: &str) -> Client {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let (client, connection) = tokio_postgres::Config::new()
        .host(address.ip().to_string())
        .port(address.port())
        .user("analyst")
        .password("not a secret")
        .dbname("pejl")
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// How many units are published; none before anything is.
async fn count(client: &Client) -> Option<i64> {
    let row = client
        .query_one("select count(*) from core.unit", &[])
        .await;
    Some(row.ok()?.get(0))
}
