//! What the log's commands do to the file, each in a savepoint of the open SQLite transaction.
//!
//! Every change is made in the file first and then in the model, so that a command that fails leaves both as they were.

use std::{collections::HashMap, sync::Arc};

use contract::Position;
use rusqlite::{Connection, Savepoint, params};
use tokio::sync::watch;

use super::{
    file::{LogFile, Model, TopicState, failed},
    writer::{Holder, Placed},
};
use crate::{Error, Range, Result, Topic};

/// The file, and what is known of it without asking.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) file: LogFile,
    /// As it will be once the open SQLite transaction is committed.
    pub(super) model: Model,
    pub(super) published: watch::Sender<Arc<Model>>,
    /// The valid epoch of each task.
    holders: HashMap<Arc<str>, u64>,
    last_epoch: u64,
    /// Blocks of unfinished transactions, by epoch, in the order sent.
    staged: HashMap<u64, Vec<Staged>>,
    next_payload: i64,
}

/// A stored block without offsets.
#[derive(Debug)]
struct Staged {
    topic: i64,
    partition: i32,
    count: u32,
    first_ms: i64,
    last_ms: i64,
    raw_len: usize,
    payload: i64,
}

impl Store {
    /// Reads the state of the file.
    pub(super) fn new(file: LogFile) -> Result<Self> {
        let model = file.model()?;
        let next_payload = next_payload(&file.connection)?;
        Ok(Self {
            file,
            published: watch::Sender::new(Arc::new(model.clone())),
            model,
            holders: HashMap::new(),
            last_epoch: 0,
            staged: HashMap::new(),
            next_payload,
        })
    }

    /// Tells readers what is committed now.
    pub(super) fn publish(&self) {
        self.published.send_replace(Arc::new(self.model.clone()));
    }

    /// After a failed commit nothing in memory is known to be on disk: reads it again and ends all open transactions.
    pub(super) fn start_over(&mut self) {
        if !self.file.connection.is_autocommit() {
            self.file.connection.execute_batch("rollback").ok();
        }
        self.holders.clear();
        self.staged.clear();
        match self.file.model() {
            Ok(model) => {
                self.model = model;
                self.publish();
            }
            Err(err) => tracing::error!(error = %err, "the log cannot be read again"),
        }
    }

    /// Makes a topic, unless a command of the same group just did.
    pub(super) fn create_topic(&mut self, name: &str, partitions: i32) -> Result<Topic> {
        if let Some(topic) = self.model.topics.get(name) {
            return Ok(topic.describe(name));
        }
        let id = uuid::Uuid::new_v4().to_string();
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        savepoint
            .execute(
                "insert into topics (name, id, partitions) values (?1, ?2, ?3)",
                params![name, id, partitions],
            )
            .map_err(failed)?;
        let row = savepoint.last_insert_rowid();
        for partition in 0..partitions {
            savepoint
                .execute(
                    "insert into partitions values (?1, ?2, 0, 0)",
                    params![row, partition],
                )
                .map_err(failed)?;
        }
        savepoint.commit().map_err(failed)?;
        let ranges = (0..partitions).map(|_| Range { low: 0, high: 0 }).collect();
        let topic = TopicState { row, id, ranges };
        let described = topic.describe(name);
        self.model.topics.insert(name.to_owned(), topic);
        Ok(described)
    }

    /// Makes a new holder of a task and forgets what the earlier one staged.
    pub(super) fn open(&mut self, task: &str) -> Result<Holder> {
        let task: Arc<str> = task.into();
        if let Some(earlier) = self.holders.get(&task).copied() {
            self.forget(earlier)?;
        }
        self.last_epoch += 1;
        self.holders.insert(Arc::clone(&task), self.last_epoch);
        Ok(Holder {
            task,
            epoch: self.last_epoch,
        })
    }

    /// Stores blocks of an unfinished transaction, invisible.
    pub(super) fn stage(&mut self, holder: &Holder, blocks: Vec<Placed>) -> Result<()> {
        self.check(holder)?;
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        let mut staged = Vec::with_capacity(blocks.len());
        for placed in blocks {
            let stored = store(&savepoint, self.next_payload + staged.len() as i64, placed)?;
            savepoint
                .prepare_cached("insert into staged values (?1)")
                .and_then(|mut insert| insert.execute([stored.payload]))
                .map_err(failed)?;
            staged.push(stored);
        }
        savepoint.commit().map_err(failed)?;
        self.next_payload += staged.len() as i64;
        self.staged.entry(holder.epoch).or_default().extend(staged);
        Ok(())
    }

    /// Gives the staged blocks and `blocks` their offsets, and stores the position.
    pub(super) fn commit(
        &mut self,
        holder: &Holder,
        blocks: Vec<Placed>,
        position: Option<(String, Position)>,
    ) -> Result<()> {
        self.check(holder)?;
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        let mut next = HashMap::new();
        for staged in self.staged.get(&holder.epoch).into_iter().flatten() {
            show(&savepoint, staged, &self.model, &mut next)?;
            savepoint
                .prepare_cached("delete from staged where payload = ?1")
                .and_then(|mut delete| delete.execute([staged.payload]))
                .map_err(failed)?;
        }
        let mut payload = self.next_payload;
        for placed in blocks {
            let stored = store(&savepoint, payload, placed)?;
            show(&savepoint, &stored, &self.model, &mut next)?;
            payload += 1;
        }
        for ((topic, partition), high) in &next {
            savepoint
                .prepare_cached(
                    "update partitions set next = ?3 where topic = ?1 and partition = ?2",
                )
                .and_then(|mut update| update.execute(params![topic, partition, high]))
                .map_err(failed)?;
        }
        if let Some((source, position)) = &position {
            savepoint
                .prepare_cached("insert or replace into positions values (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![source, position.0.to_string()]))
                .map_err(failed)?;
        }
        savepoint.commit().map_err(failed)?;
        self.next_payload = payload;
        self.staged.remove(&holder.epoch);
        for topic in self.model.topics.values_mut() {
            for (partition, range) in (0_i32..).zip(&mut topic.ranges) {
                if let Some(high) = next.get(&(topic.row, partition)) {
                    range.high = *high;
                }
            }
        }
        self.model.positions.extend(position);
        Ok(())
    }

    /// Deletes what an epoch staged.
    pub(super) fn forget(&mut self, epoch: u64) -> Result<()> {
        let Some(staged) = self.staged.get(&epoch) else {
            return Ok(());
        };
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        for table in ["payloads", "staged"] {
            let sql = format!("delete from {table} where payload = ?1");
            let mut delete = savepoint.prepare_cached(&sql).map_err(failed)?;
            for block in staged {
                delete.execute([block.payload]).map_err(failed)?;
            }
        }
        savepoint.commit().map_err(failed)?;
        self.staged.remove(&epoch);
        Ok(())
    }

    /// Raises the start of a partition, and deletes the blocks wholly below it.
    pub(super) fn trim(&mut self, name: &str, partition: i32, before: i64) -> Result<()> {
        let found = self.model.topics.get(name).and_then(|topic| {
            Some((
                topic.row,
                *topic.ranges.get(usize::try_from(partition).ok()?)?,
            ))
        });
        let Some((row, range)) = found else {
            return Err(super::no_partition(name, partition));
        };
        if !range.is_trimmed_by(name, partition, before)? {
            return Ok(());
        }
        // Told first: a reader that then misses a block finds its offset below `low`, not a damaged file.
        self.published
            .send_modify(|model| raise_low(Arc::make_mut(model), name, partition, before));
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        let gone =
            "topic = ?1 and partition = ?2 and base_offset < ?3 and base_offset + count <= ?3";
        let place = params![row, partition, before];
        savepoint
            .execute(&format!("delete from payloads where payload in (select payload from blocks where {gone})"), place)
            .and_then(|_| savepoint.execute(&format!("delete from blocks where {gone}"), place))
            .and_then(|_| {
                let sql = "update partitions set low = ?3 where topic = ?1 and partition = ?2";
                savepoint.execute(sql, place)
            })
            .and_then(|_| savepoint.commit())
            .map_err(failed)?;
        raise_low(&mut self.model, name, partition, before);
        Ok(())
    }

    /// Puts a text on a board, or takes it off.
    pub(super) fn post(&mut self, board: &str, key: String, text: Option<String>) -> Result<()> {
        let savepoint = self.file.connection.savepoint().map_err(failed)?;
        match &text {
            Some(text) => savepoint.execute(
                "insert or replace into boards values (?1, ?2, ?3)",
                params![board, key, text],
            ),
            None => savepoint.execute(
                "delete from boards where board = ?1 and key = ?2",
                params![board, key],
            ),
        }
        .and_then(|_| savepoint.commit())
        .map_err(failed)?;
        let texts = self.model.boards.entry(board.to_owned()).or_default();
        match text {
            Some(text) => texts.insert(key, text),
            None => texts.remove(&key),
        };
        Ok(())
    }

    fn check(&self, holder: &Holder) -> Result<()> {
        match self.holders.get(&holder.task) {
            Some(epoch) if *epoch == holder.epoch => Ok(()),
            Some(_) => Err(Error::Fenced(holder.task.to_string())),
            None => Err(Error::Unavailable(format!(
                "the transaction of task `{}` was lost when writing to disk failed; open a new producer",
                holder.task
            ))),
        }
    }
}

impl TopicState {
    /// The topic as callers know it.
    pub(super) fn describe(&self, name: &str) -> Topic {
        Topic {
            name: name.to_owned(),
            id: self.id.clone(),
            partitions: self.ranges.len() as i32,
        }
    }
}

fn store(savepoint: &Savepoint<'_>, payload: i64, placed: Placed) -> Result<Staged> {
    let Placed {
        topic,
        partition,
        block,
    } = placed;
    savepoint
        .prepare_cached("insert into payloads values (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![payload, block.payload]))
        .map_err(failed)?;
    Ok(Staged {
        topic,
        partition,
        count: block.count,
        first_ms: block.first_ms,
        last_ms: block.last_ms,
        raw_len: block.raw_len,
        payload,
    })
}

/// Gives a stored block the next offsets of its partition.
fn show(
    savepoint: &Savepoint<'_>,
    block: &Staged,
    model: &Model,
    next: &mut HashMap<(i64, i32), i64>,
) -> Result<()> {
    let place = (block.topic, block.partition);
    let base = match next.get(&place) {
        Some(base) => *base,
        None => model
            .topics
            .values()
            .find(|topic| topic.row == block.topic)
            .and_then(|topic| topic.ranges.get(usize::try_from(block.partition).ok()?))
            .map(|range| range.high)
            .ok_or_else(|| {
                super::no_partition(&format!("number {}", block.topic), block.partition)
            })?,
    };
    savepoint
        .prepare_cached("insert into blocks values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .and_then(|mut insert| {
            insert.execute(params![
                block.topic,
                block.partition,
                base,
                block.count,
                block.first_ms,
                block.last_ms,
                block.raw_len as i64,
                block.payload
            ])
        })
        .map_err(failed)?;
    next.insert(place, base + i64::from(block.count));
    Ok(())
}

fn raise_low(model: &mut Model, name: &str, partition: i32, low: i64) {
    if let Some(topic) = model.topics.get_mut(name)
        && let Ok(index) = usize::try_from(partition)
        && let Some(range) = topic.ranges.get_mut(index)
    {
        range.low = low;
    }
}

fn next_payload(connection: &Connection) -> Result<i64> {
    connection
        .query_row(
            "select coalesce(max(payload), 0) + 1 from payloads",
            [],
            |row| row.get(0),
        )
        .map_err(failed)
}
