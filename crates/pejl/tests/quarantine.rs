//! `pejl quarantine` as an operator uses it: a mapping is mended, its rows are retried, while nothing runs and while Pejl does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{fs, time::Duration};

use stage::{Stage, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

const UNITS: &str = "enhed;navn;slags\nu1;Jobcenter Nord;jobcenter\nu2;Jobcenter Syd;JOBCENTER \nu3;Kiosken;kiosk\n";

/// A source of units whose kinds are written in more than one way.
fn write_source(stage: &Stage, kind: &str) {
    let sources = stage.path("pipelines/sources");
    fs::create_dir_all(&sources).unwrap();
    let drops = stage.path("drops");
    fs::create_dir_all(&drops).unwrap();
    fs::write(drops.join("enheder-2010-01.csv"), UNITS).unwrap();
    let yaml = format!(
        "doc: Units.\nconnector: files\nentity: unit\nmunicipality_code: 101\nsender: Nord\nschedule: every 1s\nsettings:\n  path: {}\nselect:\n  unit_id: enhed\n  name: navn\n  kind: \"{kind}\"\n  updated_at: \"'2010-01-31T00:00:00Z'\"\n",
        drops.display()
    );
    fs::write(sources.join("units.yaml"), yaml).unwrap();
}

#[test]
fn a_mended_mapping_lands_its_rows_and_the_rest_is_discarded() {
    let stage = Stage::empty();
    write_source(&stage, "slags");
    stage.ok(&["run", "--once"]);
    let listed = stage.ok(&["quarantine", "list", "--format", "csv"]);
    assert!(
        listed.contains("enheder-2010-01.csv:3") && listed.contains("enheder-2010-01.csv:4"),
        "{listed}"
    );
    let counted = stage.ok(&["quarantine", "list", "--group"]);
    assert!(
        counted.lines().nth(1).unwrap().trim().starts_with("2 "),
        "{counted}"
    );

    let everything = stage.pejl(&["quarantine", "retry"]);
    let said = String::from_utf8(everything.stderr).unwrap();
    assert!(
        !everything.status.success() && said.contains("--all"),
        "{said}"
    );

    write_source(&stage, "lower(trim(slags))");
    let tried = stage.pejl(&["quarantine", "retry", "--source", "units", "--by", "anna"]);
    let said = String::from_utf8(tried.stdout).unwrap();
    assert_eq!(
        tried.status.code(),
        Some(1),
        "one row is still bad:\n{said}"
    );
    assert!(said.contains("1 retried, 1 still bad"), "{said}");
    stage.ok(&["land", "--once"]);
    let units = stage.sorted("select unit_id, kind from raw.unit");
    assert_eq!(units, "unit_id,kind\nu1,jobcenter\nu2,jobcenter");

    stage.ok(&[
        "quarantine",
        "discard",
        "--source",
        "units",
        "--note",
        "not a unit",
        "--by",
        "anna",
    ]);
    stage.ok(&["land", "--once"]);
    let closed = stage.sorted("select origin, state, marked_by, note from ops.quarantine");
    assert_eq!(
        closed,
        "origin,state,marked_by,note\nenheder-2010-01.csv:3,retried,anna,\nenheder-2010-01.csv:4,discarded,anna,not a unit"
    );
    let listed = stage.ok(&["quarantine", "list"]);
    assert!(!listed.contains("enheder"), "{listed}");
    stage.ok(&["verify"]);
}

#[test]
fn rows_are_retried_through_the_process_that_holds_the_log() {
    let stage = Stage::empty();
    write_source(&stage, "slags");
    stage.ok(&["run", "--once"]);
    write_source(&stage, "lower(trim(slags))");
    let up = stage.up(&[("PEJL_HTTP__TOKEN", "open sesame")]);
    let retry = |token: &str| {
        let mut command = stage.command(&["quarantine", "retry", "--all"]);
        let out = command
            .env("PEJL_HTTP__LISTEN", &up.address)
            .env("PEJL_HTTP__TOKEN", token)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out.stdout), text(out.stderr))
    };
    let (_, refused) = retry("guess");
    assert!(refused.contains("401"), "{refused}");
    let (said, failed) = retry("open sesame");
    assert!(said.contains("1 retried, 1 still bad"), "{said}{failed}");
    wait_for("the row to land", PATIENCE, || {
        stage.sorted("select count(*) as n from raw.unit where unit_id = 'u2'") == "n\n1"
    });
}
