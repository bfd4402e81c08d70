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
#[path = "../../pejl/tests/chaos/store.rs"]
mod proxy;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use datafusion::{
    catalog::TableProvider, physical_plan::stream::RecordBatchStreamAdapter,
    prelude::SessionContext,
};
use flaky::{Answer, Fault, Flaky, Writes};
use futures::FutureExt;
use lake::{Appended, FILE_BYTES, Lake, Txn};
use object_store::ObjectStoreExt;
use proxy::{Mood, Store};
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
        Lake::open(&self.root, self.options()).unwrap()
    }

    /// The real store, with faults in front of it.
    fn flaky(&self) -> Flaky {
        let url = Url::parse(&self.root).unwrap();
        let (store, _) = object_store::parse_url_opts(&url, self.options()).unwrap();
        Flaky::over(Arc::from(store))
    }

    fn open_over(&self, store: &Flaky) -> Lake {
        Lake::over(Arc::new(store.clone()), Url::parse(&self.root).unwrap()).unwrap()
    }

    fn options(&self) -> HashMap<String, String> {
        let options = [
            ("aws_endpoint", self.endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", "pejltest"),
            ("aws_secret_access_key", "pejltest-secret"),
        ];
        options
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn batch(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_new(schema(), vec![numbers]).unwrap()
}

/// Appends the numbers from `base` up to `version`, as `app`.
async fn append(lake: &Lake, app: &str, base: Option<i64>, version: i64) -> Appended {
    let rows = batch(base.unwrap_or(0)..version);
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
    counted(lake.provider(TABLE, None).await.unwrap().expect("a table")).await
}

async fn counted(table: Arc<dyn TableProvider>) -> Vec<(i64, i64)> {
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

/// What a real conditional put answers, and what an answer may have come to on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_refused_lost_or_late_is_there_once() {
    let Some(place) = Place::new() else { return };
    let store = place.flaky();
    let lake = place.open_over(&store);
    append(&lake, "a", None, 2).await;
    let cases = [
        // Another takes the version first: the store answers 412.
        (Writes::Behind, true, Answer::Truth),
        // 409: two puts at once, and this one was not made.
        (Writes::Never, false, Answer::Taken),
        // It was made, and the answer lost; or the client tried again by itself and was refused by its own first try.
        (Writes::Now, false, Answer::Failed),
        (Writes::Now, false, Answer::Taken),
        // It comes after it was given up.
        (Writes::Late, false, Answer::Failed),
    ];
    let mut others = 0;
    for (at, (writes, raced, answers)) in (0..).zip(cases) {
        let other = place.open();
        let meanwhile = async move {
            append(&other, "b", None, 1).await;
        };
        others += i64::from(raced);
        store.next_commit(Fault {
            writes,
            meanwhile: raced.then(|| meanwhile.boxed()),
            answers,
        });
        let base = 2 + at * 2;
        let appended = append(&lake, "a", Some(base), base + 2).await;
        assert!(
            matches!(appended, Appended::Committed { .. }),
            "{appended:?}"
        );
    }
    let mut expected: Vec<_> = (0..12).map(|n| (n, 1)).collect();
    expected[0].1 += others;
    assert_eq!(counts(&place.open()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_wire_that_loses_answers_or_refuses_every_row_lands_once() {
    for mood in [Mood::Mute, Mood::Conflicting, Mood::Failing] {
        let Some(place) = Place::new() else { return };
        let proxy = Store::start().unwrap();
        proxy.be(mood);
        let mut writers = JoinSet::new();
        for writer in 0..2 {
            let place = Place {
                endpoint: proxy.endpoint.clone(),
                root: place.root.clone(),
            };
            writers.spawn(async move {
                let lake = place.open();
                for n in 0..6 {
                    let base = (n > 0).then_some(n);
                    append(&lake, &format!("writer {writer}"), base, n + 1).await;
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        let expected: Vec<_> = (0..6).map(|n| (n, 2)).collect();
        assert_eq!(counts(&place.open()).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cleaned_between_snapshot_and_commit_is_noticed() {
    let Some(place) = Place::new() else { return };
    let store = place.flaky();
    let lake = place.open_over(&store);
    append(&lake, "a", None, 1).await;
    let (other, bare) = (place.open(), store.sound());
    let log = Url::parse(&place.root).unwrap().path().to_owned() + "/raw/thing/_delta_log";
    store.next_commit(Fault {
        writes: Writes::Behind,
        meanwhile: Some(Box::pin(async move {
            for n in 1..52 {
                append(&other, "a", Some(n), n + 1).await;
            }
            for version in 0..49 {
                let commit = format!("{log}/{version:020}.json");
                bare.delete(&object_store::path::Path::from(commit))
                    .await
                    .unwrap();
            }
        })),
        answers: Answer::Truth,
    });
    let txn = Txn {
        app_id: "a".to_owned(),
        base: Some(1),
        version: 2,
    };
    let lost = lake.append(TABLE, &schema(), vec![], &[txn]).await;
    assert!(
        lost.unwrap_err()
            .to_string()
            .contains("log had been cleaned")
    );
    assert_eq!(lake.txns(TABLE).await.unwrap()["a"], 52);
    append(&lake, "a", Some(52), 53).await;
    let expected: Vec<_> = (0..53).map(|n| (n, 1)).collect();
    assert_eq!(counts(&place.open()).await, expected);
}

/// Two builders replace a table, each publishing what it made, while a third process cleans: past a checkpoint, and
/// with what is published left alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_stays_while_builders_replace_and_others_clean() {
    const BUILDS: i64 = 30;
    let Some(place) = Place::new() else { return };
    let mut builders = JoinSet::new();
    for builder in 0..2 {
        let lake = place.open();
        builders.spawn(async move {
            for n in 0..BUILDS {
                let number = builder * BUILDS + n;
                let rows = futures::stream::iter([Ok(batch([number]))]);
                let rows = Box::pin(RecordBatchStreamAdapter::new(schema(), rows));
                let version = lake.replace(TABLE, &schema(), rows, &[]).await.unwrap();
                let published = format!("{number}").into();
                let path = format!("_publications/{version:020}.json");
                assert!(
                    lake.put_new(&path, published).await.unwrap(),
                    "{version} twice"
                );
            }
        });
    }
    let tidier = place.open();
    let hour = Duration::from_secs(3600);
    while !builders.is_empty() {
        tokio::select! {
            Some(done) = builders.join_next() => done.unwrap(),
            cleaned = clean(&tidier, hour) => { cleaned.unwrap(); },
        }
    }
    // Nobody uploads any more, and only the last twenty are published.
    let published = publications(&place.open()).await;
    assert_eq!(published.len() as i64, 2 * BUILDS);
    let kept = &published[published.len() - 20..];
    let pinned: Vec<i64> = kept.iter().map(|it| it.0).collect();
    let removed = place.open().clean(TABLE, Duration::ZERO, &pinned).await;
    assert_eq!(removed.unwrap() as i64, 2 * BUILDS - 20);
    let lake = place.open();
    for (version, number) in kept {
        let table = lake.provider(TABLE, Some(*version)).await.unwrap();
        assert_eq!(counted(table.unwrap()).await, [(*number, 1)]);
    }
    let listed = lake.list("raw/thing/_delta_log").await.unwrap();
    assert!(
        listed.iter().any(|it| it.contains(".checkpoint.")),
        "{listed:?}"
    );
}

/// Version and number of every publication.
async fn publications(lake: &Lake) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for path in lake.list("_publications").await.unwrap() {
        let number = lake.get(&path).await.unwrap().unwrap();
        let version = path
            .trim_start_matches("_publications/")
            .trim_end_matches(".json");
        let number = std::str::from_utf8(&number).unwrap();
        found.push((version.parse().unwrap(), number.parse().unwrap()));
    }
    found
}

async fn clean(lake: &Lake, keep: Duration) -> lake::Result<u64> {
    let pinned: Vec<i64> = publications(lake).await.iter().map(|it| it.0).collect();
    lake.clean(TABLE, keep, &pinned).await
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
