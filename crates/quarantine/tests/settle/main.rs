//! Rows that were set aside: seen, retried exactly once whoever is killed when, superseded, discarded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

mod killed;
mod stage;

use contract::Cpr;
use quarantine::{Done, Filter, State, groups, show};
use stage::{MENDED, Stage, WRONG, done};

pub(crate) const BAD: [[&str; 3]; 3] = [
    ["610170-0001", "aar 1970", "2010-07-01"],
    ["610170-0002", "1971", "2010-07-01"],
    ["610170-0003", "aar 1972", "2010-07-02"],
];

#[tokio::test]
async fn a_row_lands_once_its_mapping_is_mended() {
    let stage = Stage::new().await;
    let report = stage.read("citizens", &BAD, WRONG).await;
    assert_eq!((report.accepted, report.quarantined), (1, 3));
    assert_eq!(
        stage.retry(WRONG).await,
        [
            ("c.csv:2".to_owned(), Done::StillBad),
            ("c.csv:4".to_owned(), Done::StillBad),
            ("c.csv:99".to_owned(), Done::StillBad)
        ],
        "nothing is mended yet"
    );
    assert_eq!(stage.rows(State::Open).await.len(), 3);

    let mended = stage.retry(MENDED).await;
    assert_eq!(
        mended,
        [
            ("c.csv:2".to_owned(), Done::Retried),
            ("c.csv:4".to_owned(), Done::Retried),
            ("c.csv:99".to_owned(), Done::StillBad)
        ]
    );
    // Also before its mark has landed, a row is not sent again.
    let again = stage.retry(MENDED).await;
    assert_eq!(again, [("c.csv:99".to_owned(), Done::StillBad)]);
    stage.land().await;
    assert_eq!(stage.retry(MENDED).await, again);
    stage.land().await;

    let landed = stage
        .ask("select birth_year, _source_position, count(*) as n from raw.citizen group by 1, 2 order by 1")
        .await;
    assert_eq!(
        landed,
        "\
+------------+------------------+---+
| birth_year | _source_position | n |
+------------+------------------+---+
| 1970       | c.csv:2          | 1 |
| 1971       | c.csv:3          | 1 |
| 1972       | c.csv:4          | 1 |
+------------+------------------+---+"
    );
    let marked = stage
        .ask("select origin, state, marked_by, retry_trace_id = (select max(_trace_id) from raw.citizen where birth_year = 1970) as same from ops.quarantine order by origin")
        .await;
    assert_eq!(
        marked,
        "\
+----------+---------+-----------+------+
| origin   | state   | marked_by | same |
+----------+---------+-----------+------+
| c.csv:2  | retried | anna      | true |
| c.csv:4  | retried | anna      | true |
| c.csv:99 | open    |           |      |
+----------+---------+-----------+------+"
    );
    stage.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_lands_once_over_kafka_too() {
    let Some(stage) = Stage::on_kafka().await else {
        return;
    };
    stage.read("citizens", &BAD, WRONG).await;
    let mended = stage.retry(MENDED).await;
    assert_eq!(mended[0], ("c.csv:2".to_owned(), Done::Retried));
    // Whoever had a hand at the source's rows before is refused by the brokers.
    let mut first = stage.log.producer("quarantine/citizens").await.unwrap();
    let again = stage.retry(MENDED).await;
    assert_eq!(again, [("c.csv:99".to_owned(), Done::StillBad)]);
    let late = async {
        first
            .send("pejl.quarantine_mark", vec![bus::Record::default()])
            .await?;
        first.commit(None).await
    };
    let late = late.await;
    assert!(matches!(late, Err(bus::Error::Fenced(_))), "{late:?}");
    stage.land().await;
    let rows = stage
        .ask("select count(*) as n, count(distinct citizen_id) as d from raw.citizen")
        .await;
    assert!(rows.contains("| 3 | 3 |"), "{rows}");
    assert_eq!(stage.rows(State::Open).await.len(), 1);
    stage.assert_complete().await;
}

#[tokio::test]
async fn a_retried_citizen_has_the_pseudonym_of_the_number_and_the_number_is_nowhere() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    stage.retry(MENDED).await;
    stage.land().await;
    // The same citizen, read well the first time.
    stage
        .read("again", &[["6101700001", "1970", "2010-07-01"]], MENDED)
        .await;
    let citizens = stage
        .ask("select count(*) as rows, count(distinct citizen_id) as citizens from raw.citizen where birth_year = 1970")
        .await;
    assert!(citizens.contains("| 2    | 1        |"), "{citizens}");
    for digits in ["610170-0001", "6101700001", "610170-0003"] {
        assert!(Cpr::parse(digits).is_some());
        assert!(!stage.holds(digits), "{digits} was written somewhere");
    }
}

#[tokio::test]
async fn another_key_makes_no_pseudonyms_of_what_was_set_aside_under_the_first() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    let stage = stage.with_another_key();
    let settle = stage.settle(MENDED, "true").await;
    let everything = Filter::default();
    let told = settle.retry(&everything, "anna", false, &|_| {}).await;
    let told = told.unwrap();
    assert!(told.iter().all(|it| it.done == Done::StillBad), "{told:?}");
    assert!(told[0].reason.contains("another key"), "{}", told[0].reason);
}

#[tokio::test]
async fn an_old_row_undoes_no_newer_one() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    // 0001 comes again with a later change, 0003 with an earlier one.
    let newer = [
        ["610170-0001", "1980", "2010-08-01"],
        ["610170-0003", "1982", "2009-01-01"],
    ];
    stage.read("corrections", &newer, WRONG).await;
    let all = stage.retry(MENDED).await;
    assert_eq!(all[0], ("c.csv:2".to_owned(), Done::Superseded));
    assert_eq!(all[1], ("c.csv:4".to_owned(), Done::Retried));
    stage.land().await;
    let warehouse = stage.warehouse().await;
    assert!(warehouse.build(&|_| {}).await.unwrap().is_publishable());
    let years = stage
        .ask("select birth_year from core.citizen order by 1")
        .await;
    assert!(years.contains("1980") && years.contains("1972"), "{years}");
    stage.assert_complete().await;
}

#[tokio::test]
async fn a_newer_row_that_has_not_landed_counts_too() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD[..1], WRONG).await;
    // Set aside twice: the second is the same version, sent again.
    stage.read("twice", &BAD[..1], WRONG).await;
    let all = stage.retry(MENDED).await;
    let wanted = [Done::Retried, Done::Superseded];
    assert_eq!(
        all.iter().map(|it| it.1).take(2).collect::<Vec<_>>(),
        wanted
    );
    stage.read("third", &BAD[..1], WRONG).await;
    stage.land().await;
    stage.assert_complete().await;
}

#[tokio::test]
async fn rows_that_the_pipeline_passes_over_now_are_closed() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    let settle = stage.settle(MENDED, "rettet < '2010-07-02'").await;
    let everything = Filter::default();
    let told = settle.retry(&everything, "anna", false, &|_| {}).await;
    let told = told.unwrap();
    let told = done(&told);
    assert_eq!(told[1], ("c.csv:4".to_owned(), Done::Filtered));
    stage.land().await;
    assert_eq!(stage.rows(State::Open).await.len(), 1);
}

#[tokio::test]
async fn a_dry_run_does_nothing() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    let settle = stage.settle(MENDED, "true").await;
    let everything = Filter::default();
    let told = settle.retry(&everything, "anna", true, &|_| {}).await;
    let told = told.unwrap();
    assert_eq!(done(&told)[0].1, Done::Retried);
    assert!(
        stage
            .log
            .topics("pejl.quarantine_mark")
            .await
            .unwrap()
            .is_empty()
    );
    stage.land().await;
    assert_eq!(stage.rows(State::Open).await.len(), 3);
}

#[tokio::test]
async fn rows_are_found_by_what_is_known_of_them_and_discarded_with_a_reason() {
    let stage = Stage::new().await;
    stage.read("citizens", &BAD, WRONG).await;
    let warehouse = stage.warehouse().await;
    let alike = groups(&warehouse, &Filter::default(), State::Open)
        .await
        .unwrap();
    let alike: Vec<(&str, i64)> = alike.iter().map(|it| (it.rule.as_str(), it.rows)).collect();
    assert_eq!(alike, [("type", 2), ("unreadable", 1)]);

    let settle = stage.settle(MENDED, "true").await;
    let unreadable = Filter {
        source: Some("citizens".to_owned()),
        rule: Some("unreadable".to_owned()),
        reason: Some("HEADER HAS".to_owned()),
        ..Filter::default()
    };
    let refused = settle.discard(&unreadable, "anna", " ", &|_| {}).await;
    assert!(refused.unwrap_err().to_string().contains("--note"));
    let told = settle
        .discard(
            &unreadable,
            "anna",
            "the provider sent it anew; not 610170-0009",
            &|_| {},
        )
        .await
        .unwrap();
    assert_eq!(done(&told), [("c.csv:99".to_owned(), Done::Discarded)]);
    stage.land().await;
    let closed = stage.rows(State::Closed).await;
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].state, "discarded");
    let note = closed[0].note.as_deref().unwrap();
    assert_eq!(note, "the provider sent it anew; not [cpr]");

    let shown = show(&warehouse, &closed[0].quarantine_id).await.unwrap();
    assert_eq!(shown, closed[0]);
    let missing = show(&warehouse, "quarantine-0-999").await.unwrap_err();
    assert!(
        missing.to_string().contains("no row set aside"),
        "{missing}"
    );
    assert!(Filter::default().checked(false).is_err());
}

#[tokio::test]
async fn a_row_names_everything_that_is_wrong_with_it() {
    let stage = Stage::new().await;
    stage
        .read("citizens", &[["", "aar 1970", "snart"]], WRONG)
        .await;
    let rows = stage.rows(State::Open).await;
    let row = rows.iter().find(|it| it.origin == "c.csv:2").unwrap();
    let all: serde_json::Value = serde_json::from_str(row.violations.as_ref().unwrap()).unwrap();
    let named: Vec<(&str, &str)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["field"].as_str().unwrap(), it["rule"].as_str().unwrap()))
        .collect();
    assert_eq!(
        named,
        [
            ("birth_year", "type"),
            ("updated_at", "type"),
            ("citizen_id", "required")
        ]
    );
    assert_eq!(all[0]["value"], "aar 1970");
}

#[tokio::test]
async fn a_record_that_landing_refused_is_sent_again_once_it_can_be_read() {
    let stage = Stage::new().await;
    // Written with a schema that nobody here knows yet: one that has a column more.
    let entity = contract::entity("unit").unwrap();
    let later = later_schema(entity.avro());
    let print = codec::fingerprint(&later).unwrap();
    let mut value = vec![0xC3, 0x01];
    value.extend(print.to_le_bytes());
    value.extend(stage.unit_body("u1"));
    let mut producer = stage.log.producer("other").await.unwrap();
    stage.log.ensure_topic("pejl.unit", 1).await.unwrap();
    let record = bus::Record {
        key: Some(r#"["u1"]"#.into()),
        value: Some(value.into()),
        headers: vec![("pejl-source".to_owned(), "other".into())],
        timestamp_ms: 1_300_000_000_000,
    };
    producer.send("pejl.unit", vec![record]).await.unwrap();
    producer.commit(None).await.unwrap();
    stage.land().await;
    let wanted = Done::StillBad;
    assert_eq!(stage.retry(MENDED).await, [(String::new(), wanted)]);

    // A newer Pejl leaves its schema in the lake.
    let path = format!("_schemas/unit/{print:016x}.avsc");
    assert!(stage.lake().put_new(&path, later.into()).await.unwrap());
    assert_eq!(stage.retry(MENDED).await, [(String::new(), Done::Retried)]);
    stage.land().await;
    assert_eq!(stage.retry(MENDED).await, []);
    let units = stage
        .ask("select unit_id, _offset > 0 as again from raw.unit")
        .await;
    assert!(units.contains("| u1      | true  |"), "{units}");
    stage.assert_complete().await;
}

/// The schema of a unit under another name for one of its docs' fields: a nullable column more, at the end.
fn later_schema(avsc: &str) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(avsc).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields
        .push(serde_json::json!({ "name": "later", "type": ["null", "string"], "default": null }));
    schema.to_string()
}
