//! Reading Kafka: assigned partitions, read committed, no consumer group.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};
use tokio::time::Instant;

use super::{
    Inner,
    client::{Context, failed, is_passing},
    native,
};
use crate::{Assignment, Consumer, Delivered, Error, Polled, Record, Result};

/// A reader of some partitions.
pub(super) struct KafkaConsumer {
    inner: Arc<Inner>,
    consumer: StreamConsumer<Context>,
    assignments: Vec<Assignment>,
    /// An error met after records that had to be handed out first.
    pending: Option<KafkaError>,
}

impl KafkaConsumer {
    pub(super) async fn open(inner: Arc<Inner>, assignments: &[Assignment]) -> Result<Self> {
        let assignments = assignments.to_vec();
        let wanted = assignments.clone();
        inner
            .blocking(move |inner| within_range(inner, &wanted))
            .await?;
        let what = "opening a reader";
        // Not on a blocking thread: the client wants the async runtime around it.
        let consumer: StreamConsumer<Context> = inner
            .settings
            .consumer()
            .create_with_context(Context::default())
            .map_err(|err| failed(what, &err))?;
        let mut start = TopicPartitionList::with_capacity(assignments.len());
        for Assignment {
            topic,
            partition,
            offset,
        } in &assignments
        {
            start
                .add_partition_offset(&inner.physical(topic), *partition, Offset::Offset(*offset))
                .map_err(|err| failed(what, &err))?;
        }
        consumer.assign(&start).map_err(|err| failed(what, &err))?;
        Ok(Self {
            inner,
            consumer,
            assignments,
            pending: None,
        })
    }

    /// Says what an error of the consumer means; librdkafka does not tell which partition ran out of range.
    async fn explain(&self, err: KafkaError) -> Error {
        if !matches!(
            err.rdkafka_error_code(),
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange)
        ) {
            return failed("reading from Kafka", &err);
        }
        let mut at = self.assignments.clone();
        for assignment in &mut at {
            if let Ok(offset) = self.position(&assignment.topic, assignment.partition) {
                assignment.offset = offset;
            }
        }
        match self
            .inner
            .blocking(move |inner| within_range(inner, &at))
            .await
        {
            Err(err) => err,
            Ok(()) => failed("reading from Kafka", &err),
        }
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Polled>> {
        if let Some(err) = self.pending.take() {
            return Err(self.explain(err).await);
        }
        let deadline = Instant::now() + wait;
        let mut polled = Vec::new();
        let mut count = 0;
        let mut error = None;
        {
            let mut messages = self.consumer.stream();
            // The only wait, and before anything is taken: dropping the call loses nothing.
            let mut next = tokio::time::timeout_at(deadline, messages.next())
                .await
                .ok()
                .flatten();
            while let Some(message) = next {
                match message {
                    Ok(message) => {
                        push(&mut polled, &self.inner.settings.prefix, &message);
                        count += 1;
                    }
                    Err(err) if is_passing(&err) => {
                        tracing::debug!(error = %err, "reading from Kafka")
                    }
                    Err(err) => {
                        error = Some(err);
                        break;
                    }
                }
                next = if count == 0 {
                    tokio::time::timeout_at(deadline, messages.next())
                        .await
                        .ok()
                        .flatten()
                } else if count < max {
                    messages.next().now_or_never().flatten()
                } else {
                    None
                };
            }
        }
        match error {
            Some(err) if polled.is_empty() => Err(self.explain(err).await),
            error => {
                self.pending = error;
                Ok(polled)
            }
        }
    }

    fn position(&self, topic: &str, partition: i32) -> Result<i64> {
        let mut assignments = self.assignments.iter();
        let start = assignments
            .find(|assignment| assignment.topic == topic && assignment.partition == partition)
            .ok_or_else(|| crate::not_assigned(topic, partition))?;
        let positions = self
            .consumer
            .position()
            .map_err(|err| failed("asking for a position", &err))?;
        // librdkafka moves it past markers and aborted records too; before the first of any it has none.
        match positions
            .find_partition(&self.inner.physical(topic), partition)
            .map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => Ok(start.offset),
        }
    }
}

impl std::fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConsumer")
            .field("assignments", &self.assignments)
            .finish_non_exhaustive()
    }
}

fn within_range(inner: &Inner, assignments: &[Assignment]) -> Result<()> {
    let wanted: Vec<_> = assignments
        .iter()
        .map(|wanted| (wanted.topic.clone(), wanted.partition))
        .collect();
    for (
        Assignment {
            topic,
            partition,
            offset,
        },
        range,
    ) in assignments.iter().zip(inner.ranges(&wanted)?)
    {
        if !(range.low..=range.high).contains(offset) {
            return Err(range.excludes(topic, *partition, *offset));
        }
    }
    Ok(())
}

fn push(polled: &mut Vec<Polled>, prefix: &str, message: &BorrowedMessage<'_>) {
    let topic = message.topic();
    let topic = topic.strip_prefix(prefix).unwrap_or(topic);
    let delivered = Delivered {
        partition: message.partition(),
        offset: message.offset(),
        record: Record {
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: native::headers(message),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        },
    };
    match polled.iter_mut().find(|polled| polled.topic == topic) {
        Some(polled) => polled.records.push(delivered),
        None => polled.push(Polled {
            topic: topic.to_owned(),
            records: vec![delivered],
        }),
    }
}
