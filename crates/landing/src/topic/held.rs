//! What one topic holds back between two commits.

use std::{collections::BTreeMap, time::Instant};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int32Type,
};
use bus::Delivered;
use contract::{PARTITION, header};
use telemetry::{SPANS, Traceparent};
use tracing::{Span, field::Empty};

use crate::{Error, Result, coordinates::header_text};

/// The most transactions that a commit's span points to: as many links as a span may have.
const MOST_LINKS: usize = 128;

/// What was read and is not committed yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) good: Vec<RecordBatch>,
    pub(super) refused: Vec<RecordBatch>,
    /// Records read, whatever became of them.
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) since: Option<Instant>,
    /// Milliseconds since 1970 of the oldest record of each partition.
    pub(super) oldest: BTreeMap<i32, i64>,
    /// The same of the newest of all.
    pub(super) newest: Option<i64>,
    /// The transactions that the records came in, as their headers name them.
    transactions: Vec<String>,
}

impl Held {
    /// Remembers when `records` were made, and by which transactions.
    pub(super) fn note(&mut self, records: &[Delivered]) {
        for record in records {
            let at = record.record.timestamp_ms;
            let oldest = self.oldest.entry(record.partition).or_insert(at);
            *oldest = at.min(*oldest);
            self.newest = self.newest.max(Some(at));
            let Some(transaction) = header_text(record, header::TRACE) else {
                continue;
            };
            // Records of a transaction stand together.
            if self.transactions.last().map(String::as_str) != Some(transaction)
                && self.transactions.len() < MOST_LINKS
                && !self.transactions.iter().any(|it| it == transaction)
            {
                self.transactions.push(transaction.to_owned());
            }
        }
    }

    /// The span of the commit that lands all this: below the first transaction, and pointing to the others.
    pub(super) fn span(&self, topic: &str, table: &str) -> Span {
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            "commit",
            topic,
            table,
            rows = Empty,
            quarantined = Empty,
            version = Empty,
        );
        let transactions = self.transactions.iter();
        let mut places = transactions.filter_map(|it| Traceparent::parse(it));
        if let Some(first) = places.next() {
            first.continue_in(&span);
        }
        places.for_each(|other| other.link_from(&span));
        span
    }

    pub(super) fn drop_partition(&mut self, topic: &str, partition: i32) -> Result<()> {
        self.oldest.remove(&partition);
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
