//! Landing one topic: read, hold back a while, commit.

mod flush;
mod held;
mod reading;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::datatypes::SchemaRef;
use bus::{Assignment, Consumer, Range, SharedLog, Topic};
use lake::Lake;
use telemetry::metric;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use self::{
    flush::{Became, Committing, Outcome, Sealed},
    held::Held,
    reading::{Reading, rows_read},
};
use crate::{
    Error, LandedTopic, LandingSettings, Result, What,
    backlog::{Backlog, Waiting},
    progress::{self, Progress},
    reader::Reader,
    schemas,
    standing::{self, Noted},
};

/// How long a read waits for records; a topic at rest is looked at this often.
const WAIT: Duration = Duration::from_millis(500);

/// What the landers of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) lake: Lake,
    pub(crate) settings: Arc<LandingSettings>,
    /// Bytes held back by all topics.
    pub(crate) held: Arc<AtomicUsize>,
    /// Bytes that are being committed, of all topics.
    pub(crate) committing: Arc<AtomicUsize>,
    pub(crate) backlog: Backlog,
    pub(crate) tell: UnboundedSender<LandedTopic>,
    pub(crate) standing: Noted,
}

impl Shared {
    pub(crate) fn tell(&self, landed: LandedTopic) {
        // Nobody listens any more when the whole of it is being dropped.
        let _ = self.tell.send(landed);
    }
}

/// Lands partitions of one topic.
pub(crate) struct TopicLander {
    shared: Shared,
    topic: Topic,
    table: String,
    label: String,
    schema: SchemaRef,
    /// Away while records are being read.
    reader: Option<Reader>,
    partitions: BTreeMap<i32, Progress>,
    consumer: Box<dyn Consumer>,
    /// Records being read into rows. The next are waited for meanwhile.
    reading: Option<Reading>,
    held: Held,
    /// The offset of each partition that what is held reaches up to.
    read_to: BTreeMap<i32, i64>,
    /// The commit of what was held before. Reading goes on meanwhile.
    committing: Option<Committing>,
    /// Milliseconds since 1970 of the oldest record of each partition in it.
    oldest_committing: BTreeMap<i32, i64>,
    /// Schemas that were not known, and when they were last looked for.
    asked: HashMap<u64, Instant>,
}

/// Rows committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) quarantined: u64,
}

impl TopicLander {
    /// Opens the `wanted` partitions of the topic where its table says they are.
    pub(crate) async fn open(
        shared: Shared,
        topic: Topic,
        mut reader: Reader,
        wanted: impl IntoIterator<Item = i32>,
    ) -> Result<Self> {
        let table = reader.table();
        if let Reader::Entity(reader) = &mut reader {
            schemas::exchange(&shared.lake, reader).await?;
        }
        let label = progress::label_in(&shared.lake, &table, &topic).await?;
        let mut partitions = BTreeMap::new();
        for partition in wanted {
            let Shared { log, lake, .. } = &shared;
            let at = progress::read(log.as_ref(), lake, &topic, &table, partition).await?;
            partitions.insert(partition, at);
        }
        let starts = partitions.iter();
        let starts: BTreeMap<i32, i64> = starts.map(|(it, at)| (*it, at.start)).collect();
        let consumer = shared.log.consumer(&assignments(&topic, &starts)).await?;
        // A first rise is only seen as one where the series was there before.
        let name = [topic.name.as_str()];
        for rare in [
            metric::LANDING_SUPERSEDED,
            metric::LANDING_FAILURES,
            metric::LOG_TRIMMED,
        ] {
            rare.add(name, 0);
        }
        reader.touch_refused();
        Ok(Self {
            held: Held::counting(&shared.held),
            shared,
            topic,
            table,
            label,
            schema: Arc::clone(reader.schema()),
            reader: Some(reader),
            partitions,
            consumer,
            reading: None,
            read_to: starts,
            committing: None,
            oldest_committing: BTreeMap::new(),
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
        let never = CancellationToken::new();
        // Whoever is superseded finds itself behind again.
        while self.behind(ranges) > 0 {
            while self.behind(ranges) > 0 {
                counts += self.step(WAIT, &never).await?;
            }
            counts += self.commit_all().await?;
        }
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
            self.step(wait, stop).await?;
            self.note_backlog();
            if self.held.records == 0 && self.committing.is_none() {
                standing::works(&self.shared.standing, &self.topic.name);
            }
            if trimmed.elapsed() >= Duration::from_secs(60) {
                self.trim().await?;
                trimmed = Instant::now();
            }
        }
        self.commit_all().await?;
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
    fn behind(&self, ranges: &BTreeMap<i32, Range>) -> i64 {
        let behind = |(partition, range): (&i32, &Range)| range.high - self.read_to[partition];
        ranges.iter().map(behind).map(|it| it.max(0)).sum()
    }

    /// Tells what waits. A partition of which nothing is held back has come as far as it was read.
    fn note_backlog(&self) {
        for (partition, at) in &self.partitions {
            let committing = self.oldest_committing.get(partition);
            let oldest = committing.or(self.held.oldest.get(partition)).copied();
            let next = match oldest {
                Some(_) => at.start,
                None => self.read_to[partition],
            };
            let waiting = Waiting {
                table: self.table.clone(),
                next,
                oldest,
            };
            self.shared
                .backlog
                .note(&self.topic.name, *partition, waiting);
        }
    }

    /// Waits for whatever comes first, at most about `wait`: the end of a commit, rows, records, or `stop`.
    async fn step(&mut self, wait: Duration, stop: &CancellationToken) -> Result<Counts> {
        let most = self.shared.settings.poll_records;
        let mut counts = Counts::default();
        tokio::select! {
            // Dropping a wait for records loses none, and what is under way stays so.
            biased;
            () = stop.cancelled() => return Ok(counts),
            outcome = finished(&mut self.committing) => counts += self.committed(outcome?).await?,
            read = rows_read(&mut self.reading) => self.hold(read?).await?,
            polled = self.consumer.poll(most, wait) => self.begin_reading(polled?).await?,
        }
        counts += self.keep_committing().await?;
        Ok(counts)
    }

    /// Commits what is due, once the commit before it is done; reading may go on beside it.
    async fn keep_committing(&mut self) -> Result<Counts> {
        let mut counts = Counts::default();
        let done = self.committing.as_ref().is_some_and(|it| it.is_finished());
        // What is held has its limit, also while a commit takes its time.
        if done || (self.committing.is_some() && self.is_full()) {
            let outcome = finished(&mut self.committing).await?;
            counts += self.committed(outcome).await?;
        }
        if self.committing.is_none() && self.is_due() {
            self.start_commit();
        }
        Ok(counts)
    }

    /// Commits everything that was read.
    async fn commit_all(&mut self) -> Result<Counts> {
        let mut counts = Counts::default();
        loop {
            if self.reading.is_some() {
                let read = rows_read(&mut self.reading).await?;
                self.hold(read).await?;
            }
            if self.committing.is_some() {
                let outcome = finished(&mut self.committing).await?;
                counts += self.committed(outcome).await?;
            }
            if self.held.records == 0 {
                return Ok(counts);
            }
            self.start_commit();
        }
    }

    fn start_commit(&mut self) {
        self.oldest_committing.clone_from(&self.held.oldest);
        let nothing = Held::counting(&self.shared.held);
        let mut held = std::mem::replace(&mut self.held, nothing);
        held.bytes.count_towards(&self.shared.committing);
        let sealed = Sealed {
            shared: self.shared.clone(),
            topic: self.topic.clone(),
            table: self.table.clone(),
            schema: Arc::clone(&self.schema),
            held,
            next: self.read_to.clone(),
            partitions: self.partitions.clone(),
        };
        self.committing = Some(sealed.commit());
    }

    /// Takes note of a commit's end.
    async fn committed(&mut self, outcome: Outcome) -> Result<Counts> {
        let Outcome { counts, became } = outcome;
        self.oldest_committing.clear();
        match became {
            Became::Committed {
                partitions,
                version,
            } => {
                self.partitions = partitions;
                if let Some(version) = version {
                    let mut behind = 0;
                    for (partition, range) in self.ranges().await? {
                        behind += (range.high - self.partitions[&partition].start).max(0);
                    }
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
            }
            Became::Superseded { partition } => self.restart(partition).await?,
        }
        Ok(counts)
    }

    /// Another lander was faster with a partition: drops what was read, and goes on from where the tables are now.
    async fn restart(&mut self, partition: i32) -> Result<()> {
        tracing::info!(
            topic = self.topic.name,
            partition,
            "superseded by another lander"
        );
        metric::LANDING_SUPERSEDED.add([&self.topic.name], 1);
        self.tell(Counts::default(), What::Superseded { partition });
        if self.reading.is_some() {
            self.reader = Some(rows_read(&mut self.reading).await?.reader);
        }
        self.held = Held::counting(&self.shared.held);
        let Shared { log, lake, .. } = &self.shared;
        for (partition, at) in &mut self.partitions {
            *at = progress::read(log.as_ref(), lake, &self.topic, &self.table, *partition).await?;
            self.read_to.insert(*partition, at.start);
        }
        let starts = assignments(&self.topic, &self.read_to);
        self.consumer = log.consumer(&starts).await?;
        Ok(())
    }

    fn is_due(&self) -> bool {
        let after = self.shared.settings.flush_after();
        let is_old = |since: Instant| since.elapsed() >= after;
        self.held.records > 0 && (self.is_full() || self.held.since.is_some_and(is_old))
    }

    /// Whether no more may be held: of this topic, of all of them, or of all with what is being committed.
    fn is_full(&self) -> bool {
        let settings = &self.shared.settings;
        let held = self.shared.held.load(Ordering::Relaxed);
        let committing = self.shared.committing.load(Ordering::Relaxed);
        self.held.records >= settings.flush_rows
            || held >= settings.flush_bytes
            || held + committing >= 2 * settings.flush_bytes
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

/// The end of the commit under way; without one it never comes.
async fn finished(committing: &mut Option<Committing>) -> Result<Outcome> {
    let Some(commit) = committing else {
        return std::future::pending().await;
    };
    let ended = commit.await;
    *committing = None;
    // It is aborted by nobody else, so this is a panic.
    ended.map_err(|err| Error::rows("the commit", err))?
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.quarantined += other.quarantined;
    }
}

fn assignments(topic: &Topic, starts: &BTreeMap<i32, i64>) -> Vec<Assignment> {
    let assignment = |(partition, offset): (&i32, &i64)| Assignment {
        topic: topic.name.clone(),
        partition: *partition,
        offset: *offset,
    };
    starts.iter().map(assignment).collect()
}
