//! The lake on a real S3-compatible store: conditional puts instead of a lock service.
//!
//! Needs `PEJL_TEST_S3=http://host:port` with the bucket `pejl`; `tests/object-store/store.sh start` prints one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod flaky;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use datafusion::prelude::SessionContext;
use flaky::Flaky;
use lake::{Appended, FILE_BYTES, Lake, Txn};
use tokio::task::JoinSet;
use url::Url;

const TABLE: &str = "raw.thing";

/// Opens the same new place in the store any number of times, each as another process would.
struct Place {
    endpoint: String,
    root: String,
}

impl Place {
    fn new() -> Option<Self> {
        let Ok(endpoint) = std::env::var("PEJL_TEST_S3") else {
            use std::io::Write;
            let text = b"OBJECT STORE HALF SKIPPED: PEJL_TEST_S3 is not set; tests/object-store/store.sh start gives one\n";
            std::io::stderr().write_all(text).unwrap();
            return None;
        };
        let root = format!("s3://pejl/{}/lake", uuid::Uuid::new_v4().simple());
        Some(Self { endpoint, root })
    }

    fn open(&self) -> Lake {
        let options = [
            ("aws_endpoint", self.endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", "pejltest"),
            ("aws_secret_access_key", "pejltest-secret"),
        ];
        let options: HashMap<String, String> = options
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Lake::open(&self.root, options).unwrap()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// Appends the numbers from `base` up to `version`, as `app`.
async fn append(lake: &Lake, app: &str, base: Option<i64>, version: i64) -> Appended {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(base.unwrap_or(0)..version));
    let rows = RecordBatch::try_new(schema(), vec![numbers]).unwrap();
    let txn = Txn {
        app_id: app.to_owned(),
        base,
        version,
    };
    lake.append(TABLE, &schema(), vec![rows], &[txn])
        .await
        .unwrap()
}

/// How often each number is there, by number.
async fn counts(lake: &Lake) -> Vec<(i64, i64)> {
    let table = lake.provider(TABLE, None).await.unwrap().expect("a table");
    let context = SessionContext::new();
    context.register_table("thing", table).unwrap();
    let sql = "select n, count(*) from thing group by n order by n";
    let found = context.sql(sql).await.unwrap().collect().await.unwrap();
    let pairs = found.iter().flat_map(|batch| {
        let column = |at: usize| {
            batch
                .column(at)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        column(0).into_iter().zip(column(1))
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_puts_where_there_is_nothing_one_wins() {
    let Some(place) = Place::new() else { return };
    for round in 0..5 {
        let mut racing = JoinSet::new();
        for n in 0..16 {
            let lake = place.open();
            let path = format!("race/{round}.json");
            racing.spawn(async move { lake.put_new(&path, format!("{n}").into()).await.unwrap() });
        }
        let won = racing
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count();
        assert_eq!(won, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_land_every_row_once_while_the_table_is_tidied() {
    const WRITERS: i64 = 4;
    const COMMITS: i64 = 15;
    const ROWS: i64 = 10;
    let Some(place) = Place::new() else { return };
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let lake = place.open();
        writers.spawn(async move {
            for commit in 0..COMMITS {
                let (base, next) = (commit * ROWS, (commit + 1) * ROWS);
                let base = (commit > 0).then_some(base);
                let appended = append(&lake, &format!("writer {writer}"), base, next).await;
                assert!(
                    matches!(appended, Appended::Committed { .. }),
                    "{appended:?}"
                );
            }
        });
    }
    // Another process puts the files together meanwhile; it may lose the race, the writers may not.
    let tidier = place.open();
    let (mut merged, mut failures) = (0, 0);
    while !writers.is_empty() {
        tokio::select! {
            Some(done) = writers.join_next() => done.unwrap(),
            tidied = tidy(&tidier) => match tidied {
                Ok(files) => merged += files,
                Err(_) => failures += 1,
            },
        }
    }
    // A file for every commit has become a few.
    merged += tidy(&place.open()).await.unwrap();
    assert!(merged > 0, "{failures} failures");

    let lake = place.open();
    let expected: Vec<_> = (0..COMMITS * ROWS).map(|n| (n, WRITERS)).collect();
    assert_eq!(counts(&lake).await, expected);
    let txns = lake.txns(TABLE).await.unwrap();
    for writer in 0..WRITERS {
        assert_eq!(txns[&format!("writer {writer}")], COMMITS * ROWS);
    }
}

async fn tidy(lake: &Lake) -> lake::Result<u64> {
    let merged = lake.merge(TABLE, FILE_BYTES).await?;
    lake.clean(TABLE, Duration::from_secs(3600), &[]).await?;
    Ok(merged)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_move_the_same_position_one_is_superseded() {
    let Some(place) = Place::new() else { return };
    append(&place.open(), "app", None, 5).await;
    for round in 0..10 {
        let (base, next) = (5 + round * 5, 10 + round * 5);
        let (one, two) = (place.open(), place.open());
        let (one, two) = tokio::join!(
            append(&one, "app", Some(base), next),
            append(&two, "app", Some(base), next)
        );
        let committed = [&one, &two]
            .into_iter()
            .filter(|it| matches!(it, Appended::Committed { .. }))
            .count();
        assert_eq!(committed, 1, "{one:?} {two:?}");
    }
    let expected: Vec<_> = (0..55).map(|n| (n, 1)).collect();
    assert_eq!(counts(&place.open()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_its_promise_passes_the_probe() {
    let Some(place) = Place::new() else { return };
    let lake = place.open();
    lake.probe().await.unwrap();
    assert!(lake.list("_probe").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused() {
    let url = Url::parse("memory:///lake").unwrap();
    let lake = Lake::over(Arc::new(Flaky::careless()), url.clone()).unwrap();
    let refused = lake.probe().await.unwrap_err();
    assert!(matches!(&refused, lake::Error::Settings(_)), "{refused}");
    assert!(
        refused.to_string().contains("conditional puts"),
        "{refused}"
    );
    Lake::over(Arc::new(Flaky::default()), url)
        .unwrap()
        .probe()
        .await
        .unwrap();
}
