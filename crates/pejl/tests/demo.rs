//! `pejl demo`: the simulated sources over their real interfaces, up to psql's answer and the planted truth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use stage::{Stage, wait_for};

#[test]
fn the_demo_serves_its_marts_to_psql() {
    let stage = Stage::empty();
    let mut child = stage
        .command(&[
            "demo",
            "--municipalities",
            "2",
            "--years",
            "2",
            "--citizens",
            "150",
        ])
        .env("PEJL_SERVE__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let url = loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("the demo ended:\n{said}"))
            .unwrap();
        said.push_str(&line);
        said.push('\n');
        if let Some(rest) = line.strip_prefix("SQL      psql \"") {
            break rest.trim_end_matches('"').to_owned();
        }
    };
    // What comes after is not read; a full pipe must not stop the demo.
    std::thread::spawn(move || lines.for_each(drop));
    assert!(!said.contains("FAILED"), "{said}");

    let ask = |sql: &str| {
        let out = Command::new("psql")
            .args([&url, "-AtX", "-c", sql])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    wait_for("psql to get an answer", Duration::from_secs(60), || {
        ask("select 1") == "1"
    });
    let cells: usize = ask("select count(*) from mart.offer_overview")
        .parse()
        .unwrap();
    assert!(cells > 20, "{cells} cells in the overview");
    assert_ne!(ask("select count(*) from mart.visitation_guide"), "0");
    assert_ne!(ask("select count(*) from mart.contract_status"), "0");
    assert_ne!(
        ask("select count(*) from raw.quarantine"),
        "0",
        "the drops hold bad rows on purpose"
    );
    let tables = Command::new("psql")
        .args([&url, "-X", "-c", "\\dt mart.*"])
        .output()
        .unwrap();
    let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
    assert!(tables.contains("offer_overview"), "{tables}");

    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(child.wait().unwrap().success());
}
