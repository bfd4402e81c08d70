//! Kafka settings turned into client configurations, and Kafka errors into ours.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::KafkaError,
    message::{DeliveryResult, Message as _},
    producer::ProducerContext,
    types::RDKafkaErrorCode as Code,
};

use crate::{Error, MAX_RECORD_BYTES, Result};

/// How to reach Kafka.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port,host:port`.
    pub bootstrap_servers: String,
    /// Passed to librdkafka as they are: `security.protocol`, `sasl.username`, ... Those that hold the promises of the log are refused.
    pub properties: BTreeMap<String, String>,
    /// Stands before every topic name and transactional id, so that several installations can share a cluster. May be empty.
    pub prefix: String,
    /// Replicas of topics that the log makes; zero leaves it to the brokers.
    pub replication_factor: i32,
}

/// Values may be passwords.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("prefix", &self.prefix)
            .field("replication_factor", &self.replication_factor)
            .finish()
    }
}

/// Properties that users may not set, because the log's promises rest on them.
const RESERVED: [&str; 13] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "isolation.level",
    "enable.auto.commit",
    "auto.offset.reset",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "partition.assignment.strategy",
];

impl KafkaSettings {
    /// Refuses what cannot work before anything is connected.
    pub(super) fn check(&self) -> Result<()> {
        if self.bootstrap_servers.trim().is_empty() {
            return Err(Error::Settings(
                "no Kafka brokers are named; give host:port,host:port".into(),
            ));
        }
        match self
            .properties
            .keys()
            .find(|key| RESERVED.contains(&key.as_str()))
        {
            Some(key) => Err(Error::Settings(format!(
                "Kafka property `{key}` is set by Pejl; remove it"
            ))),
            None => Ok(()),
        }
    }

    /// A client that only asks and manages. Nobody reads its messages, so it makes none.
    pub(super) fn quiet_client(&self, isolation: &str) -> ClientConfig {
        let mut config = self.base(&[]);
        config
            .set("isolation.level", isolation)
            .set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    /// A read-committed consumer. librdkafka wants a group id even where no group is joined.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.base(&[
            ("group.id", "pejl"),
            // Bounds what a lander holds ahead of its own buffers (the defaults are 64 MiB and 100 000 messages a partition).
            ("queued.max.messages.kbytes", "16384"),
            ("queued.min.messages", "20000"),
            // After a full queue the default waits a second, in which a fast reader runs dry.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.wait.max.ms", "100"),
        ]);
        config
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error");
        config
    }

    /// A member of a group that shares work. It reads nothing.
    pub(super) fn member(&self, group: &str, member: &str) -> ClientConfig {
        let mut config = self.base(&[
            // Work of a process that died waits this long. The brokers' least is 6 s by default.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
        ]);
        config
            .set("group.id", format!("{}pejl-{group}", self.prefix))
            .set("group.instance.id", member)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest");
        config
    }

    /// A producer of single records, each on its own.
    pub(super) fn poster(&self) -> ClientConfig {
        // Somebody waits for it; the default is five minutes.
        let mut config = self.base(&[("message.timeout.ms", "15000")]);
        config.set("enable.idempotence", "true").set("acks", "all");
        config
    }

    /// The transactional producer of `task`.
    pub(super) fn producer(&self, task: &str) -> ClientConfig {
        let mut config = self.base(&[
            ("compression.type", "lz4"),
            ("linger.ms", "5"),
            ("queue.buffering.max.kbytes", "65536"),
            // A producer that dies holds readers back for this long, unless its task is opened again.
            ("transaction.timeout.ms", "60000"),
        ]);
        config
            .set("transactional.id", format!("pejl-{}{task}", self.prefix))
            .set("enable.idempotence", "true")
            .set("acks", "all");
        config
    }

    fn base(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "pejl")
            .set("message.max.bytes", max_message_bytes());
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

/// The largest record and what Kafka puts around it.
pub(super) fn max_message_bytes() -> String {
    (MAX_RECORD_BYTES + (64 << 10)).to_string()
}

/// Takes librdkafka's callbacks: its log becomes ours, and what happened to messages is remembered.
#[derive(Debug, Default)]
pub(super) struct Context {
    delivered: Mutex<Deliveries>,
    /// Why brokers and client do not accept each other, as last heard of.
    refused: Mutex<Option<String>>,
}

/// What became of a transaction's messages.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Why the first lost message was lost.
    pub(super) lost: Option<KafkaError>,
    /// First offset in each partition, by the topic's name in the cluster.
    pub(super) first: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Context {
    /// What happened since the last call.
    pub(super) fn take(&self) -> Deliveries {
        std::mem::take(
            &mut self
                .delivered
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Why no connection comes about, where that is known: a wrong password, an unknown certificate.
    pub(super) fn refused(&self) -> Option<String> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // About settings meant for the other kind of client.
            _ if facility == "CONFWARN" => tracing::debug!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::info!(facility, message, "librdkafka")
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
            _ => tracing::warn!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "librdkafka");
        let settings = match code(&error) {
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                "sasl.mechanism, sasl.username and sasl.password"
            }
            Some(Code::SSL) => "security.protocol and ssl.ca.location",
            _ => return,
        };
        let refused = format!("{reason}; check {settings} under [log.properties]");
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(refused);
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut delivered = self
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                // Reports come in offset order within a partition.
                let partitions = match delivered.first.get_mut(message.topic()) {
                    Some(partitions) => partitions,
                    None => delivered
                        .first
                        .entry(message.topic().to_owned())
                        .or_default(),
                };
                partitions
                    .entry(message.partition())
                    .or_insert(message.offset());
            }
            Err((error, _)) => {
                delivered.lost.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// What went wrong, doing `what`.
pub(super) fn failed(what: &str, err: &KafkaError) -> Error {
    match err {
        // Its own text would show the value, which may be a password.
        KafkaError::ClientConfig(_, reason, key, value) => {
            let reason = if value.is_empty() {
                reason.clone()
            } else {
                reason.replace(value.as_str(), "...")
            };
            Error::Settings(format!("Kafka property `{key}`: {reason}"))
        }
        KafkaError::ClientCreation(reason) => Error::Settings(format!("{what}: {reason}")),
        _ => match code(err) {
            Some(
                Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed,
            ) => Error::Settings(format!(
                "{what}: {err}; check the Kafka user and its rights"
            )),
            Some(Code::InvalidReplicationFactor | Code::InvalidConfig | Code::PolicyViolation) => {
                Error::Settings(format!(
                    "{what}: {err}; check the replication factor and what the brokers allow"
                ))
            }
            _ => Error::Unavailable(format!("{what}: {err}")),
        },
    }
}

/// The code of an error, those of admin requests included.
fn code(err: &KafkaError) -> Option<Code> {
    match err {
        KafkaError::AdminOp(code) => Some(*code),
        _ => err.rdkafka_error_code(),
    }
}

/// Whether another producer with the same transactional id has taken over.
pub(super) fn is_fenced(err: &KafkaError) -> bool {
    matches!(
        code(err),
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
    )
}

/// Whether librdkafka mends this by itself; consumers wait on.
pub(super) fn is_passing(err: &KafkaError) -> bool {
    matches!(
        code(err),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::FencedLeaderEpoch
                // The broker has not heard yet of the leader that the client knows.
                | Code::UnknownLeaderEpoch
        )
    )
}

/// Whether a topic that was just made gives this for a moment.
pub(super) fn is_settling(err: &KafkaError) -> bool {
    let unknown = [
        Code::UnknownTopicOrPartition,
        Code::UnknownPartition,
        Code::UnknownTopic,
    ];
    is_passing(err) || code(err).is_some_and(|code| unknown.contains(&code))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use rdkafka::{consumer::BaseConsumer, producer::BaseProducer};

    use super::*;

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: "localhost:1".into(),
            properties: properties
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            ..KafkaSettings::default()
        }
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_set() {
        for key in RESERVED {
            let refused = settings(&[(key, "x")]).check().unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
        assert!(
            settings(&[("transaction.timeout.ms", "900000")])
                .check()
                .is_ok()
        );
        assert!(KafkaSettings::default().check().is_err());
    }

    #[test]
    fn librdkafka_takes_our_settings() {
        let settings = settings(&[
            ("transaction.timeout.ms", "900000"),
            ("fetch.wait.max.ms", "10"),
        ]);
        settings
            .consumer()
            .create_with_context::<_, BaseConsumer<_>>(Context::default())
            .unwrap();
        settings
            .producer("t")
            .create_with_context::<_, BaseProducer<_>>(Context::default())
            .unwrap();
        assert_eq!(
            settings.producer("t").get("transaction.timeout.ms"),
            Some("900000")
        );
    }

    #[test]
    fn secrets_stay_out_of_text() {
        let settings = settings(&[("sasl.password", "hemmelig"), ("linger.ms", "hemmelig2")]);
        assert!(!format!("{settings:?}").contains("hemmelig"));
        let created = settings
            .producer("t")
            .create_with_context::<_, BaseProducer<_>>(Context::default());
        let text = failed("connecting", &created.err().unwrap()).to_string();
        assert!(
            text.contains("linger.ms") && !text.contains("hemmelig"),
            "{text}"
        );
    }
}
