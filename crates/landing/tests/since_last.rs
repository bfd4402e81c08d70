//! The audit of what landed since the last: it reads little, finds what came wrong since, and knows when it must read all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::time::Duration;

use bus::partition_of;
use contract::raw_schema;
use lake::Txn;
use landing::{Audit, Extent, TableAudit};
use object_store::{ObjectStoreExt, path::Path};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, prop_oneof, proptest},
};
use serde_json::{Value, json};
use stage::{Stage, UNITS, bad_units, entity, units};

const KEEP: Duration = Duration::from_secs(3600);

/// Ids whose records are in partition 0.
fn ids(from: i64, count: usize) -> Vec<i64> {
    let in_first = |id: &i64| partition_of(format!("[\"u{id}\"]").as_bytes(), 3) == 0;
    (from..).filter(in_first).take(count).collect()
}

/// Lands so many more records in partition 0, in one commit.
async fn land(stage: &Stage, from: i64, count: usize) {
    stage.send(UNITS, units(ids(from, count))).await;
    stage.catch_up().await;
}

/// Six records landed and audited.
async fn audited() -> Stage {
    let stage = Stage::new().await;
    land(&stage, 0, 3).await;
    land(&stage, 100, 3).await;
    let audit = stage.verify(Extent::Everything).await;
    assert!(audit.is_clean() && audit.marked, "{audit:?}");
    assert_eq!(table(&audit).files_read, 2);
    stage
}

async fn since(stage: &Stage) -> Audit {
    stage.verify(Extent::SinceLast).await
}

fn table(audit: &Audit) -> &TableAudit {
    let mut tables = audit.tables.iter();
    tables.find(|it| it.table == "raw.unit").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_came_since_is_read() {
    let stage = audited().await;
    let audit = since(&stage).await;
    assert!(audit.is_clean() && audit.marked);
    assert_eq!((audit.files_read(), audit.partitions[0].delivered), (0, 0));

    land(&stage, 200, 4).await;
    stage.send(UNITS, units(ids(300, 2))).await;
    let audit = since(&stage).await;
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((table(&audit).files_read, table(&audit).rows_read), (1, 4));
    let first = &audit.partitions[0];
    assert_eq!((first.from, first.high, first.next), (6, 12, 10));
    assert_eq!((first.delivered, first.landed, first.waiting), (6, 4, 2));

    // What waited is where the next goes on.
    stage.catch_up().await;
    let audit = since(&stage).await;
    assert_eq!(
        (audit.partitions[0].from, audit.partitions[0].landed),
        (10, 2)
    );
    assert_eq!(table(&audit).rows_read, 2);
    stage.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mark_everything_is_read() {
    let stage = Stage::new().await;
    land(&stage, 0, 3).await;
    let audit = since(&stage).await;
    assert!(audit.is_clean() && audit.marked);
    let read = table(&audit);
    assert_eq!((read.since, read.files_read), (None, 1));
    assert_eq!(read.reason.as_deref(), Some("no audit has passed yet"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_came_again_are_found_until_they_are_gone() {
    let stage = audited().await;
    land(&stage, 200, 2).await;
    stage.forge(&[4, 7]).await;
    for _ in 0..2 {
        let audit = since(&stage).await;
        assert_eq!(audit.partitions[0].doubled.first, [4, 7]);
        assert!(!audit.is_clean() && !audit.marked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_nothing_the_log_has_are_found() {
    let stage = audited().await;
    stage.forge(&[6, 99]).await;
    stage.forge_of("pejl.offer", 0, &[5]).await;
    let audit = since(&stage).await;
    assert_eq!(audit.partitions[0].out_of_range.first, [6, 99]);
    let strangers: Vec<_> = audit
        .strangers
        .iter()
        .map(|it| (it.topic.as_str(), it.rows))
        .collect();
    assert_eq!(strangers, [("pejl.offer", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_passed_over_is_found() {
    let stage = audited().await;
    stage.send(UNITS, units(ids(200, 5))).await;
    let topic = stage.log.topics(UNITS).await.unwrap().remove(0);
    let lie = Txn {
        app_id: format!("landing/{UNITS}/{}/0", topic.id),
        base: Some(6),
        version: 8,
    };
    let (lake, schema) = (stage.lake(), raw_schema(entity()));
    lake.append("raw.unit", &schema, vec![], &[lie])
        .await
        .unwrap();
    let audit = since(&stage).await;
    assert_eq!(audit.partitions[0].missing.first, [6, 7]);
    assert_eq!(audit.partitions[0].waiting, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn putting_files_together_hides_nothing_that_came_since() {
    let stage = audited().await;
    land(&stage, 200, 2).await;
    land(&stage, 300, 2).await;
    let tidy = async |stage: &Stage| stage.tidy("raw.unit", KEEP).await;
    assert_eq!(tidy(&stage).await, 4);
    let audit = since(&stage).await;
    assert!(audit.is_clean(), "{audit:?}");
    let first = &audit.partitions[0];
    assert_eq!((first.from, first.delivered, first.landed), (6, 4, 4));
    // Two files of new rows, and the one that all four were put into.
    assert_eq!((table(&audit).files_read, table(&audit).rows_read), (3, 14));
    assert!(table(&audit).since.is_some());

    stage.forge(&[4, 9]).await;
    tidy(&stage).await;
    assert_eq!(since(&stage).await.partitions[0].doubled.first, [4, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_lost_when_files_were_put_together_are_found() {
    let stage = audited().await;
    land(&stage, 200, 2).await;
    // A putting together that forgets to write what it removed.
    let added = last_added(&stage).await;
    commit(
        &stage,
        json!({ "remove": { "path": added, "dataChange": false } }),
    )
    .await;
    assert_eq!(since(&stage).await.partitions[0].missing.first, [6, 7]);
    assert_eq!(stage.audit().await[0].missing.first, [6, 7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_history_is_gone_is_read_as_a_whole() {
    // Files that came since were put together, and removed.
    let stage = audited().await;
    land(&stage, 200, 2).await;
    stage.tidy("raw.unit", Duration::ZERO).await;
    let audit = since(&stage).await;
    assert!(audit.is_clean() && audit.marked, "{audit:?}");
    let reason = table(&audit).reason.clone().unwrap();
    assert!(
        reason.contains("put together with others and removed"),
        "{reason}"
    );
    assert_eq!(
        (table(&audit).rows_read, audit.partitions[0].landed),
        (8, 8)
    );

    // Rows were removed.
    land(&stage, 300, 2).await;
    let added = last_added(&stage).await;
    commit(
        &stage,
        json!({ "remove": { "path": added, "dataChange": true } }),
    )
    .await;
    let audit = since(&stage).await;
    let reason = table(&audit).reason.clone().unwrap();
    assert!(reason.contains("rows were removed"), "{reason}");
    assert_eq!(audit.partitions[0].missing.first, [8, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_log_was_cleaned_is_read_as_a_whole() {
    let stage = audited().await;
    let marked = stage.lake().version("raw.unit").await.unwrap().unwrap();
    let (lake, schema) = (stage.lake(), raw_schema(entity()));
    for _ in 0..60 {
        lake.append("raw.unit", &schema, vec![], &[]).await.unwrap();
    }
    let log = Path::from(format!("lake/raw/unit/_delta_log/{:020}.json", marked + 1));
    stage.store.sound().delete(&log).await.unwrap();
    let audit = since(&stage).await;
    assert!(audit.is_clean(), "{audit:?}");
    let reason = table(&audit).reason.clone().unwrap();
    assert!(reason.contains("its log no longer has version"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_is_audited_from_its_beginning() {
    let stage = audited().await;
    let stage = stage.with_new_log().await;
    stage.send(UNITS, bad_units(ids(0, 2))).await;
    land(&stage, 50, 2).await;
    let audit = since(&stage).await;
    assert!(audit.is_clean() && audit.marked, "{audit:?}");
    let reason = table(&audit).reason.clone().unwrap();
    assert!(reason.contains("deleted and made again"), "{reason}");
    let first = &audit.partitions[0];
    assert_eq!(
        (first.landed, first.quarantined, first.delivered),
        (2, 2, 4)
    );
    assert_eq!(table(&since(&stage).await).files_read, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Land(usize),
    Refuse(usize),
    Forge(i64),
    Tidy,
    Audit,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes after a mark, the audit since then passes if and only if one of everything does.
    #[test]
    fn it_passes_if_and_only_if_an_audit_of_everything_does(steps in vec(prop_oneof![
        (1..5_usize).prop_map(Step::Land),
        (1..5_usize).prop_map(Step::Refuse),
        (0..30_i64).prop_map(Step::Forge),
        proptest::strategy::Just(Step::Tidy),
        proptest::strategy::Just(Step::Audit),
    ], 1..12)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let stage = audited().await;
            for (number, step) in steps.iter().chain([&Step::Audit]).enumerate() {
                let from = 1000 + 100 * i64::try_from(number).unwrap();
                match step {
                    Step::Land(count) => land(&stage, from, *count).await,
                    Step::Refuse(count) => {
                        stage.send(UNITS, bad_units(ids(from, *count))).await;
                        stage.catch_up().await;
                    }
                    Step::Forge(offset) => stage.forge(&[*offset]).await,
                    Step::Tidy => {
                        for table in ["raw.unit", "raw.quarantine"] {
                            if stage.lake().version(table).await.unwrap().is_some() {
                                stage.tidy(table, KEEP).await;
                            }
                        }
                    }
                    Step::Audit => {
                        let since = since(&stage).await;
                        let all = stage.verify(Extent::Everything).await;
                        assert_eq!(since.is_clean(), all.is_clean(), "{steps:?}: {since:?} {all:?}");
                        assert_eq!(since.marked, since.is_clean());
                    }
                }
            }
        });
    }
}

/// The file that the last commit added.
async fn last_added(stage: &Stage) -> String {
    let version = stage.lake().version("raw.unit").await.unwrap().unwrap();
    let path = Path::from(format!("lake/raw/unit/_delta_log/{version:020}.json"));
    let commit = stage.store.sound().get(&path).await.unwrap();
    let commit = commit.bytes().await.unwrap();
    let lines = serde_json::Deserializer::from_slice(&commit).into_iter::<Value>();
    let path = lines.map(Result::unwrap).find_map(|line| {
        let path = line["add"]["path"].as_str()?;
        Some(path.to_owned())
    });
    path.unwrap()
}

/// Makes a commit of one action, as another program would.
async fn commit(stage: &Stage, action: Value) {
    let version = stage.lake().version("raw.unit").await.unwrap().unwrap() + 1;
    let path = Path::from(format!("lake/raw/unit/_delta_log/{version:020}.json"));
    let store = stage.store.sound();
    store.put(&path, action.to_string().into()).await.unwrap();
}
