//! Reading the embedded log: blocks are unpacked off the async threads, and a commit wakes whoever waits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::{sync::watch, time::Instant};

use super::{
    Inner, block, blocking,
    file::{self, Model, failed},
    range_in,
};
use crate::{Assignment, Consumer, Delivered, Error, Polled, Range, Result};

/// A reader of some partitions.
#[derive(Debug)]
pub(super) struct EmbeddedConsumer {
    connection: Arc<Mutex<Connection>>,
    model: watch::Receiver<Arc<Model>>,
    cursors: Vec<Cursor>,
    /// Whose turn it is to go first, so that a busy partition does not starve the others.
    turn: usize,
    /// Keeps the file open and locked.
    _inner: Arc<Inner>,
}

/// How far one partition is read.
#[derive(Debug)]
struct Cursor {
    topic: String,
    partition: i32,
    /// The topic's number in the file.
    row: i64,
    /// First offset not unpacked yet.
    next: i64,
    /// Unpacked, not delivered yet.
    ready: VecDeque<Delivered>,
}

impl EmbeddedConsumer {
    pub(super) async fn open(inner: Arc<Inner>, assignments: &[Assignment]) -> Result<Self> {
        let model = inner.model();
        let mut cursors = Vec::with_capacity(assignments.len());
        for Assignment {
            topic,
            partition,
            offset,
        } in assignments
        {
            let range = range_in(&model, topic, *partition)?;
            let cursor = Cursor {
                topic: topic.clone(),
                partition: *partition,
                row: model.topics.get(topic).map_or(0, |topic| topic.row),
                next: *offset,
                ready: VecDeque::new(),
            };
            if *offset > range.high {
                return Err(cursor.out_of(range));
            }
            cursor.check(range)?;
            cursors.push(cursor);
        }
        let path = inner.path.clone();
        let connection = blocking(move || file::reader(&path)).await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            model: inner.model.clone(),
            cursors,
            turn: 0,
            _inner: inner,
        })
    }

    /// Unpacks records until about `max` are ready; `false` when there are none.
    async fn fill(&mut self, max: usize) -> Result<bool> {
        let model = Arc::clone(&self.model.borrow_and_update());
        let mut ready = 0;
        let mut wanted = Vec::new();
        let count = self.cursors.len();
        for index in (0..count).map(|step| (self.turn + step) % count) {
            let cursor = &self.cursors[index];
            let range = range_in(&model, &cursor.topic, cursor.partition)?;
            ready += cursor.ready.len();
            if cursor.ready.is_empty() {
                cursor.check(range)?;
            }
            if cursor.next < range.high {
                let Cursor {
                    row,
                    partition,
                    next,
                    ..
                } = *cursor;
                wanted.push(Wanted {
                    index,
                    row,
                    partition,
                    next,
                    high: range.high,
                });
            }
        }
        if ready >= max || wanted.is_empty() {
            return Ok(ready > 0);
        }
        let connection = Arc::clone(&self.connection);
        // The cursors move only after this wait, so dropping the call loses nothing.
        let found = blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            read(&connection, wanted, max - ready)
        })
        .await?;
        for Found {
            index,
            records,
            missing,
        } in found
        {
            let cursor = &mut self.cursors[index];
            if let Some(last) = records.last() {
                cursor.next = last.offset + 1;
                cursor.ready.extend(records);
            } else if missing {
                // Trimmed in between, or lost.
                let model = Arc::clone(&self.model.borrow());
                cursor.check(range_in(&model, &cursor.topic, cursor.partition)?)?;
                return Err(Error::Damaged(format!(
                    "{}/{}: no block holds offset {}",
                    cursor.topic, cursor.partition, cursor.next
                )));
            }
        }
        Ok(true)
    }

    fn take(&mut self, max: usize) -> Vec<Polled> {
        let mut polled: Vec<Polled> = Vec::new();
        let mut left = max.max(1);
        let count = self.cursors.len();
        for index in (0..count).map(|step| (self.turn + step) % count) {
            let cursor = &mut self.cursors[index];
            let taken = left.min(cursor.ready.len());
            if taken == 0 {
                continue;
            }
            left -= taken;
            let records = cursor.ready.drain(..taken);
            match polled
                .iter_mut()
                .find(|polled| polled.topic == cursor.topic)
            {
                Some(polled) => polled.records.extend(records),
                None => polled.push(Polled {
                    topic: cursor.topic.clone(),
                    records: records.collect(),
                }),
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
        polled
    }
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Polled>> {
        let deadline = Instant::now() + wait;
        loop {
            if self.fill(max).await? {
                return Ok(self.take(max));
            }
            match tokio::time::timeout_at(deadline, self.model.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(super::no_answer()),
                Err(_) => return Ok(Vec::new()),
            }
        }
    }

    fn position(&self, topic: &str, partition: i32) -> Result<i64> {
        let mut cursors = self.cursors.iter();
        let cursor = cursors
            .find(|cursor| cursor.topic == topic && cursor.partition == partition)
            .ok_or_else(|| crate::not_assigned(topic, partition))?;
        Ok(cursor
            .ready
            .front()
            .map_or(cursor.next, |first| first.offset))
    }
}

impl Cursor {
    fn check(&self, range: Range) -> Result<()> {
        if self.next < range.low {
            Err(self.out_of(range))
        } else {
            Ok(())
        }
    }

    fn out_of(&self, range: Range) -> Error {
        range.excludes(&self.topic, self.partition, self.next)
    }
}

/// Offsets `next..high` of a partition.
struct Wanted {
    index: usize,
    row: i64,
    partition: i32,
    next: i64,
    high: i64,
}

/// What was read for a cursor; `missing` when the block that must be there is not.
struct Found {
    index: usize,
    records: Vec<Delivered>,
    missing: bool,
}

fn read(connection: &Connection, wanted: Vec<Wanted>, max: usize) -> Result<Vec<Found>> {
    let mut select = connection
        .prepare_cached(
            "select base_offset, count, raw_len, bytes from blocks join payloads using (payload)
             where topic = ?1 and partition = ?2 and base_offset =
               (select max(base_offset) from blocks where topic = ?1 and partition = ?2 and base_offset <= ?3)",
        )
        .map_err(failed)?;
    let mut found = Vec::new();
    let mut left = max;
    for Wanted {
        index,
        row,
        partition,
        mut next,
        high,
    } in wanted
    {
        let mut records: Vec<Delivered> = Vec::new();
        let mut missing = false;
        while next < high && records.len() < left {
            let block = select
                .query_row(params![row, partition, next], |row| {
                    let (base, count): (i64, u32) = (row.get(0)?, row.get(1)?);
                    let raw_len: u32 = row.get(2)?;
                    Ok((
                        base,
                        count,
                        block::open(row.get_ref(3)?.as_blob()?, raw_len as usize, count),
                    ))
                })
                .optional()
                .map_err(failed)?;
            let Some((base, count, unpacked)) =
                block.filter(|(base, count, _)| next < base + i64::from(*count))
            else {
                missing = true;
                break;
            };
            let unpacked = match unpacked {
                Ok(unpacked) => unpacked,
                // What stands before it comes first; the next read meets it again.
                Err(_) if !records.is_empty() => break,
                Err(Error::Damaged(what)) => {
                    let place = format!("topic number {row}, partition {partition}, offset {base}");
                    return Err(Error::Damaged(format!("{place}: {what}")));
                }
                Err(other) => return Err(other),
            };
            let placed = (base..)
                .zip(unpacked)
                .skip_while(|(offset, _)| *offset < next);
            records.extend(placed.map(|(offset, record)| Delivered {
                partition,
                offset,
                record,
            }));
            next = base + i64::from(count);
        }
        left = left.saturating_sub(records.len());
        found.push(Found {
            index,
            records,
            missing,
        });
        if left == 0 {
            break;
        }
    }
    Ok(found)
}
