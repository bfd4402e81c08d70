//! Sharing work: a consumer group on a topic whose partitions are the slots and which never holds a record.
//!
//! The group has static members, so that a process restarted under its name within the session timeout is given what it had, and
//! cooperative assignment, so that what stays with a process is not interrupted when others come and go.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::watch;

use super::{
    Inner,
    client::{Context, failed, is_passing},
    topics,
};
use crate::{Error, Group, Membership, Result};

/// How long a slot's confirmation may wait for a rebalance to end.
const SETTLED: Duration = Duration::from_secs(30);

/// How often the thread that keeps the membership looks up from waiting.
const STEP: Duration = Duration::from_millis(100);

/// This process in a group. Its thread ends soon after it is dropped.
pub(super) struct Member {
    inner: Arc<Inner>,
    consumer: Arc<BaseConsumer<MemberContext>>,
    topic: String,
    count: u32,
    left: Arc<AtomicBool>,
}

impl Member {
    pub(super) async fn join(inner: Arc<Inner>, group: Group, member: &str) -> Result<Self> {
        let group = group.name();
        let name = format!("pejl._slots.{group}");
        let count = topics::ensure_slots(&inner, &name, Group::SLOTS.cast_signed()).await?;
        let topic = inner.physical(&name);
        let config = inner.settings.member(group, member);
        let what = format!("joining `{group}` as `{member}`");
        let left = Arc::new(AtomicBool::new(false));
        let context = MemberContext {
            plain: Context::default(),
            topic: topic.clone(),
            slots: watch::Sender::default(),
            lost: watch::Sender::default(),
        };
        let consumer: BaseConsumer<MemberContext> = config
            .create_with_context(context)
            .map_err(|err| failed(&what, &err))?;
        consumer
            .subscribe(&[&topic])
            .map_err(|err| failed(&what, &err))?;
        let consumer = Arc::new(consumer);
        let keeping = Keeping {
            consumer: Arc::clone(&consumer),
            left: Arc::clone(&left),
            name: format!("`{member}` of `{group}`"),
        };
        std::thread::Builder::new()
            .name(format!("member {group}"))
            .spawn(move || keeping.run())
            .map_err(|err| Error::Unavailable(format!("{what}: {err}")))?;
        Ok(Self {
            inner,
            consumer,
            topic,
            count: count.unsigned_abs(),
            left,
        })
    }
}

#[async_trait]
impl Membership for Member {
    fn count(&self) -> u32 {
        self.count
    }

    fn slots(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.consumer.context().slots.subscribe()
    }

    async fn confirm(&self, slot: u32) -> Result<bool> {
        if !self.consumer.context().slots.borrow().contains(&slot) {
            return Ok(false);
        }
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        self.inner
            .blocking(move |_| confirm(&consumer, &topic, slot))
            .await
    }

    async fn lost(&self) -> Error {
        let mut lost = self.consumer.context().lost.subscribe();
        loop {
            if let Some(loss) = lost.borrow_and_update().as_ref() {
                return loss.error();
            }
            if lost.changed().await.is_err() {
                // Its sender is held by this membership.
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("topic", &self.topic)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// A commit of the slot's offset: the coordinator takes it from a member of the present generation only.
fn confirm(consumer: &BaseConsumer<MemberContext>, topic: &str, slot: u32) -> Result<bool> {
    let what = "confirming a slot";
    let mut offset = TopicPartitionList::new();
    offset
        .add_partition_offset(topic, slot.cast_signed(), Offset::Offset(0))
        .map_err(|err| failed(what, &err))?;
    let deadline = Instant::now() + SETTLED;
    loop {
        let err = match consumer.commit(&offset, CommitMode::Sync) {
            // Meanwhile it may have been taken away in good order.
            Ok(()) => return Ok(consumer.context().slots.borrow().contains(&slot)),
            Err(err) => err,
        };
        match err.rdkafka_error_code() {
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
                | Code::Fatal
                | Code::AssignmentLost,
            ) => return Ok(false),
            _ if Instant::now() > deadline => return Err(failed(what, &err)),
            Some(Code::RebalanceInProgress) => {}
            _ if is_passing(&err) => {}
            _ => return Err(failed(what, &err)),
        }
        super::pause(Duration::from_millis(50));
    }
}

/// The thread that answers the coordinator: librdkafka hands out slots only to who polls.
struct Keeping {
    consumer: Arc<BaseConsumer<MemberContext>>,
    left: Arc<AtomicBool>,
    name: String,
}

impl Keeping {
    fn run(self) {
        while !self.left.load(Ordering::Acquire) {
            match self.consumer.poll(STEP) {
                None => {}
                Some(Ok(_)) => tracing::warn!(
                    member = self.name,
                    "a record in a topic of slots; nobody reads it"
                ),
                Some(Err(err)) => {
                    if let Some((code, reason)) = self.consumer.client().fatal_error() {
                        let loss = match code {
                            Code::FencedInstanceId => Loss::Replaced(self.name),
                            _ => Loss::Refused(format!("{}: {reason}", self.name)),
                        };
                        let context = self.consumer.context();
                        context.lose_all();
                        context.lost.send_replace(Some(loss));
                        return;
                    }
                    if !is_passing(&err) {
                        tracing::warn!(member = self.name, error = %err, "the group");
                    }
                }
            }
        }
    }
}

/// Why a process is out of its group for good.
enum Loss {
    Replaced(String),
    Refused(String),
}

impl Loss {
    fn error(&self) -> Error {
        match self {
            Self::Replaced(name) => Error::Settings(format!(
                "{name}: another process has joined under this name and has its work now; give each its own with [node] name or --name"
            )),
            Self::Refused(reason) => Error::Unavailable(format!("out of the group: {reason}")),
        }
    }
}

/// Takes the slots as the coordinator gives and takes them.
struct MemberContext {
    plain: Context,
    topic: String,
    slots: watch::Sender<BTreeSet<u32>>,
    lost: watch::Sender<Option<Loss>>,
}

impl MemberContext {
    fn change(&self, list: &TopicPartitionList, change: impl Fn(&mut BTreeSet<u32>, u32)) {
        let mut slots = self.slots.borrow().clone();
        for element in list.elements() {
            if element.topic() == self.topic {
                change(&mut slots, element.partition().unsigned_abs());
            }
        }
        self.slots.send_if_modified(|known| {
            let modified = *known != slots;
            *known = slots;
            modified
        });
    }

    fn lose_all(&self) {
        self.slots
            .send_if_modified(|slots| !std::mem::take(slots).is_empty());
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.plain.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.plain.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    /// Told before the coordinator hears that they are free.
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) => self.change(list, |slots, slot| {
                slots.remove(&slot);
            }),
            Rebalance::Error(err) => {
                tracing::warn!(error = %err, "a rebalance failed");
                self.lose_all();
            }
            Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            // Nothing is ever read: this saves the brokers being asked.
            if let Err(err) = consumer.pause(list) {
                tracing::debug!(error = %err, "slots are not paused");
            }
            self.change(list, |slots, slot| {
                slots.insert(slot);
            });
        }
    }
}
