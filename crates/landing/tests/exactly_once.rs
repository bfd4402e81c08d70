//! Exactly once: through deaths at any write, lost answers, and landers that get in each other's way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;
mod watched;

use std::sync::Arc;

use bus::Record;
use lake::Lake;
use landing::{Extent, Lander, LandingSettings, What};
use object_store::{ObjectStoreExt, path::Path};
use proptest::{
    prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest},
    test_runner::TestCaseResult,
};
use stage::{
    Stage, UNITS, bad_units, deletion, entity,
    flaky::{Answer, Fault, Writes},
    of_unknown_schema, units,
};
use tokio_util::sync::CancellationToken;
use url::Url;
use watched::Watched;

/// Lands until the lander dies or has caught up; whether it died.
async fn land_or_die(stage: &Stage, lander: Lander) -> bool {
    let observe = stage.observe();
    tokio::select! {
        landed = lander.catch_up(&observe) => {
            landed.unwrap();
            assert!(stage.store.survived());
            false
        }
        () = stage.store.died() => true,
    }
}

/// Good ones, bad ones, deletions and offsets without a record.
async fn send_a_mixture(stage: &Stage, from: i64) {
    stage.send(UNITS, units(from..from + 12)).await;
    stage.send_and_abort(UNITS, units(from..from + 4)).await;
    let mut mixed = bad_units(from..from + 3);
    mixed.push(deletion(&format!("[\"u{from}\"]")));
    mixed.push(deletion("no key"));
    mixed.extend(units(from + 12..from + 18));
    stage.send(UNITS, mixed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_write_loses_and_doubles_nothing() {
    for after in [false, true] {
        for hasty in [false, true] {
            let mut deaths = 0;
            for write in 0.. {
                let stage = Stage::new().await;
                send_a_mixture(&stage, 0).await;
                if hasty {
                    // Not the first commits of all, but ones on top of others.
                    stage.catch_up().await;
                    send_a_mixture(&stage, 100).await;
                }
                stage.store.die_at(write, after);
                let lander = if hasty {
                    stage.hasty()
                } else {
                    stage.restarted()
                };
                let died = land_or_die(&stage, lander).await;
                for audit in stage.audit().await {
                    // Rows may wait behind a quarantine that is ahead of its table; none is lost or doubled.
                    assert!(audit.is_clean(), "write {write}, after {after}: {audit}");
                }
                stage.catch_up().await;
                let since = stage.verify(Extent::SinceLast).await;
                assert!(since.is_clean(), "write {write}, after {after}: {since:?}");
                stage.assert_complete().await;
                let sent = if hasty { 2 } else { 1 };
                assert_eq!(
                    stage.count("unit").await,
                    sent * 19,
                    "write {write}, after {after}"
                );
                assert_eq!(
                    stage.count("quarantine").await,
                    sent * 4,
                    "write {write}, after {after}"
                );
                if !died {
                    break;
                }
                deaths += 1;
            }
            assert!(
                deaths >= 4,
                "died only {deaths} times: the test has lost its point"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_late_and_wrong_answers_change_nothing() {
    for writes in [Writes::Now, Writes::Never, Writes::Late, Writes::AfterLook] {
        for answers in [Answer::Failed, Answer::Taken] {
            let stage = Stage::new().await;
            for round in 0..3 {
                send_a_mixture(&stage, round * 100).await;
                for _ in 0..2 {
                    stage.store.next_commit(Fault {
                        writes,
                        meanwhile: None,
                        answers,
                    });
                }
                stage.catch_up().await;
            }
            stage.assert_complete().await;
            assert_eq!(stage.count("unit").await, 3 * 19);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lander_that_was_overtaken_drops_what_it_read() {
    let stage = Stage::new().await;
    for with_bad in [false, true] {
        stage.send(UNITS, units(0..20)).await;
        if with_bad {
            stage.send(UNITS, bad_units(20..25)).await;
        }
        // As the first lander is about to commit, another lands everything.
        let sound = Lake::over(stage.store.sound(), Url::parse("memory:///lake").unwrap()).unwrap();
        let other = Lander::new(Arc::clone(&stage.log), sound, LandingSettings::default());
        stage.store.next_commit(Fault {
            writes: Writes::Never,
            meanwhile: Some(Box::pin(async move {
                other.catch_up(&|_| {}).await.unwrap();
            })),
            answers: Answer::Failed,
        });
        let landed = stage.catch_up().await;
        assert_eq!(landed[0].rows, 0);
        stage.assert_complete().await;
    }
    assert!(stage.saw(|what| matches!(what, What::Superseded { .. })) >= 2);
    assert_eq!(stage.count("unit").await, 40);
    assert_eq!(stage.count("quarantine").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn landers_racing_on_the_same_partitions_land_each_record_once() {
    let stage = Arc::new(Stage::new().await);
    let stop = CancellationToken::new();
    let racing: Vec<_> = (0..3)
        .map(|racer| {
            let lander = stage.lander(LandingSettings {
                flush_rows: 1 + racer * 3,
                poll_records: 4,
                flush_seconds: 0.01,
                ..LandingSettings::default()
            });
            let (stop, observe) = (stop.clone(), stage.observe());
            tokio::spawn(async move { lander.run("lander", stop, &observe).await })
        })
        .collect();
    for round in 0..12 {
        send_a_mixture(&stage, round * 100).await;
    }
    stage
        .until(async || stage.audit().await.iter().all(|audit| audit.waiting == 0))
        .await;
    stop.cancel();
    for racer in racing {
        racer.await.unwrap().unwrap();
    }
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 12 * 19);
    assert_eq!(stage.count("quarantine").await, 12 * 4);
}

/// The entity's schema as it may have been once, and the record as written with it.
fn of_earlier_schema(record: &Record) -> (String, Record) {
    let earlier = entity().avro().replacen(
        "\"fields\": [",
        "\"fields\": [{\"name\": \"gone\", \"type\": [\"null\", \"string\"], \"default\": null},",
        1,
    );
    let print = codec::fingerprint(&earlier).unwrap();
    let value = record.value.as_ref().unwrap();
    let value = [&value[..2], &print.to_le_bytes(), &[0], &value[10..]].concat();
    let record = Record {
        value: Some(value.into()),
        ..record.clone()
    };
    (earlier, record)
}

/// Lets landers die until refused records are committed and the rows beside them are not.
async fn land_the_refused_only(stage: &Stage) {
    for write in 0.. {
        stage.store.die_at(write, false);
        assert!(
            land_or_die(stage, stage.restarted()).await,
            "no such moment"
        );
        let lake = stage.lake();
        if lake.version("raw.quarantine").await.unwrap().is_some() {
            assert_eq!(lake.version("raw.unit").await.unwrap(), None);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_refused_before_a_death_stays_refused_when_it_could_be_read_later() {
    let stage = Stage::new().await;
    let (earlier, record) = of_earlier_schema(&units(0..1)[0]);
    stage.send(UNITS, vec![record]).await;
    stage.send(UNITS, units(0..3)).await;
    land_the_refused_only(&stage).await;
    let print = codec::fingerprint(&earlier).unwrap();
    let path = format!("_schemas/unit/{print:016x}.avsc");
    stage.lake().put_new(&path, earlier.into()).await.unwrap();
    stage.catch_up().await;
    stage.assert_complete().await;
    assert_eq!(
        (stage.count("unit").await, stage.count("quarantine").await),
        (3, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_good_before_a_death_is_not_lost_when_it_is_refused_later() {
    let stage = Stage::new().await;
    let (earlier, record) = of_earlier_schema(&units(0..1)[0]);
    let print = codec::fingerprint(&earlier).unwrap();
    let path = format!("_schemas/unit/{print:016x}.avsc");
    stage.lake().put_new(&path, earlier.into()).await.unwrap();
    // The same key for both, so that they share a partition and its position.
    let bad = of_unknown_schema(&units(0..1)[0]);
    stage.send(UNITS, vec![record, bad]).await;
    land_the_refused_only(&stage).await;
    let file = Path::from(format!("lake/{path}"));
    stage.store.sound().delete(&file).await.unwrap();
    stage.catch_up().await;
    stage.assert_complete().await;
    assert_eq!(stage.count("quarantine").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_once_is_not_refused_again_however_the_lander_dies() {
    for write in 0..10 {
        let stage = Stage::new().await;
        let unit = units(0..1).remove(0);
        let (earlier, record) = of_earlier_schema(&unit);
        let print = codec::fingerprint(&earlier).unwrap();
        let path = format!("_schemas/unit/{print:016x}.avsc");
        stage.lake().put_new(&path, earlier.into()).await.unwrap();
        // One partition: first one that is good only as long as its schema is known, last a bad one.
        let mut records = vec![record];
        records.extend(vec![unit.clone(); 10]);
        records.push(of_unknown_schema(&unit));
        stage.send(UNITS, records).await;
        land_the_refused_only(&stage).await;
        let file = Path::from(format!("lake/{path}"));
        stage.store.sound().delete(&file).await.unwrap();
        // From here on in steps that end before what has been refused.
        stage.store.die_at(write, true);
        land_or_die(&stage, stage.hasty()).await;
        stage.catch_up().await;
        stage.assert_complete().await;
        let counts = (stage.count("unit").await, stage.count("quarantine").await);
        assert_eq!(counts, (10, 2), "write {write}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lander_does_not_refuse_what_a_wiser_one_has_landed() {
    let stage = Stage::new().await;
    let (earlier, record) = of_earlier_schema(&units(0..1)[0]);
    stage.send(UNITS, vec![record]).await;
    let print = codec::fingerprint(&earlier).unwrap();
    let path = format!("_schemas/unit/{print:016x}.avsc");
    let file = Path::from(format!("lake/{path}"));
    let (wiser, lake, store) = (stage.restarted(), stage.lake(), stage.store.sound());
    let log = Watched::new(&stage, false);
    // Between reading and refusing, a lander that knows the schema lands the record.
    *log.then.lock().unwrap() = Some(Box::pin(async move {
        lake.put_new(&path, earlier.into()).await.unwrap();
        assert_eq!(wiser.catch_up(&|_| {}).await.unwrap()[0].rows, 1);
        store.delete(&file).await.unwrap();
    }));
    let lander = Lander::new(Arc::new(log), stage.lake(), LandingSettings::default());
    let landed = lander.catch_up(&stage.observe()).await.unwrap();
    assert_eq!((landed[0].rows, landed[0].quarantined), (0, 0));
    stage.assert_complete().await;
    assert_eq!(stage.count("unit").await, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        good: i64,
        bad: i64,
    },
    Abort {
        count: i64,
    },
    Land {
        dies_at: Option<(usize, bool)>,
        hasty: bool,
    },
    LandTwice,
    LoseAnswer {
        writes: u8,
    },
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..20_i64, 0..4_i64).prop_map(|(good, bad)| Step::Send { good, bad }),
        1 => (1..6_i64).prop_map(|count| Step::Abort { count }),
        4 => (prop::option::of((0..12_usize, any::<bool>())), any::<bool>())
            .prop_map(|(dies_at, hasty)| Step::Land { dies_at, hasty }),
        1 => proptest::strategy::Just(Step::LandTwice),
        1 => (0..4_u8).prop_map(|writes| Step::LoseAnswer { writes }),
        1 => proptest::strategy::Just(Step::Trim),
    ];
    prop::collection::vec(step, 1..12)
}

async fn play(steps: Vec<Step>) -> TestCaseResult {
    let stage = Stage::new().await;
    let (mut good_sent, mut bad_sent) = (0, 0);
    for step in steps {
        match step {
            Step::Send { good, bad } => {
                let mut records = units(good_sent..good_sent + good);
                records.extend(bad_units(bad_sent..bad_sent + bad));
                stage.send(UNITS, records).await;
                good_sent += good;
                bad_sent += bad;
            }
            Step::Abort { count } => stage.send_and_abort(UNITS, units(0..count)).await,
            Step::Land { dies_at, hasty } => {
                let lander = if hasty {
                    stage.hasty()
                } else {
                    stage.restarted()
                };
                if let Some((write, after)) = dies_at {
                    stage.store.die_at(write, after);
                    land_or_die(&stage, lander).await;
                } else {
                    lander.catch_up(&stage.observe()).await.unwrap();
                }
            }
            Step::LandTwice => {
                let (one, other) = (stage.hasty(), stage.restarted());
                let observe = stage.observe();
                let both = tokio::join!(one.catch_up(&observe), other.catch_up(&observe));
                both.0.unwrap();
                both.1.unwrap();
            }
            Step::LoseAnswer { writes } => stage.store.next_commit(Fault {
                writes: [Writes::Now, Writes::Never, Writes::Late, Writes::AfterLook]
                    [usize::from(writes)],
                meanwhile: None,
                answers: Answer::Failed,
            }),
            Step::Trim => {
                let topic = stage.log.topics(UNITS).await.unwrap().remove(0);
                let landed = landing::landed_offsets(&stage.lake(), &topic)
                    .await
                    .unwrap();
                for (partition, next) in landed {
                    stage.log.trim(UNITS, partition, next).await.unwrap();
                }
            }
        }
        for audit in stage.audit().await {
            assert!(audit.is_clean(), "{audit}");
        }
    }
    stage.catch_up().await;
    stage.assert_complete().await;
    if good_sent > 0 {
        assert_eq!(
            stage.count("unit").await,
            usize::try_from(good_sent).unwrap()
        );
    }
    if bad_sent > 0 {
        assert_eq!(
            stage.count("quarantine").await,
            usize::try_from(bad_sent).unwrap()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn no_sequence_of_sends_landings_and_deaths_loses_or_doubles(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play(steps))?;
    }
}
