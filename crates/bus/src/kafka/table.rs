//! A compacted topic read as a table: the last committed text of each key.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use tokio::sync::Mutex;

use super::{
    Inner, PATIENCE,
    client::{Context, failed, is_passing},
};
use crate::{Error, Result};

/// Longest wait for another producer's open transaction. Above the default `transaction.timeout.ms`, after which brokers abort it.
const OPEN_TRANSACTION: Duration = Duration::from_secs(90);

/// One internal topic of one partition, remembered as far as it was read.
pub(super) struct Table {
    topic: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: i64,
    entries: Arc<BTreeMap<String, String>>,
}

impl Table {
    pub(super) fn new(topic: &'static str) -> Self {
        Self {
            topic,
            state: Arc::default(),
        }
    }

    pub(super) fn topic(&self) -> &'static str {
        self.topic
    }

    /// All entries written by transactions that were committed before this call.
    ///
    /// Another producer's open transaction hides whatever was committed after its first record. Answering then would give out an old position and
    /// double its records, so this waits until the true end of the topic is stable.
    pub(super) async fn read(&self, inner: &Arc<Inner>) -> Result<Arc<BTreeMap<String, String>>> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let topic = self.topic;
        inner
            .blocking(move |inner| {
                let partition = [(topic.to_owned(), 0)];
                let end = only(inner.offsets(&inner.uncommitted, &partition, Offset::End)?);
                let stable = wait_until_stable(inner, &partition, end)?;
                if state.next > end {
                    // The topic was made anew.
                    *state = State::default();
                }
                if state.next < stable {
                    let low =
                        only(inner.offsets(&inner.committed, &partition, Offset::Beginning)?);
                    follow(inner, topic, &mut state, low)?;
                    state.next = state.next.max(stable);
                }
                Ok(Arc::clone(&state.entries))
            })
            .await
    }
}

/// Waits until everything below `end` is decided; brokers tell no one, so this asks.
fn wait_until_stable(inner: &Inner, partition: &[(String, i32)], end: i64) -> Result<i64> {
    let deadline = Instant::now() + OPEN_TRANSACTION;
    loop {
        let stable = only(inner.offsets(&inner.committed, partition, Offset::End)?);
        if stable >= end {
            return Ok(stable);
        }
        if Instant::now() > deadline {
            return Err(Error::Unavailable(format!(
                "{}: a transaction has been open for {} s at offset {stable}; start the task that left it, or wait until the brokers abort it",
                partition[0].0,
                OPEN_TRANSACTION.as_secs(),
            )));
        }
        super::pause(Duration::from_millis(10));
    }
}

/// Reads from where the state stands to the end.
///
/// A consumer of its own each time: its first end-of-partition event is then known to come after the caller asked for the end.
fn follow(inner: &Inner, topic: &str, state: &mut State, low: i64) -> Result<()> {
    let what = format!("reading {topic}");
    let mut config = inner.settings.consumer();
    config.set("enable.partition.eof", "true");
    let consumer: BaseConsumer<Context> = config
        .create_with_context(Context::default())
        .map_err(|err| failed(&what, &err))?;
    let mut start = TopicPartitionList::new();
    start
        .add_partition_offset(
            &inner.physical(topic),
            0,
            Offset::Offset(state.next.max(low)),
        )
        .and_then(|()| consumer.assign(&start))
        .map_err(|err| failed(&what, &err))?;
    let deadline = Instant::now() + PATIENCE;
    let mut entries = BTreeMap::clone(&state.entries);
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = text(topic, message.key())?;
                match message.payload() {
                    Some(_) => entries.insert(key, text(topic, message.payload())?),
                    None => entries.remove(&key),
                };
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(err)) if !is_passing(&err) => return Err(failed(&what, &err)),
            _ if Instant::now() > deadline => {
                return Err(Error::Unavailable(format!(
                    "{what}: no answer within {} s",
                    PATIENCE.as_secs()
                )));
            }
            _ => {}
        }
    }
    state.entries = Arc::new(entries);
    Ok(())
}

fn text(topic: &str, bytes: Option<&[u8]>) -> Result<String> {
    let bytes = bytes.unwrap_or_default();
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::Damaged(format!("{topic} holds an entry that is not text")))
}

fn only(offsets: Vec<i64>) -> i64 {
    offsets.first().copied().unwrap_or_default()
}
