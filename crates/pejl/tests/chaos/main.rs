//! Chaos: three workers and three landers over real Kafka and a real object store, disturbed round after round while the source grows.
//!
//! After each round the auditor must find every record exactly once, and at the end the marts must equal an undisturbed run's.
//! `make test` runs a short version, `make chaos ROUNDS=n` as many rounds as asked for, and writes the table in `docs/delivery.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod broker;
mod fault;
mod platform;
mod report;
mod source;
#[path = "../stage/mod.rs"]
mod stage;
mod store;

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use broker::Broker;
use fault::Fault;
use platform::Platform;
use report::Round;
use source::Growing;
use stage::{Stage, skipped};
use store::Store;

/// Rounds in `make test`: one of each fault.
const SHORT: usize = Fault::ALL.len();

/// How long the platform may take to be whole again after a fault.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn disturbed_at_every_turn_each_record_lands_once() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|it| it.parse::<u64>().unwrap())
    };
    let rounds = number("PEJL_CHAOS_ROUNDS").map_or(SHORT, |it| it as usize);
    let seed = number("PEJL_CHAOS_SEED").unwrap_or_else(|| rand::rng().random());
    let citizens = if rounds > SHORT { 400 } else { 60 };
    let (Some(broker), Some(store)) = (Broker::start(), Store::start()) else {
        skipped("CHAOS SKIPPED: no Kafka of its own could be started, or PEJL_TEST_S3 is not set");
        return;
    };
    let mut dice = StdRng::seed_from_u64(seed);
    let undisturbed = Stage::canonical(citizens);
    undisturbed.ok(&["run", "--once"]);
    let mut growing = Growing::from(&undisturbed, rounds, &mut dice);
    let mut platform = Platform::start(&growing, broker, store);

    let mut done = Vec::new();
    for number in 1..=rounds {
        let fault = Fault::of_round(number, &mut dice);
        let what = format!("round {number}, {fault}, seed {seed}");
        let (hurt, seconds) = platform.suffer(fault, &mut growing, &mut dice, &what);
        let audit = platform.verify();
        assert_eq!(audit["verdict"], "clean", "{what}: {audit}");
        let count = |of: &str| platform::sum(&audit, |it| it[of]["count"].as_u64());
        done.push(Round {
            number,
            fault,
            hurt,
            records: growing.dropped(),
            lost: count("missing"),
            doubled: count("doubled"),
            seconds,
        });
    }
    assert_eq!(platform.marts(), undisturbed.marts(), "seed {seed}");
    report::write(&done, seed);
}
