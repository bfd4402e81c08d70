//! What one topic holds back between two commits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use arrow::array::RecordBatch;
use bus::Delivered;
use contract::header;
use telemetry::{SPANS, Traceparent};
use tracing::{Span, field::Empty};

use crate::coordinates::header_text;

/// The most transactions that a commit's span points to: as many links as a span may have.
const MOST_LINKS: usize = 128;

/// What was read and is not committed yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) good: Vec<RecordBatch>,
    pub(super) refused: Vec<RecordBatch>,
    /// Records read, whatever became of them.
    pub(super) records: usize,
    pub(super) bytes: Bytes,
    pub(super) since: Option<Instant>,
    /// Milliseconds since 1970 of the oldest record of each partition.
    pub(super) oldest: BTreeMap<i32, i64>,
    /// The same of the newest of all.
    pub(super) newest: Option<i64>,
    /// The transactions that the records came in, as their headers name them.
    transactions: Vec<String>,
}

impl Held {
    /// Nothing yet; what comes counts towards `bytes`.
    pub(super) fn counting(bytes: &Arc<AtomicUsize>) -> Self {
        Self {
            bytes: Bytes::of(bytes),
            ..Self::default()
        }
    }

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
}

/// Bytes held back, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    all: Arc<AtomicUsize>,
    ours: usize,
}

impl Bytes {
    /// Counts towards `all`.
    pub(super) fn of(all: &Arc<AtomicUsize>) -> Self {
        Self {
            all: Arc::clone(all),
            ours: 0,
        }
    }

    /// Counts towards others from now on.
    pub(super) fn count_towards(&mut self, all: &Arc<AtomicUsize>) {
        let mut there = Self::of(all);
        there.add(self.ours);
        *self = there;
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.ours += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.ours, Ordering::Relaxed);
    }
}
