//! `/readyz` of running roles: no role is ready before it works, and what is in the way is said with what to do about it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{fs, time::Duration};

use serde_json::Value;
use stage::{Stage, Up, skipped, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

/// Why a role is not ready and what to do; `None` when it is.
fn waits(process: &Up, role: &str) -> Option<(String, String)> {
    let answer = process.get("/readyz");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let waiting = body["waiting_for"].as_array().unwrap();
    let status = if waiting.is_empty() { " 200 " } else { " 503 " };
    assert!(head.contains(status), "{head}: {body}");
    let found = waiting.iter().find(|it| it["role"] == role)?;
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    Some((text("why"), text("step")))
}

#[test]
fn serving_is_ready_once_something_is_published() {
    let stage = Stage::canonical(10);
    let serve = stage.role("serve", &[]);
    wait_for("it to say what it waits for", PATIENCE, || {
        waits(&serve, "serving").is_some_and(|(why, step)| {
            why.contains("nothing is published") && step.contains("pejl build")
        })
    });
    stage.ok(&["run", "--once"]);
    wait_for("it to be ready", PATIENCE, || {
        waits(&serve, "serving").is_none()
    });
}

#[test]
fn landing_is_not_ready_while_a_topic_cannot_be_landed() {
    let stage = Stage::canonical(10);
    // Where the tables of landed topics should be there is a file.
    fs::create_dir_all(stage.path("data/lake")).unwrap();
    let raw = stage.path("data/lake/raw");
    fs::write(&raw, "in the way").unwrap();
    let up = stage.up(&[]);
    wait_for("it to say what fails", PATIENCE, || {
        waits(&up, "landing").is_some_and(|(why, step)| {
            why.contains("landing pejl.") && step.contains("tried again by itself")
        })
    });
    assert!(
        waits(&up, "reading").is_none(),
        "reading does not depend on it"
    );
    fs::remove_file(&raw).unwrap();
    wait_for("all of it to work", PATIENCE, || {
        ["reading", "landing", "serving"]
            .iter()
            .all(|role| waits(&up, role).is_none())
    });
}

#[test]
fn workers_and_landers_are_ready_once_their_group_has_them() {
    let Ok(brokers) = std::env::var("PEJL_TEST_KAFKA") else {
        skipped("READINESS OVER KAFKA SKIPPED: PEJL_TEST_KAFKA is not set");
        return;
    };
    let prefix = format!("ready-{}.", std::process::id());
    let stage = Stage::canonical(10)
        .with_environment("PEJL_LOG__BROKERS", &brokers)
        .with_environment("PEJL_LOG__PREFIX", &prefix);
    for (command, role) in [("worker", "reading"), ("land", "landing")] {
        let first = stage.role(command, &[]);
        wait_for(command, PATIENCE, || waits(&first, role).is_none());
        assert!(
            !stage.path("data/owner.json").exists(),
            "nobody owns a log on Kafka"
        );
    }
}
