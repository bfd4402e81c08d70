//! Reading what was polled of a topic into rows, beside the waiting for more and the commit of what came before.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use bus::{Delivered, Polled};
use tokio::task::JoinHandle;

use super::TopicLander;
use crate::{
    Error, Result,
    reader::{Reader, Rows},
    schemas,
};

/// How often an unknown schema is looked for in the lake.
const LEARN_EVERY: Duration = Duration::from_secs(30);

impl TopicLander {
    /// Begins to read what was polled into rows, once those before it are held.
    pub(super) async fn begin_reading(&mut self, polled: Vec<Polled>) -> Result<()> {
        let mut to = BTreeMap::new();
        for partition in self.partitions.keys() {
            let position = self.consumer.position(&self.topic.name, *partition)?;
            to.insert(*partition, position);
        }
        if self.reading.is_some() {
            let read = rows_read(&mut self.reading).await?;
            self.hold(read).await?;
        }
        let records: Vec<Delivered> = polled.into_iter().flat_map(|it| it.records).collect();
        if records.is_empty() {
            // Offsets without records may have been passed all the same.
            self.read_to = to;
            return Ok(());
        }
        let work = self.read(records)?;
        self.reading = Some(Reading { work, to });
        Ok(())
    }

    /// Holds rows back.
    pub(super) async fn hold(&mut self, read: Read) -> Result<()> {
        let Read {
            reader,
            mut records,
            mut rows,
            to,
        } = read;
        self.reader = Some(reader);
        if !rows.unknown.is_empty() && self.learn(&rows.unknown).await? {
            let again = ended(&mut self.read(records)?).await?;
            self.reader = Some(again.0);
            (records, rows) = (again.1, again.2);
        }
        let Rows { good, refused, .. } = rows;
        let refused: Vec<RecordBatch> = refused.into_iter().collect();
        self.held.records += records.len();
        self.held.note(&records);
        self.held.since.get_or_insert_with(Instant::now);
        let bytes = good.iter().chain(&refused);
        let bytes = bytes.map(RecordBatch::get_array_memory_size).sum::<usize>();
        self.held.bytes.add(bytes);
        self.held.good.extend(good);
        self.held.refused.extend(refused);
        self.read_to = to;
        Ok(())
    }

    /// Reads records off the async threads, without those that are among the refused already.
    fn read(&mut self, records: Vec<Delivered>) -> Result<Work> {
        let reader = self.reader.take();
        let mut reader = match reader {
            Some(reader) => reader,
            None => Reader::of(&self.topic.name)?
                .ok_or_else(|| Error::rows(&self.topic.name, "no entity has this topic"))?,
        };
        let label = self.label.clone();
        let settled: BTreeMap<i32, _> = self
            .partitions
            .iter()
            .filter(|(_, at)| !at.settled.is_empty())
            .map(|(partition, at)| (*partition, at.settled.clone()))
            .collect();
        Ok(tokio::task::spawn_blocking(move || {
            let is_new = |record: &&Delivered| {
                let settled = settled.get(&record.partition);
                !settled.is_some_and(|settled| settled.contains(&record.offset))
            };
            let new: Vec<&Delivered> = records.iter().filter(is_new).collect();
            let rows = if new.is_empty() {
                Ok(Rows::default())
            } else {
                reader.read(&label, &new)
            };
            rows.map(|rows| (reader, records, rows))
        }))
    }

    /// Looks for unknown schemas in the lake; whether one of them is known now.
    async fn learn(&mut self, unknown: &[u64]) -> Result<bool> {
        let Some(Reader::Entity(reader)) = &mut self.reader else {
            return Ok(false);
        };
        let is_new = |print: &u64| {
            let asked = self.asked.get(print);
            asked.is_none_or(|asked| asked.elapsed() >= LEARN_EVERY)
        };
        if !unknown.iter().any(is_new) {
            return Ok(false);
        }
        self.asked
            .extend(unknown.iter().map(|print| (*print, Instant::now())));
        schemas::exchange(&self.shared.lake, reader).await?;
        Ok(unknown.iter().any(|print| reader.decoder().knows(*print)))
    }
}

type Work = JoinHandle<Result<(Reader, Vec<Delivered>, Rows)>>;

/// What came of the work. It is aborted by nobody, so an end without a result is a panic.
async fn ended(work: &mut Work) -> Result<(Reader, Vec<Delivered>, Rows)> {
    work.await.map_err(|err| Error::rows("reading", err))?
}

/// Records being read, and the offsets they reach up to.
pub(super) struct Reading {
    work: Work,
    to: BTreeMap<i32, i64>,
}

/// Records with what they became.
pub(super) struct Read {
    pub(super) reader: Reader,
    records: Vec<Delivered>,
    rows: Rows,
    to: BTreeMap<i32, i64>,
}

/// The end of the reading under way; without one it never comes.
pub(super) async fn rows_read(reading: &mut Option<Reading>) -> Result<Read> {
    let Some(Reading { work, .. }) = reading else {
        return std::future::pending().await;
    };
    let ended = ended(work).await;
    let to = reading.take().map(|it| it.to).unwrap_or_default();
    let (reader, records, rows) = ended?;
    Ok(Read {
        reader,
        records,
        rows,
        to,
    })
}
