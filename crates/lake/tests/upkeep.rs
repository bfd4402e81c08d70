//! Merging and cleaning: what goes, what stays, and who need not notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{
    collections::HashMap,
    fs, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
    prelude::SessionContext,
};
use lake::{FILE_BYTES, Head, Lake, Txn};
use proptest::prelude::*;
use tracing_subscriber::fmt::MakeWriter;

const TABLE: &str = "raw.thing";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A lake on disk with one table.
struct World {
    root: tempfile::TempDir,
    lake: Lake,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let lake = Lake::open(root.path().to_str().unwrap(), HashMap::new()).unwrap();
        Self { root, lake }
    }

    /// The same lake as another process sees it.
    fn reopened(&self) -> Lake {
        Lake::open(self.root.path().to_str().unwrap(), HashMap::new()).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("raw/thing")
    }

    fn log(&self) -> PathBuf {
        self.folder().join("_delta_log")
    }

    fn commit(&self, version: i64) -> PathBuf {
        self.log().join(format!("{version:020}.json"))
    }

    /// Every data file there is, whether a version names it or not.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
                if path.is_dir() && path != self.log() {
                    folders.push(path);
                } else if path.is_file() {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Appends numbers and moves the position of `a`.
    async fn append(&self, numbers: Vec<i64>) {
        let at = self.lake.txns(TABLE).await.unwrap().get("a").copied();
        let txn = Txn {
            app_id: "a".to_owned(),
            base: at,
            version: at.unwrap_or(0) + 1,
        };
        let rows = if numbers.is_empty() {
            vec![]
        } else {
            vec![batch(numbers)]
        };
        let appended = self.lake.append(TABLE, &schema(), rows, &[txn]).await;
        appended.unwrap();
    }

    async fn replace(&self, numbers: Vec<i64>) -> i64 {
        let rows = futures::stream::iter([Ok(batch(numbers))]);
        let input: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(schema(), rows));
        let replaced = self.lake.replace(TABLE, &schema(), input, &[]).await;
        replaced.unwrap()
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn lines(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Told {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn batch(numbers: Vec<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

/// `count(*)` and `sum(n)` of a version.
async fn totals(lake: &Lake, version: Option<i64>) -> String {
    let context = SessionContext::new();
    let table = lake
        .provider(TABLE, version)
        .await
        .unwrap()
        .expect("a table");
    context.register_table("t", table).unwrap();
    let answer = context.sql("select count(*), sum(n) from t").await.unwrap();
    let rows = answer.collect().await.unwrap();
    let shown = arrow::util::pretty::pretty_format_batches(&rows)
        .unwrap()
        .to_string();
    let cells = shown.lines().nth(3).unwrap().split('|');
    cells
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

/// Makes a file look written so long ago.
fn age(path: &Path, by: Duration) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_positions_and_pinned_versions_stay() {
    let world = World::new();
    for n in 0..6 {
        world.append(vec![n]).await;
    }
    assert_eq!(world.files().len(), 6);
    assert_eq!(world.lake.merge(TABLE, FILE_BYTES).await.unwrap(), 6);
    // One merged file, and the two that version 1 holds.
    let removed = world.lake.clean(TABLE, Duration::ZERO, &[1]).await.unwrap();
    assert_eq!((removed, world.files().len()), (4, 3));
    assert_eq!(totals(&world.lake, None).await, "6 15");
    assert_eq!(totals(&world.lake, Some(1)).await, "2 1");
    for lake in [&world.lake, &world.reopened()] {
        assert_eq!(lake.txns(TABLE).await.unwrap()["a"], 6);
    }
    let again = world.lake.clean(TABLE, Duration::ZERO, &[1]).await.unwrap();
    assert_eq!(
        (again, world.lake.merge(TABLE, FILE_BYTES).await.unwrap()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_read_the_rows_need_not_read_them_again_after_a_merge() {
    let world = World::new();
    assert_eq!(world.lake.head(TABLE).await.unwrap(), None);
    // The fiftieth commit makes a checkpoint, and a new process reads only what comes after it.
    for n in 0..50 {
        world.append(vec![n]).await;
    }
    let head = async |version, rows_since| {
        for lake in [&world.lake, &world.reopened()] {
            let found = lake.head(TABLE).await.unwrap();
            assert_eq!(
                found,
                Some(Head {
                    version,
                    rows_since
                })
            );
        }
    };
    head(49, 49).await;
    world.lake.merge(TABLE, FILE_BYTES).await.unwrap();
    head(50, 49).await;
    world.lake.clean(TABLE, DAY, &[]).await.unwrap();
    head(51, 49).await;
    world.append(vec![]).await;
    head(52, 49).await;
    world.append(vec![50]).await;
    head(53, 53).await;
    world.replace(vec![1]).await;
    head(54, 54).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_never_came_into_a_version_go_once_they_are_old() {
    let world = World::new();
    world.append(vec![1]).await;
    let live = world.files();
    age(&live[0], 2 * HOUR);
    let put = |name: &str, old: Duration| {
        let path = world.folder().join(name);
        fs::write(&path, "rows of someone who died").unwrap();
        age(&path, old);
        path
    };
    let gone = [
        put("part-00000-old.snappy.parquet", 2 * HOUR),
        put("part-00001-half.snappy.parquet#1", 2 * HOUR),
        put("_delta_log/00000000000000000001.json#77", 2 * HOUR),
    ];
    let stays = [
        put("part-00002-new.snappy.parquet", Duration::ZERO),
        put("part-00003-on-its-way.snappy.parquet#2", Duration::ZERO),
        put("notes#of someone.txt", 2 * HOUR),
    ];
    assert_eq!(world.lake.clean(TABLE, HOUR, &[]).await.unwrap(), 3);
    assert!(gone.iter().all(|it| !it.exists()), "{gone:?}");
    assert!(stays.iter().chain(&live).all(|it| it.exists()), "{stays:?}");
    assert_eq!(totals(&world.reopened(), None).await, "1 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_removed_lately_stays_however_old_it_is_and_whatever_checkpoints_forget() {
    let world = World::new();
    world.append(vec![1]).await;
    let file = world.files().remove(0);
    age(&file, 40 * DAY);
    let keep = 30 * DAY;
    // A table made without the retention gets it.
    world.lake.clean(TABLE, keep, &[]).await.unwrap();
    let replaced = world.replace(vec![2]).await;
    // It was removed ten days ago: a checkpoint forgets that after seven unless told otherwise.
    let commit = fs::read_to_string(world.commit(replaced)).unwrap();
    let (head, tail) = commit.split_once("\"deletionTimestamp\":").unwrap();
    let (at, tail) = tail.split_at(tail.find([',', '}']).unwrap());
    let then = at.parse::<i64>().unwrap() - 10 * DAY.as_millis() as i64;
    fs::write(
        world.commit(replaced),
        format!("{head}\"deletionTimestamp\":{then}{tail}"),
    )
    .unwrap();
    for n in 0..60 {
        world.append(vec![n]).await;
    }
    let checkpoints = fs::read_dir(world.log()).unwrap();
    assert!(
        checkpoints
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .any(|it| it.contains(".checkpoint."))
    );

    assert_eq!(world.reopened().clean(TABLE, keep, &[]).await.unwrap(), 0);
    assert!(file.exists());
    let version = world.lake.version(TABLE).await.unwrap();
    assert_eq!(
        world.reopened().clean(TABLE, 9 * DAY, &[]).await.unwrap(),
        1
    );
    assert!(!file.exists());
    assert_eq!(
        world.lake.version(TABLE).await.unwrap(),
        version,
        "a retention is not shortened"
    );
}

#[tokio::test]
async fn the_log_goes_back_to_what_is_pinned_and_what_it_no_longer_holds_is_passed_over() {
    let world = World::new();
    for n in 0..120 {
        world.append(vec![n]).await;
    }
    for file in fs::read_dir(world.log()).unwrap() {
        age(&file.unwrap().path(), 40 * DAY);
    }
    let clean = async |pinned: &[i64]| world.reopened().clean(TABLE, DAY, pinned).await.unwrap();
    clean(&[10, 110]).await;
    assert_eq!(totals(&world.reopened(), Some(10)).await, "11 55");
    clean(&[110]).await;
    assert!(!world.commit(10).exists());
    assert!(world.reopened().provider(TABLE, Some(10)).await.is_err());
    assert_eq!(totals(&world.reopened(), Some(110)).await, "111 6105");
    // Version 10 is named and gone, which is told once; 110 is still looked after.
    world.lake.merge(TABLE, FILE_BYTES).await.unwrap();
    let told = Told::default();
    let lines = tracing_subscriber::fmt()
        .with_writer(told.clone())
        .with_ansi(false)
        .finish();
    let telling = tracing::subscriber::set_default(lines);
    for removed in [9, 0] {
        let cleaned = world.lake.clean(TABLE, Duration::ZERO, &[10, 110]).await;
        assert_eq!(cleaned.unwrap(), removed);
    }
    drop(telling);
    let told = told.lines();
    let told: Vec<_> = told.lines().filter(|it| it.contains("WARN")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("cannot be read any more") && told[0].contains("version=10"),
        "{told:?}"
    );
    assert_eq!(totals(&world.reopened(), Some(110)).await, "111 6105");
    assert_eq!(totals(&world.reopened(), None).await, "120 7140");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_partition_with_an_awkward_name_are_recognised() {
    let world = World::new();
    let schema = Arc::new(Schema::new(vec![
        Field::new("place", DataType::Utf8, true),
        Field::new("n", DataType::Int64, false),
    ]));
    let places = ["Rønne", "a b/c", "50% = half?", "", "x#1"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(places.to_vec())),
        Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])),
    ];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    for _ in 0..2 {
        let input = futures::stream::iter([Ok(rows.clone())]);
        let input = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), input));
        let by = ["place".to_owned()];
        world
            .lake
            .replace(TABLE, &schema, input, &by)
            .await
            .unwrap();
    }
    assert_eq!(world.files().len(), 10);
    assert_eq!(world.lake.clean(TABLE, DAY, &[]).await.unwrap(), 0);
    assert_eq!(
        world.lake.clean(TABLE, Duration::ZERO, &[]).await.unwrap(),
        5
    );
    assert_eq!(totals(&world.reopened(), None).await, "5 15");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_files_missing_is_not_cleaned() {
    let world = World::new();
    world.append(vec![1]).await;
    world.append(vec![2]).await;
    fs::rename(world.folder(), world.root.path().join("away")).unwrap();
    fs::create_dir_all(world.folder()).unwrap();
    fs::rename(world.root.path().join("away/_delta_log"), world.log()).unwrap();
    let stray = world.folder().join("part-listed-by-another-name.parquet");
    fs::write(&stray, "").unwrap();
    let refused = world
        .lake
        .clean(TABLE, Duration::ZERO, &[])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("2 files"), "{refused}");
    assert!(stray.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Days of small files, tidied each evening. Two neighbours never fit into one file, so there are at most
    /// twice as many as there had to be, and one; and no day's end is far above the target.
    #[test]
    fn small_files_become_few_and_none_grows_beyond_the_target(
        days in prop::collection::vec(prop::collection::vec(1..400_u64, 1..12), 1..5)
    ) {
        const TARGET: u64 = 12_000;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut state = 1_u64;
            let mut rows = 0;
            for day in days {
                for count in day {
                    // Numbers that do not compress.
                    let numbers = (0..count).map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 1).cast_signed()
                    });
                    world.append(numbers.collect()).await;
                    rows += count;
                }
                let target = NonZeroU64::new(TARGET).unwrap();
                world.lake.merge(TABLE, target).await.unwrap();
                world.lake.clean(TABLE, Duration::ZERO, &[]).await.unwrap();
                let sizes = world.files();
                let sizes: Vec<u64> = sizes.iter().map(|it| it.metadata().unwrap().len()).collect();
                let total: u64 = sizes.iter().sum();
                let most = 2 * total.div_ceil(TARGET) + 1;
                assert!(sizes.len() as u64 <= most, "{sizes:?}");
                assert!(sizes.iter().all(|size| *size <= TARGET), "{sizes:?}");
            }
            let counted = totals(&world.reopened(), None).await;
            assert_eq!(counted.split(' ').next(), Some(rows.to_string().as_str()));
        });
    }
}
