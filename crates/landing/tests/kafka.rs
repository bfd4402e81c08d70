//! Landing from a real Kafka, whose offsets have holes where transactions begin and end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]
#![allow(clippy::print_stderr, reason = "a skipped half must be seen")]

mod stage;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bus::{KafkaLog, KafkaSettings, Log};
use landing::{Extent, LandedTopic, LandingSettings, What};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use stage::{Stage, UNITS, bad_units, deletion, units};
use tokio_util::sync::CancellationToken;

/// How long a request to the broker may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A stage on the broker at `PEJL_TEST_KAFKA` (host:port), with topics of its own.
async fn stage() -> Option<Stage> {
    stage_with(3).await
}

async fn stage_with(partitions: i32) -> Option<Stage> {
    Some(stage_and_prefix(partitions).await?.0)
}

/// The same, and what stands before its topics' names.
async fn stage_and_prefix(partitions: i32) -> Option<(Stage, String)> {
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
        // As short as brokers allow.
        properties: BTreeMap::from([("session.timeout.ms".into(), "6000".into())]),
        prefix: format!("landing{}.", name.replace('.', "-")),
        replication_factor: 1,
    };
    let prefix = settings.prefix.clone();
    let log = KafkaLog::connect(settings).await.unwrap();
    log.ensure_topic(UNITS, partitions).await.unwrap();
    Some((Stage::over(Arc::new(log), folder).await, prefix))
}

/// Deletes a topic and makes it again, as another program would.
async fn make_again(topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set(
            "bootstrap.servers",
            std::env::var("PEJL_TEST_KAFKA").unwrap(),
        )
        .create()
        .unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let deleted = admin.delete_topics(&[topic], &options).await.unwrap();
    deleted[0].as_ref().unwrap();
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &options).await.unwrap();
    made[0].as_ref().unwrap();
    let is_listed = || {
        let listed = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        listed.topics().iter().any(|it| it.name() == topic)
    };
    while !is_listed() {}
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
async fn a_row_where_the_log_has_a_hole_is_found() {
    let Some(stage) = stage_with(1).await else {
        return;
    };
    stage.send(UNITS, units(0..3)).await;
    // The end of the first transaction, and what was taken back.
    stage.send_and_abort(UNITS, units(0..3)).await;
    stage.send(UNITS, units(10..13)).await;
    stage.catch_up().await;
    assert!(stage.verify(Extent::Everything).await.marked);
    stage.send(UNITS, units(20..23)).await;
    stage.send(UNITS, units(30..33)).await;
    stage.catch_up().await;
    let marked = stage.verify(Extent::SinceLast).await;
    assert!(marked.is_clean() && marked.marked, "{marked:?}");
    stage.send(UNITS, units(40..43)).await;
    stage.send(UNITS, units(50..53)).await;
    stage.catch_up().await;
    let (last, new) = (marked.partitions[0].next, marked.partitions[0].high + 3);
    assert!(3 < last && last < new);
    stage.forge(&[3, new]).await;
    // Behind the mark only its coming again is seen; an audit of everything sees what it is.
    let since = stage.verify(Extent::SinceLast).await;
    assert_eq!(since.partitions[0].doubled.first, [3]);
    assert_eq!(since.partitions[0].foreign.first, [new]);
    assert_eq!(stage.audit().await[0].foreign.first, [3, new]);
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
    let rivals: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let lander = stage.lander(LandingSettings {
                flush_rows: 3,
                flush_seconds: 0.05,
                ..LandingSettings::default()
            });
            let (stop, observe) = (stop.clone(), stage.observe());
            tokio::spawn(async move { lander.run(name, stop, &observe).await })
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
async fn landers_share_the_partitions_and_take_over_from_the_dead() {
    // So many that each lander is sure to get some of them.
    let Some(stage) = stage_with(24).await else {
        return;
    };
    let stop = CancellationToken::new();
    let flushes = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let mut landers = Vec::new();
    for (name, flushed) in ["one", "two"].into_iter().zip(&flushes) {
        let lander = stage.lander(LandingSettings {
            flush_seconds: 0.05,
            ..LandingSettings::default()
        });
        let (stop, flushed) = (stop.clone(), Arc::clone(flushed));
        landers.push(tokio::spawn(async move {
            let observe = move |landed: LandedTopic| {
                flushed.fetch_add(landed.rows, Ordering::Relaxed);
            };
            lander.run(name, stop, &observe).await
        }));
    }
    let both_work = || flushes.iter().all(|it| it.load(Ordering::Relaxed) > 0);
    let mut sent = 0;
    stage
        .until(async || {
            stage.send(UNITS, units(sent..sent + 50)).await;
            sent += 50;
            both_work()
        })
        .await;
    // Its session is over when it has not been heard of for a while.
    let dead = landers.pop().unwrap();
    dead.abort();
    dead.await.unwrap_err();
    stage.send(UNITS, units(sent..sent + 500)).await;
    stage
        .until(async || stage.audit().await.iter().all(|audit| audit.waiting == 0))
        .await;
    stop.cancel();
    for lander in landers {
        lander.await.unwrap().unwrap();
    }
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await as i64, sent + 500);
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

/// Its offsets say nothing any more: by them alone, its first records would be taken for landed ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_another_program_made_again_lands_whole() {
    let Some((stage, prefix)) = stage_and_prefix(2).await else {
        return;
    };
    stage.send(UNITS, units(0..20)).await;
    assert_eq!(stage.catch_up().await[0].rows, 20);
    make_again(&format!("{prefix}{UNITS}"), 2).await;
    stage.send(UNITS, units(100..150)).await;
    assert_eq!(stage.catch_up().await[0].rows, 50);
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 70);
}

/// The same while a lander runs, which has the former topic open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_lander_notices_that_a_topic_was_made_again() {
    let Some((stage, prefix)) = stage_and_prefix(2).await else {
        return;
    };
    let lander = stage.lander(LandingSettings {
        flush_seconds: 0.05,
        discover_every: std::time::Duration::from_millis(100),
        ..LandingSettings::default()
    });
    let stop = CancellationToken::new();
    let (until, observe) = (stop.clone(), stage.observe());
    let running = tokio::spawn(async move { lander.run("one", until, &observe).await });
    let landed = || -> u64 { stage.seen.lock().unwrap().iter().map(|it| it.rows).sum() };
    stage.send(UNITS, units(0..20)).await;
    stage.until(async || landed() == 20).await;
    make_again(&format!("{prefix}{UNITS}"), 2).await;
    stage.send(UNITS, units(100..150)).await;
    stage.until(async || landed() == 70).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 70);
}
