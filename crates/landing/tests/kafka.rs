//! Landing from a real Kafka, whose offsets have holes where transactions begin and end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]
#![allow(clippy::print_stderr, reason = "a skipped half must be seen")]

mod stage;

use std::{collections::BTreeMap, sync::Arc};

use bus::{KafkaLog, KafkaSettings};
use landing::{LandingSettings, What};
use stage::{Stage, UNITS, bad_units, deletion, units};
use tokio_util::sync::CancellationToken;

/// A stage on the broker at `PEJL_TEST_KAFKA` (host:port), with topics of its own.
async fn stage() -> Option<Stage> {
    let Ok(bootstrap_servers) = std::env::var("PEJL_TEST_KAFKA") else {
        eprintln!("KAFKA HALF SKIPPED: set PEJL_TEST_KAFKA=host:port to land from a real broker");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let name = folder
        .path()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let settings = KafkaSettings {
        bootstrap_servers,
        properties: BTreeMap::new(),
        prefix: format!("landing{}.", name.replace('.', "-")),
        replication_factor: 1,
    };
    let log = KafkaLog::connect(settings).await.unwrap();
    Some(Stage::over(Arc::new(log), folder).await)
}

async fn send_with_holes(stage: &Stage, from: i64) {
    stage.send(UNITS, units(from..from + 20)).await;
    stage.send_and_abort(UNITS, units(from..from + 7)).await;
    let mut mixed = bad_units(from..from + 3);
    mixed.push(deletion(&format!("[\"u{from}\"]")));
    stage.send(UNITS, mixed).await;
    stage.send_and_abort(UNITS, units(from..from + 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_in_the_offsets_are_neither_waited_for_nor_missed() {
    let Some(stage) = stage().await else { return };
    for round in 0..3 {
        send_with_holes(&stage, round * 100).await;
        let landed = stage.catch_up().await;
        assert_eq!((landed[0].rows, landed[0].quarantined), (21, 3));
        stage.assert_complete().await;
    }
    assert_eq!(stage.catch_up().await[0].rows, 0);
    assert_eq!(stage.count("unit").await, 63);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_and_rivals_change_nothing() {
    let Some(stage) = stage().await else { return };
    for write in 0..5 {
        send_with_holes(&stage, write * 100).await;
        stage
            .store
            .die_at(usize::try_from(write).unwrap(), write % 2 == 0);
        let (lander, observe) = (stage.hasty(), stage.observe());
        tokio::select! {
            landed = lander.catch_up(&observe) => { landed.unwrap(); stage.store.survived(); }
            () = stage.store.died() => {}
        }
    }
    let stage = Arc::new(stage);
    let stop = CancellationToken::new();
    let rivals: Vec<_> = (0..2)
        .map(|_| {
            let lander = stage.lander(LandingSettings {
                flush_rows: 3,
                flush_seconds: 0.05,
                ..LandingSettings::default()
            });
            let (stop, observe) = (stop.clone(), stage.observe());
            tokio::spawn(async move { lander.run(stop, &observe).await })
        })
        .collect();
    send_with_holes(&stage, 500).await;
    stage
        .until(async || stage.audit().await.iter().all(|audit| audit.waiting == 0))
        .await;
    stop.cancel();
    for rival in rivals {
        rival.await.unwrap().unwrap();
    }
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 6 * 21);
    assert_eq!(stage.count("quarantine").await, 6 * 3);
    assert_eq!(stage.saw(|what| matches!(what, What::Failed { .. })), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_trimmed_is_landed() {
    let Some(stage) = stage().await else { return };
    send_with_holes(&stage, 0).await;
    let settings = LandingSettings {
        retention: Some(std::time::Duration::from_secs(60)),
        ..LandingSettings::default()
    };
    stage
        .lander(settings)
        .catch_up(&stage.observe())
        .await
        .unwrap();
    let audits = stage.audit().await;
    assert!(
        audits
            .iter()
            .all(|audit| audit.is_complete() && audit.delivered == 0),
        "{audits:?}"
    );
    send_with_holes(&stage, 100).await;
    stage.catch_up().await;
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 42);
}
