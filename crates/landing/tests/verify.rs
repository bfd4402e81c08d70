//! The audit finds what is wrong, and only that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{sync::Arc, time::Duration};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bus::Record;
use contract::raw_schema;
use lake::Txn;
use landing::{Audit, Extent, PartitionAudit};
use stage::{Stage, UNITS, bad_units, entity, units};

async fn first_partition(stage: &Stage) -> PartitionAudit {
    let audits = stage.audit().await;
    assert!(audits[1..].iter().all(PartitionAudit::is_clean));
    audits.into_iter().next().unwrap()
}

/// A log whose partition 0 holds exactly these many records, landed.
async fn landed(count: i64) -> Stage {
    let stage = Stage::new().await;
    let in_first = |id: &i64| bus::partition_of(format!("[\"u{id}\"]").as_bytes(), 3) == 0;
    let ids: Vec<i64> = (0..)
        .filter(in_first)
        .take(usize::try_from(count).unwrap())
        .collect();
    stage.send(UNITS, units(ids)).await;
    stage.catch_up().await;
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_there_twice_is_found() {
    let stage = landed(6).await;
    assert!(first_partition(&stage).await.is_complete());
    stage.forge(&[2, 4, 4]).await;
    let audit = first_partition(&stage).await;
    assert_eq!(
        (audit.doubled.count, audit.doubled.first.as_slice()),
        (2, &[2, 4][..])
    );
    assert!(!audit.is_clean());
    assert_eq!((audit.delivered, audit.landed), (6, 6));
    assert!(
        audit
            .to_string()
            .ends_with("6 in raw.unit, 0 quarantined, doubled 2 (2, 4)"),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_its_table_and_among_the_refused_is_found() {
    let stage = Stage::new().await;
    stage.send(UNITS, bad_units(0..9)).await;
    stage.catch_up().await;
    let audit = first_partition(&stage).await;
    assert!(audit.is_complete() && audit.quarantined > 0, "{audit}");
    stage.forge(&[0]).await;
    assert_eq!(first_partition(&stage).await.doubled.first, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_never_was_in_the_log_is_found() {
    let stage = landed(3).await;
    stage.forge(&[3, 77]).await;
    let audit = first_partition(&stage).await;
    assert_eq!(audit.out_of_range.first, [3, 77]);
    assert!(!audit.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_where_the_log_has_a_hole_is_found() {
    let stage = landed(3).await;
    stage.log.trim(UNITS, 0, 1).await.unwrap();
    stage.forge(&[0]).await;
    let audit = first_partition(&stage).await;
    assert_eq!((audit.doubled.first.as_slice(), audit.low), (&[0][..], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_no_topic_and_no_partition_of_the_log_are_found() {
    let stage = landed(3).await;
    stage.forge_of("pejl.offer", 0, &[5, 9]).await;
    stage.forge_of(UNITS, 7, &[1]).await;
    let audit = stage.verify(Extent::Everything).await;
    let found: Vec<_> = audit
        .strangers
        .iter()
        .map(|it| (it.topic.as_str(), it.partition, it.rows, it.first, it.last))
        .collect();
    assert_eq!(found, [("pejl.offer", 0, 2, 5, 9), (UNITS, 7, 1, 1, 1)]);
    assert!(!audit.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_earlier_topic_by_the_same_name_are_told_and_no_fault() {
    let stage = landed(3).await;
    let stage = stage.with_new_log().await;
    stage.send(UNITS, units(0..5)).await;
    stage.catch_up().await;
    let audit = stage.verify(Extent::Everything).await;
    assert!(audit.is_clean(), "{audit:?}");
    assert!(audit.strangers.iter().any(|it| it.earlier && it.rows == 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_passed_over_is_found_and_told_from_one_that_waits() {
    let stage = landed(4).await;
    let topic = stage.log.topics(UNITS).await.unwrap().remove(0);
    let id = format!("landing/{UNITS}/{}/0", topic.id);
    let in_first = |id: &i64| bus::partition_of(format!("[\"u{id}\"]").as_bytes(), 3) == 0;
    let more: Vec<i64> = (1000..).filter(in_first).take(5).collect();
    stage.send(UNITS, units(more)).await;
    let audit = first_partition(&stage).await;
    assert!(audit.is_clean() && !audit.is_complete());
    assert_eq!(audit.waiting, 5);

    // The position says three more have landed than have.
    let base = stage.lake().txns("raw.unit").await.unwrap()[&id];
    let lie = Txn {
        app_id: id,
        base: Some(base),
        version: base + 3,
    };
    let schema = raw_schema(entity());
    stage
        .lake()
        .append("raw.unit", &schema, vec![], &[lie])
        .await
        .unwrap();
    let audit = first_partition(&stage).await;
    assert_eq!(audit.missing.first, [base, base + 1, base + 2]);
    assert_eq!(audit.waiting, 2);
    assert!(!audit.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_the_log_has_let_go_of_are_fine_unless_doubled() {
    let stage = landed(8).await;
    stage.log.trim(UNITS, 0, 8).await.unwrap();
    let audit = first_partition(&stage).await;
    assert!(audit.is_complete(), "{audit}");
    assert_eq!((audit.low, audit.high, audit.delivered), (8, 8, 0));
    stage.forge(&[5]).await;
    assert_eq!(first_partition(&stage).await.doubled.first, [5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_records_of_an_earlier_topic_that_came_no_further_are_not_taken_for_those_of_the_next()
 {
    let mut came_no_further = 0;
    for write in 0..8 {
        let stage = Stage::new().await;
        stage.send(UNITS, bad_units(0..9)).await;
        stage.store.die_at(write, true);
        let (lander, observe) = (stage.restarted(), stage.observe());
        tokio::select! {
            landed = lander.catch_up(&observe) => { landed.unwrap(); stage.store.survived(); }
            () = stage.store.died() => {}
        }
        let lake = stage.lake();
        let (refused, landed) = (
            lake.txns("raw.quarantine").await,
            lake.txns("raw.unit").await,
        );
        if refused.unwrap().is_empty() || !landed.unwrap().is_empty() {
            continue;
        }
        came_no_further += 1;
        let stage = stage.with_new_log().await;
        stage.send(UNITS, bad_units(0..9)).await;
        stage.catch_up().await;
        let audit = stage.verify(Extent::Everything).await;
        assert!(audit.is_clean(), "{audit:?}");
        let refused: u64 = audit.partitions.iter().map(|it| it.quarantined).sum();
        let earlier: u64 = audit.strangers.iter().map(|it| it.rows).sum();
        assert_eq!((refused, earlier), (9, 9));
    }
    assert!(came_no_further > 0);
}

/// A delivery record of the file that [`units`] of this number come from, as ingest writes it.
fn delivery(unit: i64, accepted: &str) -> Record {
    let entity = contract::entity("delivery").unwrap();
    let (id, file) = (
        format!("case-system/{unit}"),
        format!("page 1 record {unit}"),
    );
    let values = [
        ("delivery_id", id.as_str()),
        ("municipality_code", "101"),
        ("sender", "somebody"),
        ("entity", "unit"),
        ("period", "2010-07"),
        ("file_name", &file),
        ("sha256", "ab"),
        ("rows_read", accepted),
        ("rows_accepted", accepted),
        ("rows_quarantined", "0"),
        ("received_at", "2010-07-01T00:00:00Z"),
        ("updated_at", "2010-07-01T00:00:00Z"),
    ];
    let column =
        |(name, value)| -> (&str, ArrayRef) { (name, Arc::new(StringArray::from(vec![value]))) };
    let rows = RecordBatch::try_from_iter(values.map(column)).unwrap();
    let coerced = contract::coerce(entity, &rows);
    assert!(coerced.violations.is_empty(), "{:?}", coerced.violations);
    let mut record = units([unit]).remove(0);
    record.key = Some(entity.key_of(&coerced.batch, 0).into());
    record.value = codec::encode(entity, &coerced.batch).unwrap().pop();
    record
}

/// A log that takes deliveries.
async fn with_deliveries() -> Stage {
    let stage = Stage::new().await;
    for topic in ["pejl.delivery", "pejl.quarantine"] {
        stage.log.ensure_topic(topic, 1).await.unwrap();
    }
    stage
}

/// Sends a unit and the delivery it came in.
async fn deliver(stage: &Stage, unit: i64, accepted: &str) {
    stage.send(UNITS, units([unit])).await;
    stage
        .send("pejl.delivery", vec![delivery(unit, accepted)])
        .await;
}

fn differing(audit: &Audit) -> Vec<(i64, i64)> {
    let deliveries = audit.deliveries.iter();
    deliveries.map(|it| (it.accepted, it.landed)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_more_rows_than_landed_is_found() {
    for (accepted, differs) in [("1", vec![]), ("2", vec![(2, 1)])] {
        let stage = with_deliveries().await;
        deliver(&stage, 1, accepted).await;
        stage.send(UNITS, bad_units([9])).await;
        stage.catch_up().await;
        let audit = stage.verify(Extent::Everything).await;
        assert_eq!(audit.deliveries_counted, 1);
        assert_eq!(audit.is_clean(), differs.is_empty(), "{audit:?}");
        assert_eq!(differing(&audit), differs);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_came_since_are_counted_with_the_rows_that_came_since() {
    let stage = with_deliveries().await;
    deliver(&stage, 1, "1").await;
    stage.send(UNITS, bad_units([9])).await;
    stage.catch_up().await;
    assert!(stage.verify(Extent::Everything).await.marked);
    let tidy = async || {
        for table in ["raw.unit", "raw.delivery"] {
            let keep = Duration::from_secs(3600);
            stage.tidy(table, keep).await;
        }
    };
    deliver(&stage, 2, "1").await;
    let audit = stage.verify(Extent::SinceLast).await;
    assert!(audit.marked && audit.waiting() > 0 && audit.deliveries_counted == 0);
    stage.catch_up().await;
    tidy().await;
    let audit = stage.verify(Extent::SinceLast).await;
    assert!(audit.marked, "{audit:?}");
    assert_eq!(audit.deliveries_counted, 1);

    deliver(&stage, 3, "2").await;
    stage.catch_up().await;
    tidy().await;
    let audit = stage.verify(Extent::SinceLast).await;
    assert_eq!(audit.deliveries_counted, 1);
    assert_eq!(differing(&audit), [(2, 1)]);
    let audit = stage.verify(Extent::Everything).await;
    assert_eq!(audit.deliveries_counted, 3);
    assert_eq!(differing(&audit), [(2, 1)]);
}
