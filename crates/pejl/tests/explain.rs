//! Definitions, lineage, explanations, documentation and OpenLineage over the real models, through the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
};

use serde_json::Value;
use stage::Stage;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn rows(stage: &Stage, sql: &str) -> Vec<Value> {
    lines(&stage.ok(&["query", sql, "--format", "json"]))
}

#[test]
fn definitions_are_told_in_both_languages_with_the_seeds_words() {
    let stage = Stage::empty();
    let listed = stage.ok(&["definition", "list"]);
    assert!(
        listed.contains("effect_3m@1") && listed.contains("3 måneders effekt"),
        "{listed}"
    );
    assert!(listed.contains("mart.offer_overview"), "{listed}");
    let danish = stage.ok(&["definition", "list", "--lang", "da", "--format", "csv"]);
    assert!(
        danish.starts_with("definition,title_da,valid_from,seed,models\n"),
        "{danish}"
    );

    let shown = stage.ok(&["definition", "show", "effect_3m@1"]);
    for expected in [
        "Andelen af borgere",
        "The share of citizens",
        "selvforsørgende hhv. 1 måned og 3 måned",
        "months = 3",
        "2007-01-01",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    let english = stage.ok(&["definition", "show", "effect_3m", "--lang", "en"]);
    assert!(!english.contains("Andelen"), "{english}");
    let out = stage.pejl(&["definition", "show", "effect_4m"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("effect_3m@1"));
}

#[test]
fn lineage_leads_up_to_what_landed_and_down_to_what_is_published() {
    let stage = Stage::empty();
    let up = stage.ok(&["lineage", "mart.offer_overview.prior_weeks_mean"]);
    assert!(up.contains("raw.benefit_spell.from_date"), "{up}");
    let down = stage.ok(&[
        "lineage",
        "raw.benefit_spell.from_date",
        "--down",
        "--format",
        "json",
    ]);
    let published = lines(&down)
        .into_iter()
        .any(|it| it["table"] == "mart.offer_overview" && it["column"] == "prior_weeks_mean");
    assert!(published, "{down}");
    let tables = stage.ok(&["lineage", "core.participation_outcome", "--up"]);
    assert!(tables.contains("raw.benefit_spell"), "{tables}");
    let out = stage.pejl(&["lineage", "mart.offer_overview.nothing"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("finished"));
}

#[test]
fn the_site_is_written_where_it_is_asked_for() {
    let stage = Stage::empty();
    let said = stage.ok(&["docs", "--out", "site"]);
    assert!(said.contains("index.html"), "{said}");
    let page = fs::read_to_string(stage.path("site/table/mart.offer_overview.html")).unwrap();
    assert!(
        page.contains("effect_3m_n") && page.contains("<svg"),
        "{page}"
    );
    assert!(stage.path("site/definition/effect_3m.html").is_file());
    assert!(stage.path("site/entity/participation.html").is_file());
}

/// The biggest cells of the overview, held against a count that takes another way.
#[test]
fn numbers_of_the_overview_are_explained_down_to_rows_offsets_and_files() {
    let stage = Stage::canonical(120);
    stage.ok(&["run", "--once"]);
    let cells = rows(
        &stage,
        "select * from core.offer_overview where target_group <> 'all' order by finished desc, period, offer_id limit 2",
    );
    for cell in &cells {
        let text = |column: &str| cell[column].as_str().unwrap();
        let (period, offer, group) = (text("period"), text("offer_id"), text("target_group"));
        let half = if period.ends_with('1') {
            ("01-01", "06-30")
        } else {
            ("07-01", "12-31")
        };
        let (first, last) = (
            format!("{}-{}", &period[..4], half.0),
            format!("{}-{}", &period[..4], half.1),
        );
        // Whoever is in the offer on some day of the half-year; a citizen once, by the latest start, and once by the latest end.
        let running = rows(
            &stage,
            &format!(
                "select participation_id from core.participation_outcome where offer_id = '{offer}'
                 and target_group = '{group}' and start_date <= date '{last}'
                 and (end_date is null or end_date >= date '{first}') order by participation_id"
            ),
        );
        let expected: Vec<&str> = running
            .iter()
            .map(|it| it["participation_id"].as_str().unwrap())
            .collect();
        let question =
            format!("period = '{period}' and offer_id = '{offer}' and target_group = '{group}'");
        let explained = |table: &str, limit: &str| -> Value {
            let asked = [
                "explain", table, "--where", &question, "--column", "finished", "--limit", limit,
                "--format", "json",
            ];
            serde_json::from_str(&stage.ok(&asked)).unwrap()
        };
        let told = explained("core.offer_overview", "1000");
        let went = |told: &Value, table: &str, into: &str| -> Value {
            let steps = told["steps"].as_array().unwrap();
            let step = steps.iter().find(|it| it["table"] == table).unwrap();
            let into = step["into"]
                .as_array()
                .unwrap()
                .iter()
                .find(|it| it["table"] == into);
            into.unwrap().clone()
        };
        let outcomes = went(&told, "core.ranked_outcome", "core.offer_overview");
        let found: Vec<&str> = outcomes["sample"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["participation_id"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{question}");
        let counted = went(&told, "core.participation_outcome", "core.ranked_outcome");
        assert_eq!(counted["rows"], expected.len());
        let current = went(&told, "core.participation", "core.participation_outcome");
        assert_eq!(current["rows"], expected.len());

        // Each of them is one landed row, and that row is in the file and at the offset it is said to be.
        let landed = went(&told, "raw.participation", "core.participation");
        assert!(landed["rows"].as_u64().unwrap() >= expected.len() as u64);
        for row in landed["sample"].as_array().unwrap().iter().take(20) {
            let there = rows(
                &stage,
                &format!(
                    "select participation_id, _source_position from raw.participation
                     where _topic = '{}' and _partition = {} and _offset = {}",
                    row["_topic"].as_str().unwrap(),
                    row["_partition"],
                    row["_offset"]
                ),
            );
            assert_eq!(there[0]["participation_id"], row["participation_id"]);
            assert_eq!(there[0]["_source_position"], row["_source_position"]);
        }
        let files = told["files"].as_array().unwrap();
        assert!(!files.is_empty());
        assert!(
            files.iter().any(|it| it["source"] == "participation"),
            "{files:?}"
        );
        // Everything in this world was delivered in files.
        assert_eq!(told["rows_without_file"], 0);
        assert!(
            told["definitions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["definition"] == "finished@1")
        );

        // The published twin leads to the same rows, or says that it is suppressed; neither shows who.
        let published = explained("mart.offer_overview", "3");
        if published["found"]["suppressed"] == 1 {
            assert_eq!(published["steps"].as_array().unwrap().len(), 0);
        } else {
            let outcomes = went(
                &published,
                "core.participation_outcome",
                "core.offer_overview",
            );
            assert_eq!(outcomes["rows"], expected.len());
        }
        let tree = stage.ok(&[
            "explain",
            "core.offer_overview",
            "--where",
            &question,
            "--column",
            "finished",
        ]);
        for expected in [
            "publication  1",
            "finished@1",
            "raw.participation",
            ".csv",
            "comes from",
        ] {
            assert!(tree.contains(expected), "{expected} in {tree}");
        }
    }
}

/// What is published and its complete twins, which between them read all other models.
#[test]
fn whatever_is_published_can_be_explained() {
    let stage = Stage::canonical(40);
    stage.ok(&["run", "--once"]);
    let tables = rows(
        &stage,
        "select distinct concat(s.table_schema, '.', s.table_name) as name
         from ops.column_doc as s join ops.column_doc as m on m.table_schema = 'mart' and m.table_name = s.table_name
         order by name",
    );
    let mut reached = BTreeSet::new();
    for table in tables.iter().map(|it| it["name"].as_str().unwrap()) {
        let there = rows(&stage, &format!("select count(*) as n from {table}"));
        if there[0]["n"] == 0 {
            continue;
        }
        let asked = [
            "explain", table, "--where", "true", "--limit", "1", "--format", "json",
        ];
        let told: Value = serde_json::from_str(&stage.ok(&asked)).unwrap();
        assert_eq!(told["found"]["rows"], there[0]["n"], "{table}");
        let steps = told["steps"].as_array().unwrap();
        let names: Vec<&str> = steps
            .iter()
            .map(|it| it["table"].as_str().unwrap())
            .collect();
        if told["found"]["walked"] != 0 {
            let landed = names.iter().any(|it| it.starts_with("raw."));
            assert!(landed, "{table}: nothing landed is behind it: {names:?}");
        }
        reached.extend(names.into_iter().map(str::to_owned));
    }
    assert!(reached.len() > 40, "{reached:?}");
}

#[test]
fn lineage_is_a_table_too() {
    let stage = Stage::canonical(20);
    stage.ok(&["run", "--once"]);
    let found = rows(
        &stage,
        "select * from ops.column_lineage where \"table\" = 'core.participation_outcome' and \"column\" = 'offer_id'",
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["input_table"], "core.participation");
    assert_eq!(found[0]["kind"], "copy");
}

#[test]
fn a_build_is_told_to_a_file_and_an_address_that_fails_does_not_stop_it() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let stage = Stage::canonical(20)
        .with_environment("PEJL_OPENLINEAGE__FILE", "events.ndjson")
        .with_environment(
            "PEJL_OPENLINEAGE__URL",
            &format!("http://{nobody}/api/v1/lineage"),
        );
    stage.ok(&["run", "--once"]);
    let events = lines(&fs::read_to_string(stage.path("events.ndjson")).unwrap());
    let mut of_job: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in &events {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of_job
            .entry(text(&event["job"]["name"]))
            .or_default()
            .push(text(&event["eventType"]));
    }
    assert!(of_job.len() > 40, "{of_job:?}");
    for (job, types) in &of_job {
        assert_eq!(types, &["START", "COMPLETE"], "{job}");
    }
    let last = events.last().unwrap();
    assert_eq!(last["job"]["name"], "build");
    assert!(last["outputs"].as_array().unwrap().len() > 40);
    // A build that finds nothing new has nothing to tell.
    stage.ok(&["build"]);
    let again = fs::read_to_string(stage.path("events.ndjson")).unwrap();
    assert_eq!(again.lines().count(), events.len());
}

#[test]
fn an_address_is_sent_every_event_in_order() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/lineage", server.local_addr().unwrap());
    let stage = Stage::canonical(20)
        .with_environment("PEJL_OPENLINEAGE__URL", &url)
        .with_environment("PEJL_OPENLINEAGE__KEY", "a key");
    let serving = std::thread::spawn(move || {
        let mut got: Vec<Value> = Vec::new();
        loop {
            let (stream, _) = server.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let (mut length, mut has_key) = (0, false);
            for line in stream.by_ref().lines() {
                let line = line.unwrap().to_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
                has_key |= line == "authorization: bearer a key";
                if line.is_empty() {
                    break;
                }
            }
            assert!(has_key);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            got.push(serde_json::from_slice(&body).unwrap());
            let answer = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let last = got.last().unwrap();
            if last["job"]["name"] == "build" && last["eventType"] != "START" {
                return got;
            }
        }
    });
    stage.ok(&["run", "--once"]);
    let got = serving.join().unwrap();
    assert_eq!(got[0]["job"]["name"], "build");
    assert_eq!(got[0]["eventType"], "START");
    assert!(got.len() > 80, "{}", got.len());
}
