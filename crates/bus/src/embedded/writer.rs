//! The one thread that writes the file: commands waiting together share one SQLite commit, and so one flush to disk.

use std::{collections::HashMap, sync::Arc};

use contract::Position;
use rusqlite::{Connection, Savepoint, params};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot, watch};

use super::{
    block::Block,
    file::{LogFile, Model, TopicState, failed},
};
use crate::{Error, Range, Result, Topic};

/// Most commands in one SQLite commit; bounds how long the first of them waits.
const GROUP: usize = 256;

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A producer's right to write for a task; a later epoch ends it.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) task: Arc<str>,
    pub(super) epoch: u64,
}

/// A block and the partition it belongs to.
#[derive(Debug)]
pub(super) struct Placed {
    /// The topic's number in the file.
    pub(super) topic: i64,
    pub(super) partition: i32,
    pub(super) block: Block,
}

/// What the thread can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    CreateTopic {
        name: String,
        partitions: i32,
        reply: Reply<Topic>,
    },
    /// Makes a new holder of a task and forgets what earlier ones staged.
    Open { task: String, reply: Reply<Holder> },
    /// Stores blocks of an unfinished transaction, invisible.
    Stage {
        holder: Holder,
        blocks: Vec<Placed>,
        reply: Reply<()>,
    },
    /// Makes the staged blocks and `blocks` visible, with the position.
    Commit {
        holder: Holder,
        blocks: Vec<Placed>,
        position: Option<(String, Position)>,
        reply: Reply<()>,
    },
    /// Forgets what the holder staged.
    Abort { holder: Holder },
    Trim {
        topic: String,
        partition: i32,
        before: i64,
        reply: Reply<()>,
    },
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    file: LogFile,
    /// As it will be once the open group is committed.
    model: Model,
    published: watch::Sender<Arc<Model>>,
    /// The valid epoch of each task.
    holders: HashMap<Arc<str>, u64>,
    last_epoch: u64,
    /// Blocks of unfinished transactions, by epoch, in the order sent.
    staged: HashMap<u64, Vec<Staged>>,
    next_payload: i64,
    /// Whether commits flush to disk, as last told to SQLite.
    flushing: bool,
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

/// An answer held back until the group is on disk. `Some` is the reason the whole group failed.
type Answer = Box<dyn FnOnce(Option<&str>)>;

impl Writer {
    /// Reads the state of the file; `published` tells it to readers, now and after every commit.
    pub(super) fn new(file: LogFile) -> Result<(Self, watch::Receiver<Arc<Model>>)> {
        let model = file.model()?;
        let next_payload = next_payload(&file.connection)?;
        let (published, seen) = watch::channel(Arc::new(model.clone()));
        let writer = Self {
            file,
            model,
            published,
            holders: HashMap::new(),
            last_epoch: 0,
            staged: HashMap::new(),
            next_payload,
            flushing: true,
        };
        Ok((writer, seen))
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(command) = commands.try_recv()
            {
                group.push(command);
            }
            self.serve(group);
        }
    }

    fn serve(&mut self, group: Vec<Command>) {
        let mut answers = Vec::with_capacity(group.len());
        let done = self.commit_group(group, &mut answers);
        match &done {
            Ok(()) => {
                self.published.send_replace(Arc::new(self.model.clone()));
            }
            Err(err) => {
                tracing::error!(error = %err, "a group commit failed");
                self.start_over();
            }
        }
        let reason = done.err().map(|err| err.to_string());
        for answer in answers {
            answer(reason.as_deref());
        }
    }

    fn commit_group(&mut self, group: Vec<Command>, answers: &mut Vec<Answer>) -> Result<()> {
        // Staged blocks need no flush of their own: the commit that shows them flushes the whole write-ahead log.
        let flushing = !group
            .iter()
            .all(|command| matches!(command, Command::Stage { .. } | Command::Abort { .. }));
        if flushing != self.flushing {
            let level = if flushing { "full" } else { "normal" };
            self.file
                .connection
                .pragma_update(None, "synchronous", level)
                .map_err(failed)?;
            self.flushing = flushing;
        }
        self.file
            .connection
            .execute_batch("begin immediate")
            .map_err(failed)?;
        for command in group {
            let answer = self.execute(command);
            answers.push(answer);
        }
        self.file.connection.execute_batch("commit").map_err(failed)
    }

    /// After a failed commit nothing in memory is known to be on disk: read it again and end all open transactions.
    fn start_over(&mut self) {
        if !self.file.connection.is_autocommit() {
            self.file.connection.execute_batch("rollback").ok();
        }
        self.holders.clear();
        self.staged.clear();
        match self.file.model() {
            Ok(model) => {
                self.model = model;
                self.published.send_replace(Arc::new(self.model.clone()));
            }
            Err(err) => tracing::error!(error = %err, "the log cannot be read again"),
        }
    }

    fn execute(&mut self, command: Command) -> Answer {
        match command {
            Command::CreateTopic {
                name,
                partitions,
                reply,
            } => answer(reply, self.create_topic(&name, partitions)),
            Command::Open { task, reply } => answer(reply, self.open(&task)),
            Command::Stage {
                holder,
                blocks,
                reply,
            } => answer(reply, self.stage(&holder, blocks)),
            Command::Commit {
                holder,
                blocks,
                position,
                reply,
            } => answer(reply, self.commit(&holder, blocks, position)),
            Command::Abort { holder } => {
                if let Err(err) = self.forget(holder.epoch) {
                    tracing::warn!(error = %err, task = %holder.task, "aborted records stay until the next start");
                }
                Box::new(|_| ())
            }
            Command::Trim {
                topic,
                partition,
                before,
                reply,
            } => answer(reply, self.trim(&topic, partition, before)),
        }
    }

    fn create_topic(&mut self, name: &str, partitions: i32) -> Result<Topic> {
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

    fn open(&mut self, task: &str) -> Result<Holder> {
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

    fn stage(&mut self, holder: &Holder, blocks: Vec<Placed>) -> Result<()> {
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

    fn commit(
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

    fn forget(&mut self, epoch: u64) -> Result<()> {
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

    fn trim(&mut self, name: &str, partition: i32, before: i64) -> Result<()> {
        let found = self.model.topics.get(name).and_then(|topic| {
            Some((
                topic.row,
                *topic.ranges.get(usize::try_from(partition).ok()?)?,
            ))
        });
        let Some((row, Range { low, high })) = found else {
            return Err(super::no_partition(name, partition));
        };
        if before > high {
            return Err(Error::OutOfRange {
                topic: name.to_owned(),
                partition,
                offset: before,
                low,
                high,
            });
        }
        if before <= low {
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

fn answer<T: 'static>(reply: Reply<T>, result: Result<T>) -> Answer {
    Box::new(move |lost| {
        let result = match lost {
            Some(reason) => result.and(Err(Error::Unavailable(format!(
                "nothing was written: {reason}"
            )))),
            None => result,
        };
        // The asker may have gone away; what was done stays done.
        reply.send(result).ok();
    })
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
