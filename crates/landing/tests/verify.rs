//! The audit finds what is wrong, and only that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array,
    },
    datatypes::DataType,
};
use bus::Record;
use contract::raw_schema;
use lake::Txn;
use landing::{PartitionAudit, verify};
use stage::{Stage, UNITS, bad_units, entity, units};

/// Puts rows at these offsets of partition 0 into the table, behind landing's back.
async fn forge(stage: &Stage, offsets: &[i64]) {
    forge_of(stage, UNITS, 0, offsets).await;
}

/// The same for rows that name another topic or partition.
async fn forge_of(stage: &Stage, topic: &str, partition: i32, offsets: &[i64]) {
    let schema = raw_schema(entity());
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            ("_topic", _) => Arc::new(StringArray::from(vec![topic; offsets.len()])),
            ("_partition", _) => Arc::new(Int32Array::from(vec![partition; offsets.len()])),
            ("_offset", _) => Arc::new(Int64Array::from(offsets.to_vec())),
            (_, DataType::Boolean) => Arc::new(BooleanArray::from(vec![false; offsets.len()])),
            ("_timestamp", data_type) => {
                let moments = Int64Array::from(vec![0; offsets.len()]);
                arrow::compute::cast(&moments, data_type).unwrap()
            }
            (_, data_type) => new_null_array(data_type, offsets.len()),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    stage
        .lake()
        .append("raw.unit", &schema, vec![rows], &[])
        .await
        .unwrap();
}

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
    forge(&stage, &[2, 4, 4]).await;
    let audit = first_partition(&stage).await;
    assert_eq!(
        (audit.doubled.count, audit.doubled.first.as_slice()),
        (3, &[2, 4, 4][..])
    );
    assert!(!audit.is_clean());
    assert_eq!((audit.delivered, audit.landed), (6, 6));
    assert!(
        audit
            .to_string()
            .ends_with("6 in raw.unit, 0 quarantined, doubled 3 (2, 4, 4)"),
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
    forge(&stage, &[0]).await;
    assert_eq!(first_partition(&stage).await.doubled.first, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_never_was_in_the_log_is_found() {
    let stage = landed(3).await;
    forge(&stage, &[3, 77]).await;
    let audit = first_partition(&stage).await;
    assert_eq!(audit.out_of_range.first, [3, 77]);
    assert!(!audit.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_where_the_log_has_a_hole_is_found() {
    let stage = landed(3).await;
    stage.log.trim(UNITS, 0, 1).await.unwrap();
    forge(&stage, &[0]).await;
    let audit = first_partition(&stage).await;
    assert_eq!((audit.doubled.first.as_slice(), audit.low), (&[0][..], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_no_topic_and_no_partition_of_the_log_are_found() {
    let stage = landed(3).await;
    forge_of(&stage, "pejl.offer", 0, &[5, 9]).await;
    forge_of(&stage, UNITS, 7, &[1]).await;
    let audit = verify(stage.log.as_ref(), &stage.lake(), &|_| {})
        .await
        .unwrap();
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
    let audit = verify(stage.log.as_ref(), &stage.lake(), &|_| {})
        .await
        .unwrap();
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
    forge(&stage, &[5]).await;
    assert_eq!(first_partition(&stage).await.doubled.first, [5]);
}

/// A delivery record of the file that [`units`] of one number come from, as ingest writes it.
fn delivery(accepted: &str) -> Record {
    let entity = contract::entity("delivery").unwrap();
    let values = [
        ("delivery_id", "case-system/1"),
        ("municipality_code", "101"),
        ("sender", "somebody"),
        ("entity", "unit"),
        ("period", "2010-07"),
        ("file_name", "page 1 record 1"),
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
    let mut record = units([1]).remove(0);
    record.key = Some(entity.key_of(&coerced.batch, 0).into());
    record.value = codec::encode(entity, &coerced.batch).unwrap().pop();
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_more_rows_than_landed_is_found() {
    for (accepted, differs) in [("1", false), ("2", true)] {
        let stage = Stage::new().await;
        for topic in ["pejl.delivery", "pejl.quarantine"] {
            stage.log.ensure_topic(topic, 1).await.unwrap();
        }
        stage.send(UNITS, units([1])).await;
        stage.send("pejl.delivery", vec![delivery(accepted)]).await;
        stage.send(UNITS, bad_units([9])).await;
        stage.catch_up().await;
        let audit = verify(stage.log.as_ref(), &stage.lake(), &|_| {})
            .await
            .unwrap();
        assert_eq!(audit.deliveries_counted, 1);
        assert_eq!(audit.is_clean(), !differs, "{audit:?}");
        let counts: Vec<_> = audit
            .deliveries
            .iter()
            .map(|it| (it.accepted, it.landed))
            .collect();
        assert_eq!(counts, if differs { vec![(2, 1)] } else { vec![] });
    }
}
