//! The file `log.db`: its lock, its tables, and what is read from it when it is opened.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use contract::Position;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{Error, Range, Result};

/// Raised when the tables below change meaning.
const FORMAT: i64 = 2;

/// Payloads stand apart from blocks, so that giving staged records their offsets moves no payload.
const TABLES: &str = "
    create table topics (
        topic integer primary key, name text not null unique, id text not null, partitions integer not null
    ) strict;
    create table partitions (
        topic integer not null, partition integer not null, low integer not null, next integer not null,
        primary key (topic, partition)
    ) strict, without rowid;
    create table blocks (
        topic integer not null, partition integer not null, base_offset integer not null, count integer not null,
        first_ms integer not null, last_ms integer not null, raw_len integer not null, payload integer not null,
        primary key (topic, partition, base_offset)
    ) strict, without rowid;
    create table payloads (payload integer primary key, bytes blob not null) strict;
    create table staged (payload integer primary key) strict;
    create table positions (source text primary key, position text not null) strict, without rowid;
";

/// What format 2 added.
const BOARDS: &str = "
    create table boards (board text not null, key text not null, text text not null, primary key (board, key)) strict, without rowid;
";

/// What readers may see: everything committed, nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) topics: BTreeMap<String, TopicState>,
    pub(super) positions: BTreeMap<String, Position>,
    /// Texts by board and key.
    pub(super) boards: BTreeMap<String, BTreeMap<String, String>>,
}

/// A topic and how far its partitions reach.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    /// Its number in the file.
    pub(super) row: i64,
    pub(super) id: String,
    pub(super) ranges: Vec<Range>,
}

/// The opened file, held by this process alone until dropped.
#[derive(Debug)]
pub(super) struct LogFile {
    // Before the lock: fields drop in order, and the file is closed before another process may open it.
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    _lock: Lock,
}

impl LogFile {
    /// Opens or makes `log.db` in `directory`, takes the lock and sweeps what a crash left staged.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|err| {
            Error::Settings(format!(
                "cannot make the data directory {}: {err}",
                directory.display()
            ))
        })?;
        let lock = take_lock(directory)?;
        let path = directory.join("log.db");
        let mut connection = Connection::open(&path).map_err(failed)?;
        prepare(&mut connection, &path)?;
        Ok(Self {
            connection,
            path,
            _lock: lock,
        })
    }

    /// Reads topics, ranges and positions.
    pub(super) fn model(&self) -> Result<Model> {
        let mut model = Model::default();
        let mut topics = self
            .connection
            .prepare("select topic, name, id from topics")
            .map_err(failed)?;
        let mut ranges = self
            .connection
            .prepare("select low, next from partitions where topic = ?1 order by partition")
            .map_err(failed)?;
        let mut rows = topics.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (topic, name, id): (i64, String, String) = row.try_into().map_err(failed)?;
            let found = ranges
                .query_map([topic], |row| {
                    Ok(Range {
                        low: row.get(0)?,
                        high: row.get(1)?,
                    })
                })
                .and_then(Iterator::collect)
                .map_err(failed)?;
            model.topics.insert(
                name,
                TopicState {
                    row: topic,
                    id,
                    ranges: found,
                },
            );
        }
        let mut positions = self
            .connection
            .prepare("select source, position from positions")
            .map_err(failed)?;
        let mut rows = positions.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (source, text): (String, String) = row.try_into().map_err(failed)?;
            let position = serde_json::from_str(&text)
                .map_err(|err| Error::Damaged(format!("position of source `{source}`: {err}")))?;
            model.positions.insert(source, position);
        }
        let mut texts = self
            .connection
            .prepare("select board, key, text from boards")
            .map_err(failed)?;
        let mut rows = texts.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (board, key, text): (String, String, String) = row.try_into().map_err(failed)?;
            model.boards.entry(board).or_default().insert(key, text);
        }
        Ok(model)
    }
}

/// The hold on `log.lock`.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing would not do: a child process being started holds a copy of the file until it runs.
    fn drop(&mut self) {
        if let Err(err) = self.0.unlock() {
            tracing::warn!(error = %err, "log.lock is released when this process ends");
        }
    }
}

/// A connection that only reads, for one consumer.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(failed)
}

/// An SQLite error in the words of the log.
pub(super) fn failed(err: rusqlite::Error) -> Error {
    match err.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Damaged(format!("log.db: {err}; restore it from a backup"))
        }
        Some(ErrorCode::DiskFull) => Error::Unavailable(format!(
            "log.db: {err}; make room in the data directory and try again"
        )),
        _ => Error::Unavailable(format!("log.db: {err}")),
    }
}

fn take_lock(directory: &Path) -> Result<Lock> {
    let path = directory.join("log.lock");
    let unusable = |err: std::io::Error| {
        Error::Settings(format!(
            "cannot use {}: {err}; the data directory must be writable",
            path.display()
        ))
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's number only helps the reader of the message.
            file.read_to_string(&mut holder).ok();
            let holder = holder.trim();
            return Err(Error::Settings(format!(
                "{} is in use by process {}; stop it, choose another data directory, or name Kafka brokers to share a log",
                path.display(),
                if holder.is_empty() {
                    "(unknown)"
                } else {
                    holder
                },
            )));
        }
        Err(TryLockError::Error(err)) => return Err(unusable(err)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unusable)?;
    Ok(Lock(file))
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    // Blocks are large: bigger pages mean fewer overflow pages. Only a new file takes this.
    connection
        .pragma_update(None, "page_size", 16384)
        .map_err(failed)?;
    connection
        .pragma_update(None, "journal_mode", "wal")
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "full")
        .map_err(failed)?;
    // macOS: only this reaches the platter. Elsewhere it means nothing.
    connection
        .pragma_update(None, "fullfsync", true)
        .map_err(failed)?;
    connection
        .pragma_update(None, "journal_size_limit", 64 << 20)
        .map_err(failed)?;
    let transaction = connection.transaction().map_err(failed)?;
    let format: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    match format {
        0 | 1 => {
            if format == 0 {
                transaction.execute_batch(TABLES).map_err(failed)?;
            }
            transaction
                .execute_batch(BOARDS)
                .and_then(|()| transaction.pragma_update(None, "user_version", FORMAT))
                .map_err(failed)?;
        }
        FORMAT => {}
        other => {
            return Err(Error::Settings(format!(
                "{} has format {other}, this pejl reads formats up to {FORMAT}; use the pejl that wrote it",
                path.display(),
            )));
        }
    }
    let swept = transaction
        .execute(
            "delete from payloads where payload in (select payload from staged)",
            [],
        )
        .map_err(failed)?;
    transaction
        .execute("delete from staged", [])
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    if swept > 0 {
        tracing::info!(blocks = swept, "swept unfinished transactions");
    }
    Ok(())
}
