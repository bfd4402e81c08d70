//! A log that counts what is read from it, and whose topics may not be the ones they were.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test code shared by several test crates"
)]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bus::{
    Assignment, Board, Consumer, Group, Log, Membership, Polled, Producer, Range, Result,
    SharedLog, Topic,
};
use contract::Position;
use futures::future::BoxFuture;

use crate::stage::{Stage, UNITS};

pub(crate) struct Watched {
    log: SharedLog,
    /// Whether the topic is deleted and made again once it has been opened.
    made_again: bool,
    /// Records handed out.
    pub(crate) polled: Arc<AtomicUsize>,
    /// Happens once records have been handed out for the first time.
    pub(crate) then: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl Watched {
    pub(crate) fn new(stage: &Stage, made_again: bool) -> Self {
        Self {
            log: Arc::clone(&stage.log),
            made_again,
            polled: Arc::default(),
            then: Arc::default(),
        }
    }
}

#[async_trait]
impl Log for Watched {
    async fn topics(&self, prefix: &str) -> Result<Vec<Topic>> {
        let mut topics = self.log.topics(prefix).await?;
        // The whole list is asked for at the start, single topics before each commit.
        if self.made_again && prefix == UNITS {
            topics
                .iter_mut()
                .for_each(|topic| topic.id = "another".to_owned());
        }
        Ok(topics)
    }

    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(Reading {
            consumer: self.log.consumer(assignments).await?,
            polled: Arc::clone(&self.polled),
            then: Arc::clone(&self.then),
        }))
    }

    async fn ensure_topic(&self, name: &str, partitions: i32) -> Result<Topic> {
        self.log.ensure_topic(name, partitions).await
    }

    async fn range(&self, topic: &str, partition: i32) -> Result<Range> {
        self.log.range(topic, partition).await
    }

    async fn producer(&self, task: &str) -> Result<Box<dyn Producer>> {
        self.log.producer(task).await
    }

    async fn position(&self, source: &str) -> Result<Option<Position>> {
        self.log.position(source).await
    }

    async fn positions(&self) -> Result<Vec<(String, Position)>> {
        self.log.positions().await
    }

    async fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        self.log.trim(topic, partition, before).await
    }

    async fn board(&self, board: Board) -> Result<BTreeMap<String, String>> {
        self.log.board(board).await
    }

    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> Result<()> {
        self.log.post(board, key, text).await
    }

    async fn join(&self, group: Group, member: &str) -> Result<Box<dyn Membership>> {
        self.log.join(group, member).await
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

struct Reading {
    consumer: Box<dyn Consumer>,
    polled: Arc<AtomicUsize>,
    then: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

#[async_trait]
impl Consumer for Reading {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Polled>> {
        let polled = self.consumer.poll(max, wait).await?;
        let then = self.then.lock().unwrap().take();
        match then {
            Some(then) if !polled.is_empty() => then.await,
            then => *self.then.lock().unwrap() = then,
        }
        let count = polled.iter().map(|polled| polled.records.len()).sum();
        self.polled.fetch_add(count, Ordering::Relaxed);
        Ok(polled)
    }

    fn position(&self, topic: &str, partition: i32) -> Result<i64> {
        self.consumer.position(topic, partition)
    }
}
