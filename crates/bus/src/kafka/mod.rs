//! The log on Apache Kafka.
//!
//! Source positions live in the compacted topic `pejl._positions`, written in the transaction of their records; the identity of every topic lives in
//! `pejl._topics`.

mod client;
mod consumer;
mod membership;
mod native;
mod producer;
mod table;
mod topics;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use contract::Position;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::{Mutex, OnceCell};

pub use self::client::KafkaSettings;
use self::{
    client::{Context, failed, is_settling},
    consumer::KafkaConsumer,
    membership::Member,
    native::Described,
    producer::KafkaProducer,
    table::Table,
};
use crate::{
    Assignment, Board, Consumer, Error, Group, Log, Membership, Producer, Range, Result, Topic,
    check_topic,
};

/// Internal topics start with this and are not listed.
const INTERNAL: &str = "pejl._";
const POSITIONS: &str = "pejl._positions";
const TOPICS: &str = "pejl._topics";
const ORDERS: &str = "pejl._orders";
const REPORTS: &str = "pejl._reports";

/// How long a request to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for the first request: a wrong address should be told soon.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// A log on Kafka brokers. Clones share connections.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

impl KafkaLog {
    /// Connects, and makes the internal topics if they are missing.
    pub async fn connect(settings: KafkaSettings) -> Result<Self> {
        let inner = blocking(move || Inner::connect(settings)).await?;
        let inner = Arc::new(inner);
        topics::ensure_internal(&inner).await?;
        Ok(Self { inner })
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn ensure_topic(&self, name: &str, partitions: i32) -> Result<Topic> {
        check_topic(name, partitions)?;
        topics::ensure(&self.inner, name, partitions).await
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<Topic>> {
        topics::list(&self.inner, prefix).await
    }

    async fn range(&self, topic: &str, partition: i32) -> Result<Range> {
        let wanted = [(topic.to_owned(), partition)];
        self.inner
            .blocking(move |inner| inner.ranges(&wanted))
            .await
            .map(|ranges| ranges[0])
    }

    async fn producer(&self, task: &str) -> Result<Box<dyn Producer>> {
        let producer = KafkaProducer::open(Arc::clone(&self.inner), task).await?;
        Ok(Box::new(producer))
    }

    async fn position(&self, source: &str) -> Result<Option<Position>> {
        let entries = self.inner.positions.read(&self.inner).await?;
        entries
            .get(source)
            .map(|text| parse_position(source, text))
            .transpose()
    }

    async fn positions(&self) -> Result<Vec<(String, Position)>> {
        let entries = self.inner.positions.read(&self.inner).await?;
        let parse = |(source, text): (&String, &String)| {
            Ok((source.clone(), parse_position(source, text)?))
        };
        entries.iter().map(parse).collect()
    }

    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>> {
        let consumer = KafkaConsumer::open(Arc::clone(&self.inner), assignments).await?;
        Ok(Box::new(consumer))
    }

    async fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let range = self.range(topic, partition).await?;
        if !range.is_trimmed_by(topic, partition, before)? {
            return Ok(());
        }
        let what = format!("trimming {topic}/{partition}");
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(
                &self.inner.physical(topic),
                partition,
                Offset::Offset(before),
            )
            .map_err(|err| failed(&what, &err))?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let trimmed = self.inner.admin.delete_records(&offsets, &options).await;
        let trimmed = trimmed.map_err(|err| failed(&what, &err))?;
        for element in trimmed.elements() {
            element.error().map_err(|err| failed(&what, &err))?;
        }
        Ok(())
    }

    async fn board(&self, board: Board) -> Result<BTreeMap<String, String>> {
        let texts = self.inner.board(board).read(&self.inner).await?;
        Ok(texts.as_ref().clone())
    }

    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> Result<()> {
        let what = "posting on a board";
        let poster = self
            .inner
            .poster
            .get_or_try_init(|| async {
                let config = self.inner.settings.poster();
                let made = config.create_with_context(Context::default());
                made.map_err(|err| failed(what, &err))
            })
            .await?;
        let physical = self.inner.physical(self.inner.board(board).topic());
        let mut record = FutureRecord::to(&physical).partition(0).key(key);
        record.payload = text;
        match poster.send(record, PATIENCE).await {
            Ok(_) => Ok(()),
            Err((err, _)) => Err(failed(what, &err)),
        }
    }

    async fn join(&self, group: Group, member: &str) -> Result<Box<dyn Membership>> {
        let member = Member::join(Arc::clone(&self.inner), group, member).await?;
        Ok(Box::new(member))
    }
}

/// Connections and caches shared by clones, producers and consumers.
struct Inner {
    settings: KafkaSettings,
    /// Asks for metadata and read-committed ranges; never assigned.
    committed: BaseConsumer<Context>,
    /// Asks for the true ends of partitions.
    uncommitted: BaseConsumer<Context>,
    admin: AdminClient<Context>,
    positions: Table,
    topics: Table,
    orders: Table,
    reports: Table,
    /// Writes on boards; made when first needed.
    poster: OnceCell<FutureProducer<Context>>,
    /// Topics and their partitions, as last heard of.
    known: RwLock<HashMap<String, i32>>,
    /// Held while a topic is made, so that this process does not fence itself.
    making: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn connect(settings: KafkaSettings) -> Result<Self> {
        settings.check()?;
        let what = format!("connecting to Kafka at {}", settings.bootstrap_servers);
        let reader = |isolation| {
            let config = settings.quiet_client(isolation);
            config
                .create_with_context(Context::default())
                .map_err(|err| failed(&what, &err))
        };
        let inner = Self {
            committed: reader("read_committed")?,
            uncommitted: reader("read_uncommitted")?,
            admin: settings
                .quiet_client("read_committed")
                .create_with_context(Context::default())
                .map_err(|err| failed(&what, &err))?,
            positions: Table::new(POSITIONS),
            topics: Table::new(TOPICS),
            orders: Table::new(ORDERS),
            reports: Table::new(REPORTS),
            poster: OnceCell::new(),
            known: RwLock::default(),
            making: Mutex::new(()),
            settings,
        };
        let Err(err) = inner.committed.fetch_metadata(None, FIRST_PATIENCE) else {
            return Ok(inner);
        };
        // What became of the connections is told to who polls.
        while inner.committed.poll(Duration::ZERO).is_some() {}
        Err(match inner.committed.context().refused() {
            Some(reason) => Error::Settings(format!("{what}: {reason}")),
            None => failed(&format!("{what}: no broker answered"), &err),
        })
    }

    fn board(&self, board: Board) -> &Table {
        match board {
            Board::Orders => &self.orders,
            Board::Reports => &self.reports,
        }
    }

    /// The topic's name in the cluster.
    fn physical(&self, name: &str) -> String {
        format!("{}{name}", self.settings.prefix)
    }

    /// All topics of this installation, internal ones too, and their number of partitions.
    ///
    /// Asks for the whole cluster: asking for one topic would make brokers with `auto.create.topics.enable` create it.
    fn partition_counts(&self) -> Result<HashMap<String, i32>> {
        let metadata = self
            .committed
            .fetch_metadata(None, PATIENCE)
            .map_err(|err| failed("listing topics", &err))?;
        let ours = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none());
        let counts: HashMap<_, _> = ours
            .filter_map(|topic| {
                let name = topic.name().strip_prefix(&self.settings.prefix)?;
                Some((name.to_owned(), topic.partitions().len() as i32))
            })
            .collect();
        counts.clone_into(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        Ok(counts)
    }

    /// Those of `names` that are there, as a broker describes them.
    fn describe(&self, names: &[String]) -> Result<HashMap<String, Described>> {
        let names: Vec<_> = names.iter().map(|name| self.physical(name)).collect();
        let described = native::describe(self.admin.inner(), &names, PATIENCE)
            .map_err(|err| failed("describing topics", &err))?;
        let ours = described.into_iter().filter_map(|(name, described)| {
            let name = name.strip_prefix(&self.settings.prefix)?;
            Some((name.to_owned(), described))
        });
        Ok(ours.collect())
    }

    /// The partitions of one topic, asked for anew: writers must agree on them.
    fn partitions(&self, topic: &str) -> Result<i32> {
        self.partition_counts()?
            .get(topic)
            .copied()
            .ok_or_else(|| no_partition(topic, 0))
    }

    fn check_partition(&self, topic: &str, partition: i32) -> Result<()> {
        let within =
            |count: Option<&i32>| count.is_some_and(|count| (0..*count).contains(&partition));
        if within(
            self.known
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(topic),
        ) || within(self.partition_counts()?.get(topic))
        {
            return Ok(());
        }
        Err(no_partition(topic, partition))
    }

    /// The readable ranges of partitions, in the order given.
    fn ranges(&self, wanted: &[(String, i32)]) -> Result<Vec<Range>> {
        for (topic, partition) in wanted {
            self.check_partition(topic, *partition)?;
        }
        let low = self.offsets(&self.committed, wanted, Offset::Beginning)?;
        let high = self.offsets(&self.committed, wanted, Offset::End)?;
        Ok(low
            .into_iter()
            .zip(high)
            .map(|(low, high)| Range { low, high })
            .collect())
    }

    /// The first or next offset of each partition, as `client` may see it; one request to each broker.
    fn offsets(
        &self,
        client: &BaseConsumer<Context>,
        wanted: &[(String, i32)],
        which: Offset,
    ) -> Result<Vec<i64>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask_offsets(client, wanted, which) {
                // A topic just made may not have its leaders yet.
                Err(err) if is_settling(&err) && Instant::now() < deadline => {
                    pause(Duration::from_millis(10));
                }
                other => return other.map_err(|err| failed("asking for offsets", &err)),
            }
        }
    }

    fn ask_offsets(
        &self,
        client: &BaseConsumer<Context>,
        wanted: &[(String, i32)],
        which: Offset,
    ) -> Result<Vec<i64>, KafkaError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for (topic, partition) in wanted {
            list.add_partition_offset(&self.physical(topic), *partition, which)?;
        }
        let answered = client.offsets_for_times(list, PATIENCE)?;
        let offset = |(topic, partition): &(String, i32)| {
            let found = answered.find_partition(&self.physical(topic), *partition);
            let found = found.ok_or(KafkaError::OffsetFetch(Code::UnknownPartition))?;
            found.error()?;
            match found.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => Err(KafkaError::OffsetFetch(Code::LeaderNotAvailable)),
            }
        };
        wanted.iter().map(offset).collect()
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(self);
        blocking(move || work(&inner)).await
    }
}

fn parse_position(source: &str, text: &str) -> Result<Position> {
    serde_json::from_str(text)
        .map_err(|err| Error::Damaged(format!("position of source `{source}`: {err}")))
}

fn no_partition(topic: &str, partition: i32) -> Error {
    Error::Settings(format!(
        "there is no partition {topic}/{partition}; topics are made by `ensure_topic`"
    ))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| Error::Unavailable(format!("work on the log was interrupted: {err}")))?
}

/// Lets the brokers get on, within blocking work.
fn pause(duration: Duration) {
    tokio::runtime::Handle::current().block_on(tokio::time::sleep(duration));
}
