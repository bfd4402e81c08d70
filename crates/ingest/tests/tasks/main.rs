//! Tasks that heal, can be steered, and are shared between workers without a record read twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod following;
mod healing;
mod numbers;
mod stage;

use std::sync::{Arc, Mutex};

use connector_api::Error;
use contract::Position;
use ingest::State;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use numbers::Script;
use stage::Stage;

/// Read before the producer is open, the position would be an old one by the time the task is ours.
#[tokio::test(flavor = "multi_thread")]
async fn the_position_is_read_once_nobody_else_can_move_it() {
    let stage = Stage::new().await;
    let script = Script::named("order", 5);
    stage.read("order").await.unwrap();

    script.grow(5);
    let earlier = Arc::new(tokio::sync::Mutex::new(
        stage.log.producer("order").await.unwrap(),
    ));
    let outcome = Arc::new(Mutex::new(None));
    let (held, told) = (Arc::clone(&earlier), Arc::clone(&outcome));
    // Between our reading of the position and our use of it, the earlier holder commits a later one.
    let shared = stage.shared().when_position_is_read(move || {
        let (held, told) = (Arc::clone(&held), Arc::clone(&told));
        Box::pin(async move {
            let later = Position(json!({ "next": 7 }));
            let committed = held.lock().await.commit(Some(("order", &later))).await;
            *told.lock().unwrap() = Some(committed);
        })
    });
    stage
        .ingest_over(shared)
        .read(&stage.pipeline("order"), &CancellationToken::new(), &|_| {})
        .await
        .unwrap();
    let committed = outcome.lock().unwrap().take().unwrap();
    assert!(
        matches!(committed, Err(bus::Error::Fenced(_))),
        "{committed:?}"
    );
    assert_eq!(stage.numbers().await, (0..10).collect::<Vec<_>>());
}

/// A process that slept past its session still believes to have the task.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_claim_is_refused_reads_nothing() {
    let stage = Stage::new().await;
    let script = Script::named("zombie", 5);
    let shared = stage.shared();
    shared.give("zombie", "sleeper");
    shared.refuse("sleeper");
    let worker = stage.worker("sleeper", &shared, &["zombie"]);
    stage
        .until("its claim was asked about twice", || {
            shared.asked("sleeper") >= 2
        })
        .await;
    worker.stop().await;
    assert_eq!(script.opened(), 0);
    // It found out once, and then asked without fencing whoever has the task.
    assert_eq!(shared.producers(), 1);
    assert_eq!(stage.numbers().await, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_name_is_taken_ends_and_says_so() {
    let stage = Stage::new().await;
    let _script = Script::named("taken", 5);
    let shared = stage.shared();
    shared.give("taken", "twin");
    let worker = stage.worker("twin", &shared, &["taken"]);
    stage
        .until_report("taken", |it| it.state == State::Waiting)
        .await;
    shared.replace("twin");
    let ended = worker.ended().await.unwrap_err();
    assert!(ended.to_string().contains("`twin`"), "{ended}");
    assert_eq!(ended.fix_by(), contract::FixBy::Settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_knows_whether_it_has_a_share_and_whether_the_log_answers() {
    let stage = Stage::new().await;
    Script::named("watched", 5);
    let shared = stage.shared();
    let worker = stage.worker("one", &shared, &["watched"]);
    let standing = worker.standing.clone();
    let member = || standing.borrow().member;
    let why = || standing.borrow().unreachable.clone();
    assert!(!member());
    shared.give("watched", "one");
    stage.until("it has a share", member).await;
    assert_eq!(why(), None);
    shared.mute(true);
    stage
        .until("it misses the log", || {
            why().is_some_and(|it| it.contains("no broker answered"))
        })
        .await;
    shared.mute(false);
    stage.until("it hears the log", || why().is_none()).await;
    shared.give("watched", "another");
    stage.until("its share is another's", || !member()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_moves_with_its_slot_and_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let script = Script::named("moving", 5);
    let shared = stage.shared();
    let (one, two) = (
        stage.worker("one", &shared, &["moving"]),
        stage.worker("two", &shared, &["moving"]),
    );
    let mut total = 5;
    for owner in ["one", "two", "one", "two"] {
        shared.give("moving", owner);
        stage
            .until("all of it is read", || script.served() == total)
            .await;
        stage
            .until_report("moving", |it| {
                it.worker.as_deref() == Some(owner) && it.state == State::Waiting
            })
            .await;
        total += 5;
        script.grow(5);
    }
    stage
        .until("the rest is read", || script.served() == total)
        .await;
    one.stop().await;
    two.stop().await;
    assert_eq!(stage.numbers().await, (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_source_is_tried_again_and_says_so_meanwhile() {
    let stage = Stage::new().await;
    let script = Script::named("flaky", 5);
    // The pauses last longer than the board goes without being written.
    for _ in 0..4 {
        script.fail_next(Error::Source("the line went dead".to_owned()));
    }
    let worker = stage.worker_alone("one", &["flaky"]);
    let degraded = stage
        .until_report("flaky", |it| it.state == State::Degraded)
        .await;
    let trouble = degraded.trouble.unwrap();
    assert!(trouble.error.contains("the line went dead"), "{trouble:?}");
    assert_eq!(trouble.fix_by, "the source system");
    assert!(degraded.next.is_some());
    let well = stage
        .until_report("flaky", |it| it.state == State::Waiting && it.rows == 5)
        .await;
    assert_eq!((well.failures, well.trouble), (0, None));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_mend_waits_for_them_and_then_goes_on() {
    let stage = Stage::new().await;
    let script = Script::named("refused", 5);
    script.fail_next(Error::Refused("401 Unauthorized".to_owned()));
    let worker = stage.worker_alone("one", &["refused"]);
    let stuck = stage
        .until_report("refused", |it| it.state == State::NeedsAHuman)
        .await;
    let trouble = stuck.trouble.unwrap();
    assert_eq!(trouble.fix_by, "the settings");
    assert!(
        trouble.step.contains("pejl source restart refused"),
        "{}",
        trouble.step
    );
    let opened = script.opened();
    stage.control().restart("refused").await.unwrap();
    stage.until_report("refused", |it| it.rows == 5).await;
    assert!(script.opened() > opened);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_rests_until_it_is_resumed() {
    let stage = Stage::new().await;
    let script = Script::named("resting", 5);
    let control = stage.control();
    let worker = stage.worker_alone("one", &["resting"]);
    stage.until_report("resting", |it| it.rows == 5).await;
    control.pause("resting").await.unwrap();
    stage
        .until_report("resting", |it| it.state == State::Paused)
        .await;
    let opened = script.opened();
    script.grow(5);
    // Another source's order wakes every task; this one goes on resting.
    stage.write(stage.disabled("other"));
    stage.control().restart("other").await.unwrap();
    control.resume("resting").await.unwrap();
    stage
        .until("it reads again", || script.served() == 10)
        .await;
    assert!(script.opened() > opened);
    worker.stop().await;
    assert_eq!(stage.numbers().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_created_stopped_can_be_placed_and_then_started() {
    let stage = Stage::new().await;
    Script::named("stopped", 5);
    let control = stage.control();
    let worker = stage.worker_of(
        "one",
        &stage.shared_alone("one"),
        vec![stage.disabled("stopped")],
    );
    stage
        .until_report("stopped", |it| it.state == State::Paused)
        .await;
    assert_eq!(control.position("stopped").await.unwrap(), None);
    control
        .set_position("stopped", Some(Position(json!({ "next": 3 }))))
        .await
        .unwrap();
    assert_eq!(
        control.position("stopped").await.unwrap(),
        Some(Position(json!({ "next": 3 })))
    );
    control.resume("stopped").await.unwrap();
    stage.until_report("stopped", |it| it.rows == 2).await;
    worker.stop().await;
    assert_eq!(stage.numbers().await, [3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_source_keeps_its_position() {
    let stage = Stage::new().await;
    Script::named("working", 5);
    let control = stage.control();
    let worker = stage.worker_alone("one", &["working"]);
    stage.until_report("working", |it| it.rows == 5).await;
    let start = Some(Position(json!({ "next": 0 })));
    let refused = control.set_position("working", start).await.unwrap_err();
    assert!(matches!(refused, ingest::Error::AtWork(_)), "{refused}");
    assert!(
        refused
            .step("working")
            .contains("pejl source pause working")
    );
    let unknown = control.pause("worknig").await.unwrap_err().to_string();
    assert!(unknown.contains("there are: working"), "{unknown}");
    worker.stop().await;
    let listed = control.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].report.as_ref().unwrap().rows, 5);
}
