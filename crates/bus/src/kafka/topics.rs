//! Making topics, and knowing one incarnation of a topic from the next.
//!
//! An identity is a UUID in `pejl._topics`, beside the id that Kafka gave the topic: with another id it is another topic, whoever made it. Whoever
//! makes topics holds the transactional id `_topics`: a second maker fences the first, who then starts over and finds what the second made.
//!
//! Limit: brokers before 2.8 give no ids. A topic deleted and made again there by someone else keeps its identity.

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
    native::Described,
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

/// How many of Kafka's ids of one name are kept.
const IDS: usize = 8;

/// How often making a topic is tried, as long as the brokers answer in time.
const TRIES: u32 = 10;

/// Makes the topics the log itself needs.
pub(super) async fn ensure_internal(inner: &Arc<Inner>) -> Result<()> {
    let present = inner.blocking(|inner| inner.partition_counts()).await?;
    for name in [POSITIONS, TOPICS, ORDERS, REPORTS] {
        if !present.contains_key(name) {
            create(inner, name, 1, &COMPACTED, false).await?;
            wait_for(inner, name, &[]).await?;
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
    Ok(wait_for(inner, name, &[]).await?.partitions)
}

/// The topic, made if there is none.
pub(super) async fn ensure(inner: &Arc<Inner>, name: &str, partitions: i32) -> Result<Topic> {
    if let (Some(described), Some(entry)) = find(inner, name).await?
        && entry.is_of(&described)
    {
        return Ok(entry.topic(name, &described));
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
    let prefix = prefix.to_owned();
    let described = inner.blocking(move |inner| {
        let mut names: Vec<_> = inner.partition_counts()?.into_keys().collect();
        names.retain(|name| {
            name.starts_with(&prefix) && !name.starts_with(INTERNAL) && !name.starts_with("__")
        });
        inner.describe(&names)
    });
    let described = described.await?;
    let entries = inner.topics.read(inner).await?;
    let mut topics = Vec::new();
    for (name, described) in described {
        let entry = entries.get(&name).map(|text| Entry::parse(text));
        topics.push(match entry.filter(|entry| entry.is_of(&described)) {
            Some(entry) => entry.topic(&name, &described),
            // Made by someone else.
            None => ensure(inner, &name, described.partitions).await?,
        });
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// What the brokers and `pejl._topics` know of a topic.
async fn find(inner: &Arc<Inner>, name: &str) -> Result<(Option<Described>, Option<Entry>)> {
    let names = [name.to_owned()];
    let described = inner.blocking(move |inner| inner.describe(&names)).await?;
    let entries = inner.topics.read(inner).await?;
    let entry = entries.get(name).map(|text| Entry::parse(text));
    Ok((described.get(name).cloned(), entry))
}

async fn make(inner: &Arc<Inner>, name: &str, partitions: i32) -> Result<Topic> {
    let mut maker = KafkaProducer::open(Arc::clone(inner), "_topics").await?;
    // Read again: only from here on can nobody else change it.
    let (described, mut entry) = find(inner, name).await?;
    // A broker's list may lag; the controller knows.
    let made = described.is_none()
        && (entry.is_none() || create(inner, name, partitions, &KEPT, true).await? == Created::Now);
    if made {
        // Were this the end of the process, the new topic would be taken for the one before.
        if entry.as_ref().is_some_and(|entry| entry.ids.is_empty()) {
            maker.put(TOPICS, name, None).await?;
            entry = None;
        }
        let max_bytes = max_message_bytes();
        let mut settings = KEPT.to_vec();
        settings.push(("max.message.bytes", &max_bytes));
        create(inner, name, partitions, &settings, false).await?;
    }
    let gone = entry.as_ref().map_or(&[][..], |entry| match made {
        true => &entry.ids,
        false => entry.ids.get(1..).unwrap_or_default(),
    });
    let described = wait_for(inner, name, gone).await?;
    let entry = match entry {
        Some(entry) if !made && entry.is_of(&described) => {
            return Ok(entry.topic(name, &described));
        }
        // Its id was not known so far.
        Some(entry) if !made && entry.ids.is_empty() => Entry {
            ids: described.id.clone().into_iter().collect(),
            ..entry
        },
        former => {
            let former = former.into_iter().flat_map(|entry| entry.ids);
            let ids = described.id.clone().into_iter().chain(former);
            Entry {
                identity: Uuid::new_v4().to_string(),
                ids: ids.take(IDS).collect(),
            }
        }
    };
    maker.put(TOPICS, name, Some(&entry.text())).await?;
    Ok(entry.topic(name, &described))
}

/// What `pejl._topics` holds of a topic, as words: its identity, Kafka's id of it, and Kafka's ids of those that had the name before.
///
/// The former ones tell a broker that lags behind from one more new topic.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    identity: String,
    ids: Vec<String>,
}

impl Entry {
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ').map(str::to_owned);
        Self {
            identity: words.next().unwrap_or_default(),
            ids: words.collect(),
        }
    }

    fn text(&self) -> String {
        let ids = self.ids.iter().map(String::as_str);
        let words: Vec<_> = std::iter::once(self.identity.as_str()).chain(ids).collect();
        words.join(" ")
    }

    fn is_of(&self, described: &Described) -> bool {
        described.id.is_none() || self.ids.first() == described.id.as_ref()
    }

    fn topic(&self, name: &str, described: &Described) -> Topic {
        Topic {
            name: name.to_owned(),
            id: self.identity.clone(),
            partitions: described.partitions,
        }
    }
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

/// Waits until the brokers know the topic, and not as one of those that are `gone`.
async fn wait_for(inner: &Arc<Inner>, name: &str, gone: &[String]) -> Result<Described> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let wanted = name.to_owned();
        let described = inner.blocking(move |inner| {
            let listed = inner.partition_counts()?.contains_key(&wanted);
            let described = inner
                .describe(std::slice::from_ref(&wanted))?
                .remove(&wanted);
            Ok(described.filter(|_| listed))
        });
        let is_there = |described: &Described| {
            let id = described.id.as_ref();
            described.partitions > 0 && !id.is_some_and(|id| gone.contains(id))
        };
        if let Some(described) = described.await?.filter(is_there) {
            return Ok(described);
        }
        if Instant::now() > deadline {
            return Err(Error::Unavailable(format!(
                "topic `{name}` was made but the brokers do not list it"
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
