//! Transactions on Kafka: librdkafka's transactional producer, with the source position as one more record.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use contract::Position;
use rdkafka::{
    Offset,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};

use super::{
    Inner, POSITIONS,
    client::{Context, Deliveries, failed, is_fenced},
};
use crate::{Error, Producer, Record, Result, check_size, partition_of};

/// The setting of how long brokers leave a transaction open.
const TIMEOUT: &str = "transaction.timeout.ms";
/// How long committing may take; above the transaction timeout, after which brokers have decided.
const COMMIT: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(60);
const ABORT: Duration = Duration::from_secs(30);
/// How long to wait for a commit to be seen; markers are written within milliseconds.
const VISIBLE: Duration = Duration::from_secs(10);

/// The transactional writer of one task.
#[derive(Debug)]
pub(super) struct KafkaProducer {
    /// Away while a call works on it, and for good when that call is dropped or a commit fails.
    transaction: Option<Transaction>,
}

impl KafkaProducer {
    /// Fences every earlier producer of the task and aborts what it left open.
    pub(super) async fn open(inner: Arc<Inner>, task: &str) -> Result<Self> {
        let task = task.to_owned();
        let transaction = inner
            .blocking(move |inner| {
                let config = inner.settings.producer(&task);
                let timeout = config.get(TIMEOUT).and_then(|ms| ms.parse().ok());
                let producer: ThreadedProducer<Context> = config
                    .create_with_context(Context::default())
                    .map_err(|err| failed("opening a producer", &err))?;
                let transaction = Transaction {
                    inner: Arc::clone(inner),
                    task,
                    producer: Some(producer),
                    partitions: HashMap::new(),
                    timeout: Duration::from_millis(timeout.unwrap_or(u64::MAX)),
                    begun: None,
                    failed: false,
                    undecided: false,
                    keyless: 0,
                };
                let what = "opening a producer";
                transaction
                    .client(what)?
                    .init_transactions(START)
                    .map_err(|err| transaction.told(what, &err))?;
                Ok(transaction)
            })
            .await?;
        Ok(Self {
            transaction: Some(transaction),
        })
    }

    /// Writes one entry of an internal table, in a transaction of its own.
    pub(super) async fn put(
        &mut self,
        topic: &'static str,
        key: &str,
        value: Option<&str>,
    ) -> Result<()> {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.work(move |transaction| {
            transaction.begin()?;
            transaction.put(topic, &key, value.as_deref())?;
            transaction.end()
        })
        .await
    }

    async fn work(
        &mut self,
        work: impl FnOnce(&mut Transaction) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut transaction = self.transaction.take().ok_or_else(|| {
            Error::Unavailable(
                "a call on this producer was interrupted, or its last commit failed; open a new one and read the position again"
                    .into(),
            )
        })?;
        let (transaction, done) = super::blocking(move || {
            let done = work(&mut transaction);
            transaction.failed |= done.is_err();
            Ok((transaction, done))
        })
        .await?;
        // Dropped, an undecided one is left to the brokers: they decide it when the task is opened again.
        self.transaction = (!transaction.undecided).then_some(transaction);
        done
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    async fn send(&mut self, topic: &str, records: Vec<Record>) -> Result<()> {
        let topic = topic.to_owned();
        self.work(move |transaction| transaction.add(&topic, &records))
            .await
    }

    async fn commit(&mut self, position: Option<(&str, &Position)>) -> Result<()> {
        let position =
            position.map(|(source, position)| (source.to_owned(), position.0.to_string()));
        self.work(move |transaction| {
            if transaction.failed {
                return Err(Error::Unavailable(
                    "a send of this transaction failed; abort it and send again".into(),
                ));
            }
            if let Some((source, position)) = position {
                transaction.begin()?;
                transaction.put(POSITIONS, &source, Some(&position))?;
            }
            transaction.end()
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        self.work(Transaction::abort).await
    }
}

/// The producer and its transaction.
struct Transaction {
    inner: Arc<Inner>,
    task: String,
    /// `None` only while being dropped.
    producer: Option<ThreadedProducer<Context>>,
    /// Of the topics written to.
    partitions: HashMap<String, i32>,
    /// How long brokers leave a transaction open.
    timeout: Duration,
    begun: Option<Instant>,
    failed: bool,
    /// A commit failed: the brokers may have committed all the same, and cannot be asked.
    undecided: bool,
    /// Turns over the partitions for records without a key.
    keyless: i32,
}

impl Transaction {
    fn add(&mut self, topic: &str, records: &[Record]) -> Result<()> {
        let partitions = match self.partitions.get(topic) {
            Some(partitions) => *partitions,
            None => {
                let partitions = self.inner.partitions(topic)?;
                self.partitions.insert(topic.to_owned(), partitions);
                partitions
            }
        };
        self.keyless = self.keyless.wrapping_add(1).rem_euclid(partitions);
        self.begin()?;
        let physical = self.inner.physical(topic);
        for record in records {
            check_size(topic, record)?;
            let partition = record
                .key
                .as_ref()
                .map_or(self.keyless, |key| partition_of(key, partitions));
            self.produce(&physical, partition, record)?;
        }
        Ok(())
    }

    fn put(&self, topic: &str, key: &str, value: Option<&str>) -> Result<()> {
        let record = Record {
            key: Some(key.to_owned().into()),
            value: value.map(|value| value.to_owned().into()),
            ..Record::default()
        };
        self.produce(&self.inner.physical(topic), 0, &record)
    }

    fn produce(&self, physical: &str, partition: i32, record: &Record) -> Result<()> {
        let what = "writing to Kafka";
        let producer = self.client(what)?;
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(physical).partition(partition);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        // librdkafka reads zero as "now".
        message.timestamp = Some(record.timestamp_ms.max(0));
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header {
                    key: name,
                    value: Some(&value[..]),
                });
            }
            message.headers = Some(headers);
        }
        loop {
            match producer.send(message) {
                Ok(()) => return Ok(()),
                // The queue drains as the brokers take records.
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    message = back;
                    producer.poll(Duration::from_millis(5));
                }
                Err((err, _)) => return Err(self.told(what, &err)),
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.begun.is_none() {
            let what = "beginning a transaction";
            let producer = self.client(what)?;
            producer.context().take();
            producer
                .begin_transaction()
                .map_err(|err| self.told(what, &err))?;
            self.begun = Some(Instant::now());
        }
        Ok(())
    }

    /// Commits: waits for every record, then for the brokers' decision.
    fn end(&mut self) -> Result<()> {
        if self.begun.is_none() {
            return Ok(());
        }
        let what = "committing a transaction";
        let producer = self.client(what)?;
        // rdkafka's own flush takes steps of 100 ms, however soon the queue is empty.
        let deadline = Instant::now() + COMMIT;
        while producer.in_flight_count() > 0 && Instant::now() < deadline {
            super::pause(Duration::from_millis(1));
        }
        let committed = producer.commit_transaction(COMMIT);
        let Deliveries { lost, first } = producer.context().take();
        if let Err(err) = committed {
            self.undecided = true;
            // The reason a record was lost says more than "abort needed".
            return Err(if is_fenced(&err) {
                self.told(what, &err)
            } else {
                self.told(what, &lost.unwrap_or(err))
            });
        }
        self.begun = None;
        self.wait_until_visible(&first);
        Ok(())
    }

    /// Brokers confirm a commit before readers may see it. Waiting lets a writer, and whoever it tells, read what it wrote.
    ///
    /// While a partition's last stable offset stands exactly at our first record, it is our own transaction that holds it.
    /// Lower, it is an earlier one of somebody else: waiting for that would tie tasks together.
    fn wait_until_visible(&self, first: &BTreeMap<String, BTreeMap<i32, i64>>) {
        let prefix = &self.inner.settings.prefix;
        let mut waiting = Vec::new();
        for (physical, partitions) in first {
            let topic = physical.strip_prefix(prefix).unwrap_or(physical);
            waiting.extend(
                partitions
                    .iter()
                    .map(|(partition, offset)| ((topic.to_owned(), *partition), *offset)),
            );
        }
        let deadline = Instant::now() + VISIBLE;
        loop {
            let places: Vec<_> = waiting.iter().map(|(place, _)| place.clone()).collect();
            match self
                .inner
                .offsets(&self.inner.committed, &places, Offset::End)
            {
                Ok(stable) => {
                    let mut stable = stable.into_iter();
                    waiting
                        .retain(|(_, first)| stable.next().is_some_and(|stable| stable == *first));
                }
                // Committed it is, seen or not.
                Err(err) => {
                    return tracing::warn!(error = %err, "cannot see whether a commit is visible");
                }
            }
            if waiting.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                return tracing::warn!(task = self.task, "a commit is slow to become visible");
            }
            super::pause(Duration::from_millis(1));
        }
    }

    fn abort(&mut self) -> Result<()> {
        if self.begun.is_some() {
            let what = "aborting a transaction";
            self.client(what)?
                .abort_transaction(ABORT)
                .map_err(|err| self.told(what, &err))?;
        }
        (self.begun, self.failed) = (None, false);
        Ok(())
    }

    fn client(&self, what: &str) -> Result<&ThreadedProducer<Context>> {
        self.producer
            .as_ref()
            .ok_or_else(|| Error::Unavailable(format!("{what}: the producer is closed")))
    }

    fn told(&self, what: &str, err: &KafkaError) -> Error {
        let fatal = self
            .producer
            .as_ref()
            .and_then(|producer| producer.client().fatal_error());
        let fenced = matches!(
            fatal,
            Some((
                Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch,
                _
            ))
        );
        if fenced || is_fenced(err) {
            let task = self.task.clone();
            // Brokers fence the producer of a transaction that they give up.
            let open = self.begun.map(|begun| begun.elapsed());
            return match open.filter(|open| *open >= self.timeout) {
                Some(open) => Error::Expired {
                    task,
                    seconds: open.as_secs(),
                },
                None => Error::Fenced(task),
            };
        }
        match fatal {
            Some((_, reason)) => {
                Error::Unavailable(format!("{what}: {reason}; open a new producer"))
            }
            None => failed(what, err),
        }
    }
}

impl Drop for Transaction {
    /// Aborts at once, so that readers need not wait for the transaction to time out.
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else {
            return;
        };
        let begun = self.begun.is_some();
        let task = std::mem::take(&mut self.task);
        // On a thread of its own: talking to brokers and closing the client both block.
        let closing = std::thread::Builder::new().name("kafka close".into()).spawn(move || {
            if begun
                && let Err(err) = producer.abort_transaction(ABORT)
                && !is_fenced(&err)
            {
                tracing::warn!(error = %err, task, "an unfinished transaction is left to time out");
            }
        });
        if let Err(err) = closing {
            tracing::warn!(error = %err, "an unfinished transaction is left to time out");
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("task", &self.task)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
