//! The same sources over a real Apache Kafka give the same marts, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{io::Read, process::Stdio, time::Duration};

use stage::{Stage, skipped, wait_for};

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

/// The name is a member's place in its group: the brokers give it to whoever comes last.
#[test]
fn a_process_whose_name_is_taken_ends_and_names_the_setting() {
    let Ok(brokers) = std::env::var("PEJL_TEST_KAFKA") else {
        skipped("KAFKA HALF SKIPPED: PEJL_TEST_KAFKA is not set");
        return;
    };
    let prefix = format!("twin-{}.", std::process::id());
    let stage = Stage::canonical(20)
        .with_environment("PEJL_LOG__BROKERS", &brokers)
        .with_environment("PEJL_LOG__PREFIX", &prefix);
    for role in ["worker", "land"] {
        let start = || {
            let mut command = stage.command(&["--name", "twin", role]);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut first = start();
        // Whoever joins later takes the other's place.
        let mut second = start();
        let mut ended = None;
        wait_for("one of the two to end", Duration::from_secs(60), || {
            ended = first.try_wait().unwrap().or(second.try_wait().unwrap());
            ended.is_some()
        });
        let (mut loser, mut winner) = match first.try_wait().unwrap() {
            Some(_) => (first, second),
            None => (second, first),
        };
        assert!(winner.try_wait().unwrap().is_none());
        winner.kill().unwrap();
        winner.wait().unwrap();
        let mut said = String::new();
        let mut errors = loser.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        assert_eq!(ended.unwrap().code(), Some(2), "{said}");
        assert!(said.contains("[node] name"), "{said}");
    }
}
