//! `pejl source` against a running Pejl that holds the embedded log, and against none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::time::Duration;

use stage::{Stage, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn sources_are_steered_through_the_process_that_holds_the_log() {
    let stage = Stage::canonical(10);
    let up = stage.up(&[("PEJL_HTTP__TOKEN", "open sesame")]);
    let source = |arguments: &[&str], token: &str| {
        let mut command = stage.command(&["source"]);
        let out = command
            .args(arguments)
            .env("PEJL_HTTP__LISTEN", &up.address)
            .env("PEJL_HTTP__TOKEN", token)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.success(), text(out.stdout), text(out.stderr))
    };
    let state = || {
        let (_, listed, _) = source(&["list", "--format", "csv"], "");
        let row = listed.lines().find(|it| it.starts_with("citizen,"));
        row.unwrap_or_default()
            .split(',')
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    wait_for("the citizens to be read", PATIENCE, || state() == "waiting");

    let (allowed, _, said) = source(&["pause", "citizen"], "guess");
    assert!(!allowed && said.contains("401"), "{said}");
    let (allowed, _, said) = source(&["pause", "citizen"], "open sesame");
    assert!(allowed, "{said}");
    wait_for("the source to rest", PATIENCE, || state() == "paused");
    let (_, position, _) = source(&["position", "citizen"], "open sesame");
    assert_ne!(position.trim(), "null");
    let (set, _, said) = source(
        &["position", "citizen", "--set", position.trim()],
        "open sesame",
    );
    assert!(set, "{said}");
    let (allowed, shown, _) = source(&["resume", "citizen"], "open sesame");
    assert!(allowed && shown.contains("\"paused\": false"), "{shown}");
    wait_for("the source to work again", PATIENCE, || {
        state() == "waiting"
    });
    drop(up);

    // Nobody holds the log: it is asked itself.
    let listed = stage.ok(&["source", "list"]);
    assert!(
        listed.contains("citizen") && listed.contains("waiting"),
        "{listed}"
    );
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
