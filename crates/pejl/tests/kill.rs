//! `kill -9` at random moments while everything runs: nothing is lost, nothing is doubled, and the marts come out the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use stage::{Stage, wait_for};

const CITIZENS: u32 = 60;
const KILLS: usize = 6;

#[test]
fn killed_at_any_moment_the_marts_come_out_the_same() {
    let undisturbed = Stage::canonical(CITIZENS);
    undisturbed.ok(&["run", "--once"]);
    let expected = undisturbed.marts();

    let seed = rand::rng().random::<u64>();
    let mut moments = StdRng::seed_from_u64(seed);
    let stage = Stage::canonical(CITIZENS);
    for kill in 0..KILLS {
        let environment = [
            ("PEJL_LANDING__FLUSH_SECONDS", "0.05"),
            ("PEJL_LANDING__FLUSH_ROWS", "200"),
            ("PEJL_BUILD__EVERY_SECONDS", "0.1"),
        ];
        let mut child = stage.spawn("up", &environment);
        // The moment is the test: early kills hit reading, late ones landing and building.
        let moment = Duration::from_millis(moments.random_range(50..3000));
        std::thread::park_timeout(moment);
        assert!(
            child.try_wait().unwrap().is_none(),
            "kill {kill} (seed {seed}): `pejl up` ended by itself"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stage.ok(&["run", "--once"]);
    let audit = stage.ok(&["verify"]);
    assert!(audit.contains("clean"), "seed {seed}: {audit}");
    assert_eq!(stage.marts(), expected, "seed {seed}");
}

/// Ctrl-C is the tidy way: everything read is landed before the process ends.
#[test]
fn interrupted_it_stops_cleanly() {
    let stage = Stage::canonical(CITIZENS);
    let child = stage.spawn("up", &[]);
    let log = stage.path("data/lake/raw/participation/_delta_log");
    wait_for("the first landed table", Duration::from_secs(120), || {
        log.exists()
    });
    let pid = child.id().to_string();
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(interrupted.unwrap().success());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", out.status);
    assert!(String::from_utf8_lossy(&out.stdout).contains("stopped"));
    let audit = stage.ok(&["verify"]);
    assert!(audit.contains("clean"), "{audit}");
}
