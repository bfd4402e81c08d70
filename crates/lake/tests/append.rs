//! Appends: once each, whatever the store answers and whoever else writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod flaky;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use datafusion::prelude::SessionContext;
use flaky::{Answer, Fault, Flaky, Writes};
use futures::TryStreamExt;
use lake::{Appended, Lake, Txn};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use url::Url;

const TABLE: &str = "raw.thing";

fn open(store: Arc<dyn ObjectStore>) -> Lake {
    Lake::over(store, Url::parse("memory:///somewhere/a lake").unwrap()).unwrap()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn rows(numbers: impl IntoIterator<Item = i64>) -> Vec<RecordBatch> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    vec![RecordBatch::try_new(schema(), vec![column]).unwrap()]
}

fn txn(app_id: &str, base: Option<i64>, version: i64) -> Txn {
    Txn {
        app_id: app_id.to_owned(),
        base,
        version,
    }
}

/// Appends the numbers from `base` up to `version`, as `app`.
async fn append(lake: &Lake, app: &str, base: Option<i64>, version: i64) -> Appended {
    let numbers = base.unwrap_or(0)..version;
    let txns = [txn(app, base, version)];
    lake.append(TABLE, &schema(), rows(numbers), &txns)
        .await
        .unwrap()
}

async fn numbers(lake: &Lake) -> Vec<i64> {
    let context = SessionContext::new();
    let table = lake.provider(TABLE, None).await.unwrap().expect("a table");
    context.register_table("thing", table).unwrap();
    let found = context.sql("select n from thing order by n").await.unwrap();
    let batches = found.collect().await.unwrap();
    let values = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    values.collect()
}

async fn data_files(lake_store: &dyn ObjectStore) -> usize {
    let all: Vec<_> = lake_store.list(None).try_collect().await.unwrap();
    let names = all.iter().map(|meta| meta.location.to_string());
    names
        .filter(|name| name.ends_with(".parquet") && !name.contains("_delta_log"))
        .count()
}

#[tokio::test]
async fn rows_and_positions_are_there_for_the_next_to_open_the_lake() {
    let store = Flaky::default();
    let lake = open(store.sound());
    assert_eq!(lake.version(TABLE).await.unwrap(), None);
    assert!(lake.txns(TABLE).await.unwrap().is_empty());
    assert_eq!(
        append(&lake, "a", None, 3).await,
        Appended::Committed { version: 0 }
    );
    assert_eq!(
        append(&lake, "a", Some(3), 5).await,
        Appended::Committed { version: 1 }
    );

    let later = open(store.sound());
    assert_eq!(later.version(TABLE).await.unwrap(), Some(1));
    assert_eq!(
        later.txns(TABLE).await.unwrap(),
        HashMap::from([("a".to_owned(), 5)])
    );
    assert_eq!(numbers(&later).await, [0, 1, 2, 3, 4]);
    assert_eq!(later.tables().await.unwrap(), [TABLE]);
}

#[tokio::test]
async fn a_position_moved_by_another_means_nothing_is_written() {
    let store = Flaky::default();
    let (one, other) = (open(store.sound()), open(store.sound()));
    append(&one, "a", None, 3).await;
    let superseded = Appended::Superseded {
        app_id: "a".to_owned(),
        found: Some(3),
    };
    assert_eq!(append(&other, "a", None, 4).await, superseded);
    assert_eq!(append(&other, "a", Some(2), 4).await, superseded);
    let both = [txn("b", None, 1), txn("a", None, 4)];
    let appended = other
        .append(TABLE, &schema(), rows(7..9), &both)
        .await
        .unwrap();
    assert_eq!(appended, superseded);
    assert_eq!(other.version(TABLE).await.unwrap(), Some(0));
    assert_eq!(numbers(&other).await, [0, 1, 2]);
    assert_eq!(data_files(store.sound().as_ref()).await, 1);
}

#[tokio::test]
async fn positions_may_move_without_rows() {
    let lake = open(Flaky::default().sound());
    let appended = lake
        .append(TABLE, &schema(), vec![], &[txn("a", None, 9)])
        .await
        .unwrap();
    assert_eq!(appended, Appended::Committed { version: 0 });
    assert_eq!(lake.txns(TABLE).await.unwrap()["a"], 9);
    assert!(numbers(&lake).await.is_empty());
}

#[tokio::test]
async fn a_lost_answer_does_not_double_the_rows() {
    for answers in [Answer::Failed, Answer::Taken] {
        let store = Flaky::default();
        let lake = open(Arc::new(store.clone()));
        for (base, version) in [(None, 3), (Some(3), 5)] {
            store.next_commit(Fault {
                writes: Writes::Now,
                meanwhile: None,
                answers,
            });
            let appended = append(&lake, "a", base, version).await;
            assert!(
                matches!(appended, Appended::Committed { .. }),
                "{appended:?}"
            );
        }
        assert_eq!(numbers(&lake).await, [0, 1, 2, 3, 4]);
        assert_eq!(open(store.sound()).version(TABLE).await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn our_commit_is_recognised_behind_those_of_others() {
    let store = Flaky::default();
    let lake = open(Arc::new(store.clone()));
    append(&lake, "a", None, 1).await;
    let other = open(store.sound());
    store.next_commit(Fault {
        writes: Writes::Now,
        meanwhile: Some(Box::pin(async move {
            // Goes on from our position: by its txn alone our commit could not be told any more.
            let goes_on = append(&other, "a", Some(3), 6).await;
            assert_eq!(goes_on, Appended::Committed { version: 2 });
        })),
        answers: Answer::Failed,
    });
    assert_eq!(
        append(&lake, "a", Some(1), 3).await,
        Appended::Committed { version: 1 }
    );
    assert_eq!(numbers(&lake).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_commit_that_did_not_happen_is_made_again() {
    for answers in [Answer::Failed, Answer::Taken] {
        let store = Flaky::default();
        let lake = open(Arc::new(store.clone()));
        for _ in 0..3 {
            store.next_commit(Fault {
                writes: Writes::Never,
                meanwhile: None,
                answers,
            });
        }
        assert_eq!(
            append(&lake, "a", None, 2).await,
            Appended::Committed { version: 0 }
        );
        assert_eq!(numbers(&lake).await, [0, 1]);
    }
}

#[tokio::test]
async fn a_commit_that_arrives_late_is_not_made_twice() {
    for writes in [Writes::Late, Writes::AfterLook] {
        let store = Flaky::default();
        let lake = open(Arc::new(store.clone()));
        for (base, version) in [(None, 2), (Some(2), 4)] {
            store.next_commit(Fault {
                writes,
                meanwhile: None,
                answers: Answer::Failed,
            });
            let appended = append(&lake, "a", base, version).await;
            assert!(
                matches!(appended, Appended::Committed { .. }),
                "{appended:?}"
            );
        }
        assert_eq!(numbers(&lake).await, [0, 1, 2, 3]);
        assert_eq!(lake.version(TABLE).await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_version_taken_by_another_application_costs_a_version_only() {
    let store = Flaky::default();
    let lake = open(Arc::new(store.clone()));
    append(&lake, "a", None, 1).await;
    let other = open(store.sound());
    store.next_commit(Fault {
        writes: Writes::Never,
        meanwhile: Some(Box::pin(async move {
            append(&other, "b", None, 1).await;
        })),
        answers: Answer::Failed,
    });
    assert_eq!(
        append(&lake, "a", Some(1), 2).await,
        Appended::Committed { version: 2 }
    );
    assert_eq!(numbers(&lake).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_version_taken_by_the_same_application_supersedes() {
    let store = Flaky::default();
    let lake = open(Arc::new(store.clone()));
    append(&lake, "a", None, 1).await;
    let other = open(store.sound());
    store.next_commit(Fault {
        writes: Writes::Never,
        meanwhile: Some(Box::pin(async move {
            append(&other, "a", Some(1), 2).await;
        })),
        answers: Answer::Failed,
    });
    // The very same positions, yet not our commit: our rows must not count as written.
    let superseded = Appended::Superseded {
        app_id: "a".to_owned(),
        found: Some(2),
    };
    assert_eq!(append(&lake, "a", Some(1), 2).await, superseded);
    assert_eq!(numbers(&lake).await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_racing_on_one_position_write_each_number_once() {
    let store = Flaky::default();
    let race = |lake: Lake| async move {
        loop {
            let base = lake.txns(TABLE).await.unwrap().get("a").copied();
            let from = base.unwrap_or(0);
            if from >= 40 {
                return;
            }
            append(&lake, "a", base, from + 1 + from % 3).await;
        }
    };
    let racers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(race(open(store.sound()))))
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    let lake = open(store.sound());
    let end = lake.txns(TABLE).await.unwrap()["a"];
    assert_eq!(numbers(&lake).await, (0..end).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_outlive_the_commits_that_made_them() {
    let store = Flaky::default();
    let lake = open(store.sound());
    append(&lake, "idle", None, 1).await;
    for n in 0..110 {
        append(&lake, "busy", (n > 0).then_some(n), n + 1).await;
    }
    let log = Path::from("somewhere/a lake/raw/thing/_delta_log");
    let files: Vec<_> = store.sound().list(Some(&log)).try_collect().await.unwrap();
    let checkpoints = files
        .iter()
        .filter(|it| it.location.as_ref().contains(".checkpoint."));
    assert!(checkpoints.count() >= 2, "{files:?}");

    // What log cleanup does after the retention time.
    for version in 0..99 {
        let commit = log.clone().join(format!("{version:020}.json"));
        store.sound().delete(&commit).await.unwrap();
    }
    let later = open(store.sound());
    let txns = later.txns(TABLE).await.unwrap();
    assert_eq!((txns["idle"], txns["busy"]), (1, 110));
    assert_eq!(
        append(&later, "idle", Some(1), 2).await,
        Appended::Committed { version: 111 }
    );
    assert_eq!(numbers(&later).await.len(), 112);
}

/// A lander sleeps for a month between its snapshot and its commit: by then the version is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_behind_a_log_that_was_cleaned_meanwhile_is_not_taken_for_done() {
    let store = Flaky::default();
    let lake = open(Arc::new(store.clone()));
    append(&lake, "a", None, 3).await;
    let (other, sound) = (open(store.sound()), store.sound());
    store.next_commit(Fault {
        writes: Writes::Behind,
        meanwhile: Some(Box::pin(async move {
            for n in 3..60 {
                append(&other, "a", Some(n), n + 1).await;
            }
            let log = Path::from("somewhere/a lake/raw/thing/_delta_log");
            for version in 0..49 {
                let commit = log.clone().join(format!("{version:020}.json"));
                sound.delete(&commit).await.unwrap();
            }
        })),
        answers: Answer::Truth,
    });
    let lost = lake
        .append(TABLE, &schema(), rows(3..5), &[txn("a", Some(3), 5)])
        .await;
    let lost = lost.unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    assert!(lost.to_string().contains("log had been cleaned"), "{lost}");
    // Whoever looks again, as its caller must, sees how far the others have come and goes on from there.
    assert_eq!(lake.txns(TABLE).await.unwrap()["a"], 60);
    let goes_on = append(&lake, "a", Some(60), 62).await;
    assert_eq!(goes_on, Appended::Committed { version: 58 });
    assert_eq!(numbers(&lake).await, (0..62).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_gains_columns_in_place_and_keeps_its_types() {
    let store = Flaky::default();
    let (old, new) = (open(store.sound()), open(store.sound()));
    append(&old, "a", None, 2).await;
    let wide = Arc::new(Schema::new(vec![
        Field::new("said", DataType::Utf8, true),
        Field::new("n", DataType::Int64, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["hello"])),
        Arc::new(Int64Array::from(vec![2])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&wide), columns).unwrap();
    new.append(TABLE, &wide, vec![batch], &[txn("a", Some(2), 3)])
        .await
        .unwrap();
    // One that does not know the new column goes on writing.
    assert_eq!(
        append(&old, "a", Some(3), 5).await,
        Appended::Committed { version: 2 }
    );

    let context = SessionContext::new();
    let table = new.provider(TABLE, None).await.unwrap().unwrap();
    context.register_table("thing", table).unwrap();
    let found = context
        .sql("select n, said from thing order by n")
        .await
        .unwrap();
    let shown = arrow::util::pretty::pretty_format_batches(&found.collect().await.unwrap());
    let expected = "\
+---+-------+
| n | said  |
+---+-------+
| 0 |       |
| 1 |       |
| 2 | hello |
| 3 |       |
| 4 |       |
+---+-------+";
    assert_eq!(shown.unwrap().to_string(), expected);

    let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8, true)]));
    let refused = new
        .append(TABLE, &other, vec![], &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("column `n` is long in the table and string in the rows"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_table_another_tool_has_upgraded_is_left_alone() {
    let store = Flaky::default();
    let lake = open(store.sound());
    append(&lake, "a", None, 1).await;
    let upgrade = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    let commit = Path::from("somewhere/a lake/raw/thing/_delta_log/00000000000000000001.json");
    store.sound().put(&commit, upgrade.into()).await.unwrap();
    let refused = lake
        .append(TABLE, &schema(), rows(1..2), &[txn("a", Some(1), 2)])
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.fix_by(), contract::FixBy::Settings);
    assert!(
        refused.to_string().contains("reader 3, writer 7"),
        "{refused}"
    );
}
