//! The log between sources and tables: Kafka, or one embedded SQLite file, behind one interface.
//!
//! Everything above this crate is unaware of which. `tests/conformance` states the promises as tests.

mod embedded;
mod kafka;
mod partition;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{FixBy, Position};
use tokio::sync::watch;

pub use embedded::EmbeddedLog;
pub use kafka::{KafkaLog, KafkaSettings};
pub use partition::partition_of;

/// Largest record the log takes: key, value and headers together. Kafka brokers and topics need a limit; both logs keep the same one.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// One record to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Decides the partition; all versions of one thing share it and stay in order.
    /// Records without a key go where they like, those of one `send` together.
    pub key: Option<Bytes>,
    /// `None` is a tombstone: the thing is deleted.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(String, Bytes)>,
    /// Milliseconds since 1970, UTC. Zero or less: the log writes its own time.
    pub timestamp_ms: i64,
}

/// A record read back, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Partition of the topic, from 0.
    pub partition: i32,
    /// Offset in the partition. Increasing, with gaps.
    pub offset: i64,
    /// What was written.
    pub record: Record,
}

/// Records of one topic, in offset order within each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The topic.
    pub topic: String,
    /// The records.
    pub records: Vec<Delivered>,
}

/// A topic as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Changes when a topic is deleted and made again, so that old offsets are never mistaken for new ones.
    pub id: String,
    /// Number of partitions.
    pub partitions: i32,
}

/// The readable range of a partition: `[low, high)`, committed records only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First offset that can still be read.
    pub low: i64,
    /// One past the last offset a read-committed reader can reach.
    pub high: i64,
}

impl Range {
    /// Why `offset` of a partition with this range cannot be had.
    fn excludes(self, topic: &str, partition: i32, offset: i64) -> Error {
        Error::OutOfRange {
            topic: topic.to_owned(),
            partition,
            offset,
            low: self.low,
            high: self.high,
        }
    }

    /// Whether trimming below `before` lets go of anything; an error past the end.
    fn is_trimmed_by(self, topic: &str, partition: i32, before: i64) -> Result<bool> {
        if before > self.high {
            return Err(self.excludes(topic, partition, before));
        }
        Ok(before > self.low)
    }
}

/// Where a reader starts in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// First offset wanted; an offset already trimmed is an error, never skipped silently.
    pub offset: i64,
}

/// A log of topics. Cheap to clone behind an [`Arc`].
#[async_trait]
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Makes the topic with `partitions` if there is none, and tells what it is.
    async fn ensure_topic(&self, name: &str, partitions: i32) -> Result<Topic>;
    /// All topics whose name starts with `prefix`, by name; internal ones left out.
    async fn topics(&self, prefix: &str) -> Result<Vec<Topic>>;
    /// The readable range of a partition. `high` is the last stable offset: an open transaction holds it back on Kafka,
    /// and it counts the offsets that hold no record (transaction markers, aborted records); see [`Consumer::position`].
    async fn range(&self, topic: &str, partition: i32) -> Result<Range>;
    /// A transactional writer. Opening one with the same `task` fences every earlier holder.
    async fn producer(&self, task: &str) -> Result<Box<dyn Producer>>;
    /// The position last committed for `source`, read committed. On Kafka this waits while another commit is under way, because
    /// that could hide a later position.
    async fn position(&self, source: &str) -> Result<Option<Position>>;
    /// All committed positions, by source name.
    async fn positions(&self) -> Result<Vec<(String, Position)>>;
    /// A read-committed reader of the given partitions. Each offset must lie in `low..=high`, else [`Error::OutOfRange`].
    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>>;
    /// Lets go of records below `before`: they are landed and past retention. Below `low` there is nothing to do; above
    /// `high` is [`Error::OutOfRange`].
    async fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<()>;
    /// Everything on a board, by key.
    async fn board(&self, board: Board) -> Result<BTreeMap<String, String>>;
    /// Puts a text on a board, or takes it off with `None`. Durable once this returns; the last writer of a key wins.
    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> Result<()>;
    /// Joins the processes that share the work of `group`. `member` names this process, and no other: one that comes back under its name
    /// within the session timeout finds its slots again, and nobody else's work moves.
    async fn join(&self, group: Group, member: &str) -> Result<Box<dyn Membership>>;
}

/// A small shared table of texts: what the processes of an installation tell each other beside records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Board {
    /// What people want of each source, such as that it pauses; by source.
    Orders,
    /// What each source is doing, as the process that runs it says; by source.
    Reports,
}

impl Board {
    fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Reports => "reports",
        }
    }
}

/// Processes that share one kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Those that read sources.
    Workers,
    /// Those that land topics.
    Landers,
}

impl Group {
    /// Into how many slots the work is divided when the group is made: more than members by far, so that it is spread evenly, and few
    /// enough that brokers do not notice. A group made earlier keeps its number.
    const SLOTS: u32 = 64;

    fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Landers => "landers",
        }
    }
}

/// A process's place among those that share work, until it is dropped. The others take over once its session has timed out, not
/// sooner: that is what lets a process that is restarted find its work where it left it.
///
/// It says who should do what; it does not keep others out. That is what fencing ([`Log::producer`]) and compared positions are for.
#[async_trait]
pub trait Membership: Send + Sync + std::fmt::Debug {
    /// Into how many slots the work is divided, for [`slot_of`].
    fn count(&self) -> u32;
    /// The slots this process has now. Empty until the first assignment, and while the group cannot be reached.
    fn slots(&self) -> watch::Receiver<BTreeSet<u32>>;
    /// Asks the log itself, not what was last heard, whether `slot` is still this process's. A process that was paused past its
    /// session learns here that it was replaced.
    async fn confirm(&self, slot: u32) -> Result<bool>;
    /// Waits until this process is out of the group for good, and says why: another has joined under its name, say. It has no slots then and
    /// gets none; whoever works by them stops.
    async fn lost(&self) -> Error;
}

/// Writes transactions. Dropping it mid-transaction aborts.
///
/// After a failed `send` the transaction can only be aborted. After a failed `commit` nobody knows whether it counts: open a new producer, which
/// settles that, and go on from the position read then. The same holds for a call dropped before its end.
#[async_trait]
pub trait Producer: Send {
    /// Adds records to the open transaction, opening one if needed. Nothing is visible yet.
    async fn send(&mut self, topic: &str, records: Vec<Record>) -> Result<()>;
    /// Makes everything sent visible, together with the position of `source`; all or nothing. Readers and `range` see it at once,
    /// unless (on Kafka) an earlier transaction of another task is still open in the partition.
    async fn commit(&mut self, position: Option<(&str, &Position)>) -> Result<()>;
    /// Forgets everything sent since the last commit; its offsets may stay empty.
    async fn abort(&mut self) -> Result<()>;
}

/// Reads committed records in order. A `poll` dropped before its end loses nothing.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for records; empty when none came. At most about `max` records.
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Polled>>;
    /// The next offset `poll` looks at. Everything below it was delivered or holds no record, so a reader has caught up with
    /// a [`Range`] when its position is at `high`, even if the last record stands earlier.
    fn position(&self, topic: &str, partition: i32) -> Result<i64>;
}

/// The slot of a piece of work among `slots` (at least 1): the same in every process, and spread evenly.
pub fn slot_of(name: &str, slots: u32) -> u32 {
    let slots = i32::try_from(slots).unwrap_or(i32::MAX);
    partition_of(name.as_bytes(), slots).unsigned_abs()
}

/// A log shared between the parts of a process.
pub type SharedLog = Arc<dyn Log>;

/// The result of log calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log's settings are wrong or its place is taken by another process.
    #[error("log settings: {0}")]
    Settings(String),
    /// The broker or disk failed; trying again may help.
    #[error("log unavailable: {0}")]
    Unavailable(String),
    /// Another producer with the same task has taken over; this one must stop.
    #[error("fenced: task `{0}` is now run by another process; this one stops")]
    Fenced(String),
    /// The transaction was open for longer than the brokers allow; nothing of it counts, and the task may begin again.
    #[error(
        "the transaction of task `{task}` was open for {seconds} s, and the brokers gave it up after `transaction.timeout.ms`; nothing of it \
         counts. Raise that under [log.properties] if what it holds takes as long"
    )]
    Expired {
        /// The task.
        task: String,
        /// How long it was open.
        seconds: u64,
    },
    /// The wanted offset is no longer (or not yet) in the log.
    #[error("{topic}/{partition}: offset {offset} is outside the readable range {low}..{high}")]
    OutOfRange {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Wanted.
        offset: i64,
        /// First readable.
        low: i64,
        /// One past the last readable.
        high: i64,
    },
    /// A record is above [`MAX_RECORD_BYTES`].
    #[error("{topic}: a record of {bytes} bytes is above the limit of {MAX_RECORD_BYTES} bytes")]
    TooLarge {
        /// Topic.
        topic: String,
        /// Key, value and headers together.
        bytes: usize,
    },
    /// Stored data cannot be understood.
    #[error("log damaged: {0}")]
    Damaged(String),
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings(_) | Self::Fenced(_) | Self::Expired { .. } => FixBy::Settings,
            Self::Unavailable(_) => FixBy::Source,
            Self::TooLarge { .. } => FixBy::Record,
            Self::OutOfRange { .. } | Self::Damaged(_) => FixBy::Us,
        }
    }
}

/// Kafka's rule for topic names, kept by both logs.
fn check_topic(name: &str, partitions: i32) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 200 || !name.chars().all(legal) {
        return Err(Error::Settings(format!(
            "`{name}` cannot be a topic; use at most 200 letters, digits, `.`, `_` and `-`"
        )));
    }
    if partitions < 1 {
        return Err(Error::Settings(format!(
            "topic `{name}` needs at least one partition, not {partitions}"
        )));
    }
    Ok(())
}

fn check_size(topic: &str, record: &Record) -> Result<()> {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len());
    let bytes = len(&record.key) + len(&record.value) + headers.sum::<usize>();
    if bytes > MAX_RECORD_BYTES {
        return Err(Error::TooLarge {
            topic: topic.to_owned(),
            bytes,
        });
    }
    Ok(())
}

fn not_assigned(topic: &str, partition: i32) -> Error {
    Error::Settings(format!("this reader was not given {topic}/{partition}"))
}
