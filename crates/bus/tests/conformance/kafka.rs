//! Kafka: where the suite keeps its log, and what only it promises.

use std::{io::Write, sync::Arc, sync::Once, time::Duration};

use async_trait::async_trait;
use bus::{Error, KafkaLog, KafkaSettings, Log, SharedLog};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::place::{DEADLINE, Place, position};

/// Topics of one test, apart from all others by their prefix.
pub(crate) struct Cluster(KafkaSettings);

/// The broker under test; `None`, said loudly, when there is none.
pub(crate) fn cluster() -> Option<Cluster> {
    static SKIPPED: Once = Once::new();
    let Some(address) = std::env::var("PEJL_TEST_KAFKA")
        .ok()
        .filter(|address| !address.is_empty())
    else {
        // Not `eprintln`, which the test harness keeps to itself when a test passes.
        SKIPPED.call_once(|| {
            let text = b"\nKAFKA HALF SKIPPED: PEJL_TEST_KAFKA is not set; tests/kafka-broker/broker.sh start gives host:port\n\n";
            std::io::stderr().write_all(text).unwrap();
        });
        return None;
    };
    Some(Cluster(KafkaSettings {
        bootstrap_servers: address,
        prefix: format!("{}.", uuid::Uuid::new_v4().simple()),
        ..KafkaSettings::default()
    }))
}

#[async_trait]
impl Place for Cluster {
    async fn open(&self) -> SharedLog {
        Arc::new(KafkaLog::connect(self.0.clone()).await.unwrap())
    }
}

impl Cluster {
    pub(crate) fn settings(&self) -> KafkaSettings {
        self.0.clone()
    }

    pub(crate) fn plain(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.0.bootstrap_servers);
        config
    }

    pub(crate) fn physical(&self, topic: &str) -> String {
        format!("{}{topic}", self.0.prefix)
    }

    fn admin(&self) -> (AdminClient<DefaultClientContext>, AdminOptions) {
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        (self.plain().create().unwrap(), options)
    }

    /// Makes a topic as another program would.
    pub(crate) async fn make(&self, topic: &str, partitions: i32) {
        let (admin, options) = self.admin();
        let topic = self.physical(topic);
        let topic = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics(&[topic], &options).await.unwrap();
        made[0].as_ref().unwrap();
    }

    pub(crate) async fn delete(&self, topic: &str) {
        let (admin, options) = self.admin();
        let topic = self.physical(topic);
        let deleted = admin.delete_topics(&[&topic], &options).await.unwrap();
        deleted[0].as_ref().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_making_the_same_topic_agree() {
    let Some(cluster) = cluster() else { return };
    let mut making = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let log = cluster.open().await;
        making.spawn(async move {
            let mut made = Vec::new();
            for n in 0..5 {
                made.push(log.ensure_topic(&format!("t{n}"), 2).await.unwrap());
            }
            made
        });
    }
    let made = making.join_all().await;
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "{made:#?}");
}

/// Another task's unfinished commit hides what was committed after it; an old position would double records.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_behind_an_open_transaction_is_waited_for() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    let mut producer = log.producer("task").await.unwrap();
    producer
        .commit(Some(("source", &position(1))))
        .await
        .unwrap();
    assert_eq!(log.position("source").await.unwrap(), Some(position(1)));

    let positions = cluster.physical("pejl._positions");
    let hanging: BaseProducer = cluster
        .plain()
        .set("transactional.id", &positions)
        .create()
        .unwrap();
    let hanging = tokio::task::spawn_blocking(move || {
        hanging.init_transactions(DEADLINE).unwrap();
        hanging.begin_transaction().unwrap();
        hanging
            .send(BaseRecord::to(&positions).key("hanging").payload("1"))
            .unwrap();
        hanging.flush(DEADLINE).unwrap();
        hanging
    })
    .await
    .unwrap();
    producer
        .commit(Some(("source", &position(2))))
        .await
        .unwrap();

    let mut asking = tokio::spawn(async move { (log.position("source").await, log) });
    let early = tokio::time::timeout(Duration::from_millis(500), &mut asking).await;
    assert!(early.is_err(), "answered while undecided: {early:?}");
    tokio::task::spawn_blocking(move || hanging.abort_transaction(DEADLINE).unwrap())
        .await
        .unwrap();
    let (answer, log) = asking.await.unwrap();
    assert_eq!(answer.unwrap(), Some(position(2)));
    assert_eq!(log.position("hanging").await.unwrap(), None);
}

/// What brokers sometimes tell a producer that is being fenced.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_outcome_ends_the_producer() {
    let cluster = MockCluster::new(1).unwrap();
    // It makes no topics on request.
    for topic in ["_positions", "_topics", "_orders", "_reports"] {
        cluster
            .create_topic(&format!("pejl.{topic}"), 1, 1)
            .unwrap();
    }
    let log = KafkaLog::connect(KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        ..KafkaSettings::default()
    });
    let log = log.await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    let unknown = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN];
    cluster.request_errors(RDKafkaApiKey::EndTxn, &unknown);
    let undecided = producer.commit(Some(("source", &position(1)))).await;
    assert!(
        matches!(undecided, Err(Error::Unavailable(_))),
        "{undecided:?}"
    );
    // Who goes on must first know which position counts.
    let refused = producer.commit(Some(("source", &position(2)))).await;
    assert!(refused.is_err());
    assert!(producer.abort().await.is_err());
    let mut producer = log.producer("task").await.unwrap();
    producer
        .commit(Some(("source", &position(3))))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_broker_is_told() {
    let settings = KafkaSettings {
        bootstrap_servers: "127.0.0.1:9".into(),
        properties: [(
            "socket.connection.setup.timeout.ms".to_owned(),
            "1000".to_owned(),
        )]
        .into(),
        ..KafkaSettings::default()
    };
    let refused = KafkaLog::connect(settings).await.err().unwrap().to_string();
    assert!(refused.contains("127.0.0.1:9"), "{refused}");
}
