//! Rows with one of many ids are found, and parts that have none are not read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::HashMap, path::Path, sync::Arc};

use arrow::{
    array::{Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    physical_plan::stream::RecordBatchStreamAdapter,
    prelude::{SessionContext, ident},
};
use lake::{Lake, one_of};

const TABLE: &str = "core.member";
const PLACES: i32 = 8;
const MEMBERS: i32 = 50;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("place", DataType::Int32, true),
        Field::new("citizen_id", DataType::Utf8, true),
    ]))
}

/// Fifty members of each place, `c-3-17`, one without a name; the members of no place are those of place 0.
async fn members(lake: &Lake) {
    let batches = (0..PLACES).map(|place| {
        let places = Int32Array::from_iter((0..=MEMBERS).map(|_| (place > 0).then_some(place)));
        let names = (0..=MEMBERS).map(|it| (it < MEMBERS).then(|| format!("c-{place}-{it}")));
        let names: StringArray = names.collect();
        RecordBatch::try_new(schema(), vec![Arc::new(places), Arc::new(names)]).map_err(Into::into)
    });
    let rows = RecordBatchStreamAdapter::new(schema(), futures::stream::iter(batches));
    lake.replace(TABLE, &schema(), Box::pin(rows), &["place".to_owned()])
        .await
        .unwrap();
}

async fn found(lake: &Lake, ids: &[&str], negated: bool) -> Result<usize, String> {
    let ids = ids.iter().map(|it| (*it).to_owned()).collect();
    let table = lake.provider(TABLE, None).await.unwrap().expect("a table");
    let condition = one_of("citizen_id", ids);
    let condition = if negated { !condition } else { condition };
    let rows = SessionContext::new().read_table(table).unwrap();
    let rows = rows.filter(condition).unwrap().select(vec![ident("place")]);
    rows.unwrap().count().await.map_err(|err| err.to_string())
}

fn lake_in(folder: &Path) -> Lake {
    Lake::open(folder.to_str().unwrap(), HashMap::new()).unwrap()
}

#[tokio::test]
async fn those_that_are_there_are_found_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path());
    members(&lake).await;
    let all: Vec<String> = (0..PLACES)
        .flat_map(|place| (0..MEMBERS).map(move |it| format!("c-{place}-{it}")))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let cases: [(&[&str], usize); 5] = [
        (&[], 0),
        (&["c-9-1"], 0),
        (&["c-3-17", "c-3-17x", "c-0-1"], 2),
        (&["c-0-0"], 1),
        (&all, 400),
    ];
    for (ids, expected) in cases {
        assert_eq!(found(&lake, ids, false).await, Ok(expected), "{ids:?}");
        // Whoever has no name is neither.
        let others = (PLACES * MEMBERS) as usize - expected;
        assert_eq!(found(&lake, ids, true).await, Ok(others), "not {ids:?}");
    }
}

#[tokio::test]
async fn a_part_without_any_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path());
    members(&lake).await;
    // Its rows cannot be read any more, its end can, where the filters are.
    for file in std::fs::read_dir(folder.path().join("core/member/place=5")).unwrap() {
        let file = file.unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4..40].fill(0xff);
        std::fs::write(&file, bytes).unwrap();
    }
    assert_eq!(found(&lake, &["c-3-17", "c-0-9"], false).await, Ok(2));
    let unread = found(&lake, &["c-3-17", "c-5-9"], false).await;
    assert!(unread.is_err(), "{unread:?}: the damage is never met");
}
