//! Making topics, and knowing one incarnation of a topic from the next.
//!
//! An identity is a UUID in `pejl._topics`, taken back before a deleted topic is made again. Whoever makes topics holds the transactional id
//! `_topics`: a second maker fences the first, who then starts over and finds what the second made.
//!
//! Limit: a topic deleted *and made again* by someone else keeps its identity. Readers then fail with `OutOfRange` until it outgrows their offsets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use uuid::Uuid;

use super::{
    INTERNAL, Inner, ORDERS, PATIENCE, POSITIONS, REPORTS, TOPICS,
    client::{failed, max_message_bytes},
    producer::KafkaProducer,
};
use crate::{Error, Result, Topic, check_topic};

/// Keeps everything until `trim`: what is not landed yet must not expire.
const KEPT: [(&str, &str); 3] = [("cleanup.policy", "delete"), ("retention.ms", "-1"), FUTURE];

/// Record times may lie ahead; brokers since 4.0 refuse more than an hour, those before 3.6 do not know the setting.
const FUTURE: (&str, &str) = ("message.timestamp.after.max.ms", "9223372036854775807");

/// Small segments, so that the compactor gets to work: these topics are read from the start.
const COMPACTED: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// How often making a topic is tried, as long as the brokers answer in time.
const TRIES: u32 = 10;

/// Makes the topics the log itself needs.
pub(super) async fn ensure_internal(inner: &Arc<Inner>) -> Result<()> {
    let present = inner.blocking(|inner| inner.partition_counts()).await?;
    for name in [POSITIONS, TOPICS, ORDERS, REPORTS] {
        if !present.contains_key(name) {
            create(inner, name, 1, &COMPACTED, false).await?;
            wait_for(inner, name).await?;
        }
    }
    Ok(())
}

/// Makes a topic of slots if there is none; how many it has.
pub(super) async fn ensure_slots(inner: &Arc<Inner>, name: &str, slots: i32) -> Result<i32> {
    check_topic(name, slots)?;
    let present = inner.blocking(|inner| inner.partition_counts()).await?;
    if let Some(slots) = present.get(name) {
        return Ok(*slots);
    }
    create(inner, name, slots, &[("cleanup.policy", "delete")], false).await?;
    wait_for(inner, name).await
}

/// The topic, made if there is none.
pub(super) async fn ensure(inner: &Arc<Inner>, name: &str, partitions: i32) -> Result<Topic> {
    if let Some(topic) = find(inner, name).await?.0 {
        return Ok(topic);
    }
    let _making = inner.making.lock().await;
    let deadline = Instant::now() + PATIENCE;
    let mut tries = 1;
    loop {
        match make(inner, name, partitions).await {
            // Brokers tell a maker that is being fenced so, or that they know not what: its commit counts or it does not.
            Err(err @ (Error::Fenced(_) | Error::Unavailable(_)))
                if tries < TRIES && Instant::now() < deadline =>
            {
                tracing::debug!(topic = name, %err, "making a topic starts over");
                tries += 1;
            }
            Err(Error::Fenced(_)) => {
                return Err(Error::Unavailable(format!(
                    "topic `{name}`: other processes kept interrupting; try again"
                )));
            }
            other => return other,
        }
    }
}

/// Topics by name, without the internal ones.
pub(super) async fn list(inner: &Arc<Inner>, prefix: &str) -> Result<Vec<Topic>> {
    let present = inner.blocking(|inner| inner.partition_counts()).await?;
    let ids = inner.topics.read(inner).await?;
    let mut topics = Vec::new();
    for (name, partitions) in present {
        if !name.starts_with(prefix) || name.starts_with(INTERNAL) || name.starts_with("__") {
            continue;
        }
        topics.push(match ids.get(&name) {
            Some(id) => Topic {
                name,
                id: id.clone(),
                partitions,
            },
            // Made by someone else.
            None => ensure(inner, &name, partitions).await?,
        });
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// The topic if it is there and has an identity, and else whether there is a topic, and an identity.
async fn find(inner: &Arc<Inner>, name: &str) -> Result<(Option<Topic>, bool, bool)> {
    let present = inner.blocking(|inner| inner.partition_counts()).await?;
    let ids = inner.topics.read(inner).await?;
    let (partitions, id) = (present.get(name), ids.get(name));
    let topic = partitions.zip(id).map(|(partitions, id)| Topic {
        name: name.to_owned(),
        id: id.clone(),
        partitions: *partitions,
    });
    Ok((topic, partitions.is_some(), id.is_some()))
}

async fn make(inner: &Arc<Inner>, name: &str, partitions: i32) -> Result<Topic> {
    let mut maker = KafkaProducer::open(Arc::clone(inner), "_topics").await?;
    // Read again: only from here on can nobody else change it.
    let (topic, mut present, identified) = find(inner, name).await?;
    if let Some(topic) = topic {
        return Ok(topic);
    }
    if !present && identified {
        // A broker's list may lag; the controller knows.
        present = create(inner, name, partitions, &KEPT, true).await? == Created::Before;
        if !present {
            maker.put(TOPICS, name, None).await?;
        }
    }
    if !present {
        let max_bytes = max_message_bytes();
        let mut settings = KEPT.to_vec();
        settings.push(("max.message.bytes", &max_bytes));
        create(inner, name, partitions, &settings, false).await?;
    }
    let partitions = wait_for(inner, name).await?;
    if let Some(id) = inner.topics.read(inner).await?.get(name) {
        return Ok(Topic {
            name: name.to_owned(),
            id: id.clone(),
            partitions,
        });
    }
    let id = Uuid::new_v4().to_string();
    maker.put(TOPICS, name, Some(&id)).await?;
    Ok(Topic {
        name: name.to_owned(),
        id,
        partitions,
    })
}

#[derive(PartialEq, Eq)]
enum Created {
    Now,
    Before,
}

async fn create(
    inner: &Inner,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
    only_ask: bool,
) -> Result<Created> {
    let physical = inner.physical(name);
    // Kafka reads -1 as the default of its brokers.
    let replicas = if inner.settings.replication_factor > 0 {
        inner.settings.replication_factor
    } else {
        -1
    };
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
        .validate_only(only_ask);
    let what = format!("making topic `{physical}`");
    for may_lie_ahead in [true, false] {
        let mut topic = NewTopic::new(&physical, partitions, TopicReplication::Fixed(replicas));
        topic.config = settings
            .iter()
            .copied()
            .filter(|setting| may_lie_ahead || *setting != FUTURE)
            .collect();
        let results = inner
            .admin
            .create_topics([&topic], &options)
            .await
            .map_err(|err| failed(&what, &err))?;
        match results.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => return Ok(Created::Before),
            Some(Err((_, Code::InvalidConfig))) if may_lie_ahead => {}
            Some(Err((_, code))) => return Err(failed(&what, &KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => break,
        }
    }
    Ok(Created::Now)
}

/// Waits until the brokers list the topic; tells its partitions.
async fn wait_for(inner: &Arc<Inner>, name: &str) -> Result<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let present = inner.blocking(|inner| inner.partition_counts()).await?;
        if let Some(partitions) = present.get(name).filter(|partitions| **partitions > 0) {
            return Ok(*partitions);
        }
        if Instant::now() > deadline {
            return Err(Error::Unavailable(format!(
                "topic `{name}` was made but the brokers do not list it"
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
