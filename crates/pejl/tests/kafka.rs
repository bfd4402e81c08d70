//! The same sources over a real Apache Kafka give the same marts, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use stage::{Stage, skipped};

const CITIZENS: u32 = 60;

#[test]
fn kafka_and_the_embedded_log_give_the_same_marts() {
    let Ok(brokers) = std::env::var("PEJL_TEST_KAFKA") else {
        skipped("KAFKA HALF SKIPPED: PEJL_TEST_KAFKA is not set");
        return;
    };
    let embedded = Stage::canonical(CITIZENS);
    embedded.ok(&["run", "--once"]);

    let prefix = format!("test-{}.", std::process::id());
    let kafka = Stage::canonical(CITIZENS)
        .with_environment("PEJL_LOG__BROKERS", &brokers)
        .with_environment("PEJL_LOG__PREFIX", &prefix);
    kafka.ok(&["run", "--once"]);
    assert!(kafka.ok(&["verify"]).contains("clean"));
    assert_eq!(kafka.marts(), embedded.marts());

    let second = kafka.ok(&["run", "--once"]);
    assert!(second.contains("nothing new"), "{second}");
}
