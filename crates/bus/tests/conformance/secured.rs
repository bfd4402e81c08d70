//! Brokers that want TLS and a password: what is right works throughout, and what is wrong is told by its setting.
//!
//! Needs `PEJL_TEST_KAFKA_TLS`, the address and the file of the authority's certificate; `tests/kafka-broker/broker.sh tls` prints it.

use std::{collections::BTreeMap, path::Path, sync::Once};

use bus::{Error, Group, KafkaLog, KafkaSettings, Log};

use crate::{
    kafka::given,
    place::{DEADLINE, position, read_all, record, write},
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls_with_a_password() {
    let Some(settings) = settings() else { return };
    let log = KafkaLog::connect(settings).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    write(&log, "task", "t", vec![record("k", "kept")]).await;
    assert_eq!(read_all(&log, "t", 1).await.len(), 1);
    let mut producer = log.producer("task").await.unwrap();
    let at = ("source", &position(1));
    producer.commit(Some(at)).await.unwrap();
    assert_eq!(log.position("source").await.unwrap(), Some(position(1)));
    let member = log.join(Group::Workers, "one").await.unwrap();
    let mut slots = member.slots();
    let joined = tokio::time::timeout(DEADLINE, slots.wait_for(|slots| !slots.is_empty()));
    assert!(joined.await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_one() {
    let Some(mut settings) = settings() else {
        return;
    };
    let wrong = ("sasl.password".to_owned(), "guessed".to_owned());
    settings.properties.extend([wrong]);
    let refused = refused(settings).await;
    assert!(refused.contains("sasl.password"), "{refused}");
    assert!(!refused.contains("guessed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_did_not_sign_is_told_as_one() {
    let Some(mut settings) = settings() else {
        return;
    };
    let right = settings.properties["ssl.ca.location"].clone();
    let other = Path::new(&right).with_file_name("other-ca.pem");
    let wrong = (
        "ssl.ca.location".to_owned(),
        other.to_str().unwrap().to_owned(),
    );
    settings.properties.extend([wrong]);
    let refused = refused(settings).await;
    assert!(refused.contains("ssl.ca.location"), "{refused}");
}

/// What is said of settings that are wrong.
async fn refused(settings: KafkaSettings) -> String {
    let connecting = tokio::time::timeout(DEADLINE, KafkaLog::connect(settings));
    match connecting.await.unwrap() {
        Err(Error::Settings(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Those that are right.
fn settings() -> Option<KafkaSettings> {
    static SKIPPED: Once = Once::new();
    let given = given("PEJL_TEST_KAFKA_TLS", "KAFKA OVER TLS SKIPPED", &SKIPPED)?;
    let (address, authority) = given.split_once(' ').unwrap();
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", authority),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "pejl"),
        ("sasl.password", "pejltest-secret"),
    ];
    let properties: BTreeMap<_, _> = properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    Some(KafkaSettings {
        bootstrap_servers: address.to_owned(),
        properties,
        prefix: format!("{}.", uuid::Uuid::new_v4().simple()),
        ..KafkaSettings::default()
    })
}
