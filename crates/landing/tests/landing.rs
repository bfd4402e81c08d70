//! From topic to table, end to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;
mod watched;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use bus::Record;
use landing::{Extent, Lander, LandingSettings, PartitionAudit, Upkeep, What};
use stage::{Stage, UNITS, bad_units, deletion, entity, garbage, of_unknown_schema, units};
use tokio_util::sync::CancellationToken;
use watched::Watched;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_land_once_with_where_they_came_from() {
    let stage = Stage::new().await;
    stage.send(UNITS, units(0..5)).await;
    stage.send_and_abort(UNITS, units(50..60)).await;
    stage.send(UNITS, units(5..8)).await;

    let landed = stage.catch_up().await;
    assert_eq!(landed.len(), 1);
    assert_eq!(
        (
            landed[0].topic.as_str(),
            landed[0].rows,
            landed[0].quarantined
        ),
        (UNITS, 8, 0)
    );
    assert_eq!(landed[0].table.as_deref(), Some("raw.unit"));
    stage.assert_complete().await;

    let shown = stage
        .query(
            "select unit_id, municipality_code as code, kind, _topic, _timestamp, _source, \
             _source_position, _trace_id, _deleted from unit where unit_id = 'u3'",
        )
        .await;
    let expected = "\
+---------+------+-----------+-----------+----------------------+-------------+------------------+-----------+----------+
| unit_id | code | kind      | _topic    | _timestamp           | _source     | _source_position | _trace_id | _deleted |
+---------+------+-----------+-----------+----------------------+-------------+------------------+-----------+----------+
| u3      | 101  | jobcenter | pejl.unit | 2011-03-13T07:06:40Z | case-system | page 1 record 3  | trace-1   | false    |
+---------+------+-----------+-----------+----------------------+-------------+------------------+-----------+----------+";
    assert_eq!(shown, expected);

    let again = stage.catch_up().await;
    assert_eq!(again[0].rows, 0);
    assert_eq!(stage.count("unit").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_lands_as_its_key() {
    let stage = Stage::new().await;
    stage.send(UNITS, units(1..2)).await;
    let deletions = ["[\"u1\"]", "[\"u1\", \"x\"]", "not a key"].map(deletion);
    stage.send(UNITS, deletions.to_vec()).await;
    stage.catch_up().await;
    stage.assert_complete().await;

    let shown = stage
        .query("select unit_id, name, _deleted, _source from unit order by _offset")
        .await;
    let expected = "\
+---------+----------------+----------+-------------+
| unit_id | name           | _deleted | _source     |
+---------+----------------+----------+-------------+
| u1      | Jobcenter Nord | false    | case-system |
| u1      |                | true     |             |
+---------+----------------+----------+-------------+";
    assert_eq!(shown, expected);
    let shown = stage
        .query("select entity, rule, raw, _deleted from quarantine order by raw")
        .await;
    let expected = "\
+--------+------+-------------+----------+
| entity | rule | raw         | _deleted |
+--------+------+-------------+----------+
| unit   | key  | [\"u1\", \"x\"] | true     |
| unit   | key  | not a key   | true     |
+--------+------+-------------+----------+";
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_break_the_contract_are_kept_apart_and_explained() {
    let stage = Stage::new().await;
    let good = units(0..4);
    let mut mixed = good.clone();
    mixed.extend(bad_units([7]));
    mixed.push(garbage(&b"\xC3\x01 not Avro 010161-1234"[..]));
    mixed.push(of_unknown_schema(&good[0]));
    mixed.push(garbage(""));
    stage.send(UNITS, mixed).await;

    let landed = stage.catch_up().await;
    assert_eq!((landed[0].rows, landed[0].quarantined), (4, 4));
    stage.assert_complete().await;

    let kiosk = stage
        .query(
            "select municipality_code as code, field, value, reason, raw, origin, source, stage \
             from quarantine where rule = 'values'",
        )
        .await;
    for part in [
        "101",
        "| kind",
        "kiosk",
        "\"unit_id\":\"u7\"",
        "page 1 record 7",
        "case-system",
        "landing",
    ] {
        assert!(kiosk.contains(part), "{part} in\n{kiosk}");
    }
    let rest = stage
        .query("select rule, reason, raw from quarantine where rule <> 'values' order by rule, raw")
        .await;
    assert!(rest.contains("not known here"), "{rest}");
    let unknown = codec::fingerprint(entity().avro()).unwrap() ^ 0xFF;
    assert!(rest.contains(&format!("{unknown:016x}")), "{rest}");
    assert!(rest.contains("not Avro single-object encoding"), "{rest}");
    assert!(rest.contains("\\xc3\\x01 not Avro [cpr]"), "{rest}");
    assert!(!rest.contains("010161"), "{rest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ingest_refused_lands_too() {
    let stage = Stage::new().await;
    stage.log.ensure_topic("pejl.quarantine", 2).await.unwrap();
    let refused = |raw: &str| {
        serde_json::json!({
            "entity": "offer", "municipality_code": 147, "field": "weeks_min", "rule": "type",
            "value": "x", "reason": "'x' is not a number", "origin": "a.csv:3", "raw": raw,
            "source": "files", "trace_id": "t", "stage": "ingest",
            "quarantined_at": "2011-03-13T07:06:40.5Z",
        })
    };
    let records = [
        refused("{\"a\":1}").to_string(),
        "{\"entity\": 1}".to_owned(),
        "[".to_owned(),
    ];
    stage
        .send("pejl.quarantine", records.map(garbage).to_vec())
        .await;
    let landed = stage.catch_up().await;
    assert_eq!(
        (landed[0].topic.as_str(), landed[0].rows),
        ("pejl.quarantine", 3)
    );
    stage.assert_complete().await;
    let shown = stage
        .query("select entity, municipality_code as code, rule, stage, quarantined_at from quarantine where stage = 'ingest'")
        .await;
    let expected = "\
+--------+------+------+--------+--------------------------+
| entity | code | rule | stage  | quarantined_at           |
+--------+------+------+--------+--------------------------+
| offer  | 147  | type | ingest | 2011-03-13T07:06:40.500Z |
+--------+------+------+--------+--------------------------+";
    assert_eq!(shown, expected);
    let refused = stage
        .query("select rule, reason from quarantine where stage = 'landing'")
        .await;
    assert_eq!(
        refused.matches("not the JSON of a refused record").count(),
        2,
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_no_entity_is_reported() {
    let stage = Stage::new().await;
    stage.log.ensure_topic("pejl.unicorn", 1).await.unwrap();
    stage.send("pejl.unicorn", vec![garbage("x")]).await;
    let landed = stage.catch_up().await;
    assert_eq!(landed[0].topic, "pejl.unicorn");
    assert_eq!(landed[0].table, None);
    assert_eq!(stage.saw(|what| *what == What::UnknownEntity), 1);
    let audit = stage.audit().await.remove(0);
    assert!(audit.is_clean() && !audit.is_complete());
    assert_eq!(
        audit.to_string(),
        "pejl.unicorn/0 0..1: 1 records, 0 in no table, 0 quarantined, 1 not landed yet"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_from_before_a_new_column_gains_it() {
    let stage = Stage::new().await;
    let narrow = Arc::new(Schema::new(vec![Field::new(
        "unit_id",
        DataType::Utf8,
        true,
    )]));
    let column: ArrayRef = Arc::new(StringArray::from(vec!["old"]));
    let row = RecordBatch::try_new(Arc::clone(&narrow), vec![column]).unwrap();
    stage
        .lake()
        .append("raw.unit", &narrow, vec![row], &[])
        .await
        .unwrap();
    stage.send(UNITS, units(0..1)).await;
    stage.catch_up().await;
    let audit = stage.verify(Extent::Everything).await;
    assert!(audit.partitions.iter().all(PartitionAudit::is_complete));
    // The old row came from no log, and the audit says so.
    let strange: Vec<_> = audit.strangers.iter().map(|it| it.rows).collect();
    assert_eq!(strange, [1]);
    let shown = stage
        .query("select unit_id, kind, _topic from unit order by unit_id")
        .await;
    let expected = "\
+---------+-----------+-----------+
| unit_id | kind      | _topic    |
+---------+-----------+-----------+
| old     |           |           |
| u0      | jobcenter | pejl.unit |
+---------+-----------+-----------+";
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_an_earlier_schema_are_read_once_it_is_in_the_lake() {
    let stage = Stage::new().await;
    let earlier = entity().avro().replacen(
        "\"fields\": [",
        "\"fields\": [{\"name\": \"gone\", \"type\": [\"null\", \"string\"], \"default\": null},",
        1,
    );
    let print = codec::fingerprint(&earlier).unwrap();
    let path = format!("_schemas/unit/{print:016x}.avsc");
    stage.lake().put_new(&path, earlier.into()).await.unwrap();
    let now = units(0..2);
    let then = now.iter().map(|record| {
        let value = record.value.as_ref().unwrap();
        let value = [&value[..2], &print.to_le_bytes(), &[0], &value[10..]].concat();
        Record {
            value: Some(value.into()),
            ..record.clone()
        }
    });
    stage.send(UNITS, then.collect()).await;
    stage.send(UNITS, now.clone()).await;
    let landed = stage.catch_up().await;
    assert_eq!((landed[0].rows, landed[0].quarantined), (4, 0));
    stage.assert_complete().await;
    let present = codec::fingerprint(entity().avro()).unwrap();
    let known = stage.lake().list("_schemas/unit").await.unwrap();
    assert!(
        known.contains(&format!("_schemas/unit/{present:016x}.avsc")),
        "{known:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_removed_before_they_landed_are_an_error_that_says_so() {
    let stage = Stage::new().await;
    stage.send(UNITS, units(0..30)).await;
    stage.catch_up().await;
    stage.send(UNITS, units(30..90)).await;
    for partition in 0..3 {
        let range = stage.log.range(UNITS, partition).await.unwrap();
        stage.log.trim(UNITS, partition, range.high).await.unwrap();
    }
    stage.send(UNITS, units(90..120)).await;
    let failed = stage
        .restarted()
        .catch_up(&stage.observe())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        failed.starts_with("pejl.unit/") && failed.contains("removed before they landed"),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_lands_beside_its_former_self() {
    let stage = Stage::new().await;
    stage.send(UNITS, units(0..20)).await;
    stage.catch_up().await;
    let stage = stage.with_new_log().await;
    stage.send(UNITS, units(0..10)).await;
    stage.catch_up().await;
    stage.catch_up().await;
    stage.assert_complete().await;
    let shown = stage
        .query("select _topic, count(*) as n from unit group by _topic order by _topic")
        .await;
    let expected = "\
+-------------+----+
| _topic      | n  |
+-------------+----+
| pejl.unit   | 20 |
| pejl.unit@2 | 10 |
+-------------+----+";
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn landed_records_past_retention_leave_the_log() {
    let stage = Stage::new().await;
    // From 2011, and some from now.
    stage.send(UNITS, units(0..40)).await;
    let now = chrono::Utc::now().timestamp_millis();
    let fresh = units(40..60).into_iter().map(|record| Record {
        timestamp_ms: now,
        ..record
    });
    stage.send(UNITS, fresh.collect()).await;
    let settings = LandingSettings {
        retention: Some(Duration::from_secs(3600)),
        ..LandingSettings::default()
    };
    stage
        .lander(settings)
        .catch_up(&stage.observe())
        .await
        .unwrap();
    stage.assert_complete().await;
    let audits = stage.audit().await;
    assert_eq!(audits.iter().map(|audit| audit.delivered).sum::<u64>(), 20);
    assert_eq!(stage.count("unit").await, 60);
    // And it goes on from there.
    stage.send(UNITS, units(60..70)).await;
    stage.catch_up().await;
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_lands_what_comes_and_commits_the_rest_when_stopped() {
    let stage = Stage::new().await;
    stage.log.ensure_topic("pejl.unicorn", 1).await.unwrap();
    let settings = LandingSettings {
        flush_seconds: 0.05,
        discover_every: Duration::from_millis(50),
        ..LandingSettings::default()
    };
    let stop = CancellationToken::new();
    let lander = stage.lander(settings);
    let running = tokio::spawn({
        let (stop, observe) = (stop.clone(), stage.observe());
        async move { lander.run("lander", stop, &observe).await }
    });
    stage.send(UNITS, units(0..10)).await;
    stage
        .until(async || stage.saw(|what| matches!(what, What::Flushed { .. })) > 0)
        .await;
    // A topic that comes later is found.
    stage.log.ensure_topic("pejl.quarantine", 1).await.unwrap();
    stage.send("pejl.quarantine", vec![garbage("{}")]).await;
    stage
        .until(async || {
            stage
                .lake()
                .version("raw.quarantine")
                .await
                .unwrap()
                .is_some()
        })
        .await;
    stop.cancel();
    running.await.unwrap().unwrap();

    // With nothing due by itself, stopping is what commits.
    let patient = LandingSettings {
        flush_seconds: 3600.0,
        ..LandingSettings::default()
    };
    stage.send(UNITS, units(10..30)).await;
    let stop = CancellationToken::new();
    let log = Watched::new(&stage, false);
    let polled = Arc::clone(&log.polled);
    let lander = Lander::new(Arc::new(log), stage.lake(), patient);
    let running = tokio::spawn({
        let (stop, observe) = (stop.clone(), stage.observe());
        async move { lander.run("lander", stop, &observe).await }
    });
    stage
        .until(async || polled.load(Ordering::Relaxed) == 20)
        .await;
    assert_eq!(stage.count("unit").await, 10);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(stage.count("unit").await, 30);
    assert!(stage.audit().await.iter().all(|audit| audit.is_clean()));
    assert_eq!(stage.saw(|what| *what == What::UnknownEntity), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_topic_is_reported_and_does_not_keep_others_back() {
    let stage = Stage::new().await;
    stage.log.ensure_topic("pejl.quarantine", 1).await.unwrap();
    stage.send("pejl.quarantine", vec![garbage("{}")]).await;
    stage.send(UNITS, units(0..3)).await;
    // The table's column has another type than the entity's.
    let other = Arc::new(Schema::new(vec![Field::new(
        "unit_id",
        DataType::Int32,
        true,
    )]));
    stage
        .lake()
        .append("raw.unit", &other, vec![], &[])
        .await
        .unwrap();
    let settings = LandingSettings {
        flush_seconds: 0.02,
        ..LandingSettings::default()
    };
    let stop = CancellationToken::new();
    let lander = stage.lander(settings);
    let running = tokio::spawn({
        let (stop, observe) = (stop.clone(), stage.observe());
        async move { lander.run("lander", stop, &observe).await }
    });
    stage
        .until(async || {
            stage
                .lake()
                .version("raw.quarantine")
                .await
                .unwrap()
                .is_some()
        })
        .await;
    let told = |what: &What| match what {
        What::Failed { error, .. } => {
            error.contains("column `unit_id`") && error.contains("the settings")
        }
        _ => false,
    };
    stage.until(async || stage.saw(told) > 0).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_landed_of_a_topic_that_is_not_the_one_that_was_opened() {
    let stage = Stage::new().await;
    stage.send(UNITS, units(0..3)).await;
    let log = Arc::new(Watched::new(&stage, true));
    let lander = Lander::new(log, stage.lake(), LandingSettings::default());
    let failed = lander
        .catch_up(&stage.observe())
        .await
        .unwrap_err()
        .to_string();
    assert!(failed.contains("deleted and made again"), "{failed}");
    assert_eq!(stage.lake().version("raw.unit").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_lander_tidies_its_tables_and_lands_on() {
    let stage = Stage::new().await;
    for n in 0..12 {
        stage.send(UNITS, units(n * 10..n * 10 + 10)).await;
        stage.catch_up().await;
    }
    let files = async || {
        let listed = stage.lake().list("raw/unit").await.unwrap();
        listed.iter().filter(|it| it.ends_with(".parquet")).count()
    };
    assert_eq!(files().await, 12);
    let lander = stage.restarted().with_upkeep(Upkeep {
        every: Duration::from_millis(20),
        keep: Duration::from_secs(3600),
        pinned: Arc::new(|| Box::pin(async { Ok(std::collections::BTreeMap::new()) })),
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (stop, observe) = (stop.clone(), stage.observe());
        async move { lander.run("lander", stop, &observe).await }
    });
    // The twelve stay for readers, beside the one they were put together into.
    stage.until(async || files().await == 13).await;
    stage.send(UNITS, units(120..130)).await;
    stage.until(async || stage.count("unit").await == 130).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    stage.assert_complete().await;
}
