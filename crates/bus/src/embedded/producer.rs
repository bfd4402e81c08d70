//! Transactions on the embedded log: records become blocks, and what outgrows memory is staged in the file.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use contract::Position;
use tokio::sync::oneshot;
use zstd::bulk::Compressor;

use super::{
    Inner,
    block::{Builder, compressor},
    blocking, no_partition,
    writer::{Command, Holder, Placed},
};
use crate::{Error, Producer, Record, Result, check_size, partition_of};

/// Bytes in a block before compression. A reader unpacks whole blocks: larger ones compress little better and seek worse.
const BLOCK_BYTES: usize = 256 << 10;
/// Bytes of blocks being filled, over all partitions.
const OPEN_BYTES: usize = 16 << 20;
/// Bytes of sealed blocks kept before they are staged in the file.
const SEALED_BYTES: usize = 4 << 20;

/// The transactional writer of one task.
#[derive(Debug)]
pub(super) struct EmbeddedProducer {
    /// Away while a call works on it, and for good when that call is dropped.
    transaction: Option<Transaction>,
}

impl EmbeddedProducer {
    pub(super) fn new(inner: Arc<Inner>, holder: Holder) -> Result<Self> {
        let transaction = Transaction {
            inner,
            holder,
            builders: BTreeMap::new(),
            open_bytes: 0,
            sealed: Vec::new(),
            sealed_bytes: 0,
            compressor: Zstd(compressor()?),
            staging: None,
            has_staged: false,
            failed: false,
            keyless: 0,
        };
        Ok(Self {
            transaction: Some(transaction),
        })
    }

    fn take(&mut self) -> Result<Transaction> {
        self.transaction.take().ok_or_else(|| {
            Error::Unavailable("a call on this producer was interrupted; open a new one".into())
        })
    }
}

#[async_trait]
impl Producer for EmbeddedProducer {
    async fn send(&mut self, topic: &str, records: Vec<Record>) -> Result<()> {
        let mut transaction = self.take()?;
        let topic = topic.to_owned();
        let (transaction, sent) = blocking(move || {
            let sent = transaction.add(&topic, &records);
            transaction.failed |= sent.is_err();
            Ok((transaction, sent))
        })
        .await?;
        self.transaction = Some(transaction);
        sent
    }

    async fn commit(&mut self, position: Option<(&str, &Position)>) -> Result<()> {
        let mut transaction = self.take()?;
        if transaction.failed {
            self.transaction = Some(transaction);
            return Err(Error::Unavailable(
                "a send of this transaction failed; abort it and send again".into(),
            ));
        }
        let position = position.map(|(source, position)| (source.to_owned(), position.clone()));
        let (transaction, committed) = blocking(move || {
            let committed = transaction.commit(position);
            transaction.failed |= committed.is_err();
            Ok((transaction, committed))
        })
        .await?;
        self.transaction = Some(transaction);
        committed
    }

    async fn abort(&mut self) -> Result<()> {
        let mut transaction = self.take()?;
        transaction.forget();
        self.transaction = Some(transaction);
        Ok(())
    }
}

/// The records sent since the last commit.
#[derive(Debug)]
struct Transaction {
    inner: Arc<Inner>,
    holder: Holder,
    /// By topic number and partition.
    builders: BTreeMap<(i64, i32), Builder>,
    open_bytes: usize,
    sealed: Vec<Placed>,
    sealed_bytes: usize,
    compressor: Zstd,
    /// The answer to the last staging; one may be on its way while the next is filled.
    staging: Option<oneshot::Receiver<Result<()>>>,
    has_staged: bool,
    failed: bool,
    /// Turns over the partitions for records without a key.
    keyless: i32,
}

impl Transaction {
    fn add(&mut self, topic: &str, records: &[Record]) -> Result<()> {
        let model = self.inner.model();
        let state = model
            .topics
            .get(topic)
            .ok_or_else(|| no_partition(topic, 0))?;
        let partitions = state.ranges.len() as i32;
        self.keyless = self.keyless.wrapping_add(1).rem_euclid(partitions);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_millis() as i64);
        for record in records {
            check_size(topic, record)?;
            let partition = record
                .key
                .as_ref()
                .map_or(self.keyless, |key| partition_of(key, partitions));
            let builder = self.builders.entry((state.row, partition)).or_default();
            let before = builder.len();
            builder.push(
                record,
                if record.timestamp_ms > 0 {
                    record.timestamp_ms
                } else {
                    now
                },
            );
            self.open_bytes += builder.len() - before;
            if builder.len() >= BLOCK_BYTES {
                self.seal((state.row, partition))?;
            }
            if self.open_bytes >= OPEN_BYTES {
                self.seal_all()?;
            }
            if self.sealed_bytes >= SEALED_BYTES {
                self.stage()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, position: Option<(String, Position)>) -> Result<()> {
        self.seal_all()?;
        self.settle()?;
        let blocks = std::mem::take(&mut self.sealed);
        self.sealed_bytes = 0;
        if blocks.is_empty() && position.is_none() && !self.has_staged {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let holder = self.holder.clone();
        self.inner.send(Command::Commit {
            holder,
            blocks,
            position,
            reply,
        })?;
        answer.blocking_recv().map_err(|_| super::no_answer())??;
        self.has_staged = false;
        Ok(())
    }

    fn forget(&mut self) {
        self.builders.clear();
        self.sealed.clear();
        (self.open_bytes, self.sealed_bytes, self.failed) = (0, 0, false);
        // What is on its way reaches the writer before the command that forgets it.
        self.staging = None;
        if std::mem::take(&mut self.has_staged) {
            let holder = self.holder.clone();
            // A stopped writer has nothing to forget: the next start sweeps.
            self.inner.send(Command::Abort { holder }).ok();
        }
    }

    fn stage(&mut self) -> Result<()> {
        self.settle()?;
        let blocks = std::mem::take(&mut self.sealed);
        self.sealed_bytes = 0;
        let (reply, answer) = oneshot::channel();
        let holder = self.holder.clone();
        self.inner.send(Command::Stage {
            holder,
            blocks,
            reply,
        })?;
        self.staging = Some(answer);
        self.has_staged = true;
        Ok(())
    }

    /// Waits for the staging on its way.
    fn settle(&mut self) -> Result<()> {
        match self.staging.take() {
            Some(answer) => answer.blocking_recv().map_err(|_| super::no_answer())?,
            None => Ok(()),
        }
    }

    fn seal(&mut self, place: (i64, i32)) -> Result<()> {
        let Some(builder) = self.builders.get_mut(&place) else {
            return Ok(());
        };
        let bytes = builder.len();
        if let Some(block) = builder.seal(&mut self.compressor.0)? {
            self.open_bytes -= bytes;
            self.sealed_bytes += block.payload.len();
            self.sealed.push(Placed {
                topic: place.0,
                partition: place.1,
                block,
            });
        }
        Ok(())
    }

    fn seal_all(&mut self) -> Result<()> {
        for place in self.builders.keys().copied().collect::<Vec<_>>() {
            self.seal(place)?;
        }
        // The buffers of partitions that grow no more would add up.
        self.builders.clear();
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.forget();
    }
}

/// zstd's context, which does not print itself.
struct Zstd(Compressor<'static>);

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zstd(..)")
    }
}
