//! Kafka: where the suite keeps its log, and what only it promises.

use std::{
    io::Write,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bus::{Board, Error, KafkaLog, KafkaSettings, Log, SharedLog};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::place::{DEADLINE, Place, position, read_all, record};

/// Topics of one test, apart from all others by their prefix.
pub(crate) struct Cluster(KafkaSettings);

/// The broker under test; `None`, said loudly, when there is none.
pub(crate) fn cluster() -> Option<Cluster> {
    static SKIPPED: Once = Once::new();
    let address = given("PEJL_TEST_KAFKA", "KAFKA HALF SKIPPED", &SKIPPED)?;
    Some(Cluster(KafkaSettings {
        bootstrap_servers: address,
        prefix: format!("{}.", uuid::Uuid::new_v4().simple()),
        ..KafkaSettings::default()
    }))
}

/// What the environment says of the other side.
pub(crate) fn given(variable: &str, skipped: &str, once: &Once) -> Option<String> {
    let given = std::env::var(variable).ok().filter(|it| !it.is_empty());
    if given.is_none() {
        // Not `eprintln`, which the test harness keeps to itself when a test passes.
        once.call_once(|| {
            let text = format!(
                "\n{skipped}: {variable} is not set; tests/kafka-broker/broker.sh says what to\n\n"
            );
            std::io::stderr().write_all(text.as_bytes()).unwrap();
        });
    }
    given
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

/// A broker played by librdkafka, for what real ones do not do on request.
fn mock() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    // It makes no topics on request.
    for topic in ["_positions", "_topics", "_orders", "_reports"] {
        cluster
            .create_topic(&format!("pejl.{topic}"), 1, 1)
            .unwrap();
    }
    cluster
}

fn at(cluster: &MockCluster<'static, DefaultProducerContext>) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        ..KafkaSettings::default()
    }
}

/// What brokers sometimes tell a producer that is being fenced.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_outcome_ends_the_producer() {
    let cluster = mock();
    let log = KafkaLog::connect(at(&cluster)).await.unwrap();
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
async fn a_post_that_no_broker_takes_fails_while_somebody_waits() {
    let cluster = mock();
    let log = KafkaLog::connect(at(&cluster)).await.unwrap();
    cluster.broker_down(-1).unwrap();
    let posting = log.post(Board::Orders, "a", Some("1"));
    let posted = tokio::time::timeout(DEADLINE, posting).await.unwrap();
    assert!(matches!(posted, Err(Error::Unavailable(_))), "{posted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_for_too_long_counts_for_nothing_and_the_task_begins_again() {
    let Some(cluster) = cluster() else { return };
    let mut settings = cluster.settings();
    let timeout = ("transaction.timeout.ms".to_owned(), "1000".to_owned());
    settings.properties.extend([timeout]);
    let log = KafkaLog::connect(settings).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    producer.send("t", vec![record("k", "late")]).await.unwrap();
    // The broker gives it up: nothing holds readers back any more.
    let end = Instant::now() + DEADLINE;
    while log.range("t", 0).await.unwrap().high == 0 {
        assert!(Instant::now() < end, "still open after {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let late = producer.commit(Some(("source", &position(1)))).await;
    assert!(
        matches!(&late, Err(Error::Expired { task, .. }) if task == "task"),
        "{late:?}"
    );
    assert_eq!(log.position("source").await.unwrap(), None);
    let mut producer = log.producer("task").await.unwrap();
    let again = vec![record("k", "again")];
    producer.send("t", again.clone()).await.unwrap();
    let second = ("source", &position(2));
    producer.commit(Some(second)).await.unwrap();
    let read = read_all(&log, "t", 1).await;
    let records: Vec<_> = read.into_iter().map(|read| read.record).collect();
    assert_eq!(records, again);
    assert_eq!(log.position("source").await.unwrap(), Some(position(2)));
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
