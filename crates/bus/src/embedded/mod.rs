//! The log in one SQLite file of the data directory, for a single machine.
//!
//! One process owns the file; a writer thread puts what waits together into one durable commit, and every reader has a connection of its own.

mod block;
mod consumer;
mod file;
mod producer;
mod store;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use async_trait::async_trait;
use contract::Position;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    oneshot, watch,
};

use self::{
    consumer::EmbeddedConsumer,
    file::{LogFile, Model},
    producer::EmbeddedProducer,
    store::Store,
    writer::{Command, Reply, Writer},
};
use crate::{
    Assignment, Board, Consumer, Error, Group, Log, Membership, Producer, Range, Result, Topic,
    check_topic,
};

/// The embedded log. Clones share it; the file is free for others when the last clone, producer and consumer are gone.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

impl EmbeddedLog {
    /// Opens the log in `directory`, making both if needed. [`Error::Settings`] names the process that has it open already.
    pub async fn open(directory: &Path) -> Result<Self> {
        let directory = directory.to_owned();
        let inner = blocking(move || Inner::start(LogFile::open(&directory)?)).await?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn ensure_topic(&self, name: &str, partitions: i32) -> Result<Topic> {
        check_topic(name, partitions)?;
        if let Some(topic) = self.inner.model().topics.get(name) {
            return Ok(topic.describe(name));
        }
        let name = name.to_owned();
        self.inner
            .ask(|reply| Command::CreateTopic {
                name,
                partitions,
                reply,
            })
            .await
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<Topic>> {
        let model = self.inner.model();
        let named = model
            .topics
            .iter()
            .filter(|(name, _)| name.starts_with(prefix));
        Ok(named.map(|(name, topic)| topic.describe(name)).collect())
    }

    async fn range(&self, topic: &str, partition: i32) -> Result<Range> {
        range_in(&self.inner.model(), topic, partition)
    }

    async fn producer(&self, task: &str) -> Result<Box<dyn Producer>> {
        let task = task.to_owned();
        let holder = self
            .inner
            .ask(|reply| Command::Open { task, reply })
            .await?;
        Ok(Box::new(EmbeddedProducer::new(
            Arc::clone(&self.inner),
            holder,
        )?))
    }

    async fn position(&self, source: &str) -> Result<Option<Position>> {
        Ok(self.inner.model().positions.get(source).cloned())
    }

    async fn positions(&self) -> Result<Vec<(String, Position)>> {
        let model = self.inner.model();
        Ok(model
            .positions
            .iter()
            .map(|(source, at)| (source.clone(), at.clone()))
            .collect())
    }

    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>> {
        let consumer = EmbeddedConsumer::open(Arc::clone(&self.inner), assignments).await?;
        Ok(Box::new(consumer))
    }

    async fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let topic = topic.to_owned();
        self.inner
            .ask(|reply| Command::Trim {
                topic,
                partition,
                before,
                reply,
            })
            .await
    }

    async fn board(&self, board: Board) -> Result<BTreeMap<String, String>> {
        let model = self.inner.model();
        Ok(model.boards.get(board.name()).cloned().unwrap_or_default())
    }

    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> Result<()> {
        let (key, text) = (key.to_owned(), text.map(str::to_owned));
        self.inner
            .ask(|reply| Command::Post {
                board: board.name(),
                key,
                text,
                reply,
            })
            .await
    }

    async fn join(&self, _group: Group, _member: &str) -> Result<Box<dyn Membership>> {
        Ok(Box::new(Alone {
            slots: watch::Sender::new((0..Group::SLOTS).collect()),
        }))
    }
}

/// One process owns the file, so all the work is its own.
#[derive(Debug)]
struct Alone {
    slots: watch::Sender<BTreeSet<u32>>,
}

#[async_trait]
impl Membership for Alone {
    fn count(&self) -> u32 {
        self.slots.borrow().len() as u32
    }

    fn slots(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.slots.subscribe()
    }

    async fn confirm(&self, slot: u32) -> Result<bool> {
        Ok(self.slots.borrow().contains(&slot))
    }

    async fn lost(&self) -> Error {
        std::future::pending().await
    }
}

/// What clones, producers and consumers share.
#[derive(Debug)]
struct Inner {
    path: PathBuf,
    model: watch::Receiver<Arc<Model>>,
    /// `None` only while being dropped.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Inner {
    fn start(file: LogFile) -> Result<Self> {
        let path = file.path.clone();
        let store = Store::new(file)?;
        let model = store.published.subscribe();
        let (commands, received) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("log writer".into())
            .spawn(move || Writer::new(store).run(received))
            .map_err(|err| Error::Unavailable(format!("the log's thread cannot start: {err}")))?;
        Ok(Self {
            path,
            model,
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// What is committed now.
    fn model(&self) -> Arc<Model> {
        Arc::clone(&self.model.borrow())
    }

    fn send(&self, command: Command) -> Result<()> {
        let sent = self
            .commands
            .as_ref()
            .map(|commands| commands.send(command));
        sent.and_then(std::result::Result::ok).ok_or_else(no_answer)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| no_answer())?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        // Waits for the last commit, so that the file is closed when the log is gone.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread had died");
        }
    }
}

fn range_in(model: &Model, topic: &str, partition: i32) -> Result<Range> {
    let index = usize::try_from(partition).ok();
    let found = model
        .topics
        .get(topic)
        .and_then(|topic| topic.ranges.get(index?));
    found.copied().ok_or_else(|| no_partition(topic, partition))
}

fn no_partition(topic: &str, partition: i32) -> Error {
    Error::Settings(format!(
        "there is no partition {topic}/{partition}; topics are made by `ensure_topic`"
    ))
}

fn no_answer() -> Error {
    Error::Unavailable("the log gave no answer; its messages before this one say why".into())
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| Error::Unavailable(format!("work on the log was interrupted: {err}")))?
}
