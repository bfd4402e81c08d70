//! The embedded log: where the suite keeps it, and what only it promises.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use async_trait::async_trait;
use bus::{Assignment, Board, EmbeddedLog, Error, SharedLog};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::place::{Place, from_start, noise, read_all, record, write};

/// A data directory.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Counts rows behind the log's back.
    pub(crate) fn count(&self, table: &str) -> i64 {
        let connection = Connection::open(self.path().join("log.db")).unwrap();
        connection
            .query_row(&format!("select count(*) from {table}"), [], |row| {
                row.get(0)
            })
            .unwrap()
    }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> SharedLog {
        Arc::new(EmbeddedLog::open(self.path()).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused() {
    let folder = Folder::new();
    let log = folder.open().await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::child_tries_to_open",
            "--ignored",
            "--nocapture",
        ])
        .env("PEJL_BUS_CHILD", folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        told.contains("refused"),
        "{told}\n{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(
        told.contains(&format!("in use by process {}", std::process::id())),
        "{told}"
    );
    // Within one process, too.
    let again = EmbeddedLog::open(folder.path()).await;
    assert!(matches!(again, Err(Error::Settings(_))), "{again:?}");
    drop(log);
    folder.open().await;
}

#[tokio::test]
#[ignore = "started by a_second_process_is_refused"]
async fn child_tries_to_open() {
    let Some(folder) = std::env::var_os("PEJL_BUS_CHILD") else {
        return;
    };
    let text = match EmbeddedLog::open(Path::new(&folder)).await {
        Ok(_) => "opened".to_owned(),
        Err(err) => format!("refused: {err}"),
    };
    // The parent reads this.
    #[allow(clippy::print_stdout, reason = "the parent reads it")]
    {
        println!("{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_staged_is_swept() {
    let folder = Folder::new();
    let log = folder.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    let large = |i| {
        let mut large = record("k", "");
        large.value = Some(noise(1 << 20, i).into());
        large
    };
    producer
        .send("t", (0..12).map(large).collect())
        .await
        .unwrap();
    // Waits for what is on its way, so that there is something to see.
    producer
        .send("t", (12..24).map(large).collect())
        .await
        .unwrap();
    assert!(folder.count("staged") > 0);
    assert_eq!(folder.count("blocks"), 0);
    producer.abort().await.unwrap();
    producer.send("t", vec![record("k", "v")]).await.unwrap();
    producer.commit(None).await.unwrap();
    assert_eq!(
        (
            folder.count("staged"),
            folder.count("payloads"),
            folder.count("blocks")
        ),
        (0, 1, 1)
    );

    // A new holder of the task sweeps after the old one.
    producer
        .send("t", (0..12).map(large).collect())
        .await
        .unwrap();
    let mut later = log.producer("task").await.unwrap();
    later.send("t", vec![record("k", "w")]).await.unwrap();
    later.commit(None).await.unwrap();
    assert_eq!((folder.count("staged"), folder.count("payloads")), (0, 2));
    assert!(matches!(producer.commit(None).await, Err(Error::Fenced(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_frees_blocks_and_is_told_to_readers() {
    let folder = Folder::new();
    let log = folder.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    for n in 0..10 {
        write(
            log.as_ref(),
            "task",
            "t",
            vec![record("k", &n.to_string()), record("k", "v")],
        )
        .await;
    }
    let mut behind = log
        .consumer(&from_start(log.as_ref(), "t", 1).await)
        .await
        .unwrap();
    log.trim("t", 0, 7).await.unwrap();
    assert_eq!((folder.count("blocks"), folder.count("payloads")), (7, 7));
    let refused = behind.poll(10, Duration::ZERO).await;
    assert!(
        matches!(
            refused,
            Err(Error::OutOfRange {
                offset: 0,
                low: 7,
                high: 20,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(read_all(log.as_ref(), "t", 1).await.len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_told() {
    let folder = Folder::new();
    let log = folder.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    for n in 0..3 {
        write(log.as_ref(), "task", "t", vec![record("k", &n.to_string())]).await;
    }
    let connection = Connection::open(folder.path().join("log.db")).unwrap();
    connection
        .execute(
            "update payloads set bytes = zeroblob(length(bytes)) where payload = 2",
            [],
        )
        .unwrap();
    let whole = [Assignment {
        topic: "t".into(),
        partition: 0,
        offset: 2,
    }];
    let mut consumer = log.consumer(&whole).await.unwrap();
    assert_eq!(
        consumer.poll(10, Duration::ZERO).await.unwrap()[0]
            .records
            .len(),
        1
    );
    for gone in [false, true] {
        if gone {
            connection
                .execute("delete from blocks where base_offset = 1", [])
                .unwrap();
        }
        let mut consumer = log
            .consumer(&from_start(log.as_ref(), "t", 1).await)
            .await
            .unwrap();
        assert_eq!(
            consumer.poll(10, Duration::ZERO).await.unwrap()[0]
                .records
                .len(),
            1
        );
        let refused = consumer.poll(10, Duration::ZERO).await;
        assert!(
            matches!(&refused, Err(Error::Damaged(text)) if text.contains("offset 1")),
            "{refused:?}"
        );
        assert_eq!(consumer.position("t", 0).unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_format_is_refused() {
    let folder = Folder::new();
    drop(folder.open().await);
    Connection::open(folder.path().join("log.db"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let refused = EmbeddedLog::open(folder.path()).await;
    assert!(
        matches!(&refused, Err(Error::Settings(text)) if text.contains("format 99")),
        "{refused:?}"
    );
}

/// Format 1 had no boards.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_format_is_read_on() {
    let folder = Folder::new();
    let log = folder.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    write(log.as_ref(), "task", "t", vec![record("k", "v")]).await;
    drop(log);
    let file = Connection::open(folder.path().join("log.db")).unwrap();
    file.execute_batch("drop table boards; pragma user_version = 1")
        .unwrap();
    drop(file);
    let log = folder.open().await;
    assert_eq!(read_all(log.as_ref(), "t", 1).await.len(), 1);
    log.post(Board::Orders, "a", Some("1")).await.unwrap();
    assert_eq!(log.board(Board::Orders).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("log.db"), vec![b'x'; 5000]).unwrap();
    let refused = EmbeddedLog::open(folder.path()).await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
}
