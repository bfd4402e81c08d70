//! `pejl source`, `status` and `verify` against a running Pejl that holds the embedded log, and against none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::Value;
use stage::{Stage, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn sources_are_steered_through_the_process_that_holds_the_log() {
    let stage = Stage::canonical(10);
    let up = stage.up(&[("PEJL_HTTP__TOKEN", "open sesame")]);
    // The way to that process is found in the data folder; a token in the settings goes before the one found there.
    let source = |arguments: &[&str], token: Option<&str>| {
        let mut command = stage.command(&["source"]);
        command.args(arguments);
        if let Some(token) = token {
            command.env("PEJL_HTTP__TOKEN", token);
        }
        let out = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.success(), text(out.stdout), text(out.stderr))
    };
    let state = || {
        let (_, listed, _) = source(&["list", "--format", "csv"], None);
        let row = listed.lines().find(|it| it.starts_with("citizen,"));
        row.unwrap_or_default()
            .split(',')
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    wait_for("the citizens to be read", PATIENCE, || state() == "waiting");

    let (allowed, _, said) = source(&["pause", "citizen"], Some("guess"));
    assert!(!allowed && said.contains("401"), "{said}");
    let (allowed, _, said) = source(&["position", "citizen", "--clear"], None);
    assert!(
        !allowed && said.contains("what to do: `pejl source pause citizen`"),
        "{said}"
    );
    let (allowed, _, said) = source(&["pause", "citizen"], Some("open sesame"));
    assert!(allowed, "{said}");
    wait_for("the source to rest", PATIENCE, || state() == "paused");
    let (_, position, _) = source(&["position", "citizen"], None);
    assert_ne!(position.trim(), "null");
    let (set, _, said) = source(&["position", "citizen", "--set", "{\"nonsense\":1}"], None);
    assert!(
        !set && said.contains("position is not one of `files`"),
        "{said}"
    );
    for change in [["--set", position.trim()].as_slice(), &["--clear"]] {
        let arguments = [&["position", "citizen"], change].concat();
        let (set, _, said) = source(&arguments, None);
        assert!(set, "{said}");
    }
    let (_, position, _) = source(&["position", "citizen"], None);
    assert_eq!(position.trim(), "null");
    let (allowed, shown, _) = source(&["resume", "citizen"], None);
    assert!(allowed && shown.contains("\"paused\": false"), "{shown}");
    wait_for("the source to work again", PATIENCE, || {
        state() == "waiting"
    });
    drop(up);

    // Nobody holds the log: it is asked itself, and knows that nobody is at the sources.
    let listed = stage.ok(&["source", "list"]);
    assert!(listed.contains("stale: was waiting"), "{listed}");
    stage.ok(&["source", "position", "citizen", "--clear"]);
    stage.ok(&["source", "pause", "citizen"]);
    let shown = stage.ok(&["source", "show", "citizen"]);
    assert!(shown.contains("\"paused\": true"), "{shown}");
    let wrong = stage.pejl(&["source", "pause", "citizne"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        !wrong.status.success() && said.contains("there are: "),
        "{said}"
    );
}

#[test]
fn status_and_proof_come_from_the_process_that_holds_the_log() {
    let stage = Stage::canonical(10);
    let up = stage.up(&[("PEJL_HTTP__TOKEN", "open sesame")]);
    let get = |path: &str| up.get(path);
    wait_for("every role to work", PATIENCE, || {
        get("/readyz").starts_with("HTTP/1.0 200")
    });
    let proven = || stage.pejl(&["verify", "--format", "json"]);
    let verdict = || {
        let answer: Value = serde_json::from_slice(&proven().stdout).unwrap();
        answer["verdict"].as_str().unwrap().to_owned()
    };
    wait_for("everything to land", PATIENCE, || verdict() == "clean");
    assert_eq!(proven().status.code(), Some(0));
    assert!(stage.ok(&["verify"]).contains("clean: every record of"));
    let shown = stage.ok(&["status"]);
    for what in ["citizen", "waiting", "pejl.participation", "publication"] {
        assert!(shown.contains(what), "{shown}");
    }
    let answer = get("/status");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["sources"][0]["attended"], true);
    assert_eq!(body["topics"][0]["to_be_landed"], 0);
    assert!(body["publication"]["id"].as_u64().unwrap() >= 1);

    // Nobody but the owner reads the way to it.
    let note = stage.path("data/owner.json");
    let mode = fs::metadata(&note).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    up.stop();
    assert!(!note.exists(), "the note is left behind");
    assert!(stage.ok(&["verify"]).contains("clean: every record of"));
}

#[test]
fn a_difference_found_by_the_process_that_holds_the_log_has_the_same_exit_code() {
    let stage = Stage::canonical(10);
    stage.ok(&["run", "--once"]);
    double(&stage.path("data/lake/raw/unit"));
    let code = || stage.pejl(&["verify"]).status.code();
    assert_eq!(code(), Some(3));
    let up = stage.up(&[("PEJL_HTTP__TOKEN", "open sesame")]);
    assert_eq!(code(), Some(3));
    drop(up);

    // A worker has no tables to compare with.
    let _worker = stage.role("worker", &[]);
    let refused = stage.pejl(&["verify"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("what to do: ask `pejl up`"), "{said}");
}

/// Adds the rows of one of a table's files to it once more.
fn double(table: &Path) {
    let log = table.join("_delta_log");
    let commits = fs::read_dir(&log).unwrap();
    let commits = commits.map(|it| it.unwrap().path());
    let commits: Vec<_> = commits
        .filter(|it| it.extension() == Some("json".as_ref()))
        .collect();
    let actions = commits.iter().flat_map(|it| {
        let text = fs::read_to_string(it).unwrap();
        let lines = text
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap());
        lines.collect::<Vec<_>>()
    });
    let mut added = actions
        .into_iter()
        .find(|it| it.get("add").is_some())
        .unwrap();
    let file = table.join(added["add"]["path"].as_str().unwrap());
    fs::copy(file, table.join("copy.parquet")).unwrap();
    added["add"]["path"] = "copy.parquet".into();
    let next = log.join(format!("{:020}.json", commits.len()));
    fs::write(next, added.to_string()).unwrap();
}
