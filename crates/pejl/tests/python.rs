//! The tables are open: `deltalake` and `duckdb` from Python read what Pejl wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::process::Command;

use stage::{Stage, skipped};

#[test]
fn deltalake_and_duckdb_read_the_tables() {
    let Ok(python) = std::env::var("PEJL_TEST_PYTHON") else {
        skipped("PYTHON CLIENTS SKIPPED: PEJL_TEST_PYTHON is not set");
        return;
    };
    let stage = Stage::canonical(40);
    stage.ok(&["run", "--once"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/read_tables.py");
    let out = Command::new(python)
        .arg(script)
        .arg(stage.path("data/lake"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let rows = String::from_utf8(out.stdout).unwrap();
    let expected = stage.ok(&[
        "query",
        "select count(*) as n, count(distinct citizen_id) as citizens from raw.participation",
        "--format",
        "csv",
    ]);
    let expected = expected.lines().nth(1).unwrap();
    for reader in ["deltalake", "duckdb"] {
        assert!(
            rows.lines().any(|it| it == format!("{reader},{expected}")),
            "{rows}\nexpected {expected}"
        );
    }
}
