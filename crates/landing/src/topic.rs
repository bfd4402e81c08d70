//! Landing one topic: read, hold back a while, commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int32Type,
};
use bus::{Assignment, Consumer, Delivered, Polled, Range, SharedLog, Topic};
use contract::{PARTITION, quarantine_raw_schema};
use lake::{Appended, Lake, Txn};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, LandedTopic, LandingSettings, Result, What,
    progress::{self, Progress, landing_id, refusing_id},
    reader::{Reader, Rows},
    refused::QUARANTINE_TABLE,
    schemas,
};

/// How long a read waits for records; a topic at rest is looked at this often.
const WAIT: Duration = Duration::from_millis(500);

/// How often an unknown schema is looked for in the lake.
const LEARN_EVERY: Duration = Duration::from_secs(30);

/// What the landers of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) lake: Lake,
    pub(crate) settings: Arc<LandingSettings>,
    /// Bytes held back by all topics.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) tell: UnboundedSender<LandedTopic>,
}

impl Shared {
    pub(crate) fn tell(&self, landed: LandedTopic) {
        // Nobody listens any more when the whole of it is being dropped.
        let _ = self.tell.send(landed);
    }
}

/// Lands one topic, as far as it is this lander's share.
pub(crate) struct TopicLander {
    shared: Shared,
    topic: Topic,
    table: String,
    label: String,
    reader: Option<Reader>,
    partitions: BTreeMap<i32, Progress>,
    consumer: Box<dyn Consumer>,
    held: Held,
    /// Schemas that were not known, and when they were last looked for.
    asked: HashMap<u64, Instant>,
}

/// What was read and is not committed yet.
#[derive(Debug, Default)]
struct Held {
    good: Vec<RecordBatch>,
    refused: Vec<RecordBatch>,
    /// Records read, whatever became of them.
    records: usize,
    bytes: usize,
    since: Option<Instant>,
}

/// Rows committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) quarantined: u64,
}

impl TopicLander {
    /// Opens the topic where its table says it is.
    pub(crate) async fn open(shared: Shared, topic: Topic, mut reader: Reader) -> Result<Self> {
        let table = reader.table();
        if let Reader::Entity(reader) = &mut reader {
            schemas::exchange(&shared.lake, reader).await?;
        }
        let label = progress::label(&topic, &shared.lake.txns(&table).await?);
        let mut partitions = BTreeMap::new();
        for partition in 0..topic.partitions {
            if shared.settings.share.has(&topic.name, partition) {
                let Shared { log, lake, .. } = &shared;
                let at = progress::read(log.as_ref(), lake, &topic, &table, partition).await?;
                partitions.insert(partition, at);
            }
        }
        let starts = partitions
            .iter()
            .map(|(partition, at)| (*partition, at.start));
        let consumer = shared.log.consumer(&assignments(&topic, starts)).await?;
        Ok(Self {
            shared,
            topic,
            table,
            label,
            reader: Some(reader),
            partitions,
            consumer,
            held: Held::default(),
            asked: HashMap::new(),
        })
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The readable range of each partition, now.
    pub(crate) async fn ranges(&mut self) -> Result<BTreeMap<i32, Range>> {
        let mut ranges = BTreeMap::new();
        for partition in self.partitions.keys() {
            let range = self.shared.log.range(&self.topic.name, *partition).await?;
            ranges.insert(*partition, range);
        }
        Ok(ranges)
    }

    /// Lands everything up to the ends of `ranges`.
    pub(crate) async fn land_up_to(&mut self, ranges: &BTreeMap<i32, Range>) -> Result<Counts> {
        let mut counts = Counts::default();
        while self.behind(ranges)? > 0 {
            counts += self.step(WAIT).await?;
        }
        counts += self.flush().await?;
        Ok(counts)
    }

    /// Lands until `stop`, then commits what was read.
    pub(crate) async fn land_until(&mut self, stop: &CancellationToken) -> Result<()> {
        let mut trimmed = Instant::now();
        while !stop.is_cancelled() {
            let wait = self.held.since.map_or(WAIT, |since| {
                let left = self
                    .shared
                    .settings
                    .flush_after()
                    .saturating_sub(since.elapsed());
                left.min(WAIT)
            });
            tokio::select! {
                // Dropping a wait for records loses none; a commit is never dropped.
                biased;
                () = stop.cancelled() => break,
                polled = self.consumer.poll(self.shared.settings.poll_records, wait) => {
                    self.take(polled?).await?;
                }
            }
            if self.is_due() {
                self.flush().await?;
            }
            if trimmed.elapsed() >= Duration::from_secs(60) {
                self.trim().await?;
                trimmed = Instant::now();
            }
        }
        self.flush().await?;
        Ok(())
    }

    /// Removes landed records past retention from the log.
    pub(crate) async fn trim(&mut self) -> Result<()> {
        let Some(retention) = self.shared.settings.retention else {
            return Ok(());
        };
        for (partition, at) in &self.partitions {
            if let Some(landed) = at.base {
                let log = self.shared.log.as_ref();
                crate::retention::trim(log, &self.topic.name, *partition, landed, retention)
                    .await?;
            }
        }
        Ok(())
    }

    /// How many offsets the partitions are before the ends of `ranges`.
    fn behind(&self, ranges: &BTreeMap<i32, Range>) -> Result<i64> {
        let mut behind = 0;
        for (partition, range) in ranges {
            let position = self.consumer.position(&self.topic.name, *partition)?;
            behind += (range.high - position).max(0);
        }
        Ok(behind)
    }

    async fn step(&mut self, wait: Duration) -> Result<Counts> {
        let polled = self
            .consumer
            .poll(self.shared.settings.poll_records, wait)
            .await?;
        self.take(polled).await?;
        if self.is_due() {
            return self.flush().await;
        }
        Ok(Counts::default())
    }

    fn is_due(&self) -> bool {
        let settings = &self.shared.settings;
        let held = &self.held;
        held.records > 0
            && (held.records >= settings.flush_rows
                || held
                    .since
                    .is_some_and(|since| since.elapsed() >= settings.flush_after())
                || self.shared.held.load(Ordering::Relaxed) >= settings.flush_bytes)
    }

    /// Reads what was polled into rows and holds them back.
    async fn take(&mut self, polled: Vec<Polled>) -> Result<()> {
        for Polled { records, .. } in polled {
            let mut read = self.read(records).await?;
            if !read.rows.unknown.is_empty() && self.learn(&read.rows.unknown).await? {
                read = self.read(read.records).await?;
            }
            let Rows { good, refused, .. } = read.rows;
            let refused: Vec<RecordBatch> = refused.into_iter().collect();
            self.held.records += read.records.len();
            self.held.since.get_or_insert_with(Instant::now);
            let bytes = good.iter().chain(&refused);
            let bytes = bytes.map(RecordBatch::get_array_memory_size).sum::<usize>();
            self.held.bytes += bytes;
            self.shared.held.fetch_add(bytes, Ordering::Relaxed);
            self.held.good.extend(good);
            self.held.refused.extend(refused);
        }
        Ok(())
    }

    /// Reads records off the async threads, without those that are among the refused already.
    async fn read(&mut self, records: Vec<Delivered>) -> Result<Read> {
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
        let work = tokio::task::spawn_blocking(move || {
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
            rows.map(|rows| (reader, Read { records, rows }))
        });
        let (reader, read) = work
            .await
            .map_err(|err| Error::rows(&self.topic.name, err))??;
        self.reader = Some(reader);
        Ok(read)
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

    /// Commits what is held back: refused records first, then rows and positions.
    async fn flush(&mut self) -> Result<Counts> {
        if self.held.records == 0 {
            return Ok(Counts::default());
        }
        self.check_same_topic().await?;
        let mut counts = Counts::default();
        let version = loop {
            match self.append_refused().await? {
                Some(Appended::Committed { .. }) => {
                    counts.quarantined += rows(&self.held.refused);
                    self.held.refused.clear();
                }
                Some(Appended::Superseded { app_id, .. }) => {
                    self.restart(&app_id).await?;
                    continue;
                }
                None => {}
            }
            match self.append_rows().await? {
                Some(Appended::Committed { version }) => {
                    counts.rows += rows(&self.held.good);
                    break Some(version);
                }
                Some(Appended::Superseded { app_id, .. }) => self.restart(&app_id).await?,
                None => break None,
            }
        };
        self.let_go();
        if let Some(version) = version {
            let ranges = self.ranges().await?;
            let behind = self.behind(&ranges)?;
            let Counts { rows, quarantined } = counts;
            tracing::debug!(
                topic = self.topic.name,
                rows,
                quarantined,
                version,
                behind,
                "landed"
            );
            self.tell(counts, What::Flushed { version, behind });
        }
        Ok(counts)
    }

    /// What was read may be of a topic that has the name and not the id: its offsets would be
    /// recorded as the old one's.
    async fn check_same_topic(&mut self) -> Result<()> {
        let topics = self.shared.log.topics(&self.topic.name).await?;
        if topics
            .iter()
            .any(|it| it.name == self.topic.name && it.id == self.topic.id)
        {
            return Ok(());
        }
        let topic = self.topic.name.clone();
        Err(Error::Replaced { topic })
    }

    async fn append_refused(&mut self) -> Result<Option<Appended>> {
        let next = self.next()?;
        let mut moving: Vec<i32> = Vec::new();
        for batch in &self.held.refused {
            moving.extend(batch[PARTITION].as_primitive::<Int32Type>().values());
        }
        moving.sort_unstable();
        moving.dedup();
        if moving.is_empty() {
            return Ok(None);
        }
        // Refusing what another lander has landed would put a record in both tables. Landers that
        // judge alike cannot come to that; one with other schemas or code lists could, and this
        // leaves it only the moment up to the commit.
        let landed = self.shared.lake.txns(&self.table).await?;
        let mut txns = Vec::new();
        for partition in &moving {
            let at = &self.partitions[partition];
            let app_id = landing_id(&self.topic, *partition);
            let found = landed.get(&app_id).copied();
            if found != at.base {
                return Ok(Some(Appended::Superseded { app_id, found }));
            }
            txns.push(Txn {
                app_id: refusing_id(&self.topic, *partition),
                base: at.refused_base,
                version: next[partition].max(at.refused_base.unwrap_or(0)),
            });
        }
        let refused = self.held.refused.clone();
        let schema = quarantine_raw_schema();
        let lake = &self.shared.lake;
        let appended = lake
            .append(QUARANTINE_TABLE, &schema, refused, &txns)
            .await?;
        if let Appended::Committed { .. } = appended {
            for (partition, txn) in moving.iter().zip(&txns) {
                if let Some(at) = self.partitions.get_mut(partition) {
                    at.refused_base = Some(txn.version);
                }
            }
        }
        Ok(Some(appended))
    }

    async fn append_rows(&mut self) -> Result<Option<Appended>> {
        let next = self.next()?;
        let mut txns = Vec::new();
        for (partition, at) in &self.partitions {
            if next[partition] > at.start {
                txns.push(Txn {
                    app_id: landing_id(&self.topic, *partition),
                    base: at.base,
                    version: next[partition],
                });
            }
        }
        let Some(reader) = self.reader.as_ref().filter(|_| !txns.is_empty()) else {
            return Ok(None);
        };
        let good = self.held.good.clone();
        let lake = &self.shared.lake;
        let appended = lake
            .append(&self.table, reader.schema(), good, &txns)
            .await?;
        if let Appended::Committed { .. } = appended {
            for (partition, at) in &mut self.partitions {
                let next = next[partition];
                if next > at.start {
                    at.base = Some(next);
                    at.start = next;
                    at.settled = at.settled.split_off(&next);
                }
            }
        }
        Ok(Some(appended))
    }

    /// Another lander was faster with a partition: drops what was read of it, and goes on from
    /// where the tables are now.
    async fn restart(&mut self, app_id: &str) -> Result<()> {
        let partition = app_id
            .rsplit('/')
            .next()
            .and_then(|it| it.parse::<i32>().ok());
        let partition = partition.unwrap_or_default();
        tracing::info!(
            topic = self.topic.name,
            partition,
            "superseded by another lander"
        );
        self.tell(Counts::default(), What::Superseded { partition });
        let mut next = self.next()?;
        self.held.drop_partition(&self.topic.name, partition)?;
        let Shared { log, lake, .. } = &self.shared;
        let at = progress::read(log.as_ref(), lake, &self.topic, &self.table, partition).await?;
        next.insert(partition, at.start);
        self.partitions.insert(partition, at);
        self.consumer = log.consumer(&assignments(&self.topic, next)).await?;
        Ok(())
    }

    /// The offset each partition is read from next.
    fn next(&self) -> Result<BTreeMap<i32, i64>> {
        let partitions = self.partitions.keys();
        partitions
            .map(|partition| {
                Ok((
                    *partition,
                    self.consumer.position(&self.topic.name, *partition)?,
                ))
            })
            .collect()
    }

    fn let_go(&mut self) {
        self.shared
            .held
            .fetch_sub(self.held.bytes, Ordering::Relaxed);
        self.held = Held::default();
    }

    fn tell(&self, counts: Counts, what: What) {
        self.shared.tell(LandedTopic {
            topic: self.topic.name.clone(),
            table: Some(self.table.clone()),
            rows: counts.rows,
            quarantined: counts.quarantined,
            what,
        });
    }
}

impl Drop for TopicLander {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Held {
    fn drop_partition(&mut self, topic: &str, partition: i32) -> Result<()> {
        for batches in [&mut self.good, &mut self.refused] {
            for batch in batches.iter_mut() {
                let partitions = batch[PARTITION].as_primitive::<Int32Type>();
                let keep: BooleanArray = partitions
                    .values()
                    .iter()
                    .map(|it| Some(*it != partition))
                    .collect();
                *batch =
                    filter_record_batch(batch, &keep).map_err(|err| Error::rows(topic, err))?;
            }
            batches.retain(|batch| batch.num_rows() > 0);
        }
        Ok(())
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.quarantined += other.quarantined;
    }
}

struct Read {
    records: Vec<Delivered>,
    rows: Rows,
}

fn rows(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

fn assignments(topic: &Topic, starts: impl IntoIterator<Item = (i32, i64)>) -> Vec<Assignment> {
    let assignment = |(partition, offset)| Assignment {
        topic: topic.name.clone(),
        partition,
        offset,
    };
    starts.into_iter().map(assignment).collect()
}
